/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A step of an optimizer on a device, as one lane of a warp sees it: blocks of
 * DML_OPTIM_BLOCK elements, a warp each, with the arithmetic of lib/kernels and
 * lib/optim. Lanes meet only where a block is judged (is all of it finite?) and where
 * their sums are folded: the kernels of optim.cu do that by shuffles, optim_host.c in a
 * loop over the lanes, so that the latter tests what the former runs.
 *
 * A lane's sums are those of sumsq_f32's partial sum of the same number, and are folded
 * in the same order: the norms have the host's bits.
 */
#ifndef DML__GPU_OPTIM_BLOCK_H
#define DML__GPU_OPTIM_BLOCK_H

#include "core/half.h"
#include "gpu/kernel_code.h"
#include "optim/factors.h"
#include "optim/optim_device.h"

enum {
    DML__OPTIM_EACH = DML_OPTIM_BLOCK / DML__WARP, /* elements of a lane */
    DML__OPTIM_TILE = 8                            /* that a lane has in hand at once */
};

/* Which loop a rule has. */
enum dml__optim_family {
    DML__OPTIM_LIKE_SGD,
    DML__OPTIM_LIKE_ADAM,
    DML__OPTIM_LIKE_LAMB
};

struct dml__gpu_tensor {
    void *param;
    const void *grad;
    float *w; /* the master copy, or param */
    float *m; /* the first vector of state: velocity or mean; NULL: none */
    float *v; /* the second: squares; NULL: none */
    uint64_t count, first;
    uint64_t first_work, first_sum, nsums; /* as in struct dml__optim_tensor */
    unsigned flags;
    int dtype, grad_dtype;
    unsigned wide; /* all begin at what four elements are read from at once */
};

struct dml__gpu_optim_state {
    dml_optim_counters counters;
    struct dml__optim_now now; /* of the step under way, or of the next one */
    double grad_norm, clip;
    uint32_t skip, last_skipped;
    uint32_t found; /* least tensor that the update finds not finite */
    /* A tensor, and what was wrong with it: nothing is done until the host has seen it.
     */
    uint32_t fault, fault_kind;
    uint32_t finish_tickets, update_tickets; /* blocks that are done */
};

struct dml__gpu_optim_args {
    dml_optim_opts opts;
    dml_optim_rule rule;
    uint32_t ntensors;
    uint32_t width;   /* columns of sums */
    uint32_t moments; /* sums are those of the moments' sweep */
    uint32_t checks;  /* the update looks for what is not finite */
    uint64_t nwork;
    const struct dml__gpu_tensor *tensors; /* [ntensors] */
    const uint32_t *owners;                /* [nwork] the tensor of a block */
    double *sums;                          /* [nsums][width] */
    double *totals;                        /* [ntensors][2] */
    double *ratios;                        /* [ntensors] */
    struct dml__gpu_optim_state *state;
    const double *rate; /* NULL: it is lr */
    double lr;
};

/* What is here of a block. */
struct dml__gpu_part {
    struct dml__gpu_tensor tensor;
    uint32_t index; /* of the tensor */
    unsigned wide;  /* lanes have four neighbours at a time, else every 32nd */
    uint64_t begin, n, number;
};

/* Block "block" of the shards. Sums need wide = 0: it is their order. */
DML__LANE struct dml__gpu_part dml__gpu_part_of(const struct dml__gpu_optim_args *args,
                                                uint64_t block, unsigned wide)
{
    const uint64_t B = DML_OPTIM_BLOCK;
    struct dml__gpu_part part;
    part.index = args->owners[block];
    part.tensor = args->tensors[part.index];
    struct dml__gpu_tensor *t = &part.tensor;
    t->param = DML__VIEW(void *, t->param);
    t->grad = DML__VIEW(const void *, t->grad);
    t->w = DML__VIEW(float *, t->w);
    t->m = DML__VIEW(float *, t->m);
    t->v = DML__VIEW(float *, t->v);
    const uint64_t last = t->first + t->count;
    const uint64_t number = t->first / B + (block - t->first_work);
    const uint64_t at = number * B > t->first ? number * B : t->first;
    const uint64_t stop = last - number * B > B ? (number + 1) * B : last;
    part.begin = at - t->first;
    part.n = stop - at;
    part.number = t->first_sum + number;
    part.wide = wide && t->wide && part.n == B && part.begin % 4 == 0;
    return part;
}

/* Where element k of a lane lies in the block. */
DML__LANE uint64_t dml__gpu_element(const struct dml__gpu_part *part, unsigned lane,
                                    unsigned k)
{
    return part->wide ? k / 4 * (4 * DML__WARP) + lane * 4 + k % 4
                      : k * DML__WARP + lane;
}

/* Elements k to k + count of a lane; 0 past the end of the block. */
DML__LANE void dml__gpu_load(float *x, unsigned k, unsigned count, const float *from,
                             const struct dml__gpu_part *part, unsigned lane)
{
    from += part->begin;
#ifdef __CUDA_ARCH__
    if (part->wide) {
#pragma unroll
        for (unsigned i = 0; i < count; i += 4) {
            const float4 four =
                *(const float4 *)(from + dml__gpu_element(part, lane, k + i));
            x[i] = four.x;
            x[i + 1] = four.y;
            x[i + 2] = four.z;
            x[i + 3] = four.w;
        }
        return;
    }
#endif
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        const uint64_t at = dml__gpu_element(part, lane, k + i);
        x[i] = at < part->n ? from[at] : 0;
    }
}

DML__LANE void dml__gpu_store(float *to, unsigned k, unsigned count, const float *x,
                              const struct dml__gpu_part *part, unsigned lane)
{
    to += part->begin;
#ifdef __CUDA_ARCH__
    if (part->wide) {
#pragma unroll
        for (unsigned i = 0; i < count; i += 4)
            *(float4 *)(to + dml__gpu_element(part, lane, k + i)) =
                make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
        return;
    }
#endif
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        const uint64_t at = dml__gpu_element(part, lane, k + i);
        if (at < part->n)
            to[at] = x[i];
    }
}

DML__LANE float dml__gpu_widen(int dtype, uint16_t bits)
{
    return dtype == DML_BF16 ? dml__bf16_to_f32(bits) : dml__f16_to_f32(bits);
}

DML__LANE uint16_t dml__gpu_narrow(int dtype, float x)
{
    return dtype == DML_BF16 ? dml__f32_to_bf16(x) : dml__f32_to_f16(x);
}

DML__LANE void dml__gpu_load_half(float *x, unsigned k, unsigned count, int dtype,
                                  const uint16_t *from,
                                  const struct dml__gpu_part *part, unsigned lane)
{
    from += part->begin;
#ifdef __CUDA_ARCH__
    if (part->wide) {
#pragma unroll
        for (unsigned i = 0; i < count; i += 4) {
            const ushort4 four =
                *(const ushort4 *)(from + dml__gpu_element(part, lane, k + i));
            x[i] = dml__gpu_widen(dtype, four.x);
            x[i + 1] = dml__gpu_widen(dtype, four.y);
            x[i + 2] = dml__gpu_widen(dtype, four.z);
            x[i + 3] = dml__gpu_widen(dtype, four.w);
        }
        return;
    }
#endif
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        const uint64_t at = dml__gpu_element(part, lane, k + i);
        x[i] = at < part->n ? dml__gpu_widen(dtype, from[at]) : 0;
    }
}

DML__LANE void dml__gpu_store_half(uint16_t *to, unsigned k, unsigned count, int dtype,
                                   const float *x, const struct dml__gpu_part *part,
                                   unsigned lane)
{
    to += part->begin;
#ifdef __CUDA_ARCH__
    if (part->wide) {
#pragma unroll
        for (unsigned i = 0; i < count; i += 4)
            *(ushort4 *)(to + dml__gpu_element(part, lane, k + i)) = make_ushort4(
                dml__gpu_narrow(dtype, x[i]), dml__gpu_narrow(dtype, x[i + 1]),
                dml__gpu_narrow(dtype, x[i + 2]), dml__gpu_narrow(dtype, x[i + 3]));
        return;
    }
#endif
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        const uint64_t at = dml__gpu_element(part, lane, k + i);
        if (at < part->n)
            to[at] = dml__gpu_narrow(dtype, x[i]);
    }
}

/* ---- a lane's part of the sweeps ---------------------------------------------------
 */

/* The gradient as rules see it: widened, scaled, clipped. */
DML__LANE void dml__gpu_gradient(float g[DML__OPTIM_EACH],
                                 const struct dml__gpu_optim_args *args, double scale,
                                 const struct dml__gpu_part *part, unsigned lane)
{
    const float factor = (float)scale, limit = (float)args->opts.clip_value;
    const struct dml__gpu_tensor *t = &part->tensor;
    if (t->grad_dtype == DML_F32)
        dml__gpu_load(g, 0, DML__OPTIM_EACH, (const float *)t->grad, part, lane);
    else
        dml__gpu_load_half(g, 0, DML__OPTIM_EACH, t->grad_dtype,
                           (const uint16_t *)t->grad, part, lane);
    DML__UNROLL
    for (unsigned k = 0; k < DML__OPTIM_EACH; k++) {
        g[k] = g[k] * factor;
        if (limit > 0)
            g[k] = dml__clip_element(g[k], limit);
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

/* The lane's sums of squares of the gradient and, with a second column, of w. */
DML__LANE void dml__gpu_sum_grads(const struct dml__gpu_optim_args *args,
                                  const struct dml__gpu_part *part, unsigned lane,
                                  const float g[DML__OPTIM_EACH], double sums[2])
{
    sums[0] = sums[1] = 0;
    DML__UNROLL
    for (unsigned k = 0; k < DML__OPTIM_EACH; k++)
        sums[0] += (double)g[k] * g[k];
    if (args->width == 1)
        return;
    float w[DML__OPTIM_EACH];
    dml__gpu_load(w, 0, DML__OPTIM_EACH, part->tensor.w, part, lane);
    DML__UNROLL
    for (unsigned k = 0; k < DML__OPTIM_EACH; k++)
        sums[1] += (double)w[k] * w[k];
}

/* LAMB's first sweep: the moments, and the lane's sums of squares of step and w. */
DML__LANE void dml__gpu_moments(const struct dml__gpu_optim_args *args,
                                const struct dml__optim_now *now,
                                const struct dml__gpu_part *part, unsigned lane,
                                const float g[DML__OPTIM_EACH], double sums[2])
{
    const struct dml__gpu_tensor *t = &part->tensor;
    const struct dml__adam_args a = dml__optim_lamb_args(&args->opts, now, t->flags, 1);
    sums[0] = sums[1] = 0;
    DML__UNROLL
    for (unsigned k = 0; k < DML__OPTIM_EACH; k += DML__OPTIM_TILE) {
        float w[DML__OPTIM_TILE], m[DML__OPTIM_TILE], v[DML__OPTIM_TILE];
        dml__gpu_load(w, k, DML__OPTIM_TILE, t->w, part, lane);
        dml__gpu_load(m, k, DML__OPTIM_TILE, t->m, part, lane);
        dml__gpu_load(v, k, DML__OPTIM_TILE, t->v, part, lane);
        DML__UNROLL
        for (unsigned i = 0; i < DML__OPTIM_TILE; i++) {
            m[i] = dml__adam_mean(m[i], g[k + i], &a);
            v[i] = dml__adam_square(v[i], g[k + i], &a);
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
