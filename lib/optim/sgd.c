/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stochastic gradient descent with momentum, Nesterov's look-ahead and weight decay.
 * Sutskever, Martens, Dahl and Hinton 2013. The velocity holds gradients, so that a
 * schedule needs no momentum correction, or steps (Goyal et al. 2017, equations 9, 10).
 */
#include "optim/optimizer.h"

#include <math.h>

static void defaults(dml_optim_opts *opts)
{
    opts->momentum = 0.9;
}

dml_status dml__optim_check_momentum(dml_ctx *ctx, const char *where,
                                     const dml_optim_opts *opts)
{
    if (!(opts->momentum >= 0 && opts->momentum < 1))
        return dml__optim_refuse(ctx, where, "momentum", opts->momentum,
                                 "0 <= momentum < 1");
    if (opts->nesterov && opts->momentum == 0)
        return dml__fail(ctx, DML_EINVAL, where,
                         "nesterov needs momentum > 0, and momentum is 0");
    if (opts->velocity != DML_RATE_OUTSIDE && opts->velocity != DML_RATE_INSIDE)
        return dml__fail(ctx, DML_EINVAL, where,
                         "velocity %d is unknown; use one of dml_velocity",
                         (int)opts->velocity);
    if (opts->momentum_correction && opts->velocity != DML_RATE_INSIDE)
        return dml__fail(ctx, DML_EINVAL, where,
                         "momentum_correction needs velocity DML_RATE_INSIDE: outside "
                         "the velocity a rate changes nothing that must be corrected");
    return DML_OK;
}

/* The velocity, which plain gradient descent does without. */
static size_t nslots(const dml_optim_opts *opts)
{
    return opts->momentum > 0 ? 1 : 0;
}

void dml__optim_sgd_update(const struct dml__kernels *kernels,
                           const dml_optim_opts *opts, const struct dml__optim_now *now,
                           const struct dml__optim_part *part)
{
    struct dml__sgd_args args =
        dml__optim_sgd_args(opts, now, part->tensor->param.flags, part->tensor->ratio);
    kernels->sgd_f32(part->n, part->w, part->g, part->slot[0], &args);
}

dml_status dml_optim_set_momentum(dml_optim *optim, double momentum)
{
    if (optim == NULL)
        return DML_EINVAL;
    dml_optim_opts opts = optim->opts;
    opts.momentum = momentum;
    if (optim->rule->update != dml__optim_sgd_update)
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "%s has no momentum to set; only sgd and lars have",
                         optim->rule->name);
    if (optim->phase != DML__OPTIM_IDLE)
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "a step is under way; finish it with dml_optim_apply()");
    DML_TRY(dml__optim_check_momentum(optim->ctx, __func__, &opts));
    if (optim->rule->nslots(&opts) > optim->nslots)
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "the optimizer was made with momentum 0, and has no velocity; "
                         "make it with the largest momentum");
    optim->opts.momentum = momentum;
    return DML_OK;
}

const struct dml__optim_rule dml__optim_sgd = {
    .rule = DML_OPTIM_SGD,
    .name = "sgd",
    .slot_names = {"velocity"},
    .norms = DML__NORMS_NONE,
    .defaults = defaults,
    .check = dml__optim_check_momentum,
    .nslots = nslots,
    .update = dml__optim_sgd_update,
};
