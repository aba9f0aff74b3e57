/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collectives on device memory: what the paths share. A communicator that meets device
 * memory gets a struct dml__gpu_comm, with a communicator of its own for the host's
 * part, so that the paths' messages never meet the program's.
 *
 * A call that waits for anything is a task (comm/sched.h): a copy of the call, and the
 * stage it is at.
 */
#ifndef DML__GPU_PATHS_H
#define DML__GPU_PATHS_H

#include "collectives/device.h"
#include "gpu/gpu.h"
#include "gpu/reduce.h"

struct dml__stage;     /* host_staged.c */
struct dml__ipc_peers; /* ipc.c */
struct dml__nccl_comm; /* nccl.c */

struct dml__gpu_comm {
    struct dml__gpu *gpu;
    dml_comm *comm;
    dml_comm *host; /* the same ranks, for the host's part */
    void *stream;   /* of the calls: the default one, or the caller's */
    bool queued;    /* blocking calls return when they are in it */
    bool waits;     /* but not now: they are timed */
    bool lent;      /* lib/sync queues in it: calls with a request do so, too */
    void *work;     /* stream of the paths' kernels and copies, beside the default */
    void *begun;    /* event: the call's input is ready */
    void *done;     /* event: the path's work is */
    bool one_node;
    bool nccl_usable; /* found on all ranks, in the same version; else: */
    char nccl_lack[160];
    int twins[2];         /* two ranks with the same device, or -1 */
    const char *ipc_lack; /* why ranks cannot map each other's memory, or NULL */
    struct dml__stage *stage;
    struct dml__ipc_peers *peers;
    struct dml__nccl_comm *nccl;
};

static inline bool dml__gpu_queues(const struct dml__gpu_comm *g)
{
    return g->queued && !g->waits;
}

struct dml__gpu_task;
typedef dml_status dml__gpu_stage(struct dml__gpu_task *task);

struct dml__gpu_task {
    struct dml__gpu_comm *g;
    struct dml__call call;
    void *stream;          /* the communicator's when the call was made */
    dml__gpu_stage *stage; /* what to do next; DML_PENDING: call it again */
    size_t chunk, nchunks; /* host_staged: elements (of each block), and how many */
    size_t copied, started, reduced, stored; /* host_staged: chunks so far */
    dml_op host_op;              /* host_staged: op of the host's communicator */
    bool used_scratch;           /* ipc */
    struct dml__gpu_task *begun; /* nccl: of the task that waits, the one before */
    void *event;                 /* nccl */
    size_t numbers[];            /* counts and offsets of the call */
};

extern const struct dml__device_paths dml__gpu_paths;

/* The task of a call, in the request's memory; NULL when there is none. */
struct dml__gpu_task *dml__gpu_task_new(const struct dml__call *call,
                                        dml__gpu_stage *first, dml_request *request);

/* Calls a stage as the device's thread; dml__task_fn of all paths. */
dml_status dml__gpu_advance(void *task);

/* Makes a stream wait for what the caller has queued for this call. */
dml_status dml__gpu_after_caller(struct dml__gpu_task *task, void *stream);

/* Where this rank has data: elements of the input and of the result, 0 where it has no
 * part in them. */
size_t dml__gpu_sends(const struct dml__call *call);
size_t dml__gpu_receives(const struct dml__call *call);

/* ---- the paths ---------------------------------------------------------------------
 */

dml__gpu_stage dml__host_staged_begin, dml__ipc_begin, dml__nccl_begin, dml__nccl_wait;

/* Gives the communicator its struct dml__gpu_comm. Collective. */
dml_status dml__gpu_join(dml_comm *comm);

/* All work of a call of one rank, or of peers whose buffers are mapped: send[i] and
 * recv[i] are rank i's, as far as the collective needs them. */
struct dml__ipc_view {
    const char *send[DML__GPU_FAN];
    char *recv[DML__GPU_FAN];
    double scale[DML__GPU_FAN];
};
dml_status dml__ipc_work(struct dml__gpu_comm *g, const struct dml__call *call,
                         const struct dml__ipc_view *view, void *stream);
dml_status dml__ipc_alone(struct dml__gpu_comm *g, const struct dml__call *call,
                          void *stream);

const char *dml__nccl_supports(struct dml__gpu_comm *g, const struct dml__call *call);
/* Does it need copies, as elements begin where NCCL cannot read them? */
bool dml__nccl_misaligned(const struct dml__call *call);
/* Queues the call in g->stream, and waits unless that is the caller's. */
dml_status dml__nccl_run(struct dml__gpu_comm *g, const struct dml__call *call);

/* Finds out whether all ranks have NCCL. Collective. */
dml_status dml__nccl_join(struct dml__gpu_comm *g);

/* Finds out whether all ranks can map each other's memory. Collective. */
dml_status dml__ipc_join(struct dml__gpu_comm *g);

void dml__stage_free(struct dml__gpu_comm *g);
void dml__ipc_free(struct dml__gpu_comm *g);
void dml__nccl_free(struct dml__gpu_comm *g);

#endif
