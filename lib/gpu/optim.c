/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Optimizers on a device: steps, as launches in a stream, each with its structure of
 * arguments; and what the host sees of them.
 */
#include "gpu/optim.h"

#include <string.h>

/* For "warps" warps' worth of work, at least one. */
static dml_status launch(dml_optim *optim, const struct dml_gpu_kernel *kernel,
                         size_t warps)
{
    struct dml__optim_device *d = optim->device;
    d->args.opts = optim->opts;
    d->args.rate = optim->rate;
    const size_t threads = (warps > 0 ? warps : 1) * DML__WARP;
    return dml__gpu_launch(d->gpu, kernel, threads, 1, &d->args, sizeof d->args,
                           d->stream);
}

static dml_status enter_and_launch(dml_optim *optim,
                                   const struct dml_gpu_kernel *kernel, size_t warps)
{
    const struct dml__gpu *gpu = optim->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = launch(optim, kernel, warps);
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__optim_device_reload(dml_optim *optim)
{
    if (!optim->has_masters)
        return DML_OK;
    return enter_and_launch(optim, &dml__optim_kernel_reload, optim->nwork);
}

static dml_status clear_sums(dml_optim *optim)
{
    const struct dml__optim_device *d = optim->device;
    const size_t bytes = optim->nsums * d->args.width * sizeof(double);
    DML_TRY(dml__gpu_enter(d->gpu));
    dml_status status = d->gpu->ops->fill(d->gpu, d->sums, 0, bytes, d->stream);
    dml__gpu_leave(d->gpu);
    return status;
}

dml_status dml__optim_device_sums(dml_optim *optim, bool moments, bool clear)
{
    struct dml__gpu_optim_args *args = &optim->device->args;
    args->moments = moments;
    args->width = moments ? 2 : (uint32_t)dml__optim_grad_width(optim);
    if (clear)
        DML_TRY(clear_sums(optim));
    return enter_and_launch(
        optim, moments ? &dml__optim_kernel_moments : &dml__optim_kernel_grads,
        optim->nwork);
}

dml_status dml__optim_device_judge(dml_optim *optim, bool moments)
{
    struct dml__gpu_optim_args *args = &optim->device->args;
    args->moments = moments;
    args->width = moments ? 2 : (uint32_t)dml__optim_grad_width(optim);
    return enter_and_launch(optim, &dml__optim_kernel_finish,
                            optim->nparams * args->width);
}

static const struct dml_gpu_kernel *update_of(dml_optim_rule rule)
{
    switch (rule) {
    case DML_OPTIM_SGD:
    case DML_OPTIM_LARS:
        return &dml__optim_kernel_sgd;
    case DML_OPTIM_LAMB:
        return &dml__optim_kernel_lamb;
    case DML_OPTIM_ADAM:
    case DML_OPTIM_ADAMW:
    case DML_OPTIM_ADAGRAD:
        break;
    }
    return &dml__optim_kernel_adam;
}

/* The state follows the update into the mirror. */
dml_status dml__optim_device_update(dml_optim *optim, double lr)
{
    struct dml__optim_device *d = optim->device;
    const struct dml__gpu *gpu = d->gpu;
    d->args.lr = lr;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = launch(optim, update_of(optim->rule->rule), optim->nwork);
    if (status == DML_OK)
        status =
            gpu->ops->copy(gpu, d->mirror, d->args.state, sizeof *d->mirror, d->stream);
    dml__gpu_leave(gpu);
    return status;
}

/* ---- what the host sees ------------------------------------------------------------
 */

/* A fault is taken off the device, so that the next step works again. */
static dml_status forget_fault(struct dml__optim_device *d)
{
    const struct dml__gpu *gpu = d->gpu;
    DML_TRY(gpu->ops->fill(gpu, &d->args.state->fault, 0xff, sizeof d->mirror->fault,
                           d->stream));
    DML_TRY(gpu->ops->stream_sync(gpu, d->stream));
    d->mirror->fault = DML__OPTIM_NONE;
    return DML_OK;
}

static dml_status look(struct dml__optim_device *d, bool wait,
                       struct dml__optim_seen *seen)
{
    const struct dml__gpu *gpu = d->gpu;
    const volatile uint32_t *fault = &d->mirror->fault;
    bool captured = false;
    if (!wait && *fault == DML__OPTIM_NONE)
        return DML_PENDING;
    DML_TRY(gpu->ops->stream_captured(gpu, d->stream, &captured));
    if (captured)
        return DML_PENDING;
    DML_TRY(gpu->ops->stream_sync(gpu, d->stream));
    *seen = (struct dml__optim_seen){
        .counters = d->mirror->counters,
        .grad_norm = d->mirror->grad_norm,
        .last_skipped = d->mirror->last_skipped != 0,
        .tensor = d->mirror->fault,
        .fault = (enum dml__optim_fault)d->mirror->fault_kind,
    };
    return seen->tensor != DML__OPTIM_NONE ? forget_fault(d) : DML_OK;
}

dml_status dml__optim_device_look(dml_optim *optim, bool wait,
                                  struct dml__optim_seen *seen)
{
    struct dml__optim_device *d = optim->device;
    DML_TRY(dml__gpu_enter(d->gpu));
    dml_status status = look(d, wait, seen);
    dml__gpu_leave(d->gpu);
    return status;
}

static dml_status set_counters(dml_optim *optim, const dml_optim_counters *counters)
{
    struct dml__optim_device *d = optim->device;
    const struct dml__gpu *gpu = d->gpu;
    DML_TRY(gpu->ops->stream_sync(gpu, d->stream));
    d->mirror->counters = *counters;
    d->mirror->now = dml__optim_now_of(&optim->opts, counters);
    DML_TRY(
        gpu->ops->copy(gpu, d->args.state, d->mirror, sizeof *d->mirror, d->stream));
    return gpu->ops->stream_sync(gpu, d->stream);
}

dml_status dml__optim_device_set(dml_optim *optim, const dml_optim_counters *counters)
{
    const struct dml__gpu *gpu = optim->device->gpu;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = set_counters(optim, counters);
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__optim_device_stream(dml_optim *optim, void *stream)
{
    struct dml__optim_device *d = optim->device;
    DML_TRY(dml__gpu_enter(d->gpu));
    dml_status status = d->gpu->ops->stream_sync(d->gpu, d->stream);
    dml__gpu_leave(d->gpu);
    d->stream = stream;
    return status;
}
