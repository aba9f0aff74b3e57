/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One step: norms, ratios, clipping, loss scaling, update, as a machine that stops
 * where sums may have to be added up over shards.
 *
 * Loss scaling: Micikevicius et al. 2018, arXiv 1710.03740, section 3.2.
 */
#include "optim/optim_internal.h"

#include <math.h>
#include <string.h>

static const double largest_loss_scale = 0x1p24, smallest_loss_scale = 0x1p-24;

/* A tensor's sum of column "column" of "width", added up in the order of the blocks. */
static double tensor_sum(const dml_optim *optim, size_t tensor, size_t column,
                         size_t width)
{
    size_t begin = optim->tensors[tensor].first_sum;
    size_t end = tensor + 1 < optim->nparams ? optim->tensors[tensor + 1].first_sum
                                             : optim->nsums;
    double sum = 0;
    for (size_t block = begin; block < end; block++)
        sum += optim->sums[block * width + column];
    return sum;
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

/* The tensor's ratio from the squares of |w| and the other norm. */
static double ratio_of(const dml_optim *optim, size_t tensor, double w_square,
                       double other_square)
{
    const dml_optim_opts *opts = &optim->opts;
    const dml_param *p = &optim->tensors[tensor].param;
    if ((p->flags & DML_PARAM_NO_ADAPT) != 0 || !(w_square > 0 && other_square > 0))
        return 1;
    double ratio = optim->rule->ratio(opts, p, sqrt(w_square), sqrt(other_square));
    return opts->trust_max > 0 && ratio > opts->trust_max ? opts->trust_max : ratio;
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
    for (size_t i = 0; i < optim->nparams; i++) {
        double square = tensor_sum(optim, i, 0, width);
        if (!isfinite(square) && faulty == optim->nparams)
            faulty = i;
        all += square;
    }
    optim->grad_norm = sqrt(all);
    if (checks && faulty < optim->nparams) {
        if (opts->loss_scale == 0)
            return not_finite(optim, where, faulty,
                              "the gradient is not finite; nothing was changed");
        optim->skip = true;
        return DML_OK;
    }
    double clip = 1;
    if (opts->clip_norm > 0 && optim->grad_norm > opts->clip_norm)
        clip = opts->clip_norm / optim->grad_norm;
    optim->now.grad_scale *= clip;
    for (size_t i = 0; width == 2 && i < optim->nparams; i++) {
        double w_square = tensor_sum(optim, i, 1, width);
        if (opts->finite != DML_FINITE_OFF && !isfinite(w_square))
            return not_finite(optim, where, i,
                              "the parameter is not finite; nothing was changed");
        double g_square = tensor_sum(optim, i, 0, width) * clip * clip;
        optim->tensors[i].ratio = ratio_of(optim, i, w_square, g_square);
    }
    return DML_OK;
}

static dml_status take_moments(dml_optim *optim, const char *where)
{
    for (size_t i = 0; i < optim->nparams; i++) {
        double square = tensor_sum(optim, i, 0, 2);
        double w_square = tensor_sum(optim, i, 1, 2);
        if (optim->opts.finite != DML_FINITE_OFF && !isfinite(square + w_square))
            return not_finite(optim, where, i,
                              "gradient, parameter or state is not finite; parameters "
                              "were not changed, the state was");
        optim->tensors[i].ratio = ratio_of(optim, i, w_square, square);
    }
    return DML_OK;
}

static void begin(dml_optim *optim)
{
    const dml_optim_opts *opts = &optim->opts;
    double t = (double)(optim->counters.steps + 1);
    bool unbias = opts->bias_correction;
    optim->skip = false;
    optim->grad_norm = NAN;
    optim->now = (struct dml__optim_now){
        .last_lr = optim->counters.last_lr,
        .unbias1 = unbias ? 1 / (1 - pow(opts->beta1, t)) : 1,
        .unbias2 = unbias ? 1 / (1 - pow(opts->beta2, t)) : 1,
        .grad_scale = opts->loss_scale > 0 ? 1 / optim->counters.loss_scale : 1,
    };
    for (size_t i = 0; i < optim->nparams; i++)
        optim->tensors[i].ratio = 1;
}

/* Sums for the caller: zero where a block lies elsewhere. */
static dml_status hand_out(dml_optim *optim, enum dml__optim_phase phase,
                           void (*sweep)(dml_optim *), size_t width, double **sums,
                           size_t *nsums)
{
    if (optim->sharded)
        memset(optim->sums, 0, optim->nsums * width * sizeof *optim->sums);
    sweep(optim);
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
            return hand_out(optim, DML__OPTIM_GRADS, dml__optim_sweep_grads,
                            dml__optim_grad_width(optim), sums, nsums);
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
        return hand_out(optim, DML__OPTIM_MOMENTS, dml__optim_sweep_moments, 2, sums,
                        nsums);
    optim->phase = DML__OPTIM_READY;
    *sums = optim->sums;
    *nsums = 0;
    return DML_OK;
}

dml_status dml_optim_norms(dml_optim *optim, double **sums, size_t *nsums)
{
    if (optim == NULL)
        return DML_EINVAL;
    return norms(optim, __func__, sums, nsums);
}

/* The loss scale after a step that was skipped, or made. */
static void adapt_loss_scale(dml_optim *optim)
{
    dml_optim_counters *c = &optim->counters;
    if (optim->opts.loss_scale == 0 || optim->opts.loss_scale_window == 0)
        return;
    if (optim->skip) {
        c->good_steps = 0;
        if (c->loss_scale / 2 >= smallest_loss_scale)
            c->loss_scale /= 2;
    } else if (++c->good_steps >= optim->opts.loss_scale_window) {
        c->good_steps = 0;
        if (c->loss_scale * 2 <= largest_loss_scale)
            c->loss_scale *= 2;
    }
}

static dml_status check_lr(dml_optim *optim, const char *where, double lr)
{
    if (!(lr >= 0 && isfinite((float)lr)))
        return dml__optim_refuse(optim->ctx, where, "lr", lr,
                                 "0 or more, within the range of f32");
    return DML_OK;
}

static dml_status apply(dml_optim *optim, const char *where, double lr)
{
    if (!optim->skip) {
        optim->now.lr = lr;
        size_t faulty = dml__optim_sweep_update(optim);
        if (faulty < optim->nparams)
            return not_finite(
                optim, where, faulty,
                "the gradient is not finite; the update is incomplete, go "
                "back to a snapshot (or set finite to DML_FINITE_FIRST)");
        optim->counters.steps++;
        optim->counters.last_lr = lr;
    } else {
        optim->counters.skipped++;
    }
    optim->last_skipped = optim->skip;
    adapt_loss_scale(optim);
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
    DML_TRY(check_lr(optim, __func__, lr));
    return apply(optim, __func__, lr);
}

dml_status dml_optim_step(dml_optim *optim, double lr)
{
    if (optim == NULL)
        return DML_EINVAL;
    DML_TRY(check_lr(optim, __func__, lr));
    if (optim->phase != DML__OPTIM_IDLE)
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "a step is under way; finish it with dml_optim_apply()");
    if (optim->sharded &&
        (dml__optim_sums_grads(optim) || optim->rule->norms == DML__NORMS_STEP))
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "the tensors are shards, whose sums must be added up; use "
                         "dml_optim_norms() and dml_optim_apply()");
    double *sums;
    size_t nsums;
    dml_status status;
    while ((status = norms(optim, __func__, &sums, &nsums)) == DML_PENDING)
        continue;
    return status == DML_OK ? apply(optim, __func__, lr) : status;
}
