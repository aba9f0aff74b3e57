/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loops on f32 vectors that are no reductions: axpy, scale and sum of squares. Included
 * once by set.c.
 */
#ifndef DML__F32_LOOPS_H
#define DML__F32_LOOPS_H

static void axpy_f32(size_t n, float a, const float *x, float *y)
{
    INDEPENDENT
    for (size_t i = 0; i < n; i++)
        put_F32(y, i, get_F32(y, i) + a * get_F32(x, i));
}

static void scale_f32(size_t n, float a, float *x)
{
    INDEPENDENT
    for (size_t i = 0; i < n; i++)
        put_F32(x, i, a * get_F32(x, i));
}

/*
 * Squares are summed in one order in all sets: element i is added to partial sum i mod
 * LANES, and the partial sums are added pairwise, the upper half to the lower. The
 * square of an f32 is exact in f64, so a fused multiply-add would change nothing.
 */
enum { LANES = 32 };

/* n <= LANES. */
static inline void add_squares(double sum[LANES], const float *x, size_t n)
{
    INDEPENDENT
    for (size_t j = 0; j < n; j++) {
        double value = get_F32(x, j);
        sum[j] += value * value;
    }
}

static inline double fold_lanes(double sum[LANES])
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            sum[j] += sum[j + half];
    return sum[0];
}

static double sumsq_f32(size_t n, const float *x)
{
    double sum[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        add_squares(sum, x + i, LANES);
    add_squares(sum, x + i, n - i);
    return fold_lanes(sum);
}

#endif
