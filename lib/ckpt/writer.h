/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot on its way: sections are gathered by the caller, a thread writes this
 * rank's file, all ranks agree that theirs are written, a thread of rank 0 names the
 * snapshot, and all ranks agree that it is named.
 */
#ifndef DML__WRITER_H
#define DML__WRITER_H

#include "dml/coll.h"

#include "ckpt/ckpt.h"

#include <pthread.h>
#include <stdatomic.h>

enum dml__ckpt_phase {
    DML__CKPT_IDLE,
    DML__CKPT_WRITING, /* some rank's file may not be written yet */
    DML__CKPT_NAMING   /* all are; rank 0 makes a snapshot of them */
};

/* What is agreed upon by each poll: the maximum over the ranks. */
enum { DML__WISH, DML__DUE, DML__UNDONE, DML__FAULT, DML__NAGREED };

struct dml_ckpt {
    dml_ctx *ctx;
    dml_ctx *own;   /* for the thread's errors, which are news and not the caller's */
    dml_comm *comm; /* of its own */
    int rank, nranks;
    dml_ckpt_opts opts;
    char *dir; /* owned */
    int lock;  /* rank 0's descriptor, else -1 */
    uint64_t token, serial;

    /* What the caller has put, in memory that is kept for the next snapshot. */
    bool begun;
    struct dml__shard shard; /* its sections [room] */
    size_t room;
    uint8_t *data; /* [capacity] of all sections, one after the other */
    size_t used, capacity;
    uint8_t *head; /* [head_bytes] */
    size_t head_bytes;

    enum dml__ckpt_phase phase;
    char *unnamed, *named; /* the folder, before and after; owned */
    pthread_t thread;
    bool threaded;     /* there is one to join */
    atomic_bool done;  /* this rank's part of the phase */
    dml_status result; /* of it, */
    char text[448];    /* and why; read when done */
    double begin_s;    /* of the writing */

    int64_t agreed[DML__NAGREED];
    dml_request *request;
    uint64_t mine[2], *all; /* length and checksum of files; all: [2 * nranks] rank 0 */

    int wish;           /* agreed, and not yet told */
    bool due;           /* likewise, and not yet begun */
    uint64_t last_step; /* that was polled */
    double due_s;       /* clock from which every_s counts */
    dml_ckpt_news news; /* of the last snapshot, while it is not told */
    double committed_s; /* clock, or -1 */
    dml_ckpt_stats stats;
};

/* Start this rank's part of a phase in a thread, or here if there can be none. */
void dml__ckpt_start(dml_ckpt *ckpt, void *(*work)(void *));
/* Join the thread of a phase that is over. */
void dml__ckpt_join(dml_ckpt *ckpt);

/* The two parts; arguments of dml__ckpt_start(). */
void *dml__ckpt_write_shard(void *ckpt);
void *dml__ckpt_name(void *ckpt);

/* Is this rank's part over? */
static inline bool dml__ckpt_done(const dml_ckpt *ckpt)
{
    return atomic_load_explicit(&ckpt->done, memory_order_acquire);
}

/* The part is over, with the own context's last error if it is one. */
void dml__ckpt_end(dml_ckpt *ckpt, dml_status status);

/* Take the agreement that is under way, if one is. Collective. */
dml_status dml__ckpt_take(dml_ckpt *ckpt);

#endif
