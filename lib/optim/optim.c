/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Optimizers: the tensors, their state, and the table of rules that update them. A new
 * rule is a file with a struct dml__optim_rule and a line in the table.
 */
#include "optim/rule.h"

#include <math.h>

static const struct dml__optim_rule *const rules[] = {
    [DML_OPTIM_SGD] = &dml__optim_sgd,
};

struct dml_optim {
    dml_ctx *ctx;
    const struct dml__optim_rule *rule;
    dml_optim_opts opts;
    size_t nparams;
    struct dml__optim_tensor *tensors; /* [nparams] */
    float *state;                      /* all slots of all tensors, one after another */
};

/* NULL when unknown. */
static const struct dml__optim_rule *find_rule(dml_optim_rule rule)
{
    size_t index = (size_t)rule;
    return index < sizeof rules / sizeof *rules ? rules[index] : NULL;
}

void dml_optim_opts_init(dml_optim_opts *opts, dml_optim_rule rule)
{
    *opts = (dml_optim_opts){.size = sizeof *opts};
    const struct dml__optim_rule *found = find_rule(rule);
    if (found != NULL)
        found->defaults(opts);
}

/* Every tensor has its memory; *count is their elements together. */
static dml_status check_params(dml_ctx *ctx, const char *where, const dml_param *params,
                               size_t nparams, size_t *count)
{
    *count = 0;
    if (nparams > 0 && params == NULL)
        return dml__fail(ctx, DML_EINVAL, where, "params is NULL, nparams is %zu",
                         nparams);
    for (size_t i = 0; i < nparams; i++) {
        if (params[i].count > SIZE_MAX - *count)
            return dml__fail(ctx, DML_ENOMEM, where,
                             "params[%zu]: more elements than memory can hold", i);
        *count += params[i].count;
        if (params[i].count > 0 && (params[i].param == NULL || params[i].grad == NULL))
            return dml__fail(ctx, DML_EINVAL, where,
                             "params[%zu] has %zu elements but no %s; pass its memory",
                             i, params[i].count,
                             params[i].param == NULL ? "param" : "grad");
    }
    return DML_OK;
}

static void place_slots(dml_optim *optim, size_t nslots)
{
    float *next = optim->state;
    for (size_t i = 0; i < optim->nparams; i++)
        for (size_t k = 0; k < nslots; k++) {
            optim->tensors[i].slot[k] = next;
            next += optim->tensors[i].param.count;
        }
}

dml_status dml_optim_create(dml_ctx *ctx, dml_optim_rule rule, const dml_param *params,
                            size_t nparams, const dml_optim_opts *opts, dml_optim **out)
{
    if (ctx == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "ctx or optim is NULL");
    const struct dml__optim_rule *found = find_rule(rule);
    if (found == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "rule %d is unknown; use one of dml_optim_rule", (int)rule);
    dml_optim_opts defaults;
    dml_optim_opts_init(&defaults, rule);
    if (opts == NULL)
        opts = &defaults;
    if (opts->size != sizeof *opts)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "opts.size is %zu, not %zu; call dml_optim_opts_init() first",
                         opts->size, sizeof *opts);
    DML_TRY(found->check(ctx, __func__, opts));
    size_t count;
    DML_TRY(check_params(ctx, __func__, params, nparams, &count));

    size_t nslots = found->nslots(opts);
    dml_optim *optim = dml__alloc(ctx, sizeof *optim);
    if (optim == NULL)
        goto fail;
    *optim = (dml_optim){.ctx = ctx, .rule = found, .opts = *opts, .nparams = nparams};
    optim->tensors = dml__alloc(ctx, dml__mul(nparams, sizeof *optim->tensors));
    optim->state = dml__alloc(ctx, dml__mul(dml__mul(count, nslots), sizeof(float)));
    if (optim->tensors == NULL || optim->state == NULL)
        goto fail;
    for (size_t i = 0; i < nparams; i++)
        optim->tensors[i].param = params[i];
    place_slots(optim, nslots);
    *out = optim;
    return DML_OK;

fail:
    dml_optim_destroy(optim);
    return dml__fail(ctx, DML_ENOMEM, __func__,
                     "no memory for the state of %zu tensors with %zu elements",
                     nparams, count);
}

void dml_optim_destroy(dml_optim *optim)
{
    if (optim == NULL)
        return;
    dml__free(optim->state);
    dml__free(optim->tensors);
    dml__free(optim);
}

dml_status dml_optim_step(dml_optim *optim, double lr)
{
    if (!(lr >= 0 && isfinite((float)lr)))
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "lr is %g; use 0 or more, within the range of f32", lr);
    const struct dml__kernels *kernels = dml__ctx_kernels(optim->ctx);
    for (size_t i = 0; i < optim->nparams; i++)
        optim->rule->apply(kernels, &optim->opts, lr, &optim->tensors[i]);
    return DML_OK;
}
