/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who progresses a communicator on which no call is waiting: the waits on the others of
 * its context (lock.c), and where it is wanted a thread of the context, which sleeps
 * while nothing moves (progress.c).
 *
 * A communicator has a lock. Every public call takes it, and keeps it while it waits,
 * since a waiting call progresses the communicator itself. Everybody else only tries
 * it, and goes by a communicator that is in use; whoever leaves one with something
 * pending then tells the thread.
 */
#ifndef DML__PROGRESS_H
#define DML__PROGRESS_H

#include "dml/ctx.h"

#include "comm/comm.h"

#include <pthread.h>
#include <stdatomic.h>

/* A context's part. */
struct dml__progress {
    dml_ctx *ctx;
    pthread_mutex_t lock; /* guards the list, and what a round does with it */
    dml_comm *comms;      /* of the context */
    atomic_int ncomms;

    bool threaded; /* there is a thread; the rest is its */
    pthread_t thread;
    pthread_cond_t turn; /* the thread may go on, or has awoken */
    atomic_int wanted;   /* joining or parting callers: the thread steps back */
    bool asleep;         /* perhaps at bells of communicators of the list */
    bool stop;
    bool placed; /* where it runs has been decided */
    bool own_core;
    bool one_bell;      /* the kernel cannot wait for several */
    atomic_uint bell;   /* of the thread itself: a futex */
    atomic_bool drowsy; /* it sleeps at it, or is about to */

    bool patient;   /* leaves requests to their callers at first: */
    bool at_work;   /* some are left to it now */
    int vain;       /* looks in which there was nothing at all */
    unsigned heard; /* the bell at the last look */
};

/* A communicator's part, within dml_comm. */
struct dml__lock {
    struct dml__progress *progress; /* NULL: not yet in the list, or no longer */
    dml_comm *next;                 /* in the list */
    atomic_bool in_use;             /* the lock */
    int depth;                      /* of the calls that hold it: they use each other */
    atomic_int wanted;              /* calls that wait for it: the thread steps back */
    bool mpi_allowed;               /* the thread may call MPI */
    bool warned;                    /* ... and it was said that it may not */
    bool no_mpi;                    /* it polls, and may not */
    atomic_bool watched;            /* the thread will look here again by itself */
    unsigned heard;                 /* the desk's bell before the thread's last look */
    bool armed;                     /* the thread counts as asleep at the desk */
    uint64_t noted;                 /* the oldest request at a patient thread's look */
};

/* Give a context its list, and a thread where that is wanted: a warning, and none, if
 * it cannot be made. The context closes it at its end. */
dml_status dml__progress_open(dml_ctx *ctx, dml_progress_mode mode);

/* A new communicator comes into the list; an old one goes: then nobody else uses it nor
 * will. */
void dml__progress_join(dml_comm *comm);
void dml__progress_part(dml_comm *comm);

/* Progress the context's communicators that are not in use; true when anything moved.
 * What a thread progresses is left to it. comm: the caller's own, which is in use. */
bool dml__progress_others(dml_comm *comm);

/* The same for all of a context. */
bool dml__progress_all(dml_ctx *ctx);

/* ---- between lock.c and progress.c --- */

bool dml__lock_try(struct dml__lock *lock);
void dml__lock_release(struct dml__lock *lock);

/* May the thread poll it? Requests that use MPI need a level that not all programs ask
 * for; order forbids to poll the others alone, unless they are MPI's own algorithms:
 * those share nothing with the others, and MPI moves them on. *mpi: some use it. */
bool dml__thread_may_poll(dml_comm *comm, bool *mpi);

/* Tell the thread that there is something to do. */
void dml__thread_ring(struct dml__progress *progress);

/* The list's lock, from a thread that lets it go for moments only. */
void dml__list_lock(struct dml__progress *progress);
void dml__list_unlock(struct dml__progress *progress);

/* Find the thread a place, once it is known on which node it is. */
void dml__thread_place(struct dml__progress *progress, const dml_comm *comm);

#endif
