/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What follows the sweeps of a step on a device: norms of tensors from the sums of
 * their blocks, the judgement on them, and the counters. As lib/optim/step.c does it,
 * but that nobody waits: a fault stays in the state, where it stops all later steps
 * until the host has seen it.
 */
#ifndef DML__GPU_OPTIM_JUDGE_H
#define DML__GPU_OPTIM_JUDGE_H

#include "gpu/optim_block.h"

/* A lane's partial sum of a column of a tensor: every 32nd block's. */
DML__LANE double dml__gpu_tensor_sum(const struct dml__gpu_optim_args *args,
                                     uint32_t tensor, uint32_t column, unsigned lane)
{
    enum { BATCH = 8 }; /* loads under way; a square's sum is never -0 */
    const struct dml__gpu_tensor *t = &args->tensors[tensor];
    const double *sums = args->sums + t->first_sum * args->width + column;
    double sum = 0;
    for (uint64_t block = lane; block < t->nsums; block += BATCH * DML__WARP) {
        double batch[BATCH];
        DML__UNROLL
        for (unsigned k = 0; k < BATCH; k++) {
            const uint64_t at = block + k * DML__WARP;
            batch[k] = at < t->nsums ? sums[at * args->width] : 0;
        }
        DML__UNROLL
        for (unsigned k = 0; k < BATCH; k++)
            sum += batch[k];
    }
    return sum;
}

DML__LANE bool dml__gpu_is_finite(double x)
{
    return fabs(x) <= DBL_MAX; /* not of a NaN */
}

DML__LANE void dml__gpu_stop(const struct dml__gpu_optim_args *args, uint32_t tensor,
                             enum dml__optim_fault kind)
{
    struct dml__gpu_optim_state *state = args->state;
    state->fault = tensor;
    state->fault_kind = kind;
    state->now = dml__optim_now_of(&args->opts, &state->counters);
}

/* Totals of some tensors from number "first" on, 0 past the last: one thread goes
 * through all in their order, and must not wait for each by itself. */
enum { DML__OPTIM_TOTALS = 16 };

struct dml__gpu_totals {
    double square[DML__OPTIM_TOTALS], w_square[DML__OPTIM_TOTALS];
};

DML__LANE struct dml__gpu_totals
dml__gpu_read_totals(const struct dml__gpu_optim_args *args, uint32_t first)
{
    struct dml__gpu_totals t;
    DML__UNROLL
    for (uint32_t k = 0; k < DML__OPTIM_TOTALS; k++) {
        const bool here = first + k < args->ntensors;
        const double *from = args->totals + 2 * (size_t)(here ? first + k : first);
        const double square = DML__FRESH(double, from);
        const double w_square = DML__FRESH(double, from + 1);
        t.square[k] = here ? square : 0;
        t.w_square[k] = here && args->width == 2 ? w_square : 0;
    }
    return t;
}

/* The norms of the gradients are there: is all finite, and how is it to be scaled? */
DML__LANE void dml__gpu_judge_grads(const struct dml__gpu_optim_args *args)
{
    const dml_optim_opts *opts = &args->opts;
    struct dml__gpu_optim_state *state = args->state;
    const bool checks = opts->finite != DML_FINITE_OFF || opts->loss_scale > 0;
    uint32_t faulty = DML__OPTIM_NONE, faulty_w = DML__OPTIM_NONE;
    double all = 0;
    for (uint32_t i = 0; i < args->ntensors; i += DML__OPTIM_TOTALS) {
        const struct dml__gpu_totals t = dml__gpu_read_totals(args, i);
        DML__UNROLL
        for (uint32_t k = 0; k < DML__OPTIM_TOTALS; k++) {
            if (!dml__gpu_is_finite(t.square[k]) && faulty == DML__OPTIM_NONE)
                faulty = i + k;
            if (!dml__gpu_is_finite(t.w_square[k]) && faulty_w == DML__OPTIM_NONE)
                faulty_w = i + k;
            all += t.square[k];
        }
    }
    state->grad_norm = sqrt(all);
    if (checks && faulty != DML__OPTIM_NONE && opts->loss_scale > 0) {
        state->skip = 1;
    } else if (checks && faulty != DML__OPTIM_NONE) {
        dml__gpu_stop(args, faulty, DML__OPTIM_FAULT_GRAD);
    } else if (opts->finite != DML_FINITE_OFF && faulty_w != DML__OPTIM_NONE) {
        dml__gpu_stop(args, faulty_w, DML__OPTIM_FAULT_PARAM);
    } else {
        state->clip = dml__optim_clip(opts, state->grad_norm);
        state->now.grad_scale *= state->clip;
    }
}

DML__LANE void dml__gpu_judge_moments(const struct dml__gpu_optim_args *args)
{
    if (args->opts.finite == DML_FINITE_OFF)
        return;
    for (uint32_t i = 0; i < args->ntensors; i += DML__OPTIM_TOTALS) {
        const struct dml__gpu_totals t = dml__gpu_read_totals(args, i);
        uint32_t faulty = DML__OPTIM_NONE;
        DML__UNROLL
        for (uint32_t k = 0; k < DML__OPTIM_TOTALS; k++)
            if (!dml__gpu_is_finite(t.square[k] + t.w_square[k]) &&
                faulty == DML__OPTIM_NONE)
                faulty = i + k;
        if (faulty != DML__OPTIM_NONE) {
            dml__gpu_stop(args, faulty, DML__OPTIM_FAULT_MOMENTS);
            return;
        }
    }
}

DML__LANE void dml__gpu_judge(const struct dml__gpu_optim_args *args)
{
    if (args->moments)
        dml__gpu_judge_moments(args);
    else
        dml__gpu_judge_grads(args);
}

/* After the judgement, for each tensor whose two norms are known. */
DML__LANE void dml__gpu_set_ratio(const struct dml__gpu_optim_args *args,
                                  uint32_t tensor)
{
    double other = DML__FRESH(double, args->totals + 2 * tensor);
    const double w_square = DML__FRESH(double, args->totals + 2 * tensor + 1);
    const double clip = DML__FRESH(double, &args->state->clip);
    if (!args->moments)
        other = other * clip * clip;
    args->ratios[tensor] = dml__optim_ratio(
        args->rule, &args->opts, args->tensors[tensor].flags, w_square, other);
}

DML__LANE double dml__gpu_rate(const struct dml__gpu_optim_args *args)
{
    return args->rate != NULL ? *DML__VIEW(const double *, args->rate) : args->lr;
}

/* The step is over, and the next one is prepared. */
DML__LANE void dml__gpu_end(const struct dml__gpu_optim_args *args)
{
    struct dml__gpu_optim_state *state = args->state;
    const uint32_t found = DML__FRESH(uint32_t, &state->found);
    const bool skipped = state->skip != 0;
    if (found != DML__OPTIM_NONE) {
        state->found = DML__OPTIM_NONE;
        dml__gpu_stop(args, found, DML__OPTIM_FAULT_UPDATE);
        return;
    }
    if (skipped) {
        state->counters.skipped++;
    } else {
        state->counters.steps++;
        state->counters.last_lr = dml__gpu_rate(args);
    }
    state->last_skipped = state->skip;
    state->skip = 0;
    dml__optim_adapt_loss_scale(&args->opts, skipped, &state->counters);
    state->now = dml__optim_now_of(&args->opts, &state->counters);
}

#endif
