/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of codec_momentum.cu as the fake device runs them.
 */
#include "gpu/codec_momentum.h"

#include "gpu/codec.h"
#include "gpu/images.h"

typedef struct dml__gpu_momentum_args args_t;

enum { LANES = DML__WARP };

static args_t viewed(const void *args)
{
    args_t a = *(const args_t *)args;
    a.g = dml__gpu_view(a.g);
    a.u = dml__gpu_view(a.u);
    a.sums = dml__gpu_view(a.sums);
    a.state = dml__gpu_view(a.state);
    return a;
}

static double fold(double sums[LANES])
{
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            sums[j] += sums[j + half];
    return sums[0];
}

static void norm(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    double sums[LANES];
    (void)blocks;
    for (uint64_t block = 0; block * DML__CODEC_BLOCK < a.n; block++) {
        for (unsigned lane = 0; lane < LANES; lane++)
            sums[lane] = dml__momentum_squares(&a, block, lane);
        a.sums[block] = fold(sums);
    }
    for (unsigned lane = 0; lane < LANES; lane++)
        sums[lane] = dml__momentum_total(&a, lane);
    a.state->factor = dml__clip_factor(fold(sums), a.limit);
}

static void push(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    struct dml__gpu_codec_state *state = &a.state->code;
    (void)blocks;
    for (uint64_t i = 0; i < a.n; i++) {
        const uint32_t bits = dml__f32_magnitude(dml__momentum_push(&a, i));
        state->top = bits > state->top ? bits : state->top;
    }
    dml__gpu_codec_judge(state, a.step);
}

const struct dml_gpu_kernel dml__momentum_kernel_norm = {
    "dml__momentum_norm", DML__IMAGE(codec_momentum), 256, norm};
const struct dml_gpu_kernel dml__momentum_kernel_push = {
    "dml__momentum_push_all", DML__IMAGE(codec_momentum), 256, push};
