/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Top-k and dgc on a device: what lib/compress/sparse.c does, as kernels that follow
 * each other and decide on the device whether they have anything to do.
 *
 *     begin    a limit from a sample, in the first step
 *     mark     e += g (or what momentum makes of it), and a bit for each element that
 * reaches the limit plan     where each chunk's elements go; too few or too many? then
 *              mark and plan once more by a limit from a sample of e, and if that fails
 *              all of e is looked at below
 *     gather   the elements that are marked, as a list
 *     edge     three times: the k-th largest magnitude of the list, or of e, by
 *              histograms of its bits; nothing if all of the list goes
 *     count    how many of each chunk (of the list, or of e) lie on the edge or above
 *     scan     where they go
 *     emit     the code; what it holds becomes 0 in e (and u)
 *
 * What is decided is in compress/sparse_rules.h; counts are whole numbers and so in any
 * order: codes have the host's bits.
 */
#ifndef DML__GPU_CODEC_TOPK_H
#define DML__GPU_CODEC_TOPK_H

#include "compress/sparse_rules.h"
#include "gpu/codec_block.h"

enum {
    DML__TOPK_CHUNK = DML__WARP * DML__WARP, /* elements that a warp takes at a time */
    DML__TOPK_BINS = 1 << 11,
    DML__TOPK_THREADS = 1024 /* of the kernels that are one block */
};

enum dml__topk_stage { DML__TOPK_LISTED, DML__TOPK_AGAIN, DML__TOPK_EXACTLY };

/* The k-th largest magnitude, as it is found bits by bits. */
struct dml__topk_edge {
    int32_t bits;   /* -1: all magnitudes lie above it */
    uint32_t fixed; /* mask of the bits that are found */
    uint64_t above; /* elements above it */
    uint64_t equal; /* elements that have it */
};

struct dml__gpu_topk_state {
    struct dml__gpu_codec_state code;
    float limit, edge; /* of the next step, and of the step before */
    uint64_t slots;    /* that it belongs to; 0: no step yet */
    uint32_t stage;    /* enum dml__topk_stage */
    uint32_t narrows;  /* more than go are to choose from */
    uint64_t source;   /* elements to choose from: of the list, or of e */
    struct dml__topk_edge chosen;
    uint64_t first, take; /* of equal magnitudes those that go */
    float factor;         /* of dgc's gradient, where it is clipped */
    uint32_t tickets;
    uint32_t bins[DML__TOPK_BINS]; /* 0 between kernels */
};

struct dml__gpu_topk_args {
    const float *g; /* [n] NULL in a second look */
    float *e;       /* [n] */
    float *u;       /* [n] dgc's velocity; NULL: there is none */
    float momentum;
    uint32_t clipped; /* g is to be multiplied by the state's factor */
    uint64_t n, slots, capacity, step;
    uint32_t level;   /* of edge: 0 to 2 */
    uint32_t *masks;  /* [chunks of n * DML__WARP] */
    uint32_t *chunks; /* [chunks of n] marked in each, then before each */
    uint32_t *above;  /* [chunks of n] likewise */
    uint32_t *equal;  /* [chunks of n] likewise */
    float *listed;    /* [capacity] */
    uint32_t *places; /* [capacity] */
    uint32_t *counts; /* the code: [segments of n] */
    float *values;    /* [as many as are sent], and behind them their indices */
    struct dml__gpu_topk_state *state;
};

/* dst += scale * code, on zeros or on what is there. */
struct dml__gpu_scatter_args {
    const uint32_t *counts;
    const float *values;
    float *dst; /* [n] */
    uint64_t n, nsegments;
    uint64_t most; /* elements that a code holds */
    float scale;
};

DML__LANE uint64_t dml__topk_chunks(uint64_t n)
{
    return (n + DML__TOPK_CHUNK - 1) / DML__TOPK_CHUNK;
}

/* ---- the limit ---------------------------------------------------------------------
 */

/* The noise of sample i: i + 1 steps of the generator at once, by doubling. */
DML__LANE uint32_t dml__topk_noise(uint64_t step, uint32_t i)
{
    uint32_t factor = DML__SPARSE_FACTOR, term = DML__SPARSE_TERM;
    uint32_t noise = (uint32_t)step;
    for (uint32_t left = i + 1; left > 0; left >>= 1) {
        if ((left & 1) != 0)
            noise = noise * factor + term;
        term = term * factor + term;
        factor = factor * factor;
    }
    return noise;
}

DML__LANE uint64_t dml__topk_samples(const struct dml__gpu_topk_args *a)
{
    return a->n < DML__SPARSE_SAMPLES ? a->n : DML__SPARSE_SAMPLES;
}

/* What becomes of e: nothing, in a second look; e + g; e + what momentum makes of g. */
enum dml__topk_way { DML__TOPK_LOOKS, DML__TOPK_ADDS, DML__TOPK_PUSHES };

DML__LANE enum dml__topk_way dml__topk_way_of(const struct dml__gpu_topk_args *a)
{
    return a->g == NULL   ? DML__TOPK_LOOKS
           : a->u == NULL ? DML__TOPK_ADDS
                          : DML__TOPK_PUSHES;
}

/* What an element is made of. */
struct dml__topk_terms {
    float e, g, u;
};

/* Are e and u not to be read, after a code that was unusable? */
DML__LANE bool dml__topk_clears(const struct dml__gpu_topk_args *a)
{
    return a->g != NULL && a->state->code.clear;
}

/* By what the gradient is multiplied. */
DML__LANE float dml__topk_factor(const struct dml__gpu_topk_args *a)
{
    return a->clipped ? a->state->factor : 1;
}

/* Element "at" of the vectors, 0 past the end: loads alone, so that those of several
 * elements are on their way at once. */
DML__LANE struct dml__topk_terms dml__topk_load(const struct dml__gpu_topk_args *a,
                                                enum dml__topk_way way, uint64_t at,
                                                bool clear)
{
    const bool here = at < a->n, kept = here && !clear;
    struct dml__topk_terms t;
    t.e = kept ? a->e[at] : 0;
    t.g = way != DML__TOPK_LOOKS && here ? a->g[at] : 0;
    t.u = way == DML__TOPK_PUSHES && kept ? a->u[at] : 0;
    return t;
}

/* What it becomes, and the push that does it. */
DML__LANE float dml__topk_sum(const struct dml__gpu_topk_args *a,
                              enum dml__topk_way way, struct dml__topk_terms t,
                              float factor, float *push)
{
    *push = t.g;
    if (way == DML__TOPK_LOOKS)
        return t.e;
    if (way == DML__TOPK_PUSHES)
        *push = a->momentum * t.u + factor * t.g;
    return t.e + *push;
}

DML__LANE float dml__topk_element(const struct dml__gpu_topk_args *a, uint64_t at,
                                  float *push)
{
    const enum dml__topk_way way = dml__topk_way_of(a);
    const struct dml__topk_terms t = dml__topk_load(a, way, at, dml__topk_clears(a));
    return dml__topk_sum(a, way, t, dml__topk_factor(a), push);
}

/* Sample i of e as it is, or as it will be. */
DML__LANE uint32_t dml__topk_sample(const struct dml__gpu_topk_args *a, uint32_t i)
{
    const uint64_t part = a->n / dml__topk_samples(a);
    const uint64_t at = dml__sparse_sample_at(i, part, dml__topk_noise(a->step, i));
    float push;
    return dml__f32_magnitude(dml__topk_element(a, at, &push));
}

DML__LANE uint32_t dml__topk_shift(unsigned level)
{
    return level == 0 ? 20 : level == 1 ? 10 : 0;
}

DML__LANE uint32_t dml__topk_mask(unsigned level)
{
    return level == 0 ? (1u << 11) - 1 : (1u << 10) - 1;
}

/* Does a magnitude belong into a histogram of this level, and into which bin? */
DML__LANE bool dml__topk_in(const struct dml__topk_edge *edge, uint32_t bits)
{
    return (bits & edge->fixed) == (uint32_t)edge->bits;
}

DML__LANE uint32_t dml__topk_bin(unsigned level, uint32_t bits)
{
    return bits >> dml__topk_shift(level) & dml__topk_mask(level);
}

DML__LANE void dml__topk_edge_start(struct dml__topk_edge *edge)
{
    edge->bits = 0;
    edge->fixed = 0;
    edge->above = 0;
    edge->equal = 0;
}

/* The bin of the k-th largest. sums [DML__WARP]: of equal parts of the bins, so that no
 * thread has a long way to go. */
DML__LANE void dml__topk_pick(struct dml__topk_edge *edge, unsigned level, uint64_t k,
                              const uint32_t *bins, const uint32_t *sums)
{
    const uint32_t part = DML__TOPK_BINS / DML__WARP;
    uint32_t bin = DML__TOPK_BINS - 1;
    while (bin >= part && edge->above + sums[bin / part] < k) {
        edge->above += sums[bin / part];
        bin -= part;
    }
    while (bin > 0 && edge->above + bins[bin] < k)
        edge->above += bins[bin--];
    edge->equal = bins[bin];
    edge->bits |= (int32_t)(bin << dml__topk_shift(level));
    edge->fixed |= dml__topk_mask(level) << dml__topk_shift(level);
}

/* True where begin (with g) or a failed plan (without) takes a sample. */
DML__LANE bool dml__topk_guesses(const struct dml__gpu_topk_args *a)
{
    return a->slots < a->n && a->state->slots != a->slots;
}

DML__LANE uint64_t dml__topk_guess_rank(const struct dml__gpu_topk_args *a)
{
    return dml__sparse_sample_rank(a->slots, a->n, dml__topk_samples(a));
}

/* ---- what goes ---------------------------------------------------------------------
 */

/* After the first plan, and after the second: how is the code found? */
DML__LANE void dml__topk_judge(const struct dml__gpu_topk_args *a, uint64_t total)
{
    struct dml__gpu_topk_state *s = a->state;
    if (dml__sparse_far_off(total, a->slots, a->capacity, a->n))
        s->stage = s->stage == DML__TOPK_LISTED ? DML__TOPK_AGAIN : DML__TOPK_EXACTLY;
    else
        s->stage = DML__TOPK_LISTED;
    s->source = s->stage == DML__TOPK_EXACTLY ? a->n : total;
    s->narrows = s->source > a->slots;
    dml__topk_edge_start(&s->chosen);
    if (!s->narrows) {
        s->chosen.bits = -1;
        s->chosen.above = s->source;
    }
}

DML__LANE float dml__topk_candidate(const struct dml__gpu_topk_args *a, uint64_t i)
{
    return a->state->stage == DML__TOPK_EXACTLY ? a->e[i] : a->listed[i];
}

DML__LANE uint64_t dml__topk_place(const struct dml__gpu_topk_args *a, uint64_t i)
{
    return a->state->stage == DML__TOPK_EXACTLY ? i : a->places[i];
}

/* Of the first "seen" of the equal ones those that go: they are the "take" from number
 * "first" on, round to the start. */
DML__LANE uint64_t dml__topk_going(const struct dml__gpu_topk_state *s, uint64_t seen)
{
    const uint64_t of = s->chosen.equal, end = s->first + s->take;
    const uint64_t wrapped = end > of ? end - of : 0;
    uint64_t n = seen < wrapped ? seen : wrapped;
    if (seen > s->first)
        n += (seen < end ? seen : end) - s->first;
    return n;
}

DML__LANE bool dml__topk_goes(const struct dml__gpu_topk_state *s, uint64_t seen)
{
    return dml__topk_going(s, seen + 1) > dml__topk_going(s, seen);
}

/* After scan: the next step's limit, and was the code usable? */
DML__LANE void dml__topk_end(const struct dml__gpu_topk_args *a)
{
    struct dml__gpu_topk_state *s = a->state;
    float edge;
    if (s->narrows) {
        s->take = a->slots - s->chosen.above;
        s->first = dml__sparse_first(a->step, s->take, s->chosen.equal);
        edge = dml__f32_from_bits((uint32_t)s->chosen.bits);
    } else {
        s->take = s->first = 0;
        edge = dml__sparse_lower(s->limit, s->source, a->slots);
    }
    s->limit = dml__sparse_follow(s->edge, edge);
    s->edge = edge;
    dml__gpu_codec_judge(&s->code, a->step);
    if (s->code.clear) {
        s->slots = 0;
        s->edge = 0;
    }
}

/* One element of the code, whose indices follow the values. */
DML__LANE void dml__topk_emit(const struct dml__gpu_topk_args *a, uint64_t slot,
                              uint64_t place, float value)
{
    const uint64_t sent = a->state->narrows ? a->slots : a->state->source;
    uint16_t *index = (uint16_t *)(a->values + sent);
    a->values[slot] = value;
    index[slot] = (uint16_t)(place % DML__SPARSE_SEGMENT);
    a->e[place] = 0;
    if (a->u != NULL)
        a->u[place] = 0;
}

#endif
