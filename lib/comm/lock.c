/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The communicators of a context: the lock of each, their list, and a round of those
 * that nobody uses.
 *
 * MPI lets ranks wait for requests on several communicators in different orders, since
 * a wait progresses whatever is pending. So does a wait of libdml: in vain for its own
 * communicator it polls the others of its context.
 */
#include "comm/comm_internal.h"

#include <sched.h>

/* ---- the lock of a communicator ----------------------------------------------------
 */

bool dml__lock_try(struct dml__lock *lock)
{
    return !atomic_load_explicit(&lock->in_use, memory_order_relaxed) &&
           !atomic_exchange_explicit(&lock->in_use, true, memory_order_acquire);
}

void dml__lock_release(struct dml__lock *lock)
{
    atomic_store_explicit(&lock->in_use, false, memory_order_release);
}

/* Others hold it for one poll only. */
static void wait_for_lock(struct dml__lock *lock)
{
    atomic_fetch_add(&lock->wanted, 1);
    while (!dml__lock_try(lock))
        sched_yield();
    atomic_fetch_sub(&lock->wanted, 1);
}

void dml__comm_enter(dml_comm *comm)
{
    struct dml__lock *lock = &comm->lock;
    if (lock->depth++ == 0 && !dml__lock_try(lock))
        wait_for_lock(lock);
}

void dml__comm_leave(dml_comm *comm)
{
    struct dml__lock *lock = &comm->lock;
    if (--lock->depth > 0)
        return;
    struct dml__progress *p = lock->progress;
    bool tell = p != NULL && p->threaded && comm->active != NULL;
    dml__lock_release(lock);
    if (tell && !atomic_load(&lock->watched))
        dml__thread_ring(p);
}

/* ---- those that nobody uses --------------------------------------------------------
 */

static bool poll_unused(struct dml__progress *p, dml_comm *comm)
{
    struct dml__lock *lock = &comm->lock;
    bool moved = false, mpi = false;
    if (!dml__lock_try(lock))
        return false;
    if (comm->active != NULL && !(p->threaded && dml__thread_may_poll(comm, &mpi)))
        moved = dml__comm_poll(comm);
    dml__lock_release(lock);
    return moved;
}

bool dml__progress_all(dml_ctx *ctx)
{
    struct dml__progress *p = dml__ctx_progress(ctx);
    bool moved = false;
    if (pthread_mutex_trylock(&p->lock) != 0)
        return false; /* another thread makes a round */
    for (dml_comm *comm = p->comms; comm != NULL; comm = comm->lock.next)
        moved = poll_unused(p, comm) || moved;
    pthread_mutex_unlock(&p->lock);
    return moved;
}

bool dml__progress_others(dml_comm *comm)
{
    struct dml__progress *p = dml__ctx_progress(comm->ctx);
    bool alone = atomic_load_explicit(&p->ncomms, memory_order_relaxed) <=
                 (comm->lock.progress != NULL);
    return !alone && dml__progress_all(comm->ctx);
}

bool dml_comm_progresses(const dml_comm *comm)
{
    const struct dml__lock *lock = &comm->lock;
    bool shared = comm->shm != NULL && comm->node_size == comm->size;
    return lock->progress != NULL && lock->progress->threaded &&
           (shared || lock->mpi_allowed);
}

/* ---- the list ----------------------------------------------------------------------
 */

void dml__progress_join(dml_comm *comm)
{
    struct dml__lock *lock = &comm->lock;
    struct dml__progress *p = dml__ctx_progress(comm->ctx);
    int level = MPI_THREAD_SINGLE;
    MPI_Query_thread(&level);
    lock->mpi_allowed = level == MPI_THREAD_MULTIPLE;
    lock->progress = p;
    dml__list_lock(p);
    if (p->threaded)
        dml__thread_place(p, comm);
    lock->next = p->comms;
    p->comms = comm;
    atomic_fetch_add(&p->ncomms, 1);
    dml__list_unlock(p);
}

void dml__progress_part(dml_comm *comm)
{
    struct dml__progress *p = comm->lock.progress;
    if (p == NULL)
        return;
    dml__list_lock(p);
    while (p->asleep) {
        dml__thread_ring(p);
        pthread_cond_wait(&p->turn, &p->lock);
    }
    dml_comm **link = &p->comms;
    while (*link != comm)
        link = &(*link)->lock.next;
    *link = comm->lock.next;
    atomic_fetch_sub(&p->ncomms, 1);
    dml__list_unlock(p);
    comm->lock.progress = NULL;
}
