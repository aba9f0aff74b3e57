/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Products of a matrix with thin ones, for PowerSGD: memory is passed over once for
 * each, in pieces of a row that stay in the first-level cache while every column of
 * the thin matrix meets them. Included once by codec_set.c.
 */
#ifndef DML__CODEC_MATRIX_H
#define DML__CODEC_MATRIX_H

#include "kernels/codec_sparse.h"

enum { PIECE = 1024, ROWS = 4 };

/* Sum of a[j] * b[j] for j < n: four groups of lanes at a time, which do not wait for
 * each other, then single ones, then the rest. */
static inline float dot(size_t n, const float *a, const float *b)
{
    lanes sums[4] = {all(0), all(0), all(0), all(0)};
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (size_t k = 0; k < 4; k++)
            sums[k] =
                add(sums[k], mul(load(a + i + k * LANES), load(b + i + k * LANES)));
    for (; i + LANES <= n; i += LANES)
        sums[0] = add(sums[0], mul(load(a + i), load(b + i)));
    float sum = sum_of(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static uint32_t power_left(const struct dml__matrix *s, const float *g, float *m,
                           const float *q, float *p)
{
    uint32_t largest = 0;
    for (size_t row = 0; row < s->rows; row++) {
        for (size_t k = 0; k < s->rank; k++)
            p[k * s->rows + row] = 0;
        for (size_t at = 0; at < s->cols; at += PIECE) {
            size_t n = s->cols - at < PIECE ? s->cols - at : PIECE;
            float *piece = m + row * s->cols + at;
            uint32_t found = accumulate(n, g + row * s->cols + at, piece);
            largest = found > largest ? found : largest;
            for (size_t k = 0; k < s->rank; k++)
                p[k * s->rows + row] += dot(n, piece, q + k * s->cols + at);
        }
    }
    return largest;
}

/* q [n] += the sum of factor[r] times row r of m, for nrows rows that lie "stride"
 * apart, one row after the other. */
static inline void add_rows(size_t n, size_t nrows, const float *m, size_t stride,
                            const float *factor, float *q)
{
    size_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        lanes x = load(q + j);
        for (size_t r = 0; r < nrows; r++)
            x = add(x, mul(all(factor[r]), load(m + r * stride + j)));
        store(q + j, x);
    }
    for (; j < n; j++)
        for (size_t r = 0; r < nrows; r++)
            q[j] += factor[r] * m[r * stride + j];
}

static void power_right(const struct dml__matrix *s, const float *m, const float *p,
                        float *q)
{
    memset(q, 0, s->rank * s->cols * sizeof *q);
    for (size_t at = 0; at < s->cols; at += PIECE) {
        size_t n = s->cols - at < PIECE ? s->cols - at : PIECE;
        for (size_t row = 0; row < s->rows; row += ROWS) {
            size_t nrows = s->rows - row < ROWS ? s->rows - row : ROWS;
            const float *piece = m + row * s->cols + at;
            for (size_t k = 0; k < s->rank; k++) {
                const float *factor = p + k * s->rows + row;
                float *to = q + k * s->cols + at;
                if (nrows == ROWS)
                    add_rows(n, ROWS, piece, s->cols, factor, to);
                else
                    add_rows(n, nrows, piece, s->cols, factor, to);
            }
        }
    }
}

/* One row: dst [cols] = or += the sum of factor[k] q_k; m -= dst. */
static inline void product_row(const struct dml__matrix *s, const float *factor,
                               const float *q, bool to_add, float *m, float *dst)
{
    size_t j = 0;
    for (; j + LANES <= s->cols; j += LANES) {
        lanes x = to_add ? load(dst + j) : all(0);
        for (size_t k = 0; k < s->rank; k++)
            x = add(x, mul(all(factor[k]), load(q + k * s->cols + j)));
        store(dst + j, x);
        if (m != NULL)
            store(m + j, sub(load(m + j), x));
    }
    for (; j < s->cols; j++) {
        float x = to_add ? dst[j] : 0;
        for (size_t k = 0; k < s->rank; k++)
            x += factor[k] * q[k * s->cols + j];
        dst[j] = x;
        if (m != NULL)
            m[j] -= x;
    }
}

static void power_product(const struct dml__matrix *s, const float *p, const float *q,
                          float scale, bool to_add, float *m, float *dst)
{
    for (size_t row = 0; row < s->rows; row++) {
        float factor[DML__POWER_MOST];
        for (size_t k = 0; k < s->rank; k++)
            factor[k] = scale * p[k * s->rows + row];
        product_row(s, factor, q, to_add, m != NULL ? m + row * s->cols : NULL,
                    dst + row * s->cols);
    }
}

#endif
