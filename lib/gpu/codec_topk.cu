/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of top-k and dgc on a device; codec_topk.h says what each does. A warp
 * takes a chunk of 1,024 elements, of which each lane has every 32nd.
 */
#include "gpu/codec_topk.h"
#include "gpu/warp.cuh"

typedef struct dml__gpu_topk_args args_t;

enum { BINS = DML__TOPK_BINS, THREADS = DML__TOPK_THREADS, TILE = 8 };

/* Bits below the lane's own. */
static __device__ unsigned lower_lanes(void)
{
    return (1u << lane_of_thread()) - 1;
}

static __device__ uint32_t before_in_warp(uint32_t count)
{
    uint32_t sum = count;
#pragma unroll
    for (int step = 1; step < DML__WARP; step *= 2) {
        const uint32_t other = __shfl_up_sync(EVERY_LANE, sum, step);
        if (lane_of_thread() >= (unsigned)step)
            sum += other;
    }
    return sum - count;
}

/* The sum of what the threads before this one have, of a block of THREADS. */
static __device__ uint32_t before_in_block(uint32_t count, uint32_t *total)
{
    __shared__ uint32_t warps[DML__WARP], all;
    const unsigned warp = threadIdx.x / DML__WARP, lane = lane_of_thread();
    const uint32_t before = before_in_warp(count);
    __syncthreads();
    if (lane == DML__WARP - 1)
        warps[warp] = before + count;
    __syncthreads();
    if (warp == 0) {
        const uint32_t own = warps[lane], sum = before_in_warp(own);
        warps[lane] = sum;
        if (lane == DML__WARP - 1)
            all = sum + own;
    }
    __syncthreads();
    *total = all;
    return warps[warp] + before;
}

/* counts [n] become what is before each. Every warp of THREADS threads has a stretch,
 * of which it takes 32 neighbours at a time, TILE times over before it waits. */
static __device__ uint32_t scan(uint32_t *counts, uint64_t n)
{
    const uint64_t each = (n + THREADS - 1) / THREADS * DML__WARP;
    const uint64_t first = threadIdx.x / DML__WARP * each;
    const uint64_t begin = first < n ? first : n;
    const uint64_t end = n - begin < each ? n : begin + each;
    uint32_t own = 0, total;
#pragma unroll 8
    for (uint64_t i = begin + lane_of_thread(); i < end; i += DML__WARP)
        own += counts[i];
    uint32_t before = before_in_block(own, &total);
    before = __shfl_sync(EVERY_LANE, before, 0);
    for (uint64_t at = begin + lane_of_thread(); at - lane_of_thread() < end;
         at += TILE * DML__WARP) {
        uint32_t count[TILE];
#pragma unroll
        for (unsigned i = 0; i < TILE; i++)
            count[i] = at + i * DML__WARP < end ? counts[at + i * DML__WARP] : 0;
#pragma unroll
        for (unsigned i = 0; i < TILE; i++) {
            const uint32_t ahead = before_in_warp(count[i]);
            if (at + i * DML__WARP < end)
                counts[at + i * DML__WARP] = before + ahead;
            before += __shfl_sync(EVERY_LANE, ahead + count[i], DML__WARP - 1);
        }
    }
    return total;
}

/* All threads: the k-th largest's bin of bins, which are shared and full. */
static __device__ void pick(struct dml__topk_edge *edge, unsigned level, uint64_t k,
                            const uint32_t *bins)
{
    __shared__ uint32_t sums[DML__WARP];
    const unsigned part = BINS / DML__WARP;
    __syncthreads();
    if (threadIdx.x < DML__WARP) {
        uint32_t sum = 0;
        for (unsigned i = 0; i < part; i++)
            sum += bins[threadIdx.x * part + i];
        sums[threadIdx.x] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0)
        dml__topk_pick(edge, level, k, bins, sums);
    __syncthreads();
}

static __device__ void clear_bins(uint32_t *bins)
{
    for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x)
        bins[i] = 0;
    __syncthreads();
}

/* All threads of one block: a limit from a sample, which thread 0 writes. */
static __device__ void guess(const args_t &args)
{
    __shared__ uint32_t sample[DML__SPARSE_SAMPLES], bins[BINS];
    __shared__ struct dml__topk_edge edge;
    const uint32_t n = (uint32_t)dml__topk_samples(&args);
    for (uint32_t i = threadIdx.x; i < n; i += blockDim.x)
        sample[i] = dml__topk_sample(&args, i);
    if (threadIdx.x == 0)
        dml__topk_edge_start(&edge);
    for (unsigned level = 0; level < 3; level++) {
        clear_bins(bins);
        for (uint32_t i = threadIdx.x; i < n; i += blockDim.x)
            if (dml__topk_in(&edge, sample[i]))
                atomicAdd(&bins[dml__topk_bin(level, sample[i])], 1u);
        pick(&edge, level, dml__topk_guess_rank(&args), bins);
    }
    if (threadIdx.x == 0)
        args.state->limit = dml__f32_from_bits((uint32_t)edge.bits);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    dml__topk_begin(const __grid_constant__ args_t args)
{
    const bool guesses = dml__topk_guesses(&args);
    __syncthreads();
    if (guesses)
        guess(args);
    if (threadIdx.x == 0) {
        args.state->stage = DML__TOPK_LISTED;
        args.state->slots = args.slots;
        if (args.slots == args.n)
            args.state->limit = 0;
    }
}

template <enum dml__topk_way way> static __device__ void mark(const args_t &args)
{
    const unsigned lane = lane_of_thread();
    const float limit = args.state->limit, factor = dml__topk_factor(&args);
    const bool clear = dml__topk_clears(&args);
    uint32_t top = 0;
    for (uint64_t chunk = first_warp(); chunk < dml__topk_chunks(args.n);
         chunk += all_warps()) {
        const uint64_t begin = chunk * DML__TOPK_CHUNK + lane;
        uint32_t own = 0, count = 0;
#pragma unroll 1
        for (unsigned k = 0; k < DML__WARP; k += TILE) {
            struct dml__topk_terms terms[TILE];
#pragma unroll
            for (unsigned i = 0; i < TILE; i++)
                terms[i] =
                    dml__topk_load(&args, way, begin + (k + i) * DML__WARP, clear);
#pragma unroll
            for (unsigned i = 0; i < TILE; i++) {
                const uint64_t at = begin + (k + i) * DML__WARP;
                float push;
                const float x = dml__topk_sum(&args, way, terms[i], factor, &push);
                const bool here = at < args.n, reaches = here && fabsf(x) >= limit;
                const unsigned word = __ballot_sync(EVERY_LANE, reaches);
                const uint32_t bits = dml__f32_magnitude(x);
                if (here && way != DML__TOPK_LOOKS)
                    args.e[at] = x;
                if (here && way == DML__TOPK_PUSHES)
                    args.u[at] = push;
                top = here && bits > top ? bits : top;
                count += (uint32_t)__popc(word);
                own = k + i == lane ? word : own;
            }
        }
        args.masks[chunk * DML__WARP + lane] = own;
        if (lane == 0)
            args.chunks[chunk] = count;
    }
    if (top >= DML__CODEC_TOP)
        atomicMax(&args.state->code.top, top);
}

extern "C" __global__ void __launch_bounds__(256, 3)
    dml__topk_mark(const __grid_constant__ args_t args)
{
    switch (dml__topk_way_of(&args)) {
    case DML__TOPK_ADDS:
        return mark<DML__TOPK_ADDS>(args);
    case DML__TOPK_PUSHES:
        return mark<DML__TOPK_PUSHES>(args);
    case DML__TOPK_LOOKS:
        if (args.state->stage == DML__TOPK_AGAIN)
            mark<DML__TOPK_LOOKS>(args);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    dml__topk_plan(const __grid_constant__ args_t args)
{
    __shared__ uint32_t stage;
    if (threadIdx.x == 0)
        stage = args.state->stage;
    __syncthreads();
    if (args.level == 1 && stage != DML__TOPK_AGAIN)
        return;
    const uint32_t total = scan(args.chunks, dml__topk_chunks(args.n));
    if (threadIdx.x == 0) {
        dml__topk_judge(&args, total);
        stage = args.state->stage;
    }
    __syncthreads();
    if (stage == DML__TOPK_AGAIN)
        guess(args);
}

extern "C" __global__ void __launch_bounds__(256)
    dml__topk_gather(const __grid_constant__ args_t args)
{
    if (args.state->stage == DML__TOPK_EXACTLY)
        return;
    const unsigned lane = lane_of_thread();
    for (uint64_t chunk = first_warp(); chunk < dml__topk_chunks(args.n);
         chunk += all_warps()) {
        uint32_t word = args.masks[chunk * DML__WARP + lane];
        uint64_t to = args.chunks[chunk] + before_in_warp((uint32_t)__popc(word));
        for (; word != 0; word &= word - 1) {
            const uint64_t at = chunk * DML__TOPK_CHUNK + lane * DML__WARP +
                                (uint64_t)(__ffs((int)word) - 1);
            args.listed[to] = args.e[at];
            args.places[to++] = (uint32_t)at;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    dml__topk_edge(const __grid_constant__ args_t args)
{
    __shared__ uint32_t bins[BINS];
    struct dml__gpu_topk_state *state = args.state;
    if (!state->narrows)
        return;
    const struct dml__topk_edge edge = state->chosen;
    clear_bins(bins);
    for (uint64_t i = first_thread(); i < state->source; i += all_threads()) {
        const uint32_t bits = dml__f32_magnitude(dml__topk_candidate(&args, i));
        if (dml__topk_in(&edge, bits))
            atomicAdd(&bins[dml__topk_bin(args.level, bits)], 1u);
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x)
        if (bins[i] > 0)
            atomicAdd(&state->bins[i], bins[i]);
    if (!comes_last(&state->tickets))
        return;
    for (unsigned i = threadIdx.x; i < BINS; i += blockDim.x) {
        bins[i] = DML__FRESH(uint32_t, &state->bins[i]);
        state->bins[i] = 0;
    }
    pick(&state->chosen, args.level, args.slots, bins);
}

/* What is chosen from: read once, as no store may stand between loads of it. */
struct pool {
    const float *from;
    uint64_t n;
    int32_t edge;
};

static __device__ struct pool pool_of(const args_t &args)
{
    const struct dml__gpu_topk_state &s = *args.state;
    return {s.stage == DML__TOPK_EXACTLY ? args.e : args.listed, s.source,
            s.chosen.bits};
}

/* TILE candidates of a lane, every 32nd from number i on. */
static __device__ void take(float x[TILE], const struct pool &pool, uint64_t i)
{
#pragma unroll
    for (unsigned k = 0; k < TILE; k++)
        x[k] = i + k * DML__WARP < pool.n ? pool.from[i + k * DML__WARP] : 0;
}

/* What a candidate is; both false past the end. */
static __device__ void place_of(const struct pool &pool, uint64_t i, float value,
                                bool *above, bool *equal)
{
    const int32_t bits = (int32_t)dml__f32_magnitude(value);
    *above = i < pool.n && bits > pool.edge;
    *equal = i < pool.n && bits == pool.edge;
}

extern "C" __global__ void __launch_bounds__(256)
    dml__topk_count(const __grid_constant__ args_t args)
{
    const struct pool pool = pool_of(args);
    for (uint64_t chunk = first_warp(), end = dml__topk_chunks(pool.n); chunk < end;
         chunk += all_warps()) {
        uint32_t nabove = 0, nequal = 0;
#pragma unroll 1
        for (unsigned k = 0; k < DML__WARP; k += TILE) {
            const uint64_t first =
                chunk * DML__TOPK_CHUNK + k * DML__WARP + lane_of_thread();
            float value[TILE];
            take(value, pool, first);
#pragma unroll
            for (unsigned j = 0; j < TILE; j++) {
                bool above, equal;
                place_of(pool, first + j * DML__WARP, value[j], &above, &equal);
                nabove += (uint32_t)__popc(__ballot_sync(EVERY_LANE, above));
                nequal += (uint32_t)__popc(__ballot_sync(EVERY_LANE, equal));
            }
        }
        if (lane_of_thread() == 0) {
            args.above[chunk] = nabove;
            args.equal[chunk] = nequal;
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    dml__topk_scan(const __grid_constant__ args_t args)
{
    const uint64_t nchunks = dml__topk_chunks(args.state->source);
    scan(args.above, nchunks);
    __syncthreads();
    scan(args.equal, nchunks);
    __syncthreads();
    if (threadIdx.x == 0)
        dml__topk_end(&args);
}

extern "C" __global__ void __launch_bounds__(256, 3)
    dml__topk_emit_all(const __grid_constant__ args_t args)
{
    const struct dml__gpu_topk_state *state = args.state;
    const struct pool pool = pool_of(args);
    for (uint64_t chunk = first_warp(); chunk < dml__topk_chunks(pool.n);
         chunk += all_warps()) {
        uint64_t seen = args.equal[chunk];
        uint64_t slot = args.above[chunk] + dml__topk_going(state, seen);
#pragma unroll 1
        for (unsigned k = 0; k < DML__WARP; k += TILE) {
            const uint64_t first =
                chunk * DML__TOPK_CHUNK + k * DML__WARP + lane_of_thread();
            float value[TILE];
            uint64_t place[TILE];
            take(value, pool, first);
#pragma unroll
            for (unsigned j = 0; j < TILE; j++) {
                const uint64_t i = first + j * DML__WARP;
                place[j] = i < pool.n && pool.from != args.e ? args.places[i] : i;
            }
#pragma unroll
            for (unsigned j = 0; j < TILE; j++) {
                bool above, equal;
                place_of(pool, first + j * DML__WARP, value[j], &above, &equal);
                const unsigned equals = __ballot_sync(EVERY_LANE, equal);
                const uint64_t own = seen + (unsigned)__popc(equals & lower_lanes());
                const bool goes = above || (equal && dml__topk_goes(state, own));
                const unsigned going = __ballot_sync(EVERY_LANE, goes);
                if (goes) {
                    dml__topk_emit(&args,
                                   slot + (unsigned)__popc(going & lower_lanes()),
                                   place[j], value[j]);
                    atomicAdd(&args.counts[place[j] / DML__SPARSE_SEGMENT], 1u);
                }
                seen += (unsigned)__popc(equals);
                slot += (unsigned)__popc(going);
            }
        }
    }
}

/* A thread block takes a segment, and first looks where in the lists it begins, and
 * where the indices do. */
extern "C" __global__ void __launch_bounds__(THREADS)
    dml__topk_scatter(const __grid_constant__ struct dml__gpu_scatter_args args)
{
    for (uint64_t s = blockIdx.x; s < args.nsegments; s += gridDim.x) {
        uint32_t own = 0, all = 0, before, sent;
        for (uint64_t i = threadIdx.x; i < args.nsegments; i += blockDim.x) {
            own += i < s ? args.counts[i] : 0;
            all += args.counts[i];
        }
        before_in_block(own, &before);
        before_in_block(all, &sent);
        sent = sent < args.most ? sent : (uint32_t)args.most;
        const uint16_t *index = (const uint16_t *)(args.values + sent);
        const uint64_t begin = s * DML__SPARSE_SEGMENT;
        const uint64_t end = before + dml__sparse_here(args.counts[s], before, sent);
        for (uint64_t i = before + threadIdx.x; i < end; i += blockDim.x)
            if (begin + index[i] < args.n)
                args.dst[begin + index[i]] += args.values[i] * args.scale;
    }
}
