/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A step of an optimizer on a device, as one lane of a warp sees it, with the
 * arithmetic of lib/kernels and lib/optim. Lanes meet only where a block is judged (is
 * all of it finite?) and where their sums are folded: the kernels of optim.cu do that
 * by shuffles, optim_host.c in a loop over the lanes, so that the latter tests what the
 * former runs.
 *
 * A lane's sums are those of sumsq_f32's partial sum of the same number, and are folded
 * in the same order: the norms have the host's bits.
 */
#ifndef DML__GPU_OPTIM_SWEEP_H
#define DML__GPU_OPTIM_SWEEP_H

#include "gpu/optim_block.h"

/* Elements k to k + count of the gradient as rules see it: widened, scaled, clipped. */
DML__LANE void dml__gpu_gradient(float *g, unsigned k, unsigned count,
                                 const struct dml__gpu_optim_args *args, double scale,
                                 const struct dml__gpu_part *part, unsigned lane)
{
    const float factor = (float)scale, limit = (float)args->opts.clip_value;
    const struct dml__gpu_tensor *t = &part->tensor;
    if (t->grad_dtype == DML_F32)
        dml__gpu_load(g, k, count, (const float *)t->grad, part, lane);
    else
        dml__gpu_load_half(g, k, count, t->grad_dtype, (const uint16_t *)t->grad, part,
                           lane);
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        g[i] = g[i] * factor;
        if (limit > 0)
            g[i] = dml__clip_element(g[i], limit);
    }
}

DML__LANE bool dml__gpu_finite(const float g[DML__OPTIM_EACH])
{
    bool finite = true;
    DML__UNROLL
    for (unsigned k = 0; k < DML__OPTIM_EACH; k++)
        finite = finite && dml__f32_magnitude(g[k]) < 0x7f800000u;
    return finite;
}

/* The lane's sums of squares of the gradient and, with a second column, of w, which is
 * asked for first: the gradient is waited for where it is scaled. */
DML__LANE void dml__gpu_sum_grads(const struct dml__gpu_optim_args *args, double scale,
                                  const struct dml__gpu_part *part, unsigned lane,
                                  double sums[2])
{
    const bool both = args->width == 2;
    sums[0] = sums[1] = 0;
    for (unsigned k = 0; k < DML__OPTIM_EACH; k += DML__OPTIM_MORE) {
        float g[DML__OPTIM_MORE], w[DML__OPTIM_MORE] = {0};
        if (both)
            dml__gpu_load(w, k, DML__OPTIM_MORE, part->tensor.w, part, lane);
        dml__gpu_gradient(g, k, DML__OPTIM_MORE, args, scale, part, lane);
        DML__UNROLL
        for (unsigned i = 0; i < DML__OPTIM_MORE; i++)
            sums[0] += (double)g[i] * g[i];
        DML__UNROLL
        for (unsigned i = 0; both && i < DML__OPTIM_MORE; i++)
            sums[1] += (double)w[i] * w[i];
    }
}

/* LAMB's first sweep: the moments, and the lane's sums of squares of step and w. */
DML__LANE void dml__gpu_moments(const struct dml__gpu_optim_args *args,
                                const struct dml__optim_now *now,
                                const struct dml__gpu_part *part, unsigned lane,
                                double sums[2])
{
    const struct dml__gpu_tensor *t = &part->tensor;
    const struct dml__adam_args a = dml__optim_lamb_args(&args->opts, now, t->flags, 1);
    sums[0] = sums[1] = 0;
    for (unsigned k = 0; k < DML__OPTIM_EACH; k += DML__OPTIM_TILE) {
        float g[DML__OPTIM_TILE], w[DML__OPTIM_TILE];
        float m[DML__OPTIM_TILE], v[DML__OPTIM_TILE];
        dml__gpu_load(w, k, DML__OPTIM_TILE, t->w, part, lane);
        dml__gpu_load(m, k, DML__OPTIM_TILE, t->m, part, lane);
        dml__gpu_load(v, k, DML__OPTIM_TILE, t->v, part, lane);
        dml__gpu_gradient(g, k, DML__OPTIM_TILE, args, now->grad_scale, part, lane);
        DML__UNROLL
        for (unsigned i = 0; i < DML__OPTIM_TILE; i++) {
            m[i] = dml__adam_mean(m[i], g[i], &a);
            v[i] = dml__adam_square(v[i], g[i], &a);
            const float step = dml__adam_step(w[i], m[i], v[i], &a);
            if (dml__gpu_element(part, lane, k + i) < part->n) {
                sums[0] += (double)step * step;
                sums[1] += (double)w[i] * w[i];
            }
        }
        dml__gpu_store(t->m, k, DML__OPTIM_TILE, m, part, lane);
        dml__gpu_store(t->v, k, DML__OPTIM_TILE, v, part, lane);
    }
}

/* Factors of one tensor; "sgd" or "adam" is set, as the family has it. */
struct dml__gpu_factors {
    struct dml__sgd_args sgd;
    struct dml__adam_args adam;
};

DML__LANE struct dml__gpu_factors
dml__gpu_factors_of(const struct dml__gpu_optim_args *args,
                    const struct dml__optim_now *now, enum dml__optim_family family,
                    unsigned flags, double ratio)
{
    const dml_optim_opts *opts = &args->opts;
    struct dml__gpu_factors f;
    f.sgd = dml__optim_sgd_args(opts, now, flags, ratio);
    if (family == DML__OPTIM_LIKE_LAMB)
        f.adam = dml__optim_lamb_args(opts, now, flags, ratio);
    else if (args->rule == DML_OPTIM_ADAGRAD)
        f.adam = dml__optim_adagrad_args(opts, now, flags);
    else
        f.adam = dml__optim_adam_args(opts, now);
    if (args->rule == DML_OPTIM_ADAM)
        f.adam.grad_decay = (float)dml__optim_decay(opts, flags);
    if (args->rule == DML_OPTIM_ADAMW)
        f.adam.step_decay = (float)dml__optim_decay(opts, flags);
    return f;
}

/* The new w, m and v of one element. */
DML__LANE void dml__gpu_move(const struct dml__gpu_factors *f,
                             enum dml__optim_family family, bool velocity, float g,
                             float *w, float *m, float *v)
{
    const float weight = *w;
    if (family == DML__OPTIM_LIKE_SGD) {
        const float push = dml__sgd_push(weight, g, &f->sgd);
        float step = push;
        if (velocity) {
            *m = dml__sgd_velocity(*m, push, &f->sgd);
            step = dml__sgd_step(*m, push, &f->sgd);
        }
        *w = weight - f->sgd.out * step;
        return;
    }
    if (family == DML__OPTIM_LIKE_ADAM) {
        const float gradient = g + f->adam.grad_decay * weight;
        *m = dml__adam_mean(*m, gradient, &f->adam);
        *v = dml__adam_square(*v, gradient, &f->adam);
    }
    *w = weight - f->adam.rate * dml__adam_step(weight, *m, *v, &f->adam);
}

/* g is not read by LAMB's. */
DML__LANE void dml__gpu_update(const struct dml__gpu_optim_args *args,
                               const struct dml__optim_now *now,
                               enum dml__optim_family family,
                               const struct dml__gpu_part *part, unsigned lane,
                               const float g[DML__OPTIM_EACH])
{
    const struct dml__gpu_tensor *t = &part->tensor;
    const struct dml__gpu_factors f =
        dml__gpu_factors_of(args, now, family, t->flags, args->ratios[part->index]);
    const bool keeps_m = t->m != NULL, keeps_v = t->v != NULL;
    const bool moves = family != DML__OPTIM_LIKE_LAMB;
    DML__UNROLL
    for (unsigned k = 0; k < DML__OPTIM_EACH; k += DML__OPTIM_TILE) {
        float w[DML__OPTIM_TILE], m[DML__OPTIM_TILE] = {0}, v[DML__OPTIM_TILE] = {0};
        dml__gpu_load(w, k, DML__OPTIM_TILE, t->w, part, lane);
        if (keeps_m)
            dml__gpu_load(m, k, DML__OPTIM_TILE, t->m, part, lane);
        if (keeps_v)
            dml__gpu_load(v, k, DML__OPTIM_TILE, t->v, part, lane);
        DML__UNROLL
        for (unsigned i = 0; i < DML__OPTIM_TILE; i++)
            dml__gpu_move(&f, family, keeps_m, moves ? g[k + i] : 0, &w[i], &m[i],
                          &v[i]);
        dml__gpu_store(t->w, k, DML__OPTIM_TILE, w, part, lane);
        if (moves && keeps_m)
            dml__gpu_store(t->m, k, DML__OPTIM_TILE, m, part, lane);
        if (moves && keeps_v)
            dml__gpu_store(t->v, k, DML__OPTIM_TILE, v, part, lane);
        if (t->dtype != DML_F32)
            dml__gpu_store_half((uint16_t *)t->param, k, DML__OPTIM_TILE, t->dtype, w,
                                part, lane);
    }
}

/* Master copies from 16-bit parameters. */
DML__LANE void dml__gpu_reload(const struct dml__gpu_part *part, unsigned lane)
{
    const struct dml__gpu_tensor *t = &part->tensor;
    float w[DML__OPTIM_EACH];
    if (t->dtype == DML_F32)
        return;
    dml__gpu_load_half(w, 0, DML__OPTIM_EACH, t->dtype, (const uint16_t *)t->param,
                       part, lane);
    dml__gpu_store(t->w, 0, DML__OPTIM_EACH, w, part, lane);
}

#endif
