/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stages of a wait (wait.h): spin, yield, sleep.
 */
#include "comm/wait.h"

#include "comm/roll.h"
#include "comm/trace.h"
#include "comm/watch.h"

#include <sched.h>
#include <time.h>

/* Polls before a waiting rank yields its processor, when there is one per rank. Longer
 * than a hand-over, shorter than a time slice. The first ones do without the pause
 * instruction: it may take longer than a hand-over. */
enum { SPIN_POLLS = 192, EAGER_POLLS = 100 };

/* Yields between two looks at the clock, and at MPI. */
enum { YIELDS = 16 };

/* A wait sleeps from this time on, ... */
static const double awake_s = 1e-3;

/* ... never longer than this part of what it has waited, */
static const double sleep_part = 1.0 / 32;

/* nor than this: a message of MPI ends no sleep, and timeouts must be seen. */
static const double sleep_max_s = 1e-3;

static void pause_processor(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/*
 * Lets MPI progress the program's own messages, of which a peer may need one before it
 * takes part here: a program may start a large MPI_Isend and wait in a collective until
 * the receiver joins.
 */
static void let_mpi_progress(dml_comm *comm)
{
    int arrived = 0;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm->p2p, &arrived, MPI_STATUS_IGNORE);
}

/* What else of this rank a peer may need before it takes part here: requests on other
 * communicators, and ... */
static bool progress_others(dml_comm *comm, const struct dml__idle *idle)
{
    bool moved = dml__progress_others(comm);
    if (!idle->armed)
        let_mpi_progress(comm);
    return moved;
}

static void disarm(dml_comm *comm, struct dml__idle *idle)
{
    if (idle->armed)
        dml__node_awake(comm->node);
    idle->armed = false;
}

static void sleep_for(dml_comm *comm, struct dml__idle *idle, double seconds)
{
    struct timespec limit = {.tv_nsec = (long)(1e9 * seconds)}; /* far below 1 s */
    if (comm->node == NULL) {
        nanosleep(&limit, NULL);
    } else if (idle->armed) {
        dml__node_sleep(comm->node, idle->heard, &limit);
        disarm(comm, idle);
    } else { /* one more poll: a peer that published before this saw nobody asleep */
        idle->heard = dml__node_drowsy(comm->node);
        idle->armed = true;
    }
}

/* Now and then while yielding, and before and after each sleep. */
static dml_status look_around(dml_comm *comm, struct dml__idle *idle)
{
    double now_s = dml__now_s();
    if (idle->begin_s <= 0)
        idle->begin_s = now_s;
    if (idle->still_s <= 0)
        idle->still_s = now_s;
    if (comm->trace != NULL)
        dml__trace_look(comm, idle);
    bool moved = progress_others(comm, idle);
    double waited_s = now_s - idle->still_s, part_s = waited_s * sleep_part;
    if (waited_s >= awake_s) {
        DML_TRY(dml__roll_idle(comm, idle->still_s, now_s));
        dml__watch_still(comm, idle->still_s);
    }
    if (waited_s < awake_s && !moved)
        sched_yield();
    else if (!moved)
        sleep_for(comm, idle, part_s < sleep_max_s ? part_s : sleep_max_s);
    if (waited_s >= awake_s || moved)
        idle->polls--; /* come here again after the next poll */
    return DML_PENDING;
}

dml_status dml__idle(dml_comm *comm, struct dml__idle *idle)
{
    if (comm->blocks && dml__comm_block(comm))
        return DML_PENDING;
    unsigned polls = ++idle->polls;
    if (polls % YIELDS == 0 && (comm->crowded || polls >= SPIN_POLLS))
        return look_around(comm, idle);
    if (comm->crowded || polls >= SPIN_POLLS)
        sched_yield();
    else if (polls >= EAGER_POLLS)
        pause_processor();
    return DML_PENDING;
}

void dml__idle_moved(dml_comm *comm, struct dml__idle *idle)
{
    idle->polls = 0;
    if (idle->still_s > 0)
        dml__watch_still(comm, 0);
    idle->still_s = 0;
    disarm(comm, idle);
}

dml_status dml__wait_until(dml_comm *comm, dml__done_fn *done, const void *what)
{
    struct dml__idle idle = {.begin_s = dml__now_s()};
    dml_status status = DML_PENDING;
    while (!done(what) && status == DML_PENDING) {
        if (dml__comm_poll(comm))
            dml__idle_moved(comm, &idle);
        else
            status = dml__idle(comm, &idle);
    }
    dml__idle_end(comm, &idle);
    if (status < 0)
        dml__comm_abandon(comm, status);
    return status < 0 ? status : DML_OK;
}

void dml__idle_end(dml_comm *comm, struct dml__idle *idle)
{
    disarm(comm, idle);
    if (idle->begin_s <= 0)
        return;
    double end_s = dml__now_s();
    comm->stats.wait_s += end_s - idle->begin_s;
    dml__watch_waited(comm);
    if (comm->trace != NULL)
        dml__trace_wait(comm, idle, end_s);
}
