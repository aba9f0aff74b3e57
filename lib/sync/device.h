/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gradients and parameters that lie on a device: what lib/sync asks of lib/gpu then.
 * All of a reducer's or sharded object's work there is queued in one stream of its own,
 * behind what the caller has queued when a gradient is ready, and before what the
 * caller queues after the step: the caller's stream is the communicator's
 * (dml_comm_set_stream). Where that is "queued", nobody waits on the host for what need
 * not be waited for. A failure ends the communicator.
 */
#ifndef DML__SYNC_DEVICE_H
#define DML__SYNC_DEVICE_H

#include "dml/comm.h"

struct dml__sync_device;

/* Does it lie on the context's device? DML_EINVAL where on another. */
dml_status dml__sync_holds(dml_ctx *ctx, const void *memory, bool *on);

/* Collective at first, as collectives on device memory are. */
dml_status dml__sync_device_open(dml_comm *comm, struct dml__sync_device **device);
/* Waits for what is in the stream. NULL is a no-op. */
void dml__sync_device_close(struct dml__sync_device *device);
void *dml__sync_device_stream(const struct dml__sync_device *device);
/* Is the caller's stream "queued"? */
bool dml__sync_device_queued(const struct dml__sync_device *device);

/* Device memory, as of dml_gpu_alloc(), which NCCL may register; with an error that
 * says how much is left. free: NULL is a no-op. */
dml_status dml__sync_device_alloc(struct dml__sync_device *device, size_t bytes,
                                  void **memory);
void dml__sync_device_free(struct dml__sync_device *device, void *memory);

/* In the stream; any two kinds of memory. */
dml_status dml__sync_device_copy(struct dml__sync_device *device, void *dst,
                                 const void *src, size_t bytes);
dml_status dml__sync_device_zero(struct dml__sync_device *device, void *dst,
                                 size_t bytes);

/* The stream goes on when the caller's has come to where it is now. */
dml_status dml__sync_device_follow(struct dml__sync_device *device);
/* The reverse; where the caller's is not "queued", the host waits instead. */
dml_status dml__sync_device_lead(struct dml__sync_device *device);

/* The reverse for a place of the stream: marks it, and lets the caller wait for it.
 * *mark: NULL at first; made once. */
dml_status dml__sync_device_mark(struct dml__sync_device *device, void **mark);
dml_status dml__sync_device_pass(struct dml__sync_device *device, void *mark);
void dml__sync_device_unmark(struct dml__sync_device *device, void *mark);

/* A place of the stream with its time, and the seconds from one to another, when the
 * stream has passed both. *stamp: NULL at first; made once, and freed by unmark. */
dml_status dml__sync_device_stamp(struct dml__sync_device *device, void **stamp);
dml_status dml__sync_device_between(struct dml__sync_device *device, void *from,
                                    void *to, double *seconds);

/* The host waits for all of the stream. */
dml_status dml__sync_device_wait(struct dml__sync_device *device);

/* Is the communicator's stream captured in a graph, so that what follows it cannot be
 * waited for? */
dml_status dml__sync_device_captured(struct dml__sync_device *device, bool *captured);

/* Collectives of the communicator between the two are in the stream. One that only has
 * to be queued returns no request: its result is there for what comes next in the
 * stream. */
void dml__sync_device_lend(struct dml__sync_device *device);
void dml__sync_device_take(struct dml__sync_device *device);

#endif
