/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Convolutions by their definition, one number of the result at a time: slow, and right
 * on any device. cuDNN is checked by it.
 */
#include "gpu.h"

static dml_status open_plain(struct gpu *gpu)
{
    (void)gpu;
    return DML_OK;
}

static void close_plain(struct gpu *gpu)
{
    (void)gpu;
}

static dml_status plan(struct gpu *gpu, const struct cnn_conv_args *shape, bool by_data,
                       void **made)
{
    (void)by_data;
    (void)gpu;
    (void)shape;
    *made = NULL;
    return DML_OK;
}

static void free_plan(struct gpu *gpu, void *made)
{
    (void)gpu;
    (void)made;
}

static size_t product(int a, int b, int c, int d)
{
    return (size_t)a * (size_t)b * (size_t)c * (size_t)d;
}

static dml_status run(struct gpu *gpu, void *made, enum gpu_conv what,
                      const struct cnn_conv_args *given)
{
    static const enum cnn_kernel kernels[] = {CNN_KERNEL_conv, CNN_KERNEL_conv_data,
                                              CNN_KERNEL_conv_weight};
    const struct cnn_window *s = &given->window;
    const size_t counts[] = {product(s->rows, s->p, s->q, s->k),
                             product(s->rows, s->h, s->w, s->c),
                             product(s->k, s->height, s->width, s->c)};
    struct cnn_conv_args args = *given;
    (void)made;
    args.n = counts[what];
    return gpu_run(gpu, kernels[what], &args);
}

const struct gpu_math gpu_math_plain = {"plain", open_plain, close_plain,
                                        plan,    free_plan,  run};
