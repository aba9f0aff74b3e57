/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The search for the largest elements: one pass adds the gradient to what waits and
 * lists where a magnitude reaches the limit. Few do, so the list is written one by one.
 * Included once by codec_set.c.
 */
#ifndef DML__CODEC_SPARSE_H
#define DML__CODEC_SPARSE_H

#include "kernels/codec_lanes.h"

/* e += g for sixteen elements, by way of the velocity where there is one. */
static inline void add_lanes(const float *g, float *e, float *u,
                             const struct dml__select_args *args)
{
    if (g == NULL)
        return;
    if (u == NULL) {
        INDEPENDENT
        for (int j = 0; j < LANES; j++)
            e[j] += g[j];
        return;
    }
    const float momentum = args->momentum, factor = args->factor;
    INDEPENDENT
    for (int j = 0; j < LANES; j++) {
        float velocity = momentum * u[j] + factor * g[j];
        u[j] = velocity;
        e[j] += velocity;
    }
}

static inline void top_lanes(const float *e, uint32_t top[LANES])
{
    INDEPENDENT
    for (int j = 0; j < LANES; j++)
        top[j] = magnitude(e[j]) > top[j] ? magnitude(e[j]) : top[j];
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
                                  uint32_t *top)
{
    uint32_t tops[LANES] = {0};
    size_t listed = 0, i = 0;
    for (; i + LANES <= n; i += LANES) {
        add_lanes(g != NULL ? g + i : NULL, e + i, u != NULL ? u + i : NULL, args);
        top_lanes(e + i, tops);
        uint32_t bits = reaches(e + i, args->limit);
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
        add_lanes(g != NULL ? last_g : NULL, last_e, u != NULL ? last_u : NULL, args);
        top_lanes(last_e, tops);
        uint32_t bits = reaches(last_e, args->limit) & ((1u << (n - i)) - 1);
        listed = list_lanes(bits, i, listed, args->capacity, index);
        memcpy(e + i, last_e, bytes);
        if (u != NULL)
            memcpy(u + i, last_u, bytes);
    }
    uint32_t found = max_lanes(tops);
    *top = found > *top ? found : *top;
    return listed;
}

/* Apart, so that each has a loop without questions. */
static size_t select_above(size_t n, const float *g, float *e, float *u,
                           const struct dml__select_args *args, uint16_t *index,
                           uint32_t *top)
{
    if (g == NULL)
        return select_lanes(n, NULL, e, NULL, args, index, top);
    if (u == NULL)
        return select_lanes(n, g, e, NULL, args, index, top);
    return select_lanes(n, g, e, u, args, index, top);
}

static uint32_t accumulate(size_t n, const float *g, float *e)
{
    uint32_t tops[LANES] = {0}, top = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        INDEPENDENT
        for (int j = 0; j < LANES; j++)
            e[i + j] += g[i + j];
        top_lanes(e + i, tops);
    }
    for (; i < n; i++) {
        e[i] += g[i];
        top = magnitude(e[i]) > top ? magnitude(e[i]) : top;
    }
    uint32_t found = max_lanes(tops);
    return found > top ? found : top;
}

#endif
