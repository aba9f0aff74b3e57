/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Items of the kernels of batch normalisation (layer_norm.c says what it is) and of the
 * gradients of biases: sums over the rows of a matrix [rows][channels].
 */
#ifndef CNN_KERNELS_NORM_H
#define CNN_KERNELS_NORM_H

#include "kernels_items.h"

/* The rows of item i: [*first, last), and its channel. */
ITEM size_t cnn_block_rows(const struct cnn_norm_args *a, size_t i, size_t *first,
                           size_t *channel)
{
    size_t last = (i / (size_t)a->channels + 1) * CNN_BLOCK;
    *first = last - CNN_BLOCK;
    *channel = i % (size_t)a->channels;
    return last < a->rows ? last : a->rows;
}

/* Sum over the blocks of their k-th sum. */
ITEM double cnn_total(const struct cnn_norm_args *a, size_t channel, size_t k)
{
    const float *parts = VIEW(const float *, a->parts);
    size_t blocks = (a->rows + CNN_BLOCK - 1) / CNN_BLOCK;
    double sum = 0;
    for (size_t block = 0; block < blocks; block++)
        sum += (double)parts[2 * (block * (size_t)a->channels + channel) + k];
    return sum;
}

ITEM void cnn_item_mean_parts(const struct cnn_norm_args *a, size_t i)
{
    const void *x = VIEW(const void *, a->x);
    size_t row, channel, last = cnn_block_rows(a, i, &row, &channel);
    float sum = 0;
    for (; row < last; row++)
        sum += cnn_get(x, row * (size_t)a->channels + channel, a->half);
    VIEW(float *, a->parts)[2 * i] = sum;
}

ITEM void cnn_item_mean(const struct cnn_norm_args *a, size_t i)
{
    VIEW(float *, a->mean)[i] = (float)(cnn_total(a, i, 0) / (double)a->rows);
}

ITEM void cnn_item_var_parts(const struct cnn_norm_args *a, size_t i)
{
    const void *x = VIEW(const void *, a->x);
    size_t row, channel, last = cnn_block_rows(a, i, &row, &channel);
    float sum = 0, mean = VIEW(const float *, a->mean)[channel];
    for (; row < last; row++) {
        float d = cnn_get(x, row * (size_t)a->channels + channel, a->half) - mean;
        sum += d * d;
    }
    VIEW(float *, a->parts)[2 * i] = sum;
}

ITEM void cnn_item_var(const struct cnn_norm_args *a, size_t i)
{
    float *running_mean = VIEW(float *, a->running_mean) + i;
    float *running_variance = VIEW(float *, a->running_variance) + i;
    float mean = VIEW(const float *, a->mean)[i], count = (float)a->rows;
    float variance = (float)(cnn_total(a, i, 0) / (double)a->rows);
    float unbias = count > 1 ? count / (count - 1) : 1;
    VIEW(float *, a->inverse)[i] = 1 / sqrtf(variance + CNN_EPSILON);
    *running_mean += CNN_MOMENTUM * (mean - *running_mean);
    *running_variance += CNN_MOMENTUM * (variance * unbias - *running_variance);
}

ITEM float cnn_normal(const struct cnn_norm_args *a, size_t i, size_t c)
{
    return (cnn_get(VIEW(const void *, a->x), i, a->half) -
            VIEW(const float *, a->mean)[c]) *
           VIEW(const float *, a->inverse)[c];
}

/* The output, before the ReLU. */
ITEM float cnn_affine(const struct cnn_norm_args *a, float normal, size_t c)
{
    return VIEW(const float *, a->gamma)[c] * normal + VIEW(const float *, a->beta)[c];
}

ITEM void cnn_item_norm(const struct cnn_norm_args *a, size_t i)
{
    size_t c = i % (size_t)a->channels;
    float y = cnn_affine(a, cnn_normal(a, i, c), c);
    cnn_put(VIEW(void *, a->y), i, a->relu && y < 0 ? 0 : y, a->half);
}

ITEM void cnn_item_norm_test(const struct cnn_norm_args *a, size_t i)
{
    size_t c = i % (size_t)a->channels;
    float d = cnn_get(VIEW(const void *, a->x), i, a->half) -
              VIEW(const float *, a->running_mean)[c];
    float y = cnn_affine(
        a, d / sqrtf(VIEW(const float *, a->running_variance)[c] + CNN_EPSILON), c);
    cnn_put(VIEW(void *, a->y), i, a->relu && y < 0 ? 0 : y, a->half);
}

/* The gradient by the affine output: 0 where the ReLU was. That is computed anew, so
 * that layers behind may work in place. */
ITEM float cnn_gradient(const struct cnn_norm_args *a, size_t i, size_t c, float normal)
{
    if (a->relu && !(cnn_affine(a, normal, c) > 0))
        return 0;
    return cnn_get(VIEW(const void *, a->y), i, a->half);
}

ITEM void cnn_item_norm_parts(const struct cnn_norm_args *a, size_t i)
{
    size_t row, channel, last = cnn_block_rows(a, i, &row, &channel);
    float sum = 0, product = 0;
    for (; row < last; row++) {
        size_t at = row * (size_t)a->channels + channel;
        float normal = cnn_normal(a, at, channel);
        float g = cnn_gradient(a, at, channel, normal);
        sum += g;
        product += g * normal;
    }
    VIEW(float *, a->parts)[2 * i] = sum;
    VIEW(float *, a->parts)[2 * i + 1] = product;
}

ITEM void cnn_item_norm_sums(const struct cnn_norm_args *a, size_t i)
{
    float *sums = VIEW(float *, a->sums) + 2 * i;
    sums[0] = (float)cnn_total(a, i, 0);
    sums[1] = (float)cnn_total(a, i, 1);
    cnn_put(VIEW(void *, a->dbeta), i, sums[0], a->half);
    cnn_put(VIEW(void *, a->dgamma), i, sums[1], a->half);
}

ITEM void cnn_item_norm_back(const struct cnn_norm_args *a, size_t i)
{
    size_t c = i % (size_t)a->channels;
    const float *sums = VIEW(const float *, a->sums) + 2 * c;
    float normal = cnn_normal(a, i, c), count = (float)a->rows;
    float factor =
        VIEW(const float *, a->gamma)[c] * VIEW(const float *, a->inverse)[c];
    float g = cnn_gradient(a, i, c, normal);
    float dx = factor * (g - (sums[0] + normal * sums[1]) / count);
    cnn_put(VIEW(void *, a->dx), i, dx, a->half);
}

ITEM void cnn_item_bias_parts(const struct cnn_norm_args *a, size_t i)
{
    const void *y = VIEW(const void *, a->y);
    size_t row, channel, last = cnn_block_rows(a, i, &row, &channel);
    float sum = 0;
    for (; row < last; row++)
        sum += cnn_get(y, row * (size_t)a->channels + channel, a->half);
    VIEW(float *, a->parts)[2 * i] = sum;
}

ITEM void cnn_item_bias_sums(const struct cnn_norm_args *a, size_t i)
{
    cnn_put(VIEW(void *, a->dbeta), i, (float)cnn_total(a, i, 0), a->half);
}

#endif
