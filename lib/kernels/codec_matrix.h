/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Products of a matrix with thin ones, for PowerSGD: memory is passed over once for
 * each. Included once by codec_set.c.
 */
#ifndef DML__CODEC_MATRIX_H
#define DML__CODEC_MATRIX_H

#include "kernels/codec_sparse.h"

/* Columns at a time: in power_left so few that a row's stay in the first cache until
 * they have met all of q; in power_right, which takes ROWS rows at once, as many as q's
 * part stays in the second one for. */
enum { PIECE = 1024, LONG_PIECE = 8192, ROWS = 4 };

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
    memset(p, 0, s->rank * s->rows * sizeof *p);
    for (size_t row = 0; row < s->rows; row++)
        for (size_t at = 0; at < s->cols; at += PIECE) {
            size_t n = s->cols - at < PIECE ? s->cols - at : PIECE;
            float *piece = m + row * s->cols + at;
            uint32_t found = accumulate(n, g + row * s->cols + at, piece);
            largest = found > largest ? found : largest;
            for (size_t k = 0; k < s->rank; k++)
                p[k * s->rows + row] += dot(n, piece, q + k * s->cols + at);
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
    for (size_t at = 0; at < s->cols; at += LONG_PIECE) {
        size_t n = s->cols - at < LONG_PIECE ? s->cols - at : LONG_PIECE;
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

/* Rows of dst = or += the sum of factor[k][r] q_k; m -= dst. */
static inline void product_rows(const struct dml__matrix *s, size_t nrows,
                                float factor[DML__POWER_MOST][ROWS], const float *q,
                                bool to_add, float *m, float *dst)
{
    size_t j = 0;
    for (; j + LANES <= s->cols; j += LANES) {
        lanes x[ROWS];
        for (size_t r = 0; r < nrows; r++)
            x[r] = to_add ? load(dst + r * s->cols + j) : all(0);
        for (size_t k = 0; k < s->rank; k++) {
            const lanes column = load(q + k * s->cols + j);
            for (size_t r = 0; r < nrows; r++)
                x[r] = add(x[r], mul(all(factor[k][r]), column));
        }
        for (size_t r = 0; r < nrows; r++) {
            const size_t at = r * s->cols + j;
            store(dst + at, x[r]);
            if (m != NULL)
                store(m + at, sub(load(m + at), x[r]));
        }
    }
    for (; j < s->cols; j++)
        for (size_t r = 0; r < nrows; r++) {
            float x = to_add ? dst[r * s->cols + j] : 0;
            for (size_t k = 0; k < s->rank; k++)
                x += factor[k][r] * q[k * s->cols + j];
            dst[r * s->cols + j] = x;
            if (m != NULL)
                m[r * s->cols + j] -= x;
        }
}

static void power_product(const struct dml__matrix *s, const float *p, const float *q,
                          float scale, bool to_add, float *m, float *dst)
{
    for (size_t row = 0; row < s->rows; row += ROWS) {
        const size_t nrows = s->rows - row < ROWS ? s->rows - row : ROWS;
        float factor[DML__POWER_MOST][ROWS];
        float *to = dst + row * s->cols, *left = m != NULL ? m + row * s->cols : NULL;
        for (size_t k = 0; k < s->rank; k++)
            for (size_t r = 0; r < nrows; r++)
                factor[k][r] = scale * p[k * s->rows + row + r];
        if (nrows == ROWS && left == NULL)
            product_rows(s, ROWS, factor, q, to_add, NULL, to);
        else if (nrows == ROWS)
            product_rows(s, ROWS, factor, q, to_add, left, to);
        else
            product_rows(s, nrows, factor, q, to_add, left, to);
    }
}

#endif
