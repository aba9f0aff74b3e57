/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Optimizers on a device: do the tensors lie there, and the tables and the state that
 * their kernels work on. The tables are sent once.
 */
#include "gpu/optim.h"
#include "gpu/tensors.h"

#include <math.h>
#include <string.h>

/* ---- where the tensors lie ---------------------------------------------------------
 */

/* Alike for all tensors that have elements: *on counts those on the device. */
static dml_status look_at(struct dml__gpu *gpu, const char *where, const dml_param *p,
                          size_t i, bool *on)
{
    bool param = false, grad = false;
    DML_TRY(dml__gpu_holds(gpu, p->param, &param));
    DML_TRY(dml__gpu_holds(gpu, p->grad, &grad));
    if (param != grad)
        return dml__fail(gpu->ctx, DML_EINVAL, where,
                         "params[%zu]: param lies on the %s and grad on the %s; put "
                         "both on one",
                         i, param ? "device" : "host", grad ? "device" : "host");
    if (param && ((uintptr_t)p->param % dml_dtype_bytes(p->dtype) != 0 ||
                  (uintptr_t)p->grad % dml_dtype_bytes(p->grad_dtype) != 0))
        return dml__fail(
            gpu->ctx, DML_EINVAL, where,
            "params[%zu]: an address is no multiple of the element's size; "
            "a device needs that",
            i);
    *on = param;
    return DML_OK;
}

static dml_status look_at_all(struct dml__gpu *gpu, const char *where,
                              const dml_param *params, size_t nparams, bool *on)
{
    size_t first = SIZE_MAX;
    bool here = false;
    for (size_t i = 0; i < nparams; i++) {
        if (params[i].count == 0)
            continue;
        DML_TRY(look_at(gpu, where, &params[i], i, &here));
        if (first == SIZE_MAX) {
            first = i;
            *on = here;
        } else if (here != *on) {
            return dml__fail(gpu->ctx, DML_EINVAL, where,
                             "params[%zu] lies on the %s, params[%zu] on the %s; put "
                             "all on one",
                             first, *on ? "device" : "host", i,
                             here ? "device" : "host");
        }
    }
    /* A shard may have no element of any tensor; they tell where the others' lie. */
    for (size_t i = 0; i < nparams && first == SIZE_MAX && !*on; i++)
        if (params[i].whole > 0)
            DML_TRY(dml__gpu_holds(gpu, params[i].param, on));
    return DML_OK;
}

dml_status dml__optim_device_find(dml_ctx *ctx, const char *where,
                                  const dml_param *params, size_t nparams,
                                  struct dml__optim_device **device)
{
    struct dml__gpu *gpu = dml__gpu_opened(ctx);
    bool on = false;
    *device = NULL;
    if (gpu == NULL)
        return DML_OK;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = look_at_all(gpu, where, params, nparams, &on);
    dml__gpu_leave(gpu);
    if (status != DML_OK || !on)
        return status;
    if (nparams >= DML__OPTIM_NONE)
        return dml__fail(ctx, DML_EINVAL, where, "%zu tensors; a device takes %u",
                         nparams, DML__OPTIM_NONE - 1);
    *device = dml__alloc(ctx, sizeof **device);
    if (*device == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for an optimizer");
    (*device)->gpu = gpu;
    gpu->used = true;
    return DML_OK;
}

/* ---- memory ------------------------------------------------------------------------
 */

void dml__optim_device_close(struct dml__optim_device *d)
{
    if (d == NULL)
        return;
    const struct dml__gpu *gpu = d->gpu;
    if (dml__gpu_enter(gpu) == DML_OK) {
        gpu->ops->stream_sync(gpu, d->stream);
        dml__gpu_release(gpu, d->tables);
        dml__gpu_release(gpu, d->sums);
        dml__gpu_release(gpu, d->slots);
        if (d->mirror != NULL)
            gpu->ops->free_pinned(gpu, d->mirror);
        dml__gpu_leave(gpu);
    }
    dml__free(d);
}

static dml_status memory(struct dml__optim_device *d, size_t state_bytes,
                         size_t sum_bytes)
{
    const struct dml__gpu *gpu = d->gpu;
    void *mirror = NULL;
    DML_TRY(dml__gpu_get_zeroed(gpu, state_bytes, &d->slots));
    DML_TRY(dml__gpu_get_zeroed(gpu, sum_bytes, &d->sums));
    DML_TRY(gpu->ops->alloc_pinned(gpu, sizeof *d->mirror, &mirror));
    d->mirror = mirror;
    return DML_OK;
}

dml_status dml__optim_device_memory(struct dml__optim_device *d, size_t state_bytes,
                                    size_t sum_bytes, float **state, double **sums)
{
    DML_TRY(dml__gpu_enter(d->gpu));
    dml_status status = memory(d, state_bytes, sum_bytes);
    dml__gpu_leave(d->gpu);
    *state = d->slots;
    *sums = d->sums;
    return status;
}

/* ---- tables ------------------------------------------------------------------------
 */

/* How they lie in one piece of memory, host's and device's alike. */
struct layout {
    size_t tensors, ratios, totals, state, owners, bytes;
};

static struct layout layout_of(const dml_optim *optim)
{
    const size_t n = optim->nparams;
    struct layout at = {0};
    at.ratios = dml__mul(n, sizeof(struct dml__gpu_tensor));
    at.totals = at.ratios + n * sizeof(double);
    at.state = at.totals + 2 * n * sizeof(double);
    at.owners = at.state + sizeof(struct dml__gpu_optim_state);
    at.bytes = at.owners + dml__mul(optim->nwork, sizeof(uint32_t));
    return at;
}

static bool can_read_four(const void *p, size_t element)
{
    return (uintptr_t)p % (4 * element) == 0;
}

static struct dml__gpu_tensor tensor_of(const dml_optim *optim, size_t i)
{
    enum { B = DML_OPTIM_BLOCK };
    const struct dml__optim_tensor *from = &optim->tensors[i];
    const dml_param *p = &from->param;
    const bool one = optim->rule->rule == DML_OPTIM_ADAGRAD;
    struct dml__gpu_tensor to = {
        .param = p->param,
        .grad = p->grad,
        .w = from->master != NULL ? from->master : p->param,
        .m = one || optim->nslots < 1 ? NULL : from->slot[0],
        .v = one                 ? from->slot[0]
             : optim->nslots < 2 ? NULL
                                 : from->slot[1],
        .count = p->count,
        .first = p->first,
        .first_work = from->first_work,
        .first_sum = from->first_sum,
        .nsums = p->whole / B + (p->whole % B != 0),
        .flags = p->flags,
        .dtype = p->dtype,
        .grad_dtype = p->grad_dtype,
    };
    to.wide = can_read_four(p->param, dml_dtype_bytes(p->dtype)) &&
              can_read_four(p->grad, dml_dtype_bytes(p->grad_dtype));
    return to;
}

static struct dml__gpu_optim_state first_state(const dml_optim *optim)
{
    return (struct dml__gpu_optim_state){
        .counters = optim->counters,
        .now = dml__optim_now_of(&optim->opts, &optim->counters),
        .grad_norm = NAN,
        .clip = 1,
        .found = DML__OPTIM_NONE,
        .fault = DML__OPTIM_NONE,
    };
}

static void fill_tables(const dml_optim *optim, const struct layout *at, char *tables)
{
    struct dml__gpu_tensor *tensors = (struct dml__gpu_tensor *)tables;
    double *ratios = (double *)(tables + at->ratios);
    uint32_t *owners = (uint32_t *)(tables + at->owners);
    for (size_t i = 0; i < optim->nparams; i++) {
        const size_t end =
            i + 1 < optim->nparams ? optim->tensors[i + 1].first_work : optim->nwork;
        tensors[i] = tensor_of(optim, i);
        ratios[i] = 1;
        for (size_t block = optim->tensors[i].first_work; block < end; block++)
            owners[block] = (uint32_t)i;
    }
    memcpy(tables + at->state, optim->device->mirror, sizeof *optim->device->mirror);
}

static void set_args(dml_optim *optim, const struct layout *at)
{
    struct dml__optim_device *d = optim->device;
    char *tables = d->tables;
    d->args = (struct dml__gpu_optim_args){
        .rule = optim->rule->rule,
        .ntensors = (uint32_t)optim->nparams,
        .checks = optim->opts.finite == DML_FINITE_RIDE &&
                  optim->rule->norms == DML__NORMS_NONE &&
                  !dml__optim_sums_grads(optim),
        .nwork = optim->nwork,
        .tensors = (struct dml__gpu_tensor *)tables,
        .owners = (uint32_t *)(tables + at->owners),
        .sums = d->sums,
        .totals = (double *)(tables + at->totals),
        .ratios = (double *)(tables + at->ratios),
        .state = (struct dml__gpu_optim_state *)(tables + at->state),
    };
}

/* Steps may be captured from the first on. */
static const struct dml_gpu_kernel *const kernels[] = {
    &dml__optim_kernel_reload, &dml__optim_kernel_grads, &dml__optim_kernel_moments,
    &dml__optim_kernel_finish, &dml__optim_kernel_sgd,   &dml__optim_kernel_adam,
    &dml__optim_kernel_lamb,
};

static dml_status send_tables(struct dml__optim_device *d, const void *tables,
                              size_t bytes)
{
    const struct dml__gpu *gpu = d->gpu;
    DML_TRY(gpu->ops->alloc(gpu, bytes, &d->tables));
    DML_TRY(gpu->ops->copy(gpu, d->tables, tables, bytes, d->stream));
    DML_TRY(dml__gpu_load_kernels(gpu, kernels, sizeof kernels / sizeof kernels[0]));
    return gpu->ops->stream_sync(gpu, d->stream);
}

dml_status dml__optim_device_tables(dml_optim *optim)
{
    struct dml__optim_device *d = optim->device;
    const struct layout at = layout_of(optim);
    char *tables = dml__alloc(optim->ctx, at.bytes);
    if (tables == NULL)
        return DML_ENOMEM;
    *d->mirror = first_state(optim);
    fill_tables(optim, &at, tables);
    dml_status status = dml__gpu_enter(d->gpu);
    if (status == DML_OK) {
        status = send_tables(d, tables, at.bytes);
        dml__gpu_leave(d->gpu);
    }
    dml__free(tables);
    set_args(optim, &at);
    return status;
}
