/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collectives on device memory: the paths that stand in the table of algorithms beside
 * those for host memory, and what lib/gpu gives to fill them. A path takes calls on
 * device memory only, but for host_staged, which asked for alone takes all, so that
 * some ranks' buffers may be on the host.
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
    /* Device memory, or NULL. Freed at the end of all calls on it. */
    void *(*take)(dml_comm *comm, size_t bytes);
    void (*give)(dml_comm *comm, void *memory);
    /* From now on blocking calls wait for their result, also where the caller lets them
     * queue; or again as the caller wants it. False: the stream is being captured. */
    bool (*wait)(dml_comm *comm, bool on);
    /* Writes the schedule. */
    void (*build)(enum dml__path path, const struct dml__call *call,
                  dml_request *request);
};

/* Has the context a device? */
bool dml__device_in_use(const dml_comm *comm);

/* Where the call's buffers are. */
dml_status dml__device_locate(struct dml__call *call);

/* Everything that a path needs to be chosen, once the ranks can see each other's call.
 */
dml_status dml__device_ready(const struct dml__call *call);

/* As of the table; memory may be NULL. */
void *dml__device_take(dml_comm *comm, size_t bytes);
void dml__device_give(dml_comm *comm, void *memory);
bool dml__device_waits(dml_comm *comm, bool on);

/* Collectives of this communicator are libdml's own, on host memory, as parts of those
 * on device memory: takes back what is forced, which says nothing of these. */
dml_status dml__device_host_only(dml_comm *comm);

extern const struct dml__alg dml__alg_nccl, dml__alg_ipc, dml__alg_host_staged;

#endif
