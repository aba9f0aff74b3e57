/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AdaGrad: every weight has a rate of its own, that falls as its squared gradients add
 * up. Duchi, Hazan and Singer 2011 (JMLR 12), figure 1 with the diagonal matrix.
 *
 * That is Adam's loop, whose mean goes to a block that nobody keeps.
 */
#include "optim/optimizer.h"

#include <math.h>

static void defaults(dml_optim_opts *opts)
{
    opts->eps = 1e-10;
}

static dml_status check(dml_ctx *ctx, const char *where, const dml_optim_opts *opts)
{
    if (!((float)opts->eps > 0 && isfinite((float)opts->eps)))
        return dml__optim_refuse(ctx, where, "eps", opts->eps,
                                 "a number > 0, within the range of f32");
    return DML_OK;
}

static size_t nslots(const dml_optim_opts *opts)
{
    (void)opts;
    return 1;
}

static void update(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                   const struct dml__optim_now *now, const struct dml__optim_part *part)
{
    float mean[DML_OPTIM_BLOCK] = {0};
    const struct dml__adam_args args =
        dml__optim_adagrad_args(opts, now, part->tensor->param.flags);
    kernels->adam_f32(part->n, part->w, part->g, mean, part->slot[0], &args);
}

const struct dml__optim_rule dml__optim_adagrad = {
    .rule = DML_OPTIM_ADAGRAD,
    .name = "adagrad",
    .slot_names = {"sum"},
    .norms = DML__NORMS_NONE,
    .defaults = defaults,
    .check = check,
    .nslots = nslots,
    .update = update,
};
