/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of codec_random.cu as the fake device runs them.
 */
#include "gpu/codec_random.h"

#include "gpu/codec.h"
#include "gpu/images.h"

typedef struct dml__gpu_random_args args_t;

static args_t viewed(const void *args)
{
    args_t a = *(const args_t *)args;
    a.g = dml__gpu_view(a.g);
    a.e = dml__gpu_view(a.e);
    a.values = dml__gpu_view(a.values);
    a.dst = dml__gpu_view(a.dst);
    a.state = dml__gpu_view(a.state);
    return a;
}

static void add(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    const bool clear = a.state->clear != 0;
    (void)blocks;
    for (uint64_t i = 0; i < a.draw.n; i++) {
        a.e[i] = dml__gpu_sum(a.g, a.e, a.draw.n, i, clear);
        const uint32_t bits = dml__f32_magnitude(a.e[i]);
        a.state->top = bits > a.state->top ? bits : a.state->top;
    }
    dml__gpu_codec_judge(a.state, a.step);
}

static void take(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t i = 0; i < a.draw.k; i++)
        dml__random_take(&a, i);
}

static void put(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t i = 0; i < a.draw.k; i++)
        dml__random_put(&a, i);
}

enum { THREADS = 256 };

const struct dml_gpu_kernel dml__random_kernel_add = {
    "dml__random_add", DML__IMAGE(codec_random), THREADS, add};
const struct dml_gpu_kernel dml__random_kernel_take = {
    "dml__random_take_all", DML__IMAGE(codec_random), THREADS, take};
const struct dml_gpu_kernel dml__random_kernel_put = {
    "dml__random_put_all", DML__IMAGE(codec_random), THREADS, put};
