/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Items of the kernels of batch normalisation in the backward pass, and of the
 * gradients of biases: sums over rows as in kernels_norm.h.
 */
#ifndef CNN_KERNELS_NORM_BACK_H
#define CNN_KERNELS_NORM_BACK_H

#include "kernels_norm.h"

enum { CNN_MASKED = 2 }; /* rows at a time: 4 would take twice the registers */

/* x becomes normal, and y the gradient by the affine output: 0 where the ReLU was. That
 * is computed anew, so that layers behind may work in place. */
ITEM void cnn_gradient(const struct cnn_norm_args *a, const struct cnn_scales *s,
                       struct cnn_four *x, struct cnn_four *y)
{
    for (int k = 0; k < CNN_VECTOR; k++) {
        x->v[k] = (x->v[k] - s->mean.v[k]) * s->inverse.v[k];
        if (a->relu && !(s->gamma.v[k] * x->v[k] + s->beta.v[k] > 0))
            y->v[k] = 0;
    }
}

ITEM void cnn_do_norm_parts(const struct cnn_norm_args *a, struct cnn_group g)
{
    const void *x = VIEW(const void *, a->x), *y = VIEW(const void *, a->y);
    size_t row = g.row * a->part_rows, last = cnn_part_end(a, g.row);
    struct cnn_four sum = {{0}}, product = {{0}};
    struct cnn_scales s = cnn_scales_of(a, g);
    CNN_UNROLL
    for (; row < last; row++) {
        struct cnn_four normal = cnn_of_row(a, x, row, g);
        struct cnn_four grad = cnn_of_row(a, y, row, g);
        cnn_gradient(a, &s, &normal, &grad);
        for (int k = 0; k < CNN_VECTOR; k++) {
            sum.v[k] += grad.v[k];
            product.v[k] += grad.v[k] * normal.v[k];
        }
    }
    cnn_put_part(a, g, sum, product);
}

ITEM void cnn_item_norm_parts(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_norm_parts, a, i);
}

/* Some rows of a part, of which all are read before one is written: the gradient
 * becomes 0 where the sum's ReLU was, for both terms; this one has no other. */
ITEM void cnn_add_masked(const struct cnn_norm_args *a, struct cnn_four mean,
                         struct cnn_four inverse, struct cnn_group g, size_t row,
                         int rows, struct cnn_four *sum, struct cnn_four *product)
{
    const void *x = VIEW(const void *, a->x), *side = VIEW(const void *, a->side);
    void *y = VIEW(void *, a->y);
    struct cnn_four now[CNN_MASKED], grad[CNN_MASKED], kept[CNN_MASKED];
    for (int r = 0; r < rows; r++) {
        now[r] = cnn_of_row(a, x, row + (size_t)r, g);
        grad[r] = cnn_of_row(a, y, row + (size_t)r, g);
        kept[r] = cnn_of_row(a, side, row + (size_t)r, g);
    }
    for (int r = 0; r < rows; r++) {
        for (int k = 0; k < CNN_VECTOR; k++) {
            float normal = (now[r].v[k] - mean.v[k]) * inverse.v[k];
            grad[r].v[k] = kept[r].v[k] > 0 ? grad[r].v[k] : 0;
            sum->v[k] += grad[r].v[k];
            product->v[k] += grad[r].v[k] * normal;
        }
        cnn_put_row(a, y, row + (size_t)r, grad[r], g);
    }
}

ITEM void cnn_do_norm_add_parts(const struct cnn_norm_args *a, struct cnn_group g)
{
    size_t row = g.row * a->part_rows, last = cnn_part_end(a, g.row);
    struct cnn_four sum = {{0}}, product = {{0}};
    struct cnn_four mean = cnn_of_channels(a->mean, g);
    struct cnn_four inverse = cnn_of_channels(a->inverse, g);
    for (; row + CNN_MASKED <= last; row += CNN_MASKED)
        cnn_add_masked(a, mean, inverse, g, row, CNN_MASKED, &sum, &product);
    for (; row < last; row++)
        cnn_add_masked(a, mean, inverse, g, row, 1, &sum, &product);
    cnn_put_part(a, g, sum, product);
}

ITEM void cnn_item_norm_add_parts(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_norm_add_parts, a, i);
}

ITEM void cnn_do_bias_parts(const struct cnn_norm_args *a, struct cnn_group g)
{
    const void *y = VIEW(const void *, a->y);
    size_t row = g.row * a->part_rows, last = cnn_part_end(a, g.row);
    struct cnn_four sum = {{0}}, none = {{0}};
    CNN_UNROLL
    for (; row < last; row++) {
        struct cnn_four grad = cnn_of_row(a, y, row, g);
        for (int k = 0; k < CNN_VECTOR; k++)
            sum.v[k] += grad.v[k];
    }
    cnn_put_part(a, g, sum, none);
}

ITEM void cnn_item_bias_parts(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_bias_parts, a, i);
}

struct cnn_sums {
    double first, second;
};

ITEM struct cnn_sums cnn_total(const struct cnn_norm_args *a, size_t part, size_t last,
                               size_t channel)
{
    const float *parts = VIEW(const float *, a->parts) + 2 * channel;
    size_t step = 2 * (size_t)a->channels;
    struct cnn_sums s = {0, 0};
    CNN_UNROLL
    for (; part < last; part++) {
        s.first += (double)parts[part * step];
        s.second += (double)parts[part * step + 1];
    }
    return s;
}

ITEM void cnn_item_sum_fold(const struct cnn_norm_args *a, size_t i)
{
    size_t part = i, channel = cnn_split(&part, a->channels), first = part * CNN_FOLD;
    struct cnn_sums s =
        cnn_total(a, first, cnn_least(first + CNN_FOLD, a->nparts), channel);
    VIEW(float *, a->folded)[2 * i] = (float)s.first;
    VIEW(float *, a->folded)[2 * i + 1] = (float)s.second;
}

ITEM void cnn_item_norm_sums(const struct cnn_norm_args *a, size_t i)
{
    float *sums = VIEW(float *, a->sums);
    struct cnn_sums s = cnn_total(a, 0, a->nparts, i);
    sums[i] = (float)s.first;
    sums[(size_t)a->channels + i] = (float)s.second;
    cnn_put(VIEW(void *, a->dbeta), i, (float)s.first, a->half);
    cnn_put(VIEW(void *, a->dgamma), i, (float)s.second, a->half);
}

ITEM void cnn_item_bias_sums(const struct cnn_norm_args *a, size_t i)
{
    cnn_put(VIEW(void *, a->dbeta), i, (float)cnn_total(a, 0, a->nparts, i).first,
            a->half);
}

/* Means over the rows of the gradient, and of it times the normal x. */
struct cnn_means {
    struct cnn_four grad, product;
};

ITEM struct cnn_four cnn_by_x(const struct cnn_norm_args *a, const struct cnn_scales *s,
                              const struct cnn_means *means, struct cnn_four x,
                              struct cnn_four dy)
{
    cnn_gradient(a, s, &x, &dy);
    for (int k = 0; k < CNN_VECTOR; k++)
        dy.v[k] = s->gamma.v[k] * s->inverse.v[k] *
                  (dy.v[k] - (means->grad.v[k] + x.v[k] * means->product.v[k]));
    return dy;
}

/* As cnn_write_norm(). */
ITEM void cnn_do_norm_back(const struct cnn_norm_args *a, struct cnn_group g)
{
    const void *x = VIEW(const void *, a->x), *dy = VIEW(const void *, a->y);
    void *dx = VIEW(void *, a->dx);
    size_t row = g.row * CNN_ROWS;
    float per_row = 1 / (float)a->rows;
    struct cnn_scales s = cnn_scales_of(a, g);
    struct cnn_means means;
    means.grad = cnn_of_channels(a->sums, g);
    means.product = cnn_of_channels(a->sums + a->channels, g);
    for (int k = 0; k < CNN_VECTOR; k++) {
        means.grad.v[k] *= per_row;
        means.product.v[k] *= per_row;
    }
    if (row + CNN_ROWS <= a->rows) {
        struct cnn_four now[CNN_ROWS], grad[CNN_ROWS];
        for (int r = 0; r < CNN_ROWS; r++) {
            now[r] = cnn_of_row(a, x, row + (size_t)r, g);
            grad[r] = cnn_of_row(a, dy, row + (size_t)r, g);
        }
        for (int r = 0; r < CNN_ROWS; r++)
            cnn_put_row(a, dx, row + (size_t)r,
                        cnn_by_x(a, &s, &means, now[r], grad[r]), g);
        return;
    }
    for (; row < a->rows; row++)
        cnn_put_row(a, dx, row,
                    cnn_by_x(a, &s, &means, cnn_of_row(a, x, row, g),
                             cnn_of_row(a, dy, row, g)),
                    g);
}

ITEM void cnn_item_norm_back(const struct cnn_norm_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_norm_back, a, i);
}

#endif
