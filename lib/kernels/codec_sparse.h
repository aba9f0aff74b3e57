/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The search for the largest elements: one pass adds the gradient to what waits and
 * lists where a magnitude reaches the limit. Few do, so the list is written one by one.
 * Included once by codec_set.c.
 */
#ifndef DML__CODEC_SPARSE_H
#define DML__CODEC_SPARSE_H

#include "kernels/codec_lanes.h"

/* e + g for sixteen elements, by way of the velocity where there is one; e keeps it.
 * Without g it is e. */
static inline lanes add_lanes(const float *g, float *e, float *u, lanes momentum,
                              lanes factor)
{
    if (g == NULL)
        return load(e);
    lanes push = load(g);
    if (u != NULL) {
        push = add(mul(momentum, load(u)), mul(factor, push));
        store(u, push);
    }
    lanes x = add(load(e), push);
    store(e, x);
    return x;
}

/* Lists the elements of sixteen whose bits are set; returns how many are listed then.
 */
static inline size_t list_lanes(uint32_t bits, size_t base, size_t listed,
                                size_t capacity, uint16_t *index)
{
    for (; bits != 0 && listed < capacity; bits &= bits - 1)
        index[listed++] = (uint16_t)(base + (size_t)__builtin_ctz(bits));
    return listed;
}

static inline size_t select_lanes(size_t n, const float *g, float *e, float *u,
                                  const struct dml__select_args *args, uint16_t *index,
                                  uint32_t *largest)
{
    const lanes limit = all(args->limit), momentum = all(args->momentum);
    const lanes factor = all(args->factor);
    words tops = no_words();
    size_t listed = 0, i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes x = add_lanes(g != NULL ? g + i : NULL, e + i, u != NULL ? u + i : NULL,
                            momentum, factor);
        tops = top(tops, x);
        uint32_t bits = reaches(absolute(x), limit);
        if (bits != 0)
            listed = list_lanes(bits, i, listed, args->capacity, index);
    }
    if (i < n) {
        float last_g[LANES] = {0}, last_e[LANES] = {0}, last_u[LANES] = {0};
        const size_t bytes = (n - i) * sizeof *e;
        memcpy(last_e, e + i, bytes);
        if (g != NULL)
            memcpy(last_g, g + i, bytes);
        if (u != NULL)
            memcpy(last_u, u + i, bytes);
        lanes x = add_lanes(g != NULL ? last_g : NULL, last_e,
                            u != NULL ? last_u : NULL, momentum, factor);
        tops = top(tops, x);
        uint32_t bits = reaches(absolute(x), limit) & ((1u << (n - i)) - 1);
        listed = list_lanes(bits, i, listed, args->capacity, index);
        memcpy(e + i, last_e, bytes);
        if (u != NULL)
            memcpy(u + i, last_u, bytes);
    }
    uint32_t found = top_of(tops);
    *largest = found > *largest ? found : *largest;
    return listed;
}

/* Apart, so that each has a loop without questions. */
static size_t select_above(size_t n, const float *g, float *e, float *u,
                           const struct dml__select_args *args, uint16_t *index,
                           uint32_t *largest)
{
    if (g == NULL)
        return select_lanes(n, NULL, e, NULL, args, index, largest);
    if (u == NULL)
        return select_lanes(n, g, e, NULL, args, index, largest);
    return select_lanes(n, g, e, u, args, index, largest);
}

static uint32_t momentum_step(size_t n, float momentum, float factor, float *g,
                              float *u)
{
    const lanes m = all(momentum), f = all(factor);
    words tops = no_words();
    uint32_t largest = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes x = add(mul(m, load(u + i)), mul(f, load(g + i)));
        store(u + i, x);
        store(g + i, x);
        tops = top(tops, x);
    }
    for (; i < n; i++) {
        u[i] = momentum * u[i] + factor * g[i];
        g[i] = u[i];
        largest =
            dml__f32_magnitude(u[i]) > largest ? dml__f32_magnitude(u[i]) : largest;
    }
    uint32_t found = top_of(tops);
    return found > largest ? found : largest;
}

static uint32_t accumulate(size_t n, const float *g, float *e)
{
    words tops = no_words();
    uint32_t largest = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lanes x = add(load(g + i), load(e + i));
        store(e + i, x);
        tops = top(tops, x);
    }
    for (; i < n; i++) {
        e[i] += g[i];
        largest =
            dml__f32_magnitude(e[i]) > largest ? dml__f32_magnitude(e[i]) : largest;
    }
    uint32_t found = top_of(tops);
    return found > largest ? found : largest;
}

#endif
