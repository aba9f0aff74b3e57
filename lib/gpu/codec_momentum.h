/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dgc does on a device beside top-k (codec_topk.h): its clip factor, and the
 * momentum of steps that send the gradient whole. Both have the host's bits.
 */
#ifndef DML__GPU_CODEC_MOMENTUM_H
#define DML__GPU_CODEC_MOMENTUM_H

#include "gpu/codec_topk.h"

struct dml__gpu_momentum_args {
    float *g; /* [n] written by push */
    float *u; /* [n] */
    uint64_t n, step;
    float momentum;
    uint32_t clipped; /* g is to be multiplied by the state's factor */
    double limit;     /* of its norm */
    double *sums;     /* [blocks] of their squares, where it is clipped */
    struct dml__gpu_topk_state *state;
};

/* A lane's partial sum of a block's squares: that of sumsq_f32 with its number. */
DML__LANE double dml__momentum_squares(const struct dml__gpu_momentum_args *a,
                                       uint64_t block, unsigned lane)
{
    const uint32_t m = dml__gpu_block_length(a->n, block);
    double sum = 0;
    for (uint32_t at = lane; at < m; at += DML__WARP) {
        const double x = a->g[block * DML__CODEC_BLOCK + at];
        sum += x * x;
    }
    return sum;
}

/* A lane's partial sum of all blocks. */
DML__LANE double dml__momentum_total(const struct dml__gpu_momentum_args *a,
                                     unsigned lane)
{
    double sum = 0;
    for (uint64_t block = lane; block * DML__CODEC_BLOCK < a->n;
         block += DML__CLIP_LANES)
        sum += DML__FRESH(double, &a->sums[block]);
    return sum;
}

/* g = u, which momentum made; returns it. */
DML__LANE float dml__momentum_push(const struct dml__gpu_momentum_args *a, uint64_t i)
{
    const float factor = a->clipped ? a->state->factor : 1;
    const float x = a->momentum * a->u[i] + factor * a->g[i];
    a->u[i] = x;
    a->g[i] = x;
    return x;
}

#endif
