/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a snapshot must hold of an optimizer, and what a caller may want to know.
 */
#include "optim/optimizer.h"

#include <math.h>

void dml_optim_get_info(const dml_optim *optim, dml_optim_info *info)
{
    *info = (dml_optim_info){
        .steps = optim->counters.steps,
        .skipped = optim->counters.skipped,
        .last_skipped = optim->last_skipped,
        .loss_scale = optim->opts.loss_scale > 0 ? optim->counters.loss_scale : 1,
        .grad_norm = optim->grad_norm,
    };
}

size_t dml_optim_nslots(const dml_optim *optim)
{
    return optim->nslots + optim->has_masters;
}

size_t dml_optim_state_bytes(const dml_optim *optim)
{
    return optim->state_count * sizeof *optim->state;
}

dml_status dml_optim_get_slot(dml_optim *optim, size_t param, size_t slot,
                              dml_optim_slot *out)
{
    if (optim == NULL)
        return DML_EINVAL;
    if (param >= optim->nparams || slot >= dml_optim_nslots(optim))
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "param %zu, slot %zu: there are %zu tensors with %zu slots",
                         param, slot, optim->nparams, dml_optim_nslots(optim));
    const struct dml__optim_tensor *tensor = &optim->tensors[param];
    if (slot < optim->nslots)
        *out = (dml_optim_slot){optim->rule->slot_names[slot], tensor->slot[slot],
                                tensor->param.count};
    else
        *out = (dml_optim_slot){"master", tensor->master,
                                tensor->master != NULL ? tensor->param.count : 0};
    return DML_OK;
}

void dml_optim_get_counters(const dml_optim *optim, dml_optim_counters *out)
{
    *out = optim->counters;
}

dml_status dml_optim_set_counters(dml_optim *optim, const dml_optim_counters *counters)
{
    if (optim == NULL)
        return DML_EINVAL;
    const double scale = counters->loss_scale, lr = counters->last_lr;
    if (optim->phase != DML__OPTIM_IDLE)
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "a step is under way; finish it with dml_optim_apply()");
    if (!(scale >= 0 && isfinite(scale)) || (scale > 0) != (optim->opts.loss_scale > 0))
        return dml__fail(optim->ctx, DML_EINVAL, __func__,
                         "loss_scale is %g, and the option loss_scale %g; both must be "
                         "0 or neither",
                         scale, optim->opts.loss_scale);
    if (!(lr >= 0 && isfinite(lr)))
        return dml__optim_refuse(optim->ctx, __func__, "last_lr", lr, "0 or more");
    if (optim->device != NULL)
        DML_TRY(dml__optim_device_set(optim, counters));
    optim->counters = *counters;
    return DML_OK;
}

void dml_optim_reload(dml_optim *optim)
{
    if (optim->device != NULL) {
        (void)dml__optim_device_reload(optim); /* its error is recorded */
        return;
    }
    for (size_t i = 0; i < optim->nparams; i++) {
        const struct dml__optim_tensor *tensor = &optim->tensors[i];
        const dml_param *p = &tensor->param;
        if (tensor->master != NULL)
            optim->kernels->load_scaled[p->dtype](tensor->master, p->param, NULL,
                                                  p->count, 1);
    }
}
