/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One step: norms, ratios, clipping, loss scaling, update, as a machine that stops
 * where sums may have to be added up over shards.
 */
#include "optim/optimizer.h"

#include <math.h>
#include <string.h>

static const char *const fault_texts[] = {
    [DML__OPTIM_FAULT_GRAD] = "the gradient is not finite; nothing was changed",
    [DML__OPTIM_FAULT_PARAM] = "the parameter is not finite; nothing was changed",
    [DML__OPTIM_FAULT_MOMENTS] = "gradient, parameter or state is not finite; "
                                 "parameters were not changed, the state was",
    [DML__OPTIM_FAULT_UPDATE] =
        "the gradient is not finite; the update is incomplete, go back to a snapshot "
        "(or set finite to DML_FINITE_FIRST)",
};

/*
 * A tensor's sum of column "column" of "width": block i goes to partial sum i mod
 * SUM_LANES, and these are added pairwise, the upper half to the lower. A device adds
 * them so, too.
 */
static double tensor_sum(const dml_optim *optim, size_t tensor, size_t column,
                         size_t width)
{
    enum { SUM_LANES = 32 };
    double lanes[SUM_LANES] = {0};
    size_t begin = optim->tensors[tensor].first_sum;
    size_t end = tensor + 1 < optim->nparams ? optim->tensors[tensor + 1].first_sum
                                             : optim->nsums;
    for (size_t block = begin; block < end; block++)
        lanes[(block - begin) % SUM_LANES] += optim->sums[block * width + column];
    for (size_t half = SUM_LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            lanes[j] += lanes[j + half];
    return lanes[0];
}

static dml_status not_finite(dml_optim *optim, const char *where, size_t tensor,
                             const char *what)
{
    const char *name = optim->tensors[tensor].param.name;
    unsigned long long step = optim->counters.steps + 1;
    optim->phase = DML__OPTIM_IDLE;
    if (optim->opts.rank < 0)
        return dml__fail(optim->ctx, DML_ENUMERIC, where, "%s: %s, in step %llu", name,
                         what, step);
    return dml__fail_values(optim->ctx, DML_ENUMERIC, where, optim->opts.rank, 0, 0,
                            "%s: %s, in step %llu of rank %d", name, what, step,
                            optim->opts.rank);
}

dml_status dml__optim_look(dml_optim *optim, const char *where, bool wait)
{
    struct dml__optim_seen seen;
    if (optim->device == NULL)
        return DML_OK;
    dml_status status = dml__optim_device_look(optim, wait, &seen);
    if (status != DML_OK)
        return status == DML_PENDING ? DML_OK : status;
    optim->counters = seen.counters;
    optim->grad_norm = seen.grad_norm;
    optim->last_skipped = seen.last_skipped;
    return seen.tensor == DML__OPTIM_NONE
               ? DML_OK
               : not_finite(optim, where, seen.tensor, fault_texts[seen.fault]);
}

/* The tensor's ratio from the squares of |w| and the other norm. */
static double ratio_of(const dml_optim *optim, size_t tensor, double w_square,
                       double other_square)
{
    return dml__optim_ratio(optim->rule->rule, &optim->opts,
                            optim->tensors[tensor].param.flags, w_square, other_square);
}

/* The sums of the gradients are there: is all finite, and how is it to be scaled? The
 * squares are those of gradients already divided by the loss scale. */
static dml_status take_grads(dml_optim *optim, const char *where)
{
    const dml_optim_opts *opts = &optim->opts;
    const size_t width = dml__optim_grad_width(optim);
    const bool checks = opts->finite != DML_FINITE_OFF || opts->loss_scale > 0;
    size_t faulty = optim->nparams;
    double all = 0;
    if (optim->device != NULL)
        return dml__optim_device_judge(optim, false);
    for (size_t i = 0; i < optim->nparams; i++) {
        double square = tensor_sum(optim, i, 0, width);
        if (!isfinite(square) && faulty == optim->nparams)
            faulty = i;
        all += square;
    }
    optim->grad_norm = sqrt(all);
    if (checks && faulty < optim->nparams) {
        if (opts->loss_scale == 0)
            return not_finite(optim, where, faulty, fault_texts[DML__OPTIM_FAULT_GRAD]);
        optim->skip = true;
        return DML_OK;
    }
    const double clip = dml__optim_clip(opts, optim->grad_norm);
    optim->now.grad_scale *= clip;
    for (size_t i = 0; width == 2 && i < optim->nparams; i++) {
        double w_square = tensor_sum(optim, i, 1, width);
        if (opts->finite != DML_FINITE_OFF && !isfinite(w_square))
            return not_finite(optim, where, i, fault_texts[DML__OPTIM_FAULT_PARAM]);
        double g_square = tensor_sum(optim, i, 0, width) * clip * clip;
        optim->tensors[i].ratio = ratio_of(optim, i, w_square, g_square);
    }
    return DML_OK;
}

static dml_status take_moments(dml_optim *optim, const char *where)
{
    if (optim->device != NULL)
        return dml__optim_device_judge(optim, true);
    for (size_t i = 0; i < optim->nparams; i++) {
        double square = tensor_sum(optim, i, 0, 2);
        double w_square = tensor_sum(optim, i, 1, 2);
        if (optim->opts.finite != DML_FINITE_OFF && !isfinite(square + w_square))
            return not_finite(optim, where, i, fault_texts[DML__OPTIM_FAULT_MOMENTS]);
        optim->tensors[i].ratio = ratio_of(optim, i, w_square, square);
    }
    return DML_OK;
}

static void begin(dml_optim *optim)
{
    optim->skip = false;
    optim->grad_norm = NAN;
    optim->now = dml__optim_now_of(&optim->opts, &optim->counters);
    for (size_t i = 0; i < optim->nparams; i++)
        optim->tensors[i].ratio = 1;
}

/* Sums for the caller: zero where a block lies elsewhere. */
static dml_status hand_out(dml_optim *optim, enum dml__optim_phase phase, size_t width,
                           double **sums, size_t *nsums)
{
    const bool moments = phase == DML__OPTIM_MOMENTS;
    if (optim->device != NULL) {
        DML_TRY(dml__optim_device_sums(optim, moments, optim->sharded));
    } else {
        if (optim->sharded)
            memset(optim->sums, 0, optim->nsums * width * sizeof *optim->sums);
        if (moments)
            dml__optim_sweep_moments(optim);
        else
            dml__optim_sweep_grads(optim);
    }
    optim->phase = phase;
    *sums = optim->sums;
    *nsums = optim->nsums * width;
    return DML_PENDING;
}

static dml_status norms(dml_optim *optim, const char *where, double **sums,
                        size_t *nsums)
{
    switch (optim->phase) {
    case DML__OPTIM_IDLE:
        begin(optim);
        if (dml__optim_sums_grads(optim))
            return hand_out(optim, DML__OPTIM_GRADS, dml__optim_grad_width(optim), sums,
                            nsums);
        break;
    case DML__OPTIM_GRADS:
        DML_TRY(take_grads(optim, where));
        break;
    case DML__OPTIM_MOMENTS:
        DML_TRY(take_moments(optim, where));
        break;
    case DML__OPTIM_READY:
        break;
    }
    if (optim->rule->norms == DML__NORMS_STEP && !optim->skip &&
        optim->phase < DML__OPTIM_MOMENTS)
        return hand_out(optim, DML__OPTIM_MOMENTS, 2, sums, nsums);
    optim->phase = DML__OPTIM_READY;
    *sums = optim->sums;
    *nsums = 0;
    return DML_OK;
}

dml_status dml_optim_norms(dml_optim *optim, double **sums, size_t *nsums)
{
    if (optim == NULL)
        return DML_EINVAL;
    if (optim->phase == DML__OPTIM_IDLE)
        DML_TRY(dml__optim_look(optim, __func__, false));
    return norms(optim, __func__, sums, nsums);
}

/* *at becomes what the step has for a rate. A device reads it from where it lies. */
static dml_status check_lr(dml_optim *optim, const char *where, double *at)
{
    if (optim->rate != NULL && optim->device != NULL)
        return DML_OK;
    const double lr = *at = optim->rate != NULL ? *optim->rate : *at;
    if (!(lr >= 0 && isfinite((float)lr)))
        return dml__optim_refuse(optim->ctx, where, "lr", lr,
                                 "0 or more, within the range of f32");
    return DML_OK;
}

static dml_status apply(dml_optim *optim, const char *where, double lr)
{
    if (optim->device != NULL) {
        optim->phase = DML__OPTIM_IDLE;
        return dml__optim_device_update(optim, lr);
    }
    if (!optim->skip) {
        optim->now.lr = lr;
        size_t faulty = dml__optim_sweep_update(optim);
        if (faulty < optim->nparams)
            return not_finite(optim, where, faulty,
                              fault_texts[DML__OPTIM_FAULT_UPDATE]);
        optim->counters.steps++;
        optim->counters.last_lr = lr;
    } else {
        optim->counters.skipped++;
    }
    optim->last_skipped = optim->skip;
    dml__optim_adapt_loss_scale(&optim->opts, optim->skip, &optim->counters);
    optim->phase = DML__OPTIM_IDLE;
    return DML_OK;
}

dml_status dml_optim_apply(dml_optim *optim, double lr)
{
    if (optim == NULL)
        return DML_EINVAL;
    if (optim->phase != DML__OPTIM_READY)
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "norms are missing; call dml_optim_norms() until it returns "
                         "DML_OK");
    DML_TRY(check_lr(optim, __func__, &lr));
    return apply(optim, __func__, lr);
}

dml_status dml_optim_step(dml_optim *optim, double lr)
{
    if (optim == NULL)
        return DML_EINVAL;
    DML_TRY(check_lr(optim, __func__, &lr));
    if (optim->phase != DML__OPTIM_IDLE)
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "a step is under way; finish it with dml_optim_apply()");
    if (optim->sharded &&
        (dml__optim_sums_grads(optim) || optim->rule->norms == DML__NORMS_STEP))
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "the tensors are shards, whose sums must be added up; use "
                         "dml_optim_norms() and dml_optim_apply()");
    DML_TRY(dml__optim_look(optim, __func__, false));
    double *sums;
    size_t nsums;
    dml_status status;
    while ((status = norms(optim, __func__, &sums, &nsums)) == DML_PENDING)
        continue;
    return status == DML_OK ? apply(optim, __func__, lr) : status;
}

dml_status dml_optim_wait(dml_optim *optim)
{
    return optim != NULL ? dml__optim_look(optim, __func__, true) : DML_EINVAL;
}

void dml_optim_read_rate(dml_optim *optim, const double *rate)
{
    optim->rate = rate;
}

dml_status dml_optim_set_stream(dml_optim *optim, void *stream)
{
    if (optim == NULL)
        return DML_EINVAL;
    return optim->device != NULL ? dml__optim_device_stream(optim, stream) : DML_OK;
}
