/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The search for the largest elements: one pass adds the gradient to what waits, and
 * takes out what reaches the limit. Included once by codec_set.c.
 */
#ifndef DML__CODEC_SPARSE_H
#define DML__CODEC_SPARSE_H

#include "kernels/codec_lanes.h"

/* The lowest bits of a word, at most "room" of them. */
static inline uint32_t lowest_bits(uint32_t bits, size_t room)
{
    while (count_bits(bits) > room)
        bits &= ~(1u << (31 - __builtin_clz(bits)));
    return bits;
}

/* Sixteen elements, of which those of "among" may be taken, as number "listed" and
 * following. Returns how many are listed then. */
static inline size_t select_lanes(const float *g, float *e, float *u, uint32_t among,
                                  size_t base, size_t listed, words *tops,
                                  const struct dml__select_args *args)
{
    lanes x = load(e), push = all(0);
    if (u != NULL)
        push = load(u);
    if (g != NULL && u != NULL)
        push = add(mul(all(args->momentum), push), mul(all(args->factor), load(g)));
    if (g != NULL)
        x = add(x, u != NULL ? push : load(g));
    *tops = top(*tops, x);
    uint32_t bits = reaches(absolute(x), all(args->limit)) & among;
    if (args->capacity - listed < LANES)
        bits = lowest_bits(bits, args->capacity - listed);
    if (LISTS_ALWAYS || bits != 0) {
        list_places(args->index + listed, bits, base);
        list(args->values + listed, bits, x);
        x = pick(bits, all(0), x);
        if (u != NULL)
            list(args->pushes + listed, bits, push);
        push = pick(bits, all(0), push);
    }
    store(e, x);
    if (u != NULL)
        store(u, push);
    return listed + count_bits(bits);
}

static inline size_t select_all(size_t n, const float *g, float *e, float *u,
                                const struct dml__select_args *args, uint32_t *largest)
{
    words tops = no_words();
    size_t listed = 0, i = 0;
    for (; i + LANES <= n; i += LANES)
        listed = select_lanes(g != NULL ? g + i : NULL, e + i, u != NULL ? u + i : NULL,
                              0xffffu, i, listed, &tops, args);
    if (i < n) {
        float last_g[LANES] = {0}, last_e[LANES] = {0}, last_u[LANES] = {0};
        const size_t bytes = (n - i) * sizeof *e;
        memcpy(last_e, e + i, bytes);
        if (g != NULL)
            memcpy(last_g, g + i, bytes);
        if (u != NULL)
            memcpy(last_u, u + i, bytes);
        listed =
            select_lanes(g != NULL ? last_g : NULL, last_e, u != NULL ? last_u : NULL,
                         (1u << (n - i)) - 1, i, listed, &tops, args);
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
                           const struct dml__select_args *args, uint32_t *largest)
{
    if (g == NULL)
        return select_all(n, NULL, e, u, args, largest);
    if (u == NULL)
        return select_all(n, g, e, NULL, args, largest);
    return select_all(n, g, e, u, args, largest);
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
