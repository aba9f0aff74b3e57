/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Optimizers: the table of rules, the checks of what a caller passes, and the memory. A
 * new rule is a file with a struct dml__optim_rule and a line in the table.
 */
#include "optim/optimizer.h"
#include "optim/sums.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct dml__optim_rule *const rules[] = {
    [DML_OPTIM_SGD] = &dml__optim_sgd,     [DML_OPTIM_ADAM] = &dml__optim_adam,
    [DML_OPTIM_ADAMW] = &dml__optim_adamw, [DML_OPTIM_LARS] = &dml__optim_lars,
    [DML_OPTIM_LAMB] = &dml__optim_lamb,   [DML_OPTIM_ADAGRAD] = &dml__optim_adagrad,
};

enum { MAX_THREADS = 256 };

/* NULL when unknown. */
static const struct dml__optim_rule *find_rule(dml_optim_rule rule)
{
    size_t index = (size_t)rule;
    return index < sizeof rules / sizeof *rules ? rules[index] : NULL;
}

unsigned dml_param_flags(int ndims)
{
    return ndims > 1 ? 0 : DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT;
}

void dml_optim_opts_init(dml_optim_opts *opts, dml_optim_rule rule)
{
    *opts = (dml_optim_opts){
        .size = sizeof *opts, .loss_scale_window = 2000, .threads = 1, .rank = -1};
    const struct dml__optim_rule *found = find_rule(rule);
    if (found != NULL)
        found->defaults(opts);
}

/* ---- what rules share --------------------------------------------------------------
 */

dml_status dml__optim_refuse(dml_ctx *ctx, const char *where, const char *option,
                             double value, const char *range)
{
    return dml__fail(ctx, DML_EINVAL, where, "%s is %g; use %s", option, value, range);
}

/* ---- checks ------------------------------------------------------------------------
 */

/* Options of all rules. */
static dml_status check_opts(dml_ctx *ctx, const char *where,
                             const dml_optim_opts *opts)
{
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"weight_decay", opts->weight_decay}, {"trust_max", opts->trust_max},
        {"clip_norm", opts->clip_norm},       {"clip_value", opts->clip_value},
        {"loss_scale", opts->loss_scale},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!(numbers[i].value >= 0 && isfinite((float)numbers[i].value)))
            return dml__optim_refuse(ctx, where, numbers[i].name, numbers[i].value,
                                     "0 or more, within the range of f32");
    if (opts->clip_norm > 0 && opts->clip_value > 0)
        return dml__fail(ctx, DML_EINVAL, where,
                         "clip_norm is %g and clip_value %g; use one of them",
                         opts->clip_norm, opts->clip_value);
    if (opts->finite != DML_FINITE_RIDE && opts->finite != DML_FINITE_FIRST &&
        opts->finite != DML_FINITE_OFF)
        return dml__fail(ctx, DML_EINVAL, where,
                         "finite %d is unknown; use one of dml_finite",
                         (int)opts->finite);
    if (opts->threads < 1 || opts->threads > MAX_THREADS)
        return dml__fail(ctx, DML_EINVAL, where, "threads is %d; use 1 to %d",
                         opts->threads, MAX_THREADS);
    return DML_OK;
}

static bool is_float(dml_dtype dtype)
{
    return dtype == DML_F32 || dtype == DML_F16 || dtype == DML_BF16;
}

static dml_status check_param(dml_ctx *ctx, const char *where, const dml_param *p,
                              size_t i)
{
    if (p->count > 0 && (p->param == NULL || p->grad == NULL))
        return dml__fail(ctx, DML_EINVAL, where,
                         "params[%zu] has %zu elements but no %s; pass its memory", i,
                         p->count, p->param == NULL ? "param" : "grad");
    if (!is_float(p->dtype) || !is_float(p->grad_dtype))
        return dml__fail(ctx, DML_EINVAL, where,
                         "params[%zu]: %s is %s; use f32, f16 or bf16", i,
                         is_float(p->dtype) ? "grad_dtype" : "dtype",
                         dml_dtype_name(is_float(p->dtype) ? p->grad_dtype : p->dtype));
    size_t whole = p->whole > 0 ? p->whole : p->count;
    if (p->first > whole || p->count > whole - p->first)
        return dml__fail(ctx, DML_EINVAL, where,
                         "params[%zu]: %zu elements from %zu on do not lie in a whole "
                         "of %zu; set first and whole",
                         i, p->count, p->first, whole);
    return DML_OK;
}

/* ---- memory ------------------------------------------------------------------------
 */

/* Vectors begin at a multiple of DML__ALIGN bytes. */
static size_t padded(size_t count)
{
    enum { STEP = DML__ALIGN / sizeof(float) };
    return count > SIZE_MAX - STEP ? SIZE_MAX : (count + STEP - 1) / STEP * STEP;
}

/* What all tensors need together. */
struct need {
    size_t floats, names;
};

/* *sum += times * count; false when that is more than any memory. */
static bool add(size_t *sum, size_t times, size_t count)
{
    size_t product = dml__mul(count, times);
    if (product >= SIZE_MAX - *sum)
        return false;
    *sum += product;
    return true;
}

/* Fills the tensors but for their pointers to state. False: larger than memory. */
static bool describe(dml_optim *optim, const dml_param *params, struct need *need)
{
    enum { B = DML_OPTIM_BLOCK };
    *need = (struct need){0};
    for (size_t i = 0; i < optim->nparams; i++) {
        struct dml__optim_tensor *tensor = &optim->tensors[i];
        dml_param *p = &tensor->param;
        *p = params[i];
        if (p->whole == 0)
            p->whole = p->count;
        size_t vectors = optim->nslots + (p->dtype != DML_F32);
        if (!add(&need->floats, vectors, padded(p->count)))
            return false;
        optim->state_count += vectors * p->count;
        optim->has_masters |= p->dtype != DML_F32;
        optim->sharded |= p->count < p->whole;
        need->names += p->name != NULL ? strlen(p->name) + 1 : sizeof "params[]" + 20;
        tensor->ratio = 1;
        tensor->first_sum = optim->nsums;
        tensor->first_work = optim->nwork;
        optim->nsums += p->whole / B + (p->whole % B != 0);
        if (p->count > 0)
            optim->nwork += (p->first + p->count - 1) / B - p->first / B + 1;
    }
    return true;
}

static void place_state(dml_optim *optim)
{
    float *next = optim->state;
    for (size_t i = 0; i < optim->nparams; i++) {
        struct dml__optim_tensor *tensor = &optim->tensors[i];
        for (size_t k = 0; k < optim->nslots; k++) {
            tensor->slot[k] = next;
            next += padded(tensor->param.count);
        }
        if (tensor->param.dtype != DML_F32) {
            tensor->master = next;
            next += padded(tensor->param.count);
        }
    }
}

static void place_names(dml_optim *optim, size_t bytes)
{
    char *next = optim->names, *end = next + bytes;
    for (size_t i = 0; i < optim->nparams; i++) {
        dml_param *p = &optim->tensors[i].param;
        size_t left = (size_t)(end - next);
        int length = p->name != NULL ? snprintf(next, left, "%s", p->name)
                                     : snprintf(next, left, "params[%zu]", i);
        p->name = next;
        next += length + 1;
    }
}

/* False when memory or threads are lacking. */
static bool get_host_memory(dml_optim *optim, size_t state_bytes, size_t sum_bytes)
{
    dml_ctx *ctx = optim->ctx;
    size_t threads = (size_t)optim->opts.threads;
    optim->state = dml__alloc(ctx, state_bytes);
    optim->sums = dml__alloc(ctx, sum_bytes);
    optim->faulty = dml__alloc(ctx, threads * sizeof *optim->faulty);
    if (optim->state == NULL || optim->sums == NULL || optim->faulty == NULL)
        return false;
    return threads == 1 || (optim->team = dml__team_create(ctx, (int)threads)) != NULL;
}

static dml_status get_memory(dml_optim *optim, const dml_param *params)
{
    dml_ctx *ctx = optim->ctx;
    struct need need;
    optim->tensors = dml__alloc(ctx, dml__mul(optim->nparams, sizeof *optim->tensors));
    if (optim->tensors == NULL || !describe(optim, params, &need))
        return DML_ENOMEM;
    size_t width = optim->rule->norms == DML__NORMS_NONE ? 1 : 2;
    bool sums = dml__optim_sums_grads(optim) || width == 2;
    size_t sum_bytes =
        sums ? dml__mul(dml__mul(optim->nsums, width), sizeof(double)) : 0;
    size_t state_bytes = dml__mul(need.floats, sizeof *optim->state);
    optim->names = dml__alloc(ctx, need.names);
    if (optim->names == NULL)
        return DML_ENOMEM;
    place_names(optim, need.names);
    if (optim->device != NULL)
        DML_TRY(dml__optim_device_memory(optim->device, state_bytes, sum_bytes,
                                         &optim->state, &optim->sums));
    else if (!get_host_memory(optim, state_bytes, sum_bytes))
        return DML_ENOMEM;
    place_state(optim);
    return optim->device != NULL ? dml__optim_device_tables(optim) : DML_OK;
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
    DML_TRY(dml__check_size(ctx, __func__, opts->size, sizeof *opts,
                            "dml_optim_opts_init"));
    DML_TRY(found->check(ctx, __func__, opts));
    DML_TRY(check_opts(ctx, __func__, opts));
    if (nparams > 0 && params == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "params is NULL, nparams is %zu",
                         nparams);
    for (size_t i = 0; i < nparams; i++)
        DML_TRY(check_param(ctx, __func__, &params[i], i));

    struct dml__optim_device *device = NULL;
    DML_TRY(dml__optim_device_find(ctx, __func__, params, nparams, &device));
    dml_status status = DML_ENOMEM;
    dml_optim *optim = dml__alloc(ctx, sizeof *optim);
    if (optim == NULL) {
        dml__optim_device_close(device);
        goto fail;
    }
    *optim = (dml_optim){
        .ctx = ctx,
        .kernels = dml__ctx_kernels(ctx),
        .rule = found,
        .opts = *opts,
        .device = device,
        .nparams = nparams,
        .nslots = found->nslots(opts),
        .grad_norm = NAN,
        .counters = {.loss_scale = opts->loss_scale},
    };
    if ((status = get_memory(optim, params)) != DML_OK)
        goto fail;
    dml_optim_reload(optim);
    *out = optim;
    return DML_OK;

fail:
    dml_optim_destroy(optim);
    if (status != DML_ENOMEM)
        return status;
    return dml__fail(ctx, DML_ENOMEM, __func__,
                     "no memory for the state of %zu tensors, or no more threads",
                     nparams);
}

void *dml__optim_take_sums(dml_optim *optim)
{
    void *sums = optim->device == NULL ? optim->sums : NULL;
    if (sums != NULL)
        optim->sums = NULL;
    return sums;
}

void dml_optim_destroy(dml_optim *optim)
{
    if (optim == NULL)
        return;
    dml__team_destroy(optim->team);
    dml__free(optim->faulty);
    if (optim->device == NULL) {
        dml__free(optim->sums);
        dml__free(optim->state);
    }
    dml__optim_device_close(optim->device);
    dml__free(optim->names);
    dml__free(optim->tensors);
    dml__free(optim);
}
