/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collectives on device memory: the paths that stand in the table of algorithms beside
 * those for host memory, and what lib/gpu gives to fill them. A path takes calls on
 * device memory only, but for host_staged, which forced takes all, so that some ranks'
 * buffers may be on the host.
 */
#ifndef DML__DEVICE_H
#define DML__DEVICE_H

#include "collectives/coll_internal.h"

struct dml__device_paths {
    /* Sets call->on_device; an error where a buffer is of another device. */
    dml_status (*locate)(struct dml__call *call);
    /* Makes the communicator ready for any path. Collective at first. */
    dml_status (*ready)(dml_comm *comm);
    /* NULL, or why a path cannot do this call, on any rank. The communicator is ready.
     */
    const char *(*supports)(enum dml__path path, const struct dml__call *call);
    /* A call without a schedule: false when it needs one. It has the order of the calls
     * on all ranks, and nothing is pending. One that a request is wanted of needs none
     * where whoever calls waits in the stream (lib/sync). */
    bool (*at_once)(enum dml__path path, const struct dml__call *call, bool requested,
                    dml_status *status);
    /* Writes the schedule. */
    void (*build)(enum dml__path path, const struct dml__call *call,
                  dml_request *request);
};

/* Where the call's buffers are, and everything a path needs to be chosen. */
dml_status dml__device_prepare(struct dml__call *call);

/* Collectives of this communicator are libdml's own, on host memory: takes back what
 * forces a path for devices. */
dml_status dml__device_host_only(dml_comm *comm);

extern const struct dml__alg dml__alg_nccl, dml__alg_ipc, dml__alg_host_staged;

#endif
