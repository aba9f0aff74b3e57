/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stochastic gradient descent with momentum, Nesterov's look-ahead and weight decay.
 * Sutskever, Martens, Dahl and Hinton 2013; the velocity does not hold the rate (Goyal
 * et al. 2017, equation 9), so that a schedule changes no momentum correction.
 */
#include "optim/rule.h"

#include <math.h>

static void defaults(dml_optim_opts *opts)
{
    opts->momentum = 0.9;
}

static dml_status check(dml_ctx *ctx, const char *where, const dml_optim_opts *opts)
{
    if (!(opts->momentum >= 0 && opts->momentum < 1))
        return dml__fail(ctx, DML_EINVAL, where,
                         "momentum is %g; use 0 <= momentum < 1", opts->momentum);
    if (!(opts->weight_decay >= 0 && isfinite((float)opts->weight_decay)))
        return dml__fail(ctx, DML_EINVAL, where,
                         "weight_decay is %g; use 0 or more, within the range of f32",
                         opts->weight_decay);
    if (opts->nesterov && opts->momentum == 0)
        return dml__fail(ctx, DML_EINVAL, where,
                         "nesterov needs momentum > 0, and momentum is 0");
    return DML_OK;
}

/* The velocity, which plain gradient descent does without. */
static size_t nslots(const dml_optim_opts *opts)
{
    return opts->momentum > 0 ? 1 : 0;
}

static void apply(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                  double lr, const struct dml__optim_tensor *tensor)
{
    const dml_param *p = &tensor->param;
    bool decays = (p->flags & DML_PARAM_NO_DECAY) == 0;
    struct dml__sgd_args args = {
        .lr = (float)lr,
        .momentum = (float)opts->momentum,
        .weight_decay = decays ? (float)opts->weight_decay : 0,
        .nesterov = opts->nesterov != 0,
    };
    kernels->sgd_f32(p->count, p->param, p->grad, tensor->slot[0], &args);
}

const struct dml__optim_rule dml__optim_sgd = {
    .name = "sgd",
    .defaults = defaults,
    .check = check,
    .nslots = nslots,
    .apply = apply,
};
