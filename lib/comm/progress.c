/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The progress thread (progress.h).
 *
 * It goes round its communicators and polls. A round in vain is followed by another
 * one, before which the peers are told that it is about to sleep (node.h); if that is
 * in vain too it sleeps, at the bells of all communicators that it watches and at its
 * own. Messages of MPI ring no bell: while any is awaited the sleep is short, a part of
 * the time in which nothing moved.
 */
#include "comm/progress.h"

#include "comm/comm_internal.h"
#include "comm/request.h"
#include "comm/roll.h"
#include "core/topology.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    BELLS = 64,       /* at most so many are slept at, the own one among them */
    SPIN_ROUNDS = 200 /* in vain before a sleep, on a core that nobody else uses */
};

/* A sleep while messages of MPI are awaited: a part of the time without any, within
 * limits. The shorter costs a computing thread beside it 2 % of its time, for a moment.
 */
static const double sleep_part = 1.0 / 8, sleep_min_s = 1e-4, sleep_max_s = 1e-3;

/* The timer that ends a sleep may be late by this. */
enum { TIMER_SLACK_NS = 1000 };

/* A patient thread's time between two looks, and how many it takes in vain before it
 * sleeps until it is told: looking costs a computing thread 1 % of its time. */
enum { PATIENCE_NS = 200000, LOOKS_IN_VAIN = 100 };

void dml__thread_ring(struct dml__progress *p)
{
    atomic_fetch_add(&p->bell, 1);
    if (atomic_load(&p->drowsy))
        syscall(SYS_futex, &p->bell, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* ---- the thread --------------------------------------------------------------------
 */

bool dml__thread_may_poll(dml_comm *comm, bool *mpi)
{
    bool uses_mpi = false, allowed = comm->lock.mpi_allowed;
    for (const dml_request *r = comm->active; r != NULL; r = r->next)
        uses_mpi = uses_mpi || (r->uses_mpi && (allowed || !dml__request_native(r)));
    if (uses_mpi && !allowed) {
        if (!comm->lock.warned)
            dml__log(comm->ctx, DML_LOG_WARN,
                     "the progress thread cannot progress messages of MPI: initialise "
                     "MPI by MPI_Init_thread with MPI_THREAD_MULTIPLE; until then they "
                     "progress in calls on the communicator");
        comm->lock.warned = true;
        return false;
    }
    *mpi = *mpi || uses_mpi;
    return true;
}

/* Has the node's peers ring when something comes for a communicator. */
static void arm(dml_comm *comm)
{
    struct dml__lock *lock = &comm->lock;
    if (comm->node != NULL) {
        lock->heard = dml__node_drowsy(comm->node);
        lock->armed = true;
    }
    atomic_store(&lock->watched, true);
}

static void disarm_all(struct dml__progress *p)
{
    for (dml_comm *comm = p->comms; comm != NULL; comm = comm->lock.next) {
        struct dml__lock *lock = &comm->lock;
        if (lock->armed)
            dml__node_awake(comm->node);
        lock->armed = false;
        atomic_store(&lock->watched, false);
    }
}

/* What a round found. */
struct found {
    bool moved, pending, mpi;
};

static struct found go_round(struct dml__progress *p, bool before_sleep)
{
    struct found found = {0};
    for (dml_comm *comm = p->comms; comm != NULL; comm = comm->lock.next) {
        struct dml__lock *lock = &comm->lock;
        if (atomic_load(&lock->wanted) > 0 || !dml__lock_try(lock))
            continue; /* whoever uses it progresses it, and rings when leaving */
        if (comm->active != NULL && dml__thread_may_poll(comm, &found.mpi)) {
            if (before_sleep)
                arm(comm);
            lock->no_mpi = !lock->mpi_allowed;
            bool moved = dml__comm_poll(comm);
            lock->no_mpi = false;
            if (!moved && comm->active != NULL)
                dml__roll_watch(comm, lock->mpi_allowed);
            found.moved = moved || found.moved;
            found.pending = found.pending || comm->active != NULL;
        }
        dml__lock_release(lock);
    }
    return found;
}

/* "seconds" after now or, for the older call, as they are. */
static struct timespec time_limit(double seconds, bool from_now)
{
    struct timespec t = {0};
    if (from_now)
        clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += (long)(1e9 * seconds); /* less than a second */
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* Sleeps until a bell rings, the own or one that is watched; heard: what the own has
 * rung so far. seconds: at most; 0 for ever. */
static void sleep_at_bells(struct dml__progress *p, unsigned heard, double seconds)
{
    struct timespec limit = time_limit(seconds, !p->one_bell);
    struct futex_waitv bells[BELLS] = {{.val = heard,
                                        .uaddr = (uintptr_t)&p->bell,
                                        .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG}};
    unsigned n = 1;
    for (dml_comm *comm = p->comms; comm != NULL && n < BELLS; comm = comm->lock.next)
        if (comm->lock.armed)
            bells[n++] =
                (struct futex_waitv){.val = comm->lock.heard,
                                     .uaddr = (uintptr_t)dml__node_bell(comm->node),
                                     .flags = FUTEX_32};
    p->asleep = true;
    pthread_mutex_unlock(&p->lock);
    struct timespec *until = seconds > 0 ? &limit : NULL;
    if (p->one_bell)
        syscall(SYS_futex, &p->bell, FUTEX_WAIT_PRIVATE, heard, until, NULL, 0);
    else if (syscall(SYS_futex_waitv, bells, n, 0, until, CLOCK_MONOTONIC) < 0 &&
             errno != EAGAIN && errno != ETIMEDOUT && errno != EINTR)
        p->one_bell = true; /* before Linux 5.16 */
    pthread_mutex_lock(&p->lock);
    p->asleep = false;
    pthread_cond_broadcast(&p->turn);
}

/* How long the thread may sleep after a round in which nothing moved. */
static double sleep_s(const struct dml__progress *p, struct found found, double still_s)
{
    if (!found.pending)
        return 0; /* until there is something to do */
    if (!found.mpi && !p->one_bell)
        return sleep_max_s;
    double part_s = (dml__now_s() - still_s) * sleep_part;
    return part_s < sleep_min_s   ? sleep_min_s
           : part_s < sleep_max_s ? part_s
                                  : sleep_max_s;
}

/* Is anything pending, or in use; and does anything wait since the look before? */
static void look(struct dml__progress *p, bool *pending, bool *old)
{
    for (dml_comm *comm = p->comms; comm != NULL; comm = comm->lock.next) {
        struct dml__lock *lock = &comm->lock;
        if (atomic_load(&lock->wanted) > 0 || !dml__lock_try(lock)) {
            *pending = true;
            continue;
        }
        const dml_request *oldest = comm->active;
        *pending = *pending || oldest != NULL;
        uint64_t seq = oldest != NULL ? oldest->record.seq : 0;
        *old = *old || (oldest != NULL && (seq == 0 || seq == lock->noted));
        lock->noted = seq;
        dml__lock_release(lock);
    }
}

/* A patient thread: false when there is work for it, else time has passed. */
static bool rest(struct dml__progress *p)
{
    const struct timespec patience = {.tv_nsec = PATIENCE_NS};
    bool pending = false, old = false, deep = p->vain >= LOOKS_IN_VAIN;
    if (p->at_work)
        return false;
    atomic_store(&p->drowsy, deep);
    unsigned heard = atomic_load(&p->bell);
    look(p, &pending, &old);
    p->vain = pending || heard != p->heard ? 0 : p->vain + 1;
    p->heard = heard;
    p->at_work = old;
    if (old)
        return false;
    if (deep && p->vain > 0) {
        sleep_at_bells(p, heard, 0);
        return true;
    }
    atomic_store(&p->drowsy, false);
    pthread_mutex_unlock(&p->lock);
    nanosleep(&patience, NULL);
    pthread_mutex_lock(&p->lock);
    return true;
}

static void *run(void *arg)
{
    struct dml__progress *p = arg;
    double still_s = 0;
    int rounds = 0; /* in vain */
    prctl(PR_SET_TIMERSLACK, (unsigned long)TIMER_SLACK_NS);
    pthread_mutex_lock(&p->lock);
    while (!p->stop) {
        if (atomic_load(&p->wanted) > 0) {
            pthread_cond_wait(&p->turn, &p->lock);
            continue;
        }
        if (p->patient && rest(p))
            continue;
        bool before_sleep = rounds >= (p->own_core ? SPIN_ROUNDS : 1);
        atomic_store(&p->drowsy, before_sleep);
        unsigned heard = atomic_load(&p->bell);
        struct found found = go_round(p, before_sleep);
        if (found.moved || rounds == 0)
            still_s = dml__now_s();
        rounds = found.moved ? 0 : before_sleep ? rounds : rounds + 1;
        p->at_work = found.pending || found.moved;
        if (before_sleep && !found.moved && (found.pending || !p->patient))
            sleep_at_bells(p, heard, sleep_s(p, found, still_s));
        if (before_sleep)
            disarm_all(p);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- its life ----------------------------------------------------------------------
 */

void dml__list_lock(struct dml__progress *p)
{
    atomic_fetch_add(&p->wanted, 1);
    pthread_mutex_lock(&p->lock);
}

void dml__list_unlock(struct dml__progress *p)
{
    atomic_fetch_sub(&p->wanted, 1);
    pthread_cond_broadcast(&p->turn);
    pthread_mutex_unlock(&p->lock);
}

static void close_progress(struct dml__progress *p)
{
    if (p->threaded) {
        dml__list_lock(p);
        p->stop = true;
        dml__list_unlock(p);
        dml__thread_ring(p);
        pthread_join(p->thread, NULL);
    }
    pthread_cond_destroy(&p->turn);
    pthread_mutex_destroy(&p->lock);
    dml__free(p);
}

dml_status dml__progress_open(dml_ctx *ctx, dml_progress_mode mode)
{
    bool threaded = mode != DML_PROGRESS_POLL;
    /* The context's own memory, which tests do not make fail. */
    struct dml__progress *p = dml__alloc(NULL, sizeof *p);
    if (p == NULL)
        return dml__fail(ctx, DML_ENOMEM, "dml_ctx_create", "no memory");
    p->ctx = ctx;
    p->patient = mode == DML_PROGRESS_PATIENT;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->turn, NULL);
    p->threaded = threaded && pthread_create(&p->thread, NULL, run, p) == 0;
    if (threaded && !p->threaded)
        dml__log(ctx, DML_LOG_WARN,
                 "no progress thread could be made: requests progress in calls only");
    dml__ctx_set_progress(ctx, p, close_progress);
    return DML_OK;
}

void dml__thread_place(struct dml__progress *p, const dml_comm *comm)
{
    char what[80];
    if (p->placed)
        return;
    p->placed = true;
    p->own_core = dml__topology_bind_spare(p->thread, &comm->node_cpus, comm->node_rank,
                                           comm->node_size, what, sizeof what);
    dml__log(comm->ctx, DML_LOG_INFO, "progress thread of rank %d: %s", comm->rank,
             what);
}
