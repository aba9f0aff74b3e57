/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PowerSGD on a device: the sums of lib/compress/powersgd.c and codec_matrix.h in their
 * order, so that factors have the host's bits. (cuBLAS would add in an order of its
 * own.) Only the random columns that a factor begins with can differ from the host's in
 * their last bit, where the two mathematical libraries do.
 */
#ifndef DML__GPU_CODEC_POWER_H
#define DML__GPU_CODEC_POWER_H

#include "core/philox.h"
#include "gpu/codec_block.h"

#include <math.h>

struct dml__gpu_power_args {
    const float *g; /* [rows * cols] */
    float *m;       /* [rows * cols] the residual, by rows */
    float *p;       /* [rank][rows] */
    float *q;       /* [rank][cols] */
    float *dst;     /* [rows * cols] of product: may be m */
    float *kept; /* [rank][cols] of the step before, for left; of this one, by keep */
    uint64_t rows, cols, rank;
    uint64_t seed, stream, step;
    float scale;        /* of product */
    uint32_t add, take; /* take: the product is taken from m */
    struct dml__gpu_codec_state *state;
};

/* Elements of m that are asked for before one is waited for: of a row, of a column. */
enum { DML__POWER_ALONG = 8, DML__POWER_DOWN = 32 };

/* One of the sixteen partial sums of row r of m = g + m with all columns of kept. */
DML__LANE void dml__power_left_lane(const struct dml__gpu_power_args *a, uint64_t r,
                                    unsigned lane, float sums[DML__POWER_MOST],
                                    uint32_t *top)
{
    enum { STEP = DML__CODEC_LANES };
    const bool clear = a->state->clear != 0;
    const float *g = a->g + r * a->cols;
    float *m = a->m + r * a->cols;
    for (uint64_t j = lane; j < a->cols; j += DML__POWER_ALONG * STEP) {
        float x[DML__POWER_ALONG];
        DML__UNROLL
        for (unsigned i = 0; i < DML__POWER_ALONG; i++)
            x[i] = dml__gpu_sum(g, m, a->cols, j + i * STEP, clear);
        DML__UNROLL
        for (unsigned i = 0; i < DML__POWER_ALONG; i++) {
            const uint32_t bits = dml__f32_magnitude(x[i]);
            *top = bits > *top ? bits : *top;
            if (j + i * STEP < a->cols)
                m[j + i * STEP] = x[i];
        }
        DML__UNROLL
        for (unsigned k = 0; k < DML__POWER_MOST; k++) {
            const float *column = a->kept + k * a->cols;
            float y[DML__POWER_ALONG];
            if (k >= a->rank)
                break;
            DML__UNROLL
            for (unsigned i = 0; i < DML__POWER_ALONG; i++)
                y[i] = j + i * STEP < a->cols ? column[j + i * STEP] : 0;
            DML__UNROLL
            for (unsigned i = 0; i < DML__POWER_ALONG; i++)
                if (j + i * STEP < a->cols)
                    sums[k] = sums[k] + x[i] * y[i];
        }
    }
}

/* Column j of m with all columns of p, row after row. */
DML__LANE void dml__power_right_column(const struct dml__gpu_power_args *a, uint64_t j)
{
    float sum[DML__POWER_MOST] = {0};
    for (uint64_t r = 0; r < a->rows; r += DML__POWER_DOWN) {
        float x[DML__POWER_DOWN];
        DML__UNROLL
        for (unsigned i = 0; i < DML__POWER_DOWN; i++)
            x[i] = r + i < a->rows ? a->m[(r + i) * a->cols + j] : 0;
        DML__UNROLL
        for (unsigned k = 0; k < DML__POWER_MOST; k++) {
            const float *column = a->p + k * a->rows + r;
            float y[DML__POWER_DOWN];
            if (k >= a->rank)
                break;
            DML__UNROLL
            for (unsigned i = 0; i < DML__POWER_DOWN; i++)
                y[i] = r + i < a->rows ? column[i] : 0;
            DML__UNROLL
            for (unsigned i = 0; i < DML__POWER_DOWN; i++)
                if (r + i < a->rows)
                    sum[k] = sum[k] + y[i] * x[i];
        }
    }
    DML__UNROLL
    for (unsigned k = 0; k < DML__POWER_MOST; k++)
        if (k < a->rank)
            a->q[k * a->cols + j] = sum[k];
}

DML__LANE void dml__power_product_element(const struct dml__gpu_power_args *a,
                                          uint64_t at)
{
    const uint64_t r = at / a->cols, j = at % a->cols;
    float x = a->add ? a->dst[at] : 0;
    for (uint64_t k = 0; k < a->rank; k++)
        x = x + a->scale * a->p[k * a->rows + r] * a->q[k * a->cols + j];
    a->dst[at] = x;
    if (a->take)
        a->m[at] = a->m[at] - x;
}

/* ---- inner products ----------------------------------------------------------------
 */

/* One of DML__POWER_LANES partial sums. */
DML__LANE double dml__power_inner_lane(uint64_t n, const float *x, const float *y,
                                       unsigned lane)
{
    double sum = 0;
    for (uint64_t i = lane; i < n; i += DML__POWER_LANES)
        sum += (double)x[i] * y[i];
    return sum;
}

DML__LANE void dml__power_project_lane(uint64_t n, const float *before, float along,
                                       float *column, unsigned lane)
{
    for (uint64_t i = lane; i < n; i += DML__POWER_LANES)
        column[i] -= along * before[i];
}

/* By what a column is multiplied: hardly anything left is noise, and becomes 0. */
DML__LANE double dml__power_factor(double norm, double whole)
{
    return norm > 1e-5 * whole ? 1 / norm : 0;
}

DML__LANE void dml__power_scale_lane(uint64_t n, double factor, float *column,
                                     unsigned lane)
{
    for (uint64_t i = lane; i < n; i += DML__POWER_LANES)
        column[i] = (float)(column[i] * factor);
}

/* ---- columns that begin anew -------------------------------------------------------
 */

/* dml_rng_normal(): a point of Box and Muller's. */
DML__LANE double dml__power_normal(uint64_t seed, uint64_t stream, uint64_t counter)
{
    const double two_pi = 6.283185307179586476925;
    uint32_t bits[4];
    dml__philox(seed, stream, counter, bits);
    const uint64_t first = (uint64_t)bits[1] << 32 | bits[0];
    const uint64_t second = (uint64_t)bits[3] << 32 | bits[2];
    const double radius = (double)((first >> 11) + 1) * 0x1p-53;
    const double angle = (double)(second >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(radius)) * cos(two_pi * angle);
}

/* After a code: column k of kept is q's, or a new one where that is 0 (square: the sum
 * of its squares) or the code was unusable. */
DML__LANE void dml__power_keep_lane(const struct dml__gpu_power_args *a, uint64_t k,
                                    double square, unsigned lane)
{
    const bool anew = !(square > 0) || a->state->clear;
    const uint64_t stream = a->stream ^ (a->step + 1) << 32;
    for (uint64_t j = lane; j < a->cols; j += DML__POWER_LANES) {
        const uint64_t at = k * a->cols + j;
        a->kept[at] = anew ? (float)dml__power_normal(a->seed, stream, at) : a->q[at];
    }
}

#endif
