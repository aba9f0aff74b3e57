/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which elements random-k sends, for the host and for devices (DML__HD, core/half.h).
 * randomk.c says how they are drawn.
 */
#ifndef DML__COMPRESS_RANDOM_RULES_H
#define DML__COMPRESS_RANDOM_RULES_H

#include "core/philox.h"

/* One step's draw of k of n elements, 1 <= k <= n. */
struct dml__random_draw {
    uint64_t seed, stream;
    uint64_t k, n;
    uint64_t start; /* the element from which on parts are counted */
    uint64_t past;  /* parts whose element lies before the end of the vector */
};

/* A random number below "bound", by the upper half of a product: bounds are so far
 * below 2^32 that what is uneven about that cannot be seen. */
DML__HD static inline uint64_t dml__random_below(uint32_t random, uint64_t bound)
{
    if (bound <= UINT32_MAX)
        return (uint64_t)random * bound >> 32;
    return (uint64_t)((double)random * 0x1p-32 * (double)bound);
}

/* First element of part i. */
DML__HD static inline uint64_t dml__random_part(const struct dml__random_draw *d,
                                                uint64_t i)
{
    const uint64_t rest = d->n % d->k;
    return i * (d->n / d->k) + (i < rest ? i : rest);
}

/* The element of part i, counted on past the end; ascending. random: word i mod 4 of
 * block i / 4. */
DML__HD static inline uint64_t dml__random_in_part(const struct dml__random_draw *d,
                                                   uint64_t i, uint32_t random)
{
    const uint64_t first = dml__random_part(d, i), next = dml__random_part(d, i + 1);
    return d->start + first + dml__random_below(random, next - first);
}

/* Element number i of those that are sent, in ascending order: those that lie past the
 * end come first. */
DML__HD static inline uint64_t dml__random_index(const struct dml__random_draw *d,
                                                 uint64_t i)
{
    const uint64_t wrapped = d->k - d->past;
    const uint64_t part = i < wrapped ? d->past + i : i - wrapped;
    uint32_t random[4];
    dml__philox(d->seed, d->stream, part / 4, random);
    /* So that a device keeps the words in registers. */
    const uint32_t even = part % 4 < 2 ? random[0] : random[2];
    const uint32_t odd = part % 4 < 2 ? random[1] : random[3];
    return dml__random_in_part(d, part, part % 2 == 0 ? even : odd) -
           (i < wrapped ? d->n : 0);
}

#endif
