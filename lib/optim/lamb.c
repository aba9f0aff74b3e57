/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LAMB: AdamW whose step is scaled per tensor to the norm of the weights. You et al.
 * 2019 (arXiv 1904.00962), algorithm 2, with the identity for phi.
 *
 * The moments' sweep stores m and v, and the update makes the step from them once more:
 * 40 bytes an element. To store the step would cost 44, and so would it to leave m and
 * v to the second sweep.
 */
#include "optim/optimizer.h"

static void defaults(dml_optim_opts *opts)
{
    opts->beta1 = 0.9;
    opts->beta2 = 0.999;
    opts->eps = 1e-6;
    opts->bias_correction = true;
    opts->weight_decay = 0.01;
}

static size_t nslots(const dml_optim_opts *opts)
{
    (void)opts;
    return 2;
}

static void moments(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                    const struct dml__optim_now *now,
                    const struct dml__optim_part *part, double sums[2])
{
    struct dml__adam_args args =
        dml__optim_lamb_args(opts, now, part->tensor->param.flags, part->tensor->ratio);
    kernels->moments_f32(part->n, part->w, part->g, part->slot[0], part->slot[1], sums,
                         &args);
}

static void update(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                   const struct dml__optim_now *now, const struct dml__optim_part *part)
{
    struct dml__adam_args args =
        dml__optim_lamb_args(opts, now, part->tensor->param.flags, part->tensor->ratio);
    kernels->move_f32(part->n, part->w, part->slot[0], part->slot[1], &args);
}

const struct dml__optim_rule dml__optim_lamb = {
    .rule = DML_OPTIM_LAMB,
    .name = "lamb",
    .slot_names = {"m", "v"},
    .norms = DML__NORMS_STEP,
    .defaults = defaults,
    .check = dml__optim_check_moments,
    .nslots = nslots,
    .moments = moments,
    .update = update,
};
