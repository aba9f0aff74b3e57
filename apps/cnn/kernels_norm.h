/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Items of the kernels of batch normalisation (layer_norm.c says what it is) in the
 * forward pass: sums over the rows of a matrix [rows][channels] in parts, whose order
 * is that of the rows, whatever the device; and the output.
 *
 * Mean and squares (sums of (x - mean)^2) come from one pass over x: an item adds up
 * d = x - s and d^2 for one s near its mean, and has
 *
 *   mean = s + sum d / n,   squares = sum d^2 - (sum d)^2 / n
 *
 * (Chan, Golub and LeVeque 1983: the algorithm with shifted data; with the parts' means
 * and squares for numbers it merges parts as their pairwise one does). s is the part's
 * first row: it is off the part's mean by at most sqrt(n - 1) standard deviations of
 * the part, so that the difference loses a factor of n at the very worst, however far
 * the mean is from 0. Welford's form needs a division a row for that. Parts are merged
 * in f64.
 */
#ifndef CNN_KERNELS_NORM_H
#define CNN_KERNELS_NORM_H

#include "kernels_items.h"

/* Four numbers of a row, or of all rows' values by channel. */
ITEM struct cnn_four cnn_of_row(const struct cnn_norm_args *a, const void *p,
                                size_t row, struct cnn_group g)
{
    return cnn_get4(p, row * (size_t)a->channels + g.first, g.count, g.whole, g.half);
}

ITEM struct cnn_four cnn_of_channels(const float *p, struct cnn_group g)
{
    return cnn_get4(VIEW(const float *, p), g.first, g.count, g.whole, 0);
}

ITEM size_t cnn_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

ITEM size_t cnn_part_end(const struct cnn_norm_args *a, size_t part)
{
    return cnn_least((part + 1) * a->part_rows, a->rows);
}

ITEM void cnn_put_part(const struct cnn_norm_args *a, struct cnn_group g,
                       struct cnn_four first, struct cnn_four second)
{
    float *part = VIEW(float *, a->parts) + 2 * (g.row * (size_t)a->channels + g.first);
    for (int k = 0; k < CNN_VECTOR; k++)
        if (k < g.count) {
            part[2 * k] = first.v[k];
            part[2 * k + 1] = second.v[k];
        }
}

/* ---- mean and variance ---------------------------------------------------------- */

ITEM void cnn_do_stat_parts(const struct cnn_norm_args *a, struct cnn_group g)
{
    const void *x = VIEW(const void *, a->x);
    size_t row = g.row * a->part_rows, last = cnn_part_end(a, g.row);
    float rows = (float)(last - row);
    struct cnn_four mean, squares = {{0}}, sum = {{0}};
    struct cnn_four shift = cnn_of_row(a, x, row, g);
    CNN_UNROLL
    for (; row < last; row++) {
        struct cnn_four now = cnn_of_row(a, x, row, g);
        for (int k = 0; k < CNN_VECTOR; k++) {
            float d = now.v[k] - shift.v[k];
            sum.v[k] += d;
            squares.v[k] += d * d;
        }
    }
    for (int k = 0; k < CNN_VECTOR; k++) {
        float lost = squares.v[k] - sum.v[k] * (sum.v[k] / rows);
        mean.v[k] = shift.v[k] + sum.v[k] / rows;
        squares.v[k] = lost < 0 ? 0 : lost;
    }
    cnn_put_part(a, g, mean, squares);
}

ITEM void cnn_item_stat_parts(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_stat_parts, a, i);
}

struct cnn_stat {
    double mean, squares;
};

/* Of parts [part, last) as one. */
ITEM struct cnn_stat cnn_merge(const struct cnn_norm_args *a, size_t part, size_t last,
                               size_t channel)
{
    const float *parts = VIEW(const float *, a->parts) + 2 * channel;
    size_t step = 2 * (size_t)a->channels;
    double shift = (double)parts[part * step], sum = 0, squares = 0, lost;
    double rows = (double)(cnn_part_end(a, last - 1) - part * a->part_rows);
    struct cnn_stat stat;
    CNN_UNROLL
    for (; part < last; part++) {
        double n = (double)(cnn_part_end(a, part) - part * a->part_rows);
        double d = (double)parts[part * step] - shift;
        sum += n * d;
        squares += (double)parts[part * step + 1] + n * d * d;
    }
    lost = squares - sum * sum / rows;
    stat.mean = shift + sum / rows;
    stat.squares = lost < 0 ? 0 : lost;
    return stat;
}

ITEM void cnn_item_stat_fold(const struct cnn_norm_args *a, size_t i)
{
    size_t part = i, channel = cnn_split(&part, a->channels), first = part * CNN_FOLD;
    struct cnn_stat stat =
        cnn_merge(a, first, cnn_least(first + CNN_FOLD, a->nparts), channel);
    VIEW(float *, a->folded)[2 * i] = (float)stat.mean;
    VIEW(float *, a->folded)[2 * i + 1] = (float)stat.squares;
}

ITEM void cnn_item_stat(const struct cnn_norm_args *a, size_t i)
{
    float *running_mean = VIEW(float *, a->running_mean) + i;
    float *running_variance = VIEW(float *, a->running_variance) + i;
    struct cnn_stat stat = cnn_merge(a, 0, a->nparts, i);
    float count = (float)a->rows, unbias = count > 1 ? count / (count - 1) : 1;
    float mean = (float)stat.mean;
    float variance = (float)(stat.squares / (double)a->rows);
    VIEW(float *, a->mean)[i] = mean;
    VIEW(float *, a->inverse)[i] = 1 / sqrtf(variance + CNN_EPSILON);
    *running_mean += CNN_MOMENTUM * (mean - *running_mean);
    *running_variance += CNN_MOMENTUM * (variance * unbias - *running_variance);
}

/* ---- the output ----------------------------------------------------------------- */

/* What an item has of its channels. */
struct cnn_scales {
    struct cnn_four mean, inverse, gamma, beta;
};

ITEM struct cnn_scales cnn_scales_of(const struct cnn_norm_args *a, struct cnn_group g)
{
    struct cnn_scales s;
    s.mean = cnn_of_channels(a->mean, g);
    s.inverse = cnn_of_channels(a->inverse, g);
    s.gamma = cnn_of_channels(a->gamma, g);
    s.beta = cnn_of_channels(a->beta, g);
    return s;
}

/* The output for x; joined: as if it had been stored, with another term added. */
ITEM struct cnn_four cnn_output(const struct cnn_norm_args *a,
                                const struct cnn_scales *s, struct cnn_four x,
                                struct cnn_four side, int joined, int half)
{
    for (int k = 0; k < CNN_VECTOR; k++) {
        float normal = (x.v[k] - s->mean.v[k]) * s->inverse.v[k];
        float y = s->gamma.v[k] * normal + s->beta.v[k];
        if (joined && half)
            y = cnn_of_bits((uint32_t)cnn_round(y) << 16);
        if (joined)
            y += side.v[k];
        x.v[k] = a->relu && y < 0 ? 0 : y;
    }
    return x;
}

ITEM struct cnn_four cnn_side(const struct cnn_norm_args *a, size_t row,
                              struct cnn_group g, int joined)
{
    struct cnn_four none = {{0}};
    return joined ? cnn_of_row(a, VIEW(const void *, a->side), row, g) : none;
}

ITEM void cnn_put_row(const struct cnn_norm_args *a, void *to, size_t row,
                      struct cnn_four r, struct cnn_group g)
{
    cnn_put4(to, row * (size_t)a->channels + g.first, r, g.count, g.whole, g.half);
}

/* CNN_ROWS rows: all are read before one is written, since for all that the compiler
 * knows they might be the same. */
ITEM void cnn_write_norm(const struct cnn_norm_args *a, const struct cnn_scales *s,
                         struct cnn_group g, int joined)
{
    const void *x = VIEW(const void *, a->x);
    void *y = VIEW(void *, a->y);
    size_t row = g.row * CNN_ROWS;
    if (row + CNN_ROWS <= a->rows) {
        struct cnn_four now[CNN_ROWS], side[CNN_ROWS];
        for (int r = 0; r < CNN_ROWS; r++) {
            now[r] = cnn_of_row(a, x, row + (size_t)r, g);
            side[r] = cnn_side(a, row + (size_t)r, g, joined);
        }
        for (int r = 0; r < CNN_ROWS; r++)
            cnn_put_row(a, y, row + (size_t)r,
                        cnn_output(a, s, now[r], side[r], joined, g.half), g);
        return;
    }
    for (; row < a->rows; row++)
        cnn_put_row(a, y, row,
                    cnn_output(a, s, cnn_of_row(a, x, row, g),
                               cnn_side(a, row, g, joined), joined, g.half),
                    g);
}

ITEM void cnn_do_norm(const struct cnn_norm_args *a, struct cnn_group g)
{
    struct cnn_scales s = cnn_scales_of(a, g);
    cnn_write_norm(a, &s, g, 0);
}

ITEM void cnn_do_norm_add(const struct cnn_norm_args *a, struct cnn_group g)
{
    struct cnn_scales s = cnn_scales_of(a, g);
    cnn_write_norm(a, &s, g, 1);
}

ITEM void cnn_item_norm(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_norm, a, i);
}

ITEM void cnn_item_norm_add(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_norm_add, a, i);
}

ITEM struct cnn_scales cnn_test_scales(const struct cnn_norm_args *a,
                                       struct cnn_group g)
{
    struct cnn_group any = g; /* where states lie nothing is a multiple of four */
    struct cnn_scales s;
    any.whole = 0;
    s.mean = cnn_of_channels(a->running_mean, any);
    s.inverse = cnn_of_channels(a->running_variance, any);
    s.gamma = cnn_of_channels(a->gamma, g);
    s.beta = cnn_of_channels(a->beta, g);
    for (int k = 0; k < CNN_VECTOR; k++)
        s.inverse.v[k] = 1 / sqrtf(s.inverse.v[k] + CNN_EPSILON);
    return s;
}

ITEM void cnn_do_norm_test(const struct cnn_norm_args *a, struct cnn_group g)
{
    struct cnn_scales s = cnn_test_scales(a, g);
    cnn_write_norm(a, &s, g, 0);
}

ITEM void cnn_do_norm_add_test(const struct cnn_norm_args *a, struct cnn_group g)
{
    struct cnn_scales s = cnn_test_scales(a, g);
    cnn_write_norm(a, &s, g, 1);
}

ITEM void cnn_item_norm_test(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_norm_test, a, i);
}

ITEM void cnn_item_norm_add_test(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_norm_add_test, a, i);
}

#endif
