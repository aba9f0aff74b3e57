/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Layers in double precision by plain loops; see cnn_reference.h.
 */
#include "cnn_reference.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

size_t tensor_count(const struct tensor *t)
{
    return (size_t)t->n * (size_t)t->c * (size_t)t->h * (size_t)t->w;
}

double *tensor_at(const struct tensor *t, int n, int c, int h, int w)
{
    return t->v + (((size_t)n * t->c + c) * t->h + h) * t->w + w;
}

static struct tensor new_tensor(int n, int c, int h, int w)
{
    struct tensor t = {n, c, h, w, NULL};
    t.v = calloc(tensor_count(&t), sizeof *t.v);
    if (!t.v)
        abort();
    return t;
}

/* Call body(...) for each element of y. */
#define EACH(y)                             \
    for (int n = 0; n < (y).n; n++)         \
        for (int c = 0; c < (y).c; c++)     \
            for (int i = 0; i < (y).h; i++) \
                for (int j = 0; j < (y).w; j++)

/* Sum of one channel's window times its kernel; outside the image is zero. */
static double window_sum(const struct tensor *x, int n, int c, const double *weights,
                         int kernel, int top, int left)
{
    double sum = 0;
    for (int u = 0; u < kernel; u++)
        for (int v = 0; v < kernel; v++) {
            int h = top + u, w = left + v;
            if (h >= 0 && h < x->h && w >= 0 && w < x->w)
                sum += weights[u * kernel + v] * *tensor_at(x, n, c, h, w);
        }
    return sum;
}

struct tensor ref_conv(const struct tensor *x, const double *weights,
                       const double *bias, int channels, int kernel, int stride,
                       int pad)
{
    struct tensor y = new_tensor(x->n, channels, (x->h + 2 * pad - kernel) / stride + 1,
                                 (x->w + 2 * pad - kernel) / stride + 1);
    EACH(y)
    {
        double sum = bias ? bias[c] : 0;
        for (int k = 0; k < x->c; k++)
            sum += window_sum(x, n, k, weights + (c * x->c + k) * kernel * kernel,
                              kernel, i * stride - pad, j * stride - pad);
        *tensor_at(&y, n, c, i, j) = sum;
    }
    return y;
}

struct tensor ref_linear(const struct tensor *x, const double *weights,
                         const double *bias, int outputs)
{
    struct tensor y = new_tensor(x->n, outputs, 1, 1);
    size_t inputs = (size_t)x->c * x->h * x->w;
    for (int n = 0; n < x->n; n++)
        for (int k = 0; k < outputs; k++) {
            double sum = bias[k];
            for (size_t i = 0; i < inputs; i++)
                sum += weights[(size_t)k * inputs + i] * x->v[(size_t)n * inputs + i];
            y.v[n * outputs + k] = sum;
        }
    return y;
}

static bool inside(const struct tensor *x, int i, int j)
{
    return i >= 0 && i < x->h && j >= 0 && j < x->w;
}

struct tensor ref_max_pool(const struct tensor *x, int kernel, int stride, int pad)
{
    struct tensor y = new_tensor(x->n, x->c, (x->h + 2 * pad - kernel) / stride + 1,
                                 (x->w + 2 * pad - kernel) / stride + 1);
    EACH(y)
    {
        double best = -INFINITY;
        for (int u = 0; u < kernel; u++)
            for (int v = 0; v < kernel; v++) {
                int h = i * stride + u - pad, w = j * stride + v - pad;
                if (inside(x, h, w))
                    best = fmax(best, *tensor_at(x, n, c, h, w));
            }
        *tensor_at(&y, n, c, i, j) = best;
    }
    return y;
}

static struct tensor average(const struct tensor *x, int kernel_h, int kernel_w,
                             int stride, int pad)
{
    struct tensor y = new_tensor(x->n, x->c, (x->h + 2 * pad - kernel_h) / stride + 1,
                                 (x->w + 2 * pad - kernel_w) / stride + 1);
    EACH(y)
    {
        double sum = 0, count = 0;
        for (int u = 0; u < kernel_h; u++)
            for (int v = 0; v < kernel_w; v++) {
                int h = i * stride + u - pad, w = j * stride + v - pad;
                if (!inside(x, h, w))
                    continue;
                sum += *tensor_at(x, n, c, h, w);
                count++;
            }
        *tensor_at(&y, n, c, i, j) = sum / count;
    }
    return y;
}

struct tensor ref_avg_pool(const struct tensor *x, int kernel, int stride, int pad)
{
    return average(x, kernel, kernel, stride, pad);
}

struct tensor ref_global_pool(const struct tensor *x)
{
    return average(x, x->h, x->w, 1, 0);
}

struct tensor ref_batch_norm(const struct tensor *x, const double *gamma,
                             const double *beta, double epsilon)
{
    struct tensor y = new_tensor(x->n, x->c, x->h, x->w);
    double *mean = calloc((size_t)x->c, sizeof *mean);
    double *variance = calloc((size_t)x->c, sizeof *variance);
    double count = (double)x->n * x->h * x->w;
    if (!mean || !variance)
        abort();
    EACH(y) mean[c] += *tensor_at(x, n, c, i, j) / count;
    EACH(y) variance[c] += pow(*tensor_at(x, n, c, i, j) - mean[c], 2) / count;
    EACH(y)
    *tensor_at(&y, n, c, i, j) =
        gamma[c] * (*tensor_at(x, n, c, i, j) - mean[c]) / sqrt(variance[c] + epsilon) +
        beta[c];
    free(mean);
    free(variance);
    return y;
}

struct tensor ref_relu(const struct tensor *x)
{
    struct tensor y = new_tensor(x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < tensor_count(x); i++)
        y.v[i] = x->v[i] > 0 ? x->v[i] : 0;
    return y;
}

struct tensor ref_add(const struct tensor *x, const struct tensor *y)
{
    struct tensor sum = new_tensor(x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < tensor_count(x); i++)
        sum.v[i] = x->v[i] + y->v[i];
    return sum;
}

struct tensor ref_shortcut(const struct tensor *x, int channels, int stride)
{
    struct tensor y = new_tensor(x->n, channels, (x->h + stride - 1) / stride,
                                 (x->w + stride - 1) / stride);
    EACH(y)
    if (c < x->c)
        *tensor_at(&y, n, c, i, j) = *tensor_at(x, n, c, i * stride, j * stride);
    return y;
}
