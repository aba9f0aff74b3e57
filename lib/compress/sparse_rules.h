/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How top-k and dgc find their limit, and dgc its clip factor: what is decided, for the
 * host and for devices (DML__HD, core/half.h). sparse.c says why.
 */
#ifndef DML__COMPRESS_SPARSE_RULES_H
#define DML__COMPRESS_SPARSE_RULES_H

#include "core/half.h"

#include <math.h>
#include <stdbool.h>

#define DML__SPARSE_SEGMENT ((uint64_t)1 << 16)
#define DML__SPARSE_SAMPLES 8192
/* The places of samples come from noise = noise * FACTOR + TERM, from the step on. */
#define DML__SPARSE_FACTOR 1664525u
#define DML__SPARSE_TERM   1013904223u

/* Partial sums of the squares of a gradient's blocks. */
enum { DML__CLIP_LANES = 32 };

/* By what a gradient is multiplied whose norm is above the limit. */
DML__HD static inline float dml__clip_factor(double squares, double limit)
{
    const double norm = sqrt(squares);
    return norm > limit ? (float)(limit / norm) : 1;
}

/* Elements that the lists have room for. */
DML__HD static inline uint64_t dml__sparse_capacity(uint64_t slots, uint64_t count)
{
    const uint64_t wanted = 2 * slots + 64;
    return wanted < count ? wanted : count;
}

/* Of a segment's "count" elements those that are there, in a code of "sent" of which
 * "before" belong to the segments before: all, unless the bytes are no code. */
DML__HD static inline uint64_t dml__sparse_here(uint64_t count, uint64_t before,
                                                uint64_t sent)
{
    const uint64_t left = before < sent ? sent - before : 0;
    return count < left ? count : left;
}

/* Too few to fill the slots, or so many that the lists end before the vector does. */
DML__HD static inline bool dml__sparse_far_off(uint64_t total, uint64_t slots,
                                               uint64_t capacity, uint64_t count)
{
    return total < slots - slots / 5 || (total >= capacity && capacity < count);
}

/* Sample i lies in the i-th part. */
DML__HD static inline uint64_t dml__sparse_sample_at(uint64_t i, uint64_t part,
                                                     uint32_t noise)
{
    return i * part + (uint64_t)((double)noise * 0x1p-32 * (double)part);
}

/* Which of the n samples is the limit: a quarter too many rather than some too few. */
DML__HD static inline uint64_t dml__sparse_sample_rank(uint64_t slots, uint64_t count,
                                                       uint64_t n)
{
    const uint64_t k = (uint64_t)(1.25 * (double)slots / (double)count * (double)n) + 1;
    return k < n ? k : n;
}

/* The edge of this step tells the next one's limit: half the last change further, and a
 * little above, so that as a rule a few slots stay empty and nothing has to be sorted
 * out. */
DML__HD static inline float dml__sparse_follow(float before, float edge)
{
    const float change = edge - before;
    const bool steady = before > 0 && change > -0.5f * edge && change < edge;
    return 1.01f * (edge + (steady ? 0.5f * change : 0));
}

/* Where a few more would have come in, if the magnitudes' tail is as usual: lower by
 * (total / slots)^(1/4 + 1/16), by roots, which every machine rounds alike. */
DML__HD static inline float dml__sparse_lower(float limit, uint64_t total,
                                              uint64_t slots)
{
    const float root = sqrtf(sqrtf((float)total / (float)slots));
    return limit * (root * sqrtf(sqrtf(root)));
}

/* The first of "of" equal magnitudes of which "take" go: another one in every step. */
DML__HD static inline uint64_t dml__sparse_first(uint64_t step, uint64_t take,
                                                 uint64_t of)
{
    return of > 0 ? step * take % of : 0;
}

#endif
