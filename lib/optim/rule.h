/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an update rule is to optim.c: one table entry, one file per rule.
 *
 * A rule asks for nslots vectors of f32 state per tensor and updates one tensor at a
 * time. Statistics of a tensor, such as LARS's norms, are taken at the start of
 * apply(), while the tensor is in cache.
 */
#ifndef DML__OPTIM_RULE_H
#define DML__OPTIM_RULE_H

#include "dml/optim.h"

#include "kernels/kernels.h"

#define DML__OPTIM_SLOTS 2 /* most vectors of state per tensor */

struct dml__optim_tensor {
    dml_param param;
    float *slot[DML__OPTIM_SLOTS]; /* each [param.count], zero at first */
};

struct dml__optim_rule {
    const char *name;
    void (*defaults)(dml_optim_opts *opts);
    /* Range of the options this rule reads; "where" is the public function's name. */
    dml_status (*check)(dml_ctx *ctx, const char *where, const dml_optim_opts *opts);
    size_t (*nslots)(const dml_optim_opts *opts); /* <= DML__OPTIM_SLOTS */
    void (*apply)(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                  double lr, const struct dml__optim_tensor *tensor);
};

extern const struct dml__optim_rule dml__optim_sgd;

#endif
