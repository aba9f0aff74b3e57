/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the NCCL path share: the library, a communicator of it, and the
 * thread that watches it.
 */
#ifndef DML__GPU_NCCL_H
#define DML__GPU_NCCL_H

#include "gpu/memory.h"
#include "gpu/nccl_abi.h"
#include "gpu/paths.h"

#include <pthread.h>
#include <stdatomic.h>

/* A collective, for messages. */
struct dml__nccl_call {
    dml_coll coll;
    size_t bytes;
};

/* What was put into a stream: a call, or a graph of some, of which this is the first.
 */
struct dml__nccl_mark {
    uint64_t number, ncalls; /* of those by NCCL, from 1, the same on all ranks */
    bool graph;
    struct dml__nccl_call call;
    double since_s;
};

enum { DML__NCCL_MARKS = 16 };

struct dml__nccl_comm {
    struct dml__nccl lib;
    struct dml__gpu *gpu;
    dml_comm *owner;
    void *comm; /* NULL: not yet, or no more */
    int rank;
    pthread_mutex_t lock; /* of all calls on comm, and what is below */
    pthread_cond_t stop_or_work;
    pthread_t thread;
    bool threaded, stop;
    bool alarmed;     /* at the last look of the thread: the owner had failed */
    double timeout_s; /* 0: never */
    /* What has not ended, with events behind it, in order: the time is that of the
     * first. Of more than fit the last is kept. */
    int nmarks;
    void *marker[DML__NCCL_MARKS];
    struct dml__nccl_mark mark[DML__NCCL_MARKS], last;
    atomic_int failed; /* a dml_status, of which "text" says what */
    char text[800];
    int leaving; /* blocks that are being taken back from it. Lock of the memory */
    /* Without the lock, as calls have an order: nccl_aligned.c; the newest is the
     * largest. And an event: the last call that had it is done. */
    struct dml__nccl_copies *copies;
    void *copied;
};

/* Finds the library; false, and why, where there is none that will do. */
bool dml__nccl_load(const dml_ctx *ctx, struct dml__nccl *lib, char *why, size_t room);

/* NCCL's numbers of a type and an operation. */
int dml__nccl_type(dml_dtype dtype);
int dml__nccl_op(dml_op op);

/* Registers the memory of a call's buffers that is new to NCCL; and ends that of a
 * block that is out of the table, or all, before the block or the communicator ends:
 * when nothing queued uses it any more. */
void dml__nccl_know(struct dml__nccl_comm *n, const struct dml__call *call,
                    void *stream);
void dml__nccl_forget_block(const struct dml__gpu *gpu, struct dml__gpu_block *block);
/* Before that: its communicators stay until then. Lock of the memory held. */
void dml__nccl_leave(const struct dml__gpu_block *block);
void dml__nccl_forget(struct dml__nccl_comm *n);

/* A call that is misaligned (paths.h) on copies, made in the stream, and its result
 * copied back. out->pieces is to be freed, also after a failure. */
struct dml__nccl_aligned {
    struct dml__call call;
    dml_piece *pieces;
};
dml_status dml__nccl_align(struct dml__nccl_comm *n, const struct dml__call *call,
                           void *stream, struct dml__nccl_aligned *out);
dml_status dml__nccl_copy_back(struct dml__nccl_comm *n, const struct dml__call *call,
                               void *stream, const struct dml__nccl_aligned *from);
void dml__nccl_free_copies(struct dml__nccl_comm *n);

/* Makes NCCL's communicator, at the first call. Collective. */
dml_status dml__nccl_started(struct dml__gpu_comm *g);

/* A result of NCCL as a status; records what went wrong. */
dml_status dml__nccl_check(struct dml__nccl_comm *n, const char *call, int result);

/* Waits until NCCL has done what it began in the background; progresses the context's
 * other communicators, of which a peer may need one before it comes here. Lock held
 * where others may use comm: not while it is made or ended. */
dml_status dml__nccl_settle(struct dml__nccl_comm *n, const char *call, int result);

/* The thread that polls errors, and ends what does not end. */
dml_status dml__nccl_watch(struct dml__nccl_comm *n);
void dml__nccl_unwatch(struct dml__nccl_comm *n);

/* An operation was queued, or captured (lock held); a graph of operations launched. */
dml_status dml__nccl_note(struct dml__nccl_comm *n, const struct dml__call *call,
                          void *stream);
dml_status dml__nccl_note_graph(struct dml__nccl_comm *n,
                                const struct dml__nccl_call *first, uint64_t ncalls,
                                void *stream);

/* DML_OK, or the failure that the thread found. */
dml_status dml__nccl_state(struct dml__nccl_comm *n, const char *where);
/* The same of its owner, too, which ends with it. */
dml_status dml__nccl_judge(struct dml__nccl_comm *n, const char *where);

#endif
