/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the ranks of a node share: a desk for each rank, with a bell to wake it, two
 * posts on which it announces its operations, and two slots for data; and the channels
 * of shm.h.
 *
 * An operation of the node (one window of a collective, for example) is numbered n = 0,
 * 1, ... by every rank alike. A rank announces its part on post n mod 2, in phases:
 * entered, and what the operation has beyond. Peers read what was written before the
 * announcement. A rank enters n only when all peers have entered n-1, hence are through
 * with n-2, whose post and slot it then overwrites: so nobody waits at the end of an
 * operation.
 */
#ifndef DML__NODE_H
#define DML__NODE_H

#include "comm/comm.h"

#include <time.h>

enum {
    DML__LINE = 64,
    DML__SLOT_BYTES = 256 * 1024, /* two fit the second-level cache */
    DML__INLINE_BYTES = 48,
    DML__NODE_RANKS_MAX = 1024,
    DML__CHANNEL_OPS = 14, /* what a cache line has beside a counter */
    DML__CHANNEL_BYTES = 256 * 1024
};

/* Phases of an operation; each rank goes through them in this order. */
enum dml__phase { DML__ENTERED = 1, DML__REDUCED = 2, DML__DONE = 3, DML__NPHASES };

/* A rank's announcement: one cache line, so that it arrives at once. */
struct dml__post {
    _Alignas(DML__LINE) atomic_ullong stamp; /* DML__NPHASES * n + phase */
    uint64_t signature;                      /* of the call: must be the same on all */
    union {
        uint64_t place[2]; /* where the input and the result lie (alloc.c) */
        char inlined[DML__INLINE_BYTES]; /* a contribution that is this small */
    };
};

struct dml__channel {                        /* shm.c */
    _Alignas(DML__LINE) atomic_ullong head;  /* bytes ever written; the sender's */
    atomic_uint signature[DML__CHANNEL_OPS]; /* of the newest operations, in a ring */
    _Alignas(DML__LINE) atomic_ullong tail;  /* bytes ever read; the receiver's */
    _Alignas(DML__LINE) char data[DML__CHANNEL_BYTES];
};

struct dml__desk {
    _Alignas(DML__LINE) atomic_uint bell; /* a futex: rung to wake the owner */
    atomic_uint asleep; /* threads of the owner that sleep, or are about to */
    long pid;           /* of the owner */
    const long *pid_at; /* where the owner keeps it too */
    struct dml__post post[2];
    struct dml__ledger ledger;
    _Alignas(4096) char slot[2][DML__SLOT_BYTES];
    struct dml__channel inbox[]; /* [node size] messages from each node rank */
};

struct dml__share; /* share.h */

struct dml__node {
    struct dml__share *share; /* the desks' memory */
    int rank, size;           /* in the node's numbering */
    long pid;
    int *rank_of;              /* [size] rank in the communicator */
    struct dml__desk **desk;   /* [size] */
    uint64_t signature;        /* of the call that is worked on */
    unsigned long long next;   /* number of the next operation */
    unsigned long long *seen;  /* [size] newest stamp seen of each rank */
    unsigned long long passed; /* all ranks' stamps are at least this */
    bool can_read;             /* every rank may read every other's memory */
};

/* This rank's newest announcement: it changes whenever a task gets on. */
static inline unsigned long long dml__node_own(const struct dml__node *node)
{
    return node->seen[node->rank];
}

/* A node's number for the operation that begins now. */
static inline unsigned long long dml__node_begin(struct dml__node *node)
{
    return node->next++;
}

static inline struct dml__post *dml__node_post(const struct dml__node *node, int rank,
                                               unsigned long long n)
{
    return &node->desk[rank]->post[n & 1];
}

static inline char *dml__node_slot(const struct dml__node *node, int rank,
                                   unsigned long long n)
{
    return node->desk[rank]->slot[n & 1];
}

/* Has a node rank reached this phase of operation n, which this rank has entered? Never
 * when it is another call there: the roll call finds that (roll.h). */
static inline bool dml__node_reached(struct dml__node *node, int rank,
                                     unsigned long long n, enum dml__phase phase)
{
    unsigned long long wanted = DML__NPHASES * n + phase;
    if (node->seen[rank] >= wanted)
        return true;
    const struct dml__post *post = dml__node_post(node, rank, n);
    unsigned long long stamp = atomic_load_explicit(&post->stamp, memory_order_acquire);
    if (stamp < wanted ||
        post->signature != dml__node_post(node, node->rank, n)->signature)
        return false;
    node->seen[rank] = stamp;
    return true;
}

/* Have all? */
bool dml__node_all_reached(struct dml__node *node, unsigned long long n,
                           enum dml__phase phase);

/* May this rank write its post and slot of operation n? */
static inline bool dml__node_may_enter(struct dml__node *node, unsigned long long n)
{
    return n == 0 || dml__node_all_reached(node, n - 1, DML__ENTERED);
}

/* Announce that this rank has reached a phase of operation n. */
void dml__node_reach(struct dml__node *node, unsigned long long n,
                     enum dml__phase phase);

/* Read a peer's memory at its address; false when the system refuses, or it has ended.
 */
bool dml__node_read(const struct dml__node *node, int rank, uint64_t address, void *to,
                    size_t bytes);

/* What peers ring to wake this rank: a futex. */
static inline atomic_uint *dml__node_bell(const struct dml__node *node)
{
    return &node->desk[node->rank]->bell;
}

/* Wake a node rank if it sleeps; call it after writing what it may wait for, by a
 * sequentially consistent store. */
void dml__node_wake(struct dml__node *node, int rank);

/*
 * Sleeping at the own desk: dml__node_drowsy, then one more poll, which must be in
 * vain, then dml__node_sleep with the number got; at last dml__node_awake. A peer that
 * publishes something after the poll finds this rank asleep, and wakes it.
 */
unsigned dml__node_drowsy(struct dml__node *node);
void dml__node_sleep(struct dml__node *node, unsigned heard,
                     const struct timespec *limit);
void dml__node_awake(struct dml__node *node);

#endif
