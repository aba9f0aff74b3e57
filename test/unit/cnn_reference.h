/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A second, slow implementation of dml-cnn's layers in double precision, forward only:
 * plain loops from the definitions. Gradients are taken from it by central differences,
 * so that the tests need no formula of a backward pass.
 */
#ifndef CNN_REFERENCE_H
#define CNN_REFERENCE_H

#include <stddef.h>

/* [n][c][h][w], row-major; a matrix has h = w = 1. */
struct tensor {
    int n, c, h, w;
    double *v; /* malloc'ed */
};

size_t tensor_count(const struct tensor *t);
double *tensor_at(const struct tensor *t, int n, int c, int h, int w);

/* Results are new; x is kept. Weights and biases in row-major order, bias may be NULL.
 */
struct tensor ref_conv(const struct tensor *x, const double *weights,
                       const double *bias, int channels, int kernel, int stride,
                       int pad);
struct tensor ref_linear(const struct tensor *x, const double *weights,
                         const double *bias, int outputs);
struct tensor ref_max_pool(const struct tensor *x, int kernel, int stride, int pad);
/* Padding is no part of the average. */
struct tensor ref_avg_pool(const struct tensor *x, int kernel, int stride, int pad);
struct tensor ref_global_pool(const struct tensor *x);
struct tensor ref_batch_norm(const struct tensor *x, const double *gamma,
                             const double *beta, double epsilon);
struct tensor ref_relu(const struct tensor *x);
struct tensor ref_add(const struct tensor *x, const struct tensor *y);
struct tensor ref_shortcut(const struct tensor *x, int channels, int stride);

#endif
