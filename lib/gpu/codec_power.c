/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of codec_power.cu as the fake device runs them.
 */
#include "gpu/codec_power.h"

#include "gpu/codec.h"
#include "gpu/images.h"

typedef struct dml__gpu_power_args args_t;

enum { HALF = DML__CODEC_LANES, LANES = DML__POWER_LANES };

static args_t viewed(const void *args)
{
    args_t a = *(const args_t *)args;
    a.g = dml__gpu_view(a.g);
    a.m = dml__gpu_view(a.m);
    a.p = dml__gpu_view(a.p);
    a.q = dml__gpu_view(a.q);
    a.dst = dml__gpu_view(a.dst);
    a.kept = dml__gpu_view(a.kept);
    a.state = dml__gpu_view(a.state);
    return a;
}

static void left(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    uint32_t top = 0;
    (void)blocks;
    for (uint64_t r = 0; r < a.rows; r++) {
        float sums[HALF][DML__POWER_MOST] = {{0}};
        for (unsigned lane = 0; lane < HALF; lane++)
            dml__power_left_lane(&a, r, lane, sums[lane], &top);
        for (uint64_t k = 0; k < a.rank; k++) {
            for (unsigned half = HALF / 2; half > 0; half /= 2)
                for (unsigned j = 0; j < half; j++)
                    sums[j][k] += sums[j + half][k];
            a.p[k * a.rows + r] = sums[0][k];
        }
    }
    a.state->top = top;
    dml__gpu_codec_judge(a.state, a.step);
}

static double inner(uint64_t n, const float *x, const float *y)
{
    double sums[LANES];
    for (unsigned lane = 0; lane < LANES; lane++)
        sums[lane] = dml__power_inner_lane(n, x, y, lane);
    for (unsigned half = LANES / 2; half > 0; half /= 2)
        for (unsigned j = 0; j < half; j++)
            sums[j] += sums[j + half];
    return sums[0];
}

/* Column k without its parts along those before it, and of length 1; which it is. */
static double clean(const args_t *a, uint64_t k, double whole)
{
    const uint64_t n = a->rows;
    float *column = a->p + k * n;
    for (uint64_t b = 0; b < k; b++) {
        const float along = (float)inner(n, column, a->p + b * n);
        for (unsigned lane = 0; lane < LANES; lane++)
            dml__power_project_lane(n, a->p + b * n, along, column, lane);
    }
    const double factor = dml__power_factor(sqrt(inner(n, column, column)), whole);
    for (unsigned lane = 0; lane < LANES; lane++)
        dml__power_scale_lane(n, factor, column, lane);
    return 1;
}

static void orthonormal(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t k = 0; k < a.rank; k++) {
        const float *column = a.p + k * a.rows;
        clean(&a, k, clean(&a, k, sqrt(inner(a.rows, column, column))));
    }
}

static void right(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t j = 0; j < a.cols; j++)
        dml__power_right_column(&a, j);
}

static void product(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t at = 0; at < a.rows * a.cols; at++)
        dml__power_product_element(&a, at);
}

static void keep(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t k = 0; k < a.rank; k++) {
        const float *q = a.q + k * a.cols;
        const double square = inner(a.cols, q, q);
        for (unsigned lane = 0; lane < LANES; lane++)
            dml__power_keep_lane(&a, k, square, lane);
    }
}

enum { THREADS = 256 };

const struct dml_gpu_kernel dml__power_kernel_left = {
    "dml__power_left", DML__IMAGE(codec_power), THREADS, left};
const struct dml_gpu_kernel dml__power_kernel_orthonormal = {
    "dml__power_orthonormal", DML__IMAGE(codec_power), LANES, orthonormal};
const struct dml_gpu_kernel dml__power_kernel_right = {
    "dml__power_right", DML__IMAGE(codec_power), THREADS, right};
const struct dml_gpu_kernel dml__power_kernel_product = {
    "dml__power_product", DML__IMAGE(codec_power), THREADS, product};
const struct dml_gpu_kernel dml__power_kernel_keep = {
    "dml__power_keep", DML__IMAGE(codec_power), LANES, keep};
