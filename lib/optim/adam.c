/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Adam (Kingma and Ba 2015, algorithm 1), where weight decay is part of the gradient,
 * and AdamW (Loshchilov and Hutter 2019, algorithm 2), where it is part of the step.
 */
#include "optim/optimizer.h"

#include <math.h>

static void defaults_adam(dml_optim_opts *opts)
{
    opts->beta1 = 0.9;
    opts->beta2 = 0.999;
    opts->eps = 1e-8;
    opts->bias_correction = true;
}

static void defaults_adamw(dml_optim_opts *opts)
{
    defaults_adam(opts);
    opts->weight_decay = 0.01;
}

dml_status dml__optim_check_moments(dml_ctx *ctx, const char *where,
                                    const dml_optim_opts *opts)
{
    if (!(opts->beta1 >= 0 && opts->beta1 < 1))
        return dml__optim_refuse(ctx, where, "beta1", opts->beta1, "0 <= beta1 < 1");
    if (!(opts->beta2 >= 0 && opts->beta2 < 1))
        return dml__optim_refuse(ctx, where, "beta2", opts->beta2, "0 <= beta2 < 1");
    if (!((float)opts->eps > 0 && isfinite((float)opts->eps)))
        return dml__optim_refuse(ctx, where, "eps", opts->eps,
                                 "a number > 0, within the range of f32");
    return DML_OK;
}

static size_t nslots(const dml_optim_opts *opts)
{
    (void)opts;
    return 2;
}

static void update_adam(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                        const struct dml__optim_now *now,
                        const struct dml__optim_part *part)
{
    struct dml__adam_args args = dml__optim_adam_args(opts, now);
    args.grad_decay = (float)dml__optim_decay(opts, part->tensor->param.flags);
    kernels->adam_f32(part->n, part->w, part->g, part->slot[0], part->slot[1], &args);
}

static void update_adamw(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                         const struct dml__optim_now *now,
                         const struct dml__optim_part *part)
{
    struct dml__adam_args args = dml__optim_adam_args(opts, now);
    args.step_decay = (float)dml__optim_decay(opts, part->tensor->param.flags);
    kernels->adam_f32(part->n, part->w, part->g, part->slot[0], part->slot[1], &args);
}

const struct dml__optim_rule dml__optim_adam = {
    .rule = DML_OPTIM_ADAM,
    .name = "adam",
    .slot_names = {"m", "v"},
    .norms = DML__NORMS_NONE,
    .defaults = defaults_adam,
    .check = dml__optim_check_moments,
    .nslots = nslots,
    .update = update_adam,
};

const struct dml__optim_rule dml__optim_adamw = {
    .rule = DML_OPTIM_ADAMW,
    .name = "adamw",
    .slot_names = {"m", "v"},
    .norms = DML__NORMS_NONE,
    .defaults = defaults_adamw,
    .check = dml__optim_check_moments,
    .nslots = nslots,
    .update = update_adamw,
};
