/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of codec_topk.cu as the fake device runs them: chunk after chunk, so that
 * what warps count by votes is counted one by one.
 */
#include "gpu/codec_topk.h"

#include "gpu/codec.h"
#include "gpu/images.h"

typedef struct dml__gpu_topk_args args_t;

static args_t viewed(const void *args)
{
    args_t a = *(const args_t *)args;
    a.g = dml__gpu_view(a.g);
    a.e = dml__gpu_view(a.e);
    a.u = dml__gpu_view(a.u);
    a.masks = dml__gpu_view(a.masks);
    a.chunks = dml__gpu_view(a.chunks);
    a.above = dml__gpu_view(a.above);
    a.equal = dml__gpu_view(a.equal);
    a.listed = dml__gpu_view(a.listed);
    a.places = dml__gpu_view(a.places);
    a.counts = dml__gpu_view(a.counts);
    a.values = dml__gpu_view(a.values);
    a.state = dml__gpu_view(a.state);
    return a;
}

static uint32_t scan(uint32_t *counts, uint64_t n)
{
    uint32_t before = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t count = counts[i];
        counts[i] = before;
        before += count;
    }
    return before;
}

static void pick(struct dml__topk_edge *edge, unsigned level, uint64_t k,
                 const uint32_t *bins)
{
    uint32_t sums[DML__WARP] = {0};
    for (unsigned i = 0; i < DML__TOPK_BINS; i++)
        sums[i / (DML__TOPK_BINS / DML__WARP)] += bins[i];
    dml__topk_pick(edge, level, k, bins, sums);
}

static void guess(const args_t *a)
{
    struct dml__topk_edge edge;
    const uint32_t n = (uint32_t)dml__topk_samples(a);
    dml__topk_edge_start(&edge);
    for (unsigned level = 0; level < 3; level++) {
        uint32_t bins[DML__TOPK_BINS] = {0};
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t bits = dml__topk_sample(a, i);
            if (dml__topk_in(&edge, bits))
                bins[dml__topk_bin(level, bits)]++;
        }
        pick(&edge, level, dml__topk_guess_rank(a), bins);
    }
    a->state->limit = dml__f32_from_bits((uint32_t)edge.bits);
}

static void begin(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    if (dml__topk_guesses(&a))
        guess(&a);
    a.state->stage = DML__TOPK_LISTED;
    a.state->slots = a.slots;
    if (a.slots == a.n)
        a.state->limit = 0;
}

/* The bits of 32 elements in a row, from "at" on. */
static uint32_t mark_word(const args_t *a, uint64_t at)
{
    uint32_t word = 0;
    for (unsigned lane = 0; lane < DML__WARP && at + lane < a->n; lane++) {
        float push;
        const float x = dml__topk_element(a, at + lane, &push);
        const uint32_t bits = dml__f32_magnitude(x);
        if (a->g != NULL)
            a->e[at + lane] = x;
        if (a->g != NULL && a->u != NULL)
            a->u[at + lane] = push;
        word |= (uint32_t)(fabsf(x) >= a->state->limit) << lane;
        if (bits > a->state->code.top)
            a->state->code.top = bits;
    }
    return word;
}

static void mark(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    if (a.g == NULL && a.state->stage != DML__TOPK_AGAIN)
        return;
    for (uint64_t chunk = 0; chunk < dml__topk_chunks(a.n); chunk++) {
        a.chunks[chunk] = 0;
        for (unsigned k = 0; k < DML__WARP; k++) {
            const uint32_t word =
                mark_word(&a, chunk * DML__TOPK_CHUNK + k * DML__WARP);
            a.masks[chunk * DML__WARP + k] = word;
            a.chunks[chunk] += (uint32_t)__builtin_popcount(word);
        }
    }
}

static void plan(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    if (a.level == 1 && a.state->stage != DML__TOPK_AGAIN)
        return;
    dml__topk_judge(&a, scan(a.chunks, dml__topk_chunks(a.n)));
    if (a.state->stage == DML__TOPK_AGAIN)
        guess(&a);
}

static void gather(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    if (a.state->stage == DML__TOPK_EXACTLY)
        return;
    for (uint64_t chunk = 0; chunk < dml__topk_chunks(a.n); chunk++) {
        uint64_t to = a.chunks[chunk];
        for (unsigned k = 0; k < DML__WARP; k++) {
            uint32_t word = a.masks[chunk * DML__WARP + k];
            for (; word != 0; word &= word - 1) {
                const uint64_t at = chunk * DML__TOPK_CHUNK + k * DML__WARP +
                                    (uint64_t)__builtin_ctz(word);
                a.listed[to] = a.e[at];
                a.places[to++] = (uint32_t)at;
            }
        }
    }
}

static void edge(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    if (!a.state->narrows)
        return;
    for (uint64_t i = 0; i < a.state->source; i++) {
        const uint32_t bits = dml__f32_magnitude(dml__topk_candidate(&a, i));
        if (dml__topk_in(&a.state->chosen, bits))
            a.state->bins[dml__topk_bin(a.level, bits)]++;
    }
    pick(&a.state->chosen, a.level, a.slots, a.state->bins);
    memset(a.state->bins, 0, sizeof a.state->bins);
}

static int32_t magnitude(const args_t *a, uint64_t i)
{
    return (int32_t)dml__f32_magnitude(dml__topk_candidate(a, i));
}

static void count(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    const uint64_t n = a.state->source;
    (void)blocks;
    memset(a.above, 0, dml__topk_chunks(n) * sizeof *a.above);
    memset(a.equal, 0, dml__topk_chunks(n) * sizeof *a.equal);
    for (uint64_t i = 0; i < n; i++) {
        a.above[i / DML__TOPK_CHUNK] += magnitude(&a, i) > a.state->chosen.bits;
        a.equal[i / DML__TOPK_CHUNK] += magnitude(&a, i) == a.state->chosen.bits;
    }
}

static void scan_both(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    const uint64_t nchunks = dml__topk_chunks(a.state->source);
    (void)blocks;
    scan(a.above, nchunks);
    scan(a.equal, nchunks);
    dml__topk_end(&a);
}

static void emit_chunk(const args_t *a, uint64_t chunk)
{
    const uint64_t begin = chunk * DML__TOPK_CHUNK;
    uint64_t seen = a->equal[chunk];
    uint64_t slot = a->above[chunk] + dml__topk_going(a->state, seen);
    for (uint64_t i = begin; i < begin + DML__TOPK_CHUNK && i < a->state->source; i++) {
        const int32_t bits = magnitude(a, i);
        const bool equal = bits == a->state->chosen.bits;
        if (bits > a->state->chosen.bits || (equal && dml__topk_goes(a->state, seen))) {
            const uint64_t place = dml__topk_place(a, i);
            dml__topk_emit(a, slot++, place, dml__topk_candidate(a, i));
            a->counts[place / DML__SPARSE_SEGMENT]++;
        }
        seen += equal;
    }
}

static void emit_all(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t chunk = 0; chunk < dml__topk_chunks(a.state->source); chunk++)
        emit_chunk(&a, chunk);
}

static void scatter(const void *args, unsigned blocks)
{
    const struct dml__gpu_scatter_args a = *(const struct dml__gpu_scatter_args *)args;
    const uint32_t *counts = dml__gpu_view(a.counts);
    const float *values = dml__gpu_view(a.values);
    float *dst = dml__gpu_view(a.dst);
    uint32_t sent = 0, before = 0;
    (void)blocks;
    for (uint64_t s = 0; s < a.nsegments; s++)
        sent += counts[s];
    sent = sent < a.most ? sent : (uint32_t)a.most;
    const uint16_t *index = (const uint16_t *)(values + sent);
    for (uint64_t s = 0; s < a.nsegments; s++) {
        const uint64_t begin = s * DML__SPARSE_SEGMENT;
        const uint64_t end = before + dml__sparse_here(counts[s], before, sent);
        for (uint64_t i = before; i < end; i++)
            if (begin + index[i] < a.n)
                dst[begin + index[i]] += values[i] * a.scale;
        before += counts[s];
    }
}

enum { ONE_BLOCK = DML__TOPK_THREADS, THREADS = 256 };

const struct dml_gpu_kernel dml__topk_kernel_begin = {
    "dml__topk_begin", DML__IMAGE(codec_topk), ONE_BLOCK, begin};
const struct dml_gpu_kernel dml__topk_kernel_mark = {
    "dml__topk_mark", DML__IMAGE(codec_topk), THREADS, mark};
const struct dml_gpu_kernel dml__topk_kernel_plan = {
    "dml__topk_plan", DML__IMAGE(codec_topk), ONE_BLOCK, plan};
const struct dml_gpu_kernel dml__topk_kernel_gather = {
    "dml__topk_gather", DML__IMAGE(codec_topk), THREADS, gather};
const struct dml_gpu_kernel dml__topk_kernel_edge = {
    "dml__topk_edge", DML__IMAGE(codec_topk), THREADS, edge};
const struct dml_gpu_kernel dml__topk_kernel_count = {
    "dml__topk_count", DML__IMAGE(codec_topk), THREADS, count};
const struct dml_gpu_kernel dml__topk_kernel_scan = {
    "dml__topk_scan", DML__IMAGE(codec_topk), ONE_BLOCK, scan_both};
const struct dml_gpu_kernel dml__topk_kernel_emit = {
    "dml__topk_emit_all", DML__IMAGE(codec_topk), THREADS, emit_all};
const struct dml_gpu_kernel dml__topk_kernel_scatter = {
    "dml__topk_scatter", DML__IMAGE(codec_topk), ONE_BLOCK, scatter};
