/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LARS: SGD whose step is scaled per tensor by the norms of weights and gradient. You,
 * Gitman and Ginsburg 2017 (arXiv 1708.03888), algorithm 1.
 */
#include "optim/optim_internal.h"

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

static double ratio(const dml_optim_opts *opts, const dml_param *param, double w_norm,
                    double g_norm)
{
    double decay = dml__optim_decay(opts, param);
    return opts->trust * w_norm / (g_norm + decay * w_norm + opts->eps);
}

const struct dml__optim_rule dml__optim_lars = {
    .name = "lars",
    .slot_names = {"velocity"},
    .norms = DML__NORMS_GRAD,
    .defaults = defaults,
    .check = check,
    .nslots = nslots,
    .ratio = ratio,
    .update = dml__optim_sgd_update,
};
