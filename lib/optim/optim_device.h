/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An optimizer whose tensors lie on a device: what lib/optim asks of lib/gpu then. Work
 * is queued in a stream and nobody waits for it: what the host must know comes back in
 * a copy of the device's state, a step or more later.
 */
#ifndef DML__OPTIM_DEVICE_H
#define DML__OPTIM_DEVICE_H

#include "dml/optim.h"

struct dml__optim_device;

/* What was not finite, and when it was found. */
enum dml__optim_fault {
    DML__OPTIM_FAULT_GRAD,
    DML__OPTIM_FAULT_PARAM,
    DML__OPTIM_FAULT_MOMENTS,
    DML__OPTIM_FAULT_UPDATE
};

#define DML__OPTIM_NONE 0xffffffffu /* no tensor */

/* What the host has seen of the device's state. */
struct dml__optim_seen {
    dml_optim_counters counters;
    double grad_norm;
    bool last_skipped;
    uint32_t tensor; /* that stopped all steps, or DML__OPTIM_NONE */
    enum dml__optim_fault fault;
};

/* *device: NULL when the tensors lie on the host. DML_EINVAL when only some do. */
dml_status dml__optim_device_find(dml_ctx *ctx, const char *where,
                                  const dml_param *params, size_t nparams,
                                  struct dml__optim_device **device);
void dml__optim_device_close(struct dml__optim_device *device);

/* Memory of the slots, zeroed, and of the sums, which may be 0 bytes. */
dml_status dml__optim_device_memory(struct dml__optim_device *device,
                                    size_t state_bytes, size_t sum_bytes, float **state,
                                    double **sums);
/* The tables, when the tensors know their places. */
dml_status dml__optim_device_tables(dml_optim *optim);

dml_status dml__optim_device_reload(dml_optim *optim);
dml_status dml__optim_device_sums(dml_optim *optim, bool moments, bool clear);
dml_status dml__optim_device_judge(dml_optim *optim, bool moments);
dml_status dml__optim_device_update(dml_optim *optim, double lr);

/* Waits for the stream, if asked; else DML_PENDING when nothing is wrong, as far as is
 * known. A tensor that is reported is forgotten: steps go on. */
dml_status dml__optim_device_look(dml_optim *optim, bool wait,
                                  struct dml__optim_seen *seen);
dml_status dml__optim_device_set(dml_optim *optim, const dml_optim_counters *counters);
dml_status dml__optim_device_stream(dml_optim *optim, void *stream);

#endif
