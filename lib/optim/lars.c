/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LARS: SGD whose step is scaled per tensor by the norms of weights and gradient. You,
 * Gitman and Ginsburg 2017 (arXiv 1708.03888), algorithm 1.
 */
#include "optim/optimizer.h"

#include <math.h>

static void defaults(dml_optim_opts *opts)
{
    opts->momentum = 0.9;
    opts->weight_decay = 1e-4;
    opts->velocity = DML_RATE_INSIDE;
    opts->trust = 0.001;
}

static dml_status check(dml_ctx *ctx, const char *where, const dml_optim_opts *opts)
{
    DML_TRY(dml__optim_check_momentum(ctx, where, opts));
    if (!(opts->eps >= 0 && isfinite(opts->eps)))
        return dml__optim_refuse(ctx, where, "eps", opts->eps, "0 or more");
    if (!(opts->trust > 0 && isfinite(opts->trust)))
        return dml__optim_refuse(ctx, where, "trust", opts->trust, "a number > 0");
    return DML_OK;
}

static size_t nslots(const dml_optim_opts *opts)
{
    return opts->momentum > 0 ? 1 : 0;
}

const struct dml__optim_rule dml__optim_lars = {
    .rule = DML_OPTIM_LARS,
    .name = "lars",
    .slot_names = {"velocity"},
    .norms = DML__NORMS_GRAD,
    .defaults = defaults,
    .check = check,
    .nslots = nslots,
    .update = dml__optim_sgd_update,
};
