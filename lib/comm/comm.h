/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lib/comm offers the other folders: the communicator's state, and the description
 * of a collective call that both lib/collectives and the MPI library's own algorithms
 * (native.c) work from. lib/comm is the only folder that calls MPI.
 */
#ifndef DML__COMM_H
#define DML__COMM_H

#include "dml/coll.h"
#include "dml/comm.h"

#include "comm/ledger.h"
#include "comm/traits.h"
#include "core/core.h"

#include <stdbool.h>

/*
 * How a vector is reduced: the four functions of lib/kernels/kernels.h, with their
 * arguments bound. load is NULL where elements are accumulators as they are, store
 * where an accumulator is the result as it is.
 */
typedef void dml__local_fn(void *dst, const void *a, const void *b, size_t n,
                           double arg);

struct dml__reduction {
    size_t acc_bytes;     /* bytes of one accumulator */
    dml__local_fn *load;  /* acc = load(x) */
    dml__local_fn *fold;  /* acc = acc op load(x) */
    dml__local_fn *merge; /* acc = acc op acc */
    dml__local_fn *store; /* x = store(acc) */
    double scale;         /* argument of load and fold */
    double divisor;       /* argument of store */
    bool own_scale;       /* load depends on the rank: others cannot load my elements */
};

/* One collective call, validated. For the v-variants counts is set; offsets always is
 * when counts is. Blocks without counts are all of count elements. */
struct dml__call {
    dml_coll coll;
    const void *send; /* the input, wherever it lies (never DML_IN_PLACE) */
    void *recv;
    bool in_place;
    size_t count;          /* whole vector (allreduce, bcast, reduce), else one block */
    const size_t *counts;  /* [P] or NULL */
    const size_t *offsets; /* [P] or NULL: where the blocks lie, in elements */
    size_t total;          /* elements of the whole vector, sum over blocks */
    dml_dtype dtype;
    dml_op op;
    int root;
    const dml_piece *pieces; /* [npieces] of an all-reduce in place, instead of recv */
    size_t npieces;
    size_t elem_bytes;
    struct dml__reduction red; /* of the collectives that reduce */
    bool on_device;            /* one of the buffers is device memory */
    bool mixed;                /* and another is host memory, not pinned */
    bool captured;  /* and the stream is captured: the call is not done but kept */
    bool may_stage; /* the user's, where a device is in use: host_staged can do it */
    bool any_place; /* host_staged is forced: others' buffers may be elsewhere */
    dml_comm *comm;
    const char *where;     /* public function, for messages */
    struct dml__op record; /* of it (roll.h); seq 0: none yet */
};

/* ---- communicator ------------------------------------------------------------------
 */

/* Around all that uses a communicator's state: keeps others away that would progress it
 * (progress.h). May be nested. */
void dml__comm_enter(dml_comm *comm);
void dml__comm_leave(dml_comm *comm);

/* More ranks on this node than processors they may use: waiting must give way at once.
 */
bool dml__comm_crowded(const dml_comm *comm);

/* "rank 3 (host a, pid 123)", for messages. */
void dml__comm_peer_name(const dml_comm *comm, int rank, char *text, size_t room);

/* Which node each rank is on [P], numbered in the order of the nodes' lowest ranks; and
 * how many nodes there are ("nnodes" may be NULL). */
const int *dml__comm_nodes(const dml_comm *comm, int *nnodes);

/* A number for the processes of the communicator in their order, and the nodes they are
 * on: two communicators of one context with the same number are alike. 0 when some of
 * them have no name (they were not started together). */
uint64_t dml__comm_members(const dml_comm *comm);

/* Text of the tuning table, and the file's name; NULL when there is none. */
const char *dml__comm_tuning(const dml_comm *comm, const char **name);

/* lib/collectives hangs its state (choices, measured costs) here. */
struct dml__coll_state *dml__comm_coll_state(const dml_comm *comm);
/* The same when there is only this rank, in order, nothing is recorded, and all memory
 * is the host's, else NULL: a call then is no more than its copy, for which MPI
 * libraries take a few ns. */
const struct dml__coll_state *dml__comm_alone(const dml_comm *comm);
void dml__comm_set_coll_state(dml_comm *comm, struct dml__coll_state *state,
                              void (*destroy)(struct dml__coll_state *));

/* lib/gpu hangs its part of a communicator here. It goes before anything else of the
 * communicator does. */
void *dml__comm_gpu(const dml_comm *comm);
void dml__comm_set_gpu(dml_comm *comm, void *gpu, void (*destroy)(void *));

/* Scale of a pre-multiplied sum; false when op is not one of this communicator's. */
bool dml__comm_op_scale(const dml_comm *comm, dml_op op, double *scale);

/* One exchange of records at a time may be open, since all have one tag: is there none
 * but this one? Then this one is, until it is closed. */
bool dml__comm_open_exchange(dml_comm *comm, const void *exchange);
void dml__comm_close_exchange(dml_comm *comm, const void *exchange);
/* Number of a new exchange, the same on all ranks. */
uint64_t dml__comm_next_exchange(dml_comm *comm);

void dml__comm_count_collective(dml_comm *comm);
/* One contribution to an operation of the node, and what was read of the others'. */
void dml__comm_count_bytes(dml_comm *comm, size_t sent, size_t received);
void dml__comm_set_stats(dml_comm *comm, const dml_comm_stats *stats);

/* After a failure in mid-call (memory, network) the ranks no longer agree on what was
 * sent, so the communicator only says so from then on. */
dml_status dml__comm_check(const dml_comm *comm, const char *where);
/* Has a rank told the others that the communicator has failed? Any thread may ask, also
 * one that does not hold the communicator. */
bool dml__comm_alarmed(const dml_comm *comm);
/* Why a call failed that told no reason: what ended the communicator, else DML_ECOMM.
 */
dml_status dml__comm_failure(const dml_comm *comm);
/* Call it after dml__fail: the other ranks are told that error. */
void dml__comm_break(dml_comm *comm, dml_status status);
/* Free memory on which collectives of the communicator worked. After a failure MPI may
 * still read and write it: then it stays until the process ends. */
void dml__comm_release(const dml_comm *comm, void *memory);

/* This memory, and what it points to, stays on purpose until the process ends: it is
 * kept within reach, so that no checker takes it for lost. */
void dml__left_to_mpi(void *memory);

/*
 * Every collective call of every rank is numbered and written down, so that ranks which
 * do not call the same can be told apart (roll.h): when it begins, and when it is
 * complete. Not on communicators of one rank.
 */
void dml__roll_enter(struct dml__call *call);
void dml__roll_leave(const dml_comm *comm, uint64_t seq);

/* The same for a call that libdml makes to measure. */
void dml__roll_enter_sample(struct dml__call *call);

/* Around dml_algorithm_query, which may measure too. */
uint64_t dml__roll_enter_query(dml_comm *comm, uint64_t count);
void dml__roll_leave_query(dml_comm *comm, uint64_t seq);

/* The same call once more. */
void dml__roll_enter_next(dml_comm *comm, struct dml__op *record);

/* The call's algorithm is chosen: number "alg" of its collective, from 1. Numbers the
 * call anew if there were others since: measurements. */
void dml__roll_chosen(struct dml__call *call, int alg);

/* This rank refuses a call, with the context's last error. what: a dml_coll, or one of
 * enum dml__what (ledger.h); seq: its number, or 0 where it has none yet. */
void dml__roll_refuse(dml_comm *comm, int what, uint64_t seq);

/* Calls that are done by a device, when it comes to them: this rank has queued so many
 * in all. And: who may hold up number "queued", from 1: processes of this machine that
 * are stopped or have ended, and of the ranks that share memory with this one those
 * that have queued least, and fewer; false: none is known. Any thread may ask. */
void dml__roll_queued(const dml_comm *comm, uint64_t queued);
bool dml__roll_holds_up(const dml_comm *comm, uint64_t queued, char *text, size_t room);

/* Agreement outside any schedule: the element-wise maximum over the ranks, in place.
 * Completes pending collectives first. */
dml_status dml__comm_max(dml_comm *comm, double *values, int count);

/* ---- memory of the node ------------------------------------------------------------
 */

/* What the ranks share when all of them are on one node and can; else NULL. */
struct dml__node *dml__comm_node(const dml_comm *comm);

/* Is there memory of dml_alloc that all ranks reach? The same on all ranks. */
bool dml__comm_has_symmetric(const dml_comm *comm);

/* How this rank tells its peers where a buffer is (alloc.c), and what a peer makes of
 * it: the address here, or NULL. A place that is not shared is an address in its
 * process. */
uint64_t dml__place(const dml_comm *comm, const void *buf, size_t bytes);
bool dml__place_shared(uint64_t place);
void *dml__place_here(const dml_comm *comm, int node_rank, uint64_t place);

/* ---- the MPI library's own algorithms ----------------------------------------------
 */

/* NULL when MPI can do this call, else why not. */
const char *dml__native_supports(const struct dml__call *call);

/* Run it as one blocking MPI call, without a schedule; not for calls with counts.
 * Pending collectives of the communicator are completed first: they are not progressed
 * from inside MPI, and other ranks may need them to get here. */
dml_status dml__native_run(const struct dml__call *call);

#endif
