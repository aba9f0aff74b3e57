/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Products of a matrix with thin ones, for PowerSGD: memory is passed over once for
 * each. Included once by codec_set.c.
 */
#ifndef DML__CODEC_MATRIX_H
#define DML__CODEC_MATRIX_H

#include "kernels/codec_sparse.h"

/* power_right takes ROWS rows at once, and as many columns as a part of q stays in the
 * second cache for. */
enum { LONG_PIECE = 8192, ROWS = 8 };

/* power_left takes PAIR rows and PAIR columns of q at once: an element of m is used as
 * soon as it is there, and one of q twice. */
enum { PAIR = 2 };

/* Sixteen columns of nrows rows, "stride" apart: m += g, unless that is NULL, and
 * sums[r][k] += row r of m * row k of q [nfactors]. */
static inline void left_lanes(size_t nrows, size_t nfactors, size_t stride,
                              const float *g, float *m, const float *q,
                              lanes sums[PAIR][PAIR], words *tops)
{
    for (size_t r = 0; r < nrows; r++) {
        lanes x = load(m + r * stride);
        if (g != NULL) {
            x = add(load(g + r * stride), x);
            store(m + r * stride, x);
            *tops = top(*tops, x);
        }
        for (size_t k = 0; k < nfactors; k++)
            sums[r][k] = add(sums[r][k], mul(x, load(q + k * stride)));
    }
}

/* The first n < LANES elements of each row to or from rows of LANES. */
static inline void copy_ends(size_t nrows, size_t n, const float *from,
                             size_t from_stride, float *to, size_t to_stride)
{
    for (size_t r = 0; r < nrows; r++)
        memcpy(to + r * to_stride, from + r * from_stride, n * sizeof *to);
}

/* Whole rows: p[k][r], "p_stride" apart, becomes the product. */
static inline void left_rows(size_t nrows, size_t nfactors, const struct dml__matrix *s,
                             const float *g, float *m, const float *q, float *p,
                             words *tops)
{
    const size_t cols = s->cols;
    lanes sums[PAIR][PAIR] = {{all(0), all(0)}, {all(0), all(0)}};
    size_t j = 0;
    for (; j + LANES <= cols; j += LANES)
        left_lanes(nrows, nfactors, cols, g != NULL ? g + j : NULL, m + j, q + j, sums,
                   tops);
    if (j < cols) {
        float last_g[PAIR * LANES] = {0}, last_m[PAIR * LANES] = {0};
        float last_q[PAIR * LANES] = {0};
        if (g != NULL)
            copy_ends(nrows, cols - j, g + j, cols, last_g, LANES);
        copy_ends(nrows, cols - j, m + j, cols, last_m, LANES);
        copy_ends(nfactors, cols - j, q + j, cols, last_q, LANES);
        left_lanes(nrows, nfactors, LANES, g != NULL ? last_g : NULL, last_m, last_q,
                   sums, tops);
        copy_ends(nrows, cols - j, last_m, LANES, m + j, cols);
    }
    for (size_t r = 0; r < nrows; r++)
        for (size_t k = 0; k < nfactors; k++)
            p[k * s->rows + r] = sum_of(sums[r][k]);
}

static uint32_t power_left(const struct dml__matrix *s, const float *g, float *m,
                           const float *q, float *p)
{
    words tops = no_words();
    for (size_t row = 0; row < s->rows; row += PAIR) {
        const size_t nrows = s->rows - row < PAIR ? s->rows - row : PAIR;
        const float *push = g + row * s->cols;
        float *to = m + row * s->cols;
        for (size_t k = 0; k < s->rank; k += PAIR) {
            const size_t nfactors = s->rank - k < PAIR ? s->rank - k : PAIR;
            const float *factor = q + k * s->cols;
            float *product = p + k * s->rows + row;
            /* Apart, so that the usual case has its sums in registers. */
            if (nrows == PAIR && nfactors == PAIR && k == 0)
                left_rows(PAIR, PAIR, s, push, to, factor, product, &tops);
            else
                left_rows(nrows, nfactors, s, k == 0 ? push : NULL, to, factor, product,
                          &tops);
        }
    }
    return top_of(tops);
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
