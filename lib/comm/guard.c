/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watch over blocking MPI calls (guard.h).
 *
 * The roll belongs to the calling thread while "state" says that it is outside MPI, and
 * may be taken by the watching thread while it is inside.
 */
#include "comm/guard.h"

#include "comm/loss.h"
#include "comm/roll.h"
#include "comm/watch.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum state { OUTSIDE, INSIDE, LOOKING };

struct dml__guard {
    struct dml__roll *roll;
    pthread_t thread;
    pthread_mutex_t lock; /* guards stop */
    pthread_cond_t wake;
    bool stop;
    bool may_call_mpi; /* MPI was initialised for several threads */
    bool goes_on;      /* MPI ends the call when a rank has ended */
    atomic_int state;
    atomic_ullong calls;
};

static const long period_ns = 50 * 1000 * 1000;
static const double farewell_s = 0.3; /* for the verdict to reach the others */
static const double explain_s = 0.7;  /* for the others to say what they called */

static void pause_s(double seconds)
{
    struct timespec pause = {.tv_nsec = (long)(1e9 * seconds)};
    nanosleep(&pause, NULL);
}

/* A verdict: the thread in MPI will not come back to return it. */
static void end_process(struct dml__roll *roll, dml_status status)
{
    dml_error error;
    dml_ctx_last_error(roll->comm->ctx, &error);
    if (status != DML_ETIMEOUT) /* that is reported by one rank for all */
        dml__log(roll->comm->ctx, DML_LOG_ERROR, "%s: %s", error.where, error.text);
    for (double left_s = farewell_s; left_s > 0; left_s -= 0.01) {
        dml__notes_receive(roll);
        pause_s(0.01);
    }
    _exit(1);
}

/* One look, when a call has not returned since the last. */
static void look(struct dml__guard *guard, double since_s)
{
    struct dml__roll *roll = guard->roll;
    int inside = INSIDE;
    if (!atomic_compare_exchange_strong(&guard->state, &inside, LOOKING))
        return;
    roll->mute = !guard->may_call_mpi;
    dml_status status = dml__roll_idle(roll->comm, since_s, dml__now_s());
    if (status == DML_EPEER && guard->goes_on) {
        if (guard->may_call_mpi)
            dml__mpi_give_up(roll->comm);
    } else if (status < 0) {
        end_process(roll, status);
    }
    dml__watch_still(roll->comm, since_s);
    roll->mute = false;
    atomic_store(&guard->state, INSIDE);
}

static void *watch_calls(void *arg)
{
    struct dml__guard *guard = arg;
    unsigned long long seen = 0;
    double since_s = 0;
    pthread_mutex_lock(&guard->lock);
    while (!guard->stop) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += period_ns;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&guard->wake, &guard->lock, &until);
        unsigned long long now = atomic_load(&guard->calls);
        if (now != seen || atomic_load(&guard->state) == OUTSIDE) {
            seen = now;
            since_s = dml__now_s();
        } else {
            look(guard, since_s);
        }
    }
    pthread_mutex_unlock(&guard->lock);
    return NULL;
}

static void start_watch(struct dml__roll *roll)
{
    int provided = MPI_THREAD_SINGLE;
    struct dml__guard *guard = dml__alloc(roll->comm->ctx, sizeof *guard);
    if (guard == NULL)
        return;
    MPI_Query_thread(&provided);
    guard->roll = roll;
    guard->may_call_mpi = provided == MPI_THREAD_MULTIPLE;
    guard->goes_on = dml__mpi_goes_on();
    pthread_mutex_init(&guard->lock, NULL);
    pthread_cond_init(&guard->wake, NULL);
    if (pthread_create(&guard->thread, NULL, watch_calls, guard) == 0) {
        roll->guard = guard;
        return;
    }
    pthread_cond_destroy(&guard->wake);
    pthread_mutex_destroy(&guard->lock);
    dml__free(guard);
}

void dml__guard_free(struct dml__roll *roll)
{
    struct dml__guard *guard = roll->guard;
    if (guard == NULL)
        return;
    pthread_mutex_lock(&guard->lock);
    guard->stop = true;
    pthread_cond_signal(&guard->wake);
    pthread_mutex_unlock(&guard->lock);
    pthread_join(guard->thread, NULL);
    pthread_cond_destroy(&guard->wake);
    pthread_mutex_destroy(&guard->lock);
    dml__free(guard);
    roll->guard = NULL;
}

void dml__guard_begin(dml_comm *comm)
{
    struct dml__roll *roll = comm->roll;
    if (comm->size == 1)
        return;
    if (roll->guard == NULL && !roll->unwatched) {
        start_watch(roll);
        roll->unwatched = roll->guard == NULL;
    }
    if (roll->guard == NULL)
        return;
    atomic_fetch_add_explicit(&roll->guard->calls, 1, memory_order_relaxed);
    atomic_store_explicit(&roll->guard->state, INSIDE, memory_order_release);
}

void dml__guard_end(dml_comm *comm)
{
    struct dml__guard *guard = comm->roll->guard;
    int inside = INSIDE;
    if (comm->size == 1 || guard == NULL)
        return;
    while (!atomic_compare_exchange_weak(&guard->state, &inside, OUTSIDE)) {
        inside = INSIDE;
        sched_yield();
    }
}

/* ---- after the call ----------------------------------------------------------------
 */

/* Asks all what they called, and gives them a moment to answer. */
static dml_status explain(struct dml__roll *roll, uint64_t seq)
{
    double until_s = dml__now_s() + explain_s;
    dml__notes_tell(roll, DML__NOTE_ASK, seq, DML_OK, "");
    do {
        DML_TRY(dml__notes_receive(roll));
        DML_TRY(dml__roll_compare(roll));
        pause_s(1e-3);
    } while (dml__now_s() < until_s);
    return DML_OK;
}

dml_status dml__guard_verify(const struct dml__call *call, int code)
{
    dml_comm *comm = call->comm;
    struct dml__roll *roll = comm->roll;
    if (comm->size == 1 && code == MPI_SUCCESS)
        return DML_OK;
    if (code != MPI_SUCCESS) {
        if (!dml__mpi_lost_peer(code))
            DML_TRY(explain(roll, call->record.seq));
        dml_status status = dml__mpi_fail(comm, call->where, code);
        dml__comm_break(comm, status);
        return status;
    }
    DML_TRY(dml__roll_verify(roll, call->record.seq));
    dml_status status = dml__receipts_add(roll, call);
    if (status < 0) /* the neighbours would wait for this rank's receipts */
        dml__comm_break(comm, status);
    return status;
}
