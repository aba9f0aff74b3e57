/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of optim.cu as the fake device runs them: a warp is a loop over its lanes
 * between two places where they meet, and a grid is a loop over the blocks. The lanes'
 * code is the device's.
 */
#include "gpu/images.h"
#include "gpu/optim.h"
#include "gpu/optim_judge.h"
#include "gpu/optim_sweep.h"

typedef struct dml__gpu_optim_args args_t;

static args_t viewed(const void *args)
{
    args_t a = *(const args_t *)args;
    a.tensors = dml__gpu_view(a.tensors);
    a.owners = dml__gpu_view(a.owners);
    a.sums = dml__gpu_view(a.sums);
    a.totals = dml__gpu_view(a.totals);
    a.ratios = dml__gpu_view(a.ratios);
    a.state = dml__gpu_view(a.state);
    return a;
}

static double fold(double sums[DML__WARP])
{
    for (unsigned half = DML__WARP / 2; half > 0; half /= 2)
        for (unsigned j = 0; j < half; j++)
            sums[j] += sums[j + half];
    return sums[0];
}

static bool stopped(const args_t *a)
{
    return a->state->fault != DML__OPTIM_NONE;
}

static struct dml__optim_now now_of(const args_t *a)
{
    struct dml__optim_now now = a->state->now;
    now.lr = dml__gpu_rate(a);
    return now;
}

static void reload(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    for (uint64_t block = 0; block < a.nwork; block++) {
        const struct dml__gpu_part part = dml__gpu_part_of(&a, block, 1);
        for (unsigned lane = 0; lane < DML__WARP; lane++)
            dml__gpu_reload(&part, lane);
    }
}

static void sweep_sums(const args_t *a)
{
    const struct dml__optim_now now = now_of(a);
    for (uint64_t block = 0; block < a->nwork; block++) {
        const struct dml__gpu_part part = dml__gpu_part_of(a, block, 0);
        double columns[2][DML__WARP];
        for (unsigned lane = 0; lane < DML__WARP; lane++) {
            double sums[2];
            if (a->moments)
                dml__gpu_moments(a, &now, &part, lane, sums);
            else
                dml__gpu_sum_grads(a, now.grad_scale, &part, lane, sums);
            columns[0][lane] = sums[0];
            columns[1][lane] = sums[1];
        }
        for (uint32_t column = 0; column < a->width; column++)
            a->sums[part.number * a->width + column] = fold(columns[column]);
    }
}

static void grads(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    if (!stopped(&a))
        sweep_sums(&a);
}

static void moments(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    if (!stopped(&a) && !a.state->skip)
        sweep_sums(&a);
}

static void finish(const void *args, unsigned blocks)
{
    const args_t a = viewed(args);
    (void)blocks;
    if (stopped(&a) || a.state->skip)
        return;
    for (uint32_t tensor = 0; tensor < a.ntensors; tensor++)
        for (uint32_t column = 0; column < a.width; column++) {
            double lanes[DML__WARP];
            for (unsigned lane = 0; lane < DML__WARP; lane++)
                lanes[lane] = dml__gpu_tensor_sum(&a, tensor, column, lane);
            a.totals[2 * tensor + column] = fold(lanes);
        }
    dml__gpu_judge(&a);
    for (uint32_t tensor = 0; a.width == 2 && tensor < a.ntensors; tensor++)
        dml__gpu_set_ratio(&a, tensor);
}

static void update_block(const args_t *a, const struct dml__optim_now *now,
                         enum dml__optim_family family, uint64_t block)
{
    const struct dml__gpu_part part = dml__gpu_part_of(a, block, 1);
    float g[DML__WARP][DML__OPTIM_EACH];
    bool finite = true;
    if (family != DML__OPTIM_LIKE_LAMB)
        for (unsigned lane = 0; lane < DML__WARP; lane++) {
            dml__gpu_gradient(g[lane], 0, DML__OPTIM_EACH, a, now->grad_scale, &part,
                              lane);
            finite = finite && (!a->checks || dml__gpu_finite(g[lane]));
        }
    if (!finite && part.index < a->state->found)
        a->state->found = part.index;
    for (unsigned lane = 0; finite && lane < DML__WARP; lane++)
        dml__gpu_update(a, now, family, &part, lane, g[lane]);
}

static void update(const void *args, enum dml__optim_family family)
{
    const args_t a = viewed(args);
    if (stopped(&a))
        return;
    const struct dml__optim_now now = now_of(&a);
    for (uint64_t block = 0; block < a.nwork && !a.state->skip; block++)
        update_block(&a, &now, family, block);
    dml__gpu_end(&a);
}

static void update_sgd(const void *args, unsigned blocks)
{
    (void)blocks;
    update(args, DML__OPTIM_LIKE_SGD);
}

static void update_adam(const void *args, unsigned blocks)
{
    (void)blocks;
    update(args, DML__OPTIM_LIKE_ADAM);
}

static void update_lamb(const void *args, unsigned blocks)
{
    (void)blocks;
    update(args, DML__OPTIM_LIKE_LAMB);
}

enum { THREADS = 256 };

const struct dml_gpu_kernel dml__optim_kernel_reload = {
    "dml__optim_reload", DML__IMAGE(optim), THREADS, reload};
const struct dml_gpu_kernel dml__optim_kernel_grads = {
    "dml__optim_grads", DML__IMAGE(optim), THREADS, grads};
const struct dml_gpu_kernel dml__optim_kernel_moments = {
    "dml__optim_moments", DML__IMAGE(optim), THREADS, moments};
const struct dml_gpu_kernel dml__optim_kernel_finish = {
    "dml__optim_finish", DML__IMAGE(optim), THREADS, finish};
const struct dml_gpu_kernel dml__optim_kernel_sgd = {
    "dml__optim_update_sgd", DML__IMAGE(optim), THREADS, update_sgd};
const struct dml_gpu_kernel dml__optim_kernel_adam = {
    "dml__optim_update_adam", DML__IMAGE(optim), THREADS, update_adam};
const struct dml_gpu_kernel dml__optim_kernel_lamb = {
    "dml__optim_update_lamb", DML__IMAGE(optim), THREADS, update_lamb};
