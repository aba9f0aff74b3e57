/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Products of a matrix with thin ones, for PowerSGD: memory is passed over once for
 * each, in pieces of a row that stay in the first-level cache while every column of
 * the thin matrix meets them. Included once by codec_set.c.
 */
#ifndef DML__CODEC_MATRIX_H
#define DML__CODEC_MATRIX_H

#include "kernels/codec_sparse.h"

enum { PIECE = 1024 };

/* Sum of a[j] * b[j] for j < n: whole groups of lanes, then the rest. */
static inline float dot(size_t n, const float *a, const float *b)
{
    float sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        INDEPENDENT
        for (int j = 0; j < LANES; j++)
            sums[j] += a[i + j] * b[i + j];
    }
    for (int j = 0; i < n; i++, j++)
        sums[j] += a[i] * b[i];
    return sum_lanes(sums);
}

static uint32_t power_left(const struct dml__matrix *s, const float *g, float *m,
                           const float *q, float *p)
{
    uint32_t top = 0;
    for (size_t row = 0; row < s->rows; row++) {
        for (size_t k = 0; k < s->rank; k++)
            p[k * s->rows + row] = 0;
        for (size_t at = 0; at < s->cols; at += PIECE) {
            size_t n = s->cols - at < PIECE ? s->cols - at : PIECE;
            float *piece = m + row * s->cols + at;
            uint32_t found = accumulate(n, g + row * s->cols + at, piece);
            top = found > top ? found : top;
            for (size_t k = 0; k < s->rank; k++)
                p[k * s->rows + row] += dot(n, piece, q + k * s->cols + at);
        }
    }
    return top;
}

static void power_right(const struct dml__matrix *s, const float *m, const float *p,
                        float *q)
{
    memset(q, 0, s->rank * s->cols * sizeof *q);
    for (size_t at = 0; at < s->cols; at += PIECE) {
        size_t n = s->cols - at < PIECE ? s->cols - at : PIECE;
        for (size_t row = 0; row < s->rows; row++) {
            const float *piece = m + row * s->cols + at;
            for (size_t k = 0; k < s->rank; k++) {
                const float factor = p[k * s->rows + row];
                float *to = q + k * s->cols + at;
                INDEPENDENT
                for (size_t j = 0; j < n; j++)
                    to[j] += factor * piece[j];
            }
        }
    }
}

/* to = or += factor * from. */
static inline void scaled(size_t n, float factor, const float *from, bool add,
                          float *to)
{
    if (add) {
        INDEPENDENT
        for (size_t j = 0; j < n; j++)
            to[j] += factor * from[j];
    } else {
        INDEPENDENT
        for (size_t j = 0; j < n; j++)
            to[j] = factor * from[j];
    }
}

static void power_product(const struct dml__matrix *s, const float *p, const float *q,
                          float scale, bool add, float *m, float *dst)
{
    for (size_t row = 0; row < s->rows; row++)
        for (size_t at = 0; at < s->cols; at += PIECE) {
            size_t n = s->cols - at < PIECE ? s->cols - at : PIECE;
            float *to = dst + row * s->cols + at;
            for (size_t k = 0; k < s->rank; k++)
                scaled(n, scale * p[k * s->rows + row], q + k * s->cols + at,
                       add || k > 0, to);
            if (m == NULL)
                continue;
            float *left = m + row * s->cols + at;
            INDEPENDENT
            for (size_t j = 0; j < n; j++)
                left[j] -= to[j];
        }
}

#endif
