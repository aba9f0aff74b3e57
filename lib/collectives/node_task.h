/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Algorithms within a node: tasks (comm/sched.h) that work on what its ranks share
 * (comm/node.h), one window of the vectors an operation.
 */
#ifndef DML__NODE_TASK_H
#define DML__NODE_TASK_H

#include "collectives/coll_internal.h"
#include "comm/node.h"

struct dml__node_task {
    const struct dml__call *call;
    struct dml__node *node;
    dml_status (*stage)(struct dml__node_task *task); /* what to do next */
    unsigned long long n;                             /* the node's operation */
    struct dml__range range; /* the window: elements of the vector, or of each block */
    size_t width;            /* elements of a full window */
    size_t length;           /* elements of the vector, or of the longest block */
    size_t item;             /* bytes of an element in a slot */
    size_t slot_bytes;       /* of this window's contribution */
    bool staged;             /* flat.c */
    struct dml__cursor cursor; /* flat.c: the piece in which the window begins */
    bool by_system;            /* shared.c */
    size_t sent, received;     /* bytes of this window, for the statistics */
};

/* Window by window: every rank puts its contribution into its slot, and reads from the
 * others' what its result needs. The first stage. */
dml_status dml__flat_begin(struct dml__node_task *task);

/* The same for an all-reduce, but each rank reduces its part of the window, and then
 * reads the others' parts. */
dml_status dml__staged_begin(struct dml__node_task *task);

/* NULL, or why the node's memory cannot be used. */
const char *dml__node_supports(const struct dml__call *call);

/* dst = reduction of term[0 .. P-1] in this order, n elements of what the call reduces;
 * terms are accumulators where call->red.own_scale. dst may be one of them. */
void dml__reduce_terms(const struct dml__call *call, const char *const *term, void *dst,
                       size_t n);

/* Runs the stages; an algorithm's "task". */
dml_status dml__node_advance(void *task);

#endif
