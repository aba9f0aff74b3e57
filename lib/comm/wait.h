/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting: the one way in which everything that polls waits for others.
 *
 *     struct dml__idle idle = {0};
 *     while (!done)
 *         if (poll())
 *             dml__idle_moved(comm, &idle);
 *         else
 *             DML_TRY(dml__idle(comm, &idle));
 *     dml__idle_end(comm, &idle);
 *
 * A wait goes through three stages: it spins, longer than a hand-over takes; it yields
 * the processor, at once where ranks outnumber processors; and after a millisecond it
 * sleeps. Peers on the node wake a sleeper (node.h). Messages of MPI cannot, so no
 * sleep is longer than a small part of the time waited already: what comes is late by
 * that part at most.
 *
 * With DML_WAIT=block a wait for messages of MPI is one call of MPI instead. That suits
 * simulators, where time only passes in calls that wait.
 */
#ifndef DML__WAIT_H
#define DML__WAIT_H

#include "comm/comm_internal.h"

struct dml__idle {
    unsigned polls; /* in vain since anything moved */
    bool armed;     /* peers have been told that this rank is about to sleep */
    unsigned heard; /* the own bell when they were told */
    double begin_s; /* of the whole wait; 0: it has only spun so far */
    bool looked;    /* at whom it is for, and in which operation: the next two */
    int peer, row;  /* of trace.c; -1: unknown */
    double still_s; /* when anything moved last; 0: not long ago */
};

/* What an idle rank does next: called after each poll in vain, without any lock.
 * Returns DML_PENDING, or the error for which waiting must end. */
dml_status dml__idle(dml_comm *comm, struct dml__idle *idle);

/* A poll was not in vain. */
void dml__idle_moved(dml_comm *comm, struct dml__idle *idle);

/* Polls the communicator until done(what). What was pending is ended by an error, which
 * is returned. */
typedef bool dml__done_fn(const void *what);
dml_status dml__wait_until(dml_comm *comm, dml__done_fn *done, const void *what);

/* The wait is over: counts its time. Must follow every wait that called dml__idle. */
void dml__idle_end(dml_comm *comm, struct dml__idle *idle);

#endif
