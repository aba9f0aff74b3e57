/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the library share that does as NCCL.
 */
#ifndef FAKE_NCCL_H
#define FAKE_NCCL_H

#include "dml/gpu.h"

#include "fake_nccl_wire.h"
#include "gpu/nccl_abi.h"

#include <pthread.h>

#define EXPORT __attribute__((visibility("default")))

enum { FAILED = 6, MAX_GROUP = 256, FIRST_OP = 100, MAX_OPS = 64 };

/* Messages that are one piece of work; kept for graphs as long as their communicator.
 */
struct fake_group {
    struct fake_group *next;
    struct wire_move moves[MAX_GROUP]; /* data: on the device */
    int n;
};

struct fake_comm {
    dml_ctx *ctx;
    int rank, nranks;
    struct wire *wire;
    atomic_int polls_left; /* until what began in the background is done */
    int calls, errors_after, hangs_at;
    atomic_bool broken, hanging;
    atomic_bool stop;        /* aborted: work ends where it is */
    atomic_int pending;      /* pieces of work in streams */
    pthread_mutex_t working; /* one piece at a time, as NCCL has it */
    dml_gpu_event ordered;   /* behind the last one that is in a stream */
    double scales[MAX_OPS];  /* of pre-multiplied sums, from FIRST_OP on */
    int nops;
    struct fake_group *groups;
    struct fake_comm *before; /* of those that were aborted */
};

enum fake_kind {
    FAKE_ALLREDUCE,
    FAKE_REDUCE,
    FAKE_BROADCAST,
    FAKE_ALLGATHER,
    FAKE_REDUCE_SCATTER,
    FAKE_GROUP,
};

/* A piece of work: arguments of the kernel that does it. */
struct fake_work {
    struct fake_comm *comm;
    enum fake_kind kind;
    const void *send;
    void *recv;
    size_t n; /* of NCCL's call */
    int type, op, root;
    double scale;
    const struct fake_group *group;
    bool hangs, captured;
};

extern const dml_dtype fake_nccl_types[];

/* Queues a piece of work; a result of NCCL. */
int fake_nccl_queue(struct fake_work *work, void *stream);

/* Ends a communicator's registrations. */
void fake_nccl_forget(const void *comm);

#endif
