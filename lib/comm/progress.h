/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Progress without the caller: a thread per context that polls those communicators of
 * it on which something is pending, and sleeps while nothing moves.
 *
 * A communicator of such a context has a lock. Every public call takes it, and keeps it
 * while it waits, since a waiting call progresses the communicator itself. The thread
 * only tries it, and goes by a communicator that is in use; whoever leaves one with
 * something pending then tells the thread. Without a thread there is no lock.
 */
#ifndef DML__PROGRESS_H
#define DML__PROGRESS_H

#include "comm/comm.h"

#include <pthread.h>
#include <stdatomic.h>

/* A communicator's part, within dml_comm. */
struct dml__watch {
    struct dml__progress *progress; /* NULL: there is no thread, hence no lock */
    dml_comm *next;                 /* in the thread's list */
    pthread_mutex_t lock;           /* recursive: public calls use each other */
    int depth;                      /* of the calls that hold it */
    atomic_int wanted;              /* calls that wait for it: the thread steps back */
    atomic_bool watched;            /* the thread will look here again by itself */
    unsigned heard;                 /* the desk's bell before the thread's last look */
    bool armed;                     /* the thread counts as asleep at the desk */
    bool mpi_allowed;               /* the thread may call MPI */
    bool warned;                    /* ... and it was said that it may not */
};

/* Give a context its thread; a warning, and none, where that fails. */
void dml__progress_start(dml_ctx *ctx);

/* The thread takes a new communicator on, and gives it up: then it neither uses it nor
 * will. */
void dml__progress_join(dml_comm *comm);
void dml__progress_part(dml_comm *comm);

#endif
