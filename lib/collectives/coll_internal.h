/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of lib/collectives share: the shape of an algorithm, the tables, and
 * the helpers that algorithms are written with.
 */
#ifndef DML__COLL_INTERNAL_H
#define DML__COLL_INTERNAL_H

#include "collectives/collectives.h"
#include "comm/sched.h"
#include "comm/trace.h"
#include "kernels/kernels.h"

/* ---- an algorithm ------------------------------------------------------------------
 */

/* What a message costs between two ranks. */
struct dml__link_cost {
    double alpha_s; /* start to finish, without its bytes */
    double gap_s;   /* one more message at the same time */
    double beta_s;  /* one byte sent */
};

/* The communicator and the machine, as the cost model sees them (doc/collectives.md).
 * Ranks are taken to be spread evenly over the nodes. */
struct dml__model {
    int nranks, nnodes;
    struct dml__link_cost node; /* between ranks of one node */
    struct dml__link_cost net;  /* between nodes */
    double gamma_s;             /* one byte reduced */
};

/* What is known of a communicator: measured, or assumed; the same on all ranks. */
struct dml__model dml__model_of(const dml_comm *comm);

/* The link that an algorithm blind to nodes waits for: its slowest. */
static inline struct dml__link_cost dml__flat(const struct dml__model *m)
{
    return m->nnodes > 1 ? m->net : m->node;
}

/* Seconds in which each rank sends a part of P of "bytes" to every other; in which the
 * parts go to, or from, one rank alone; and of log2 P messages one after the other,
 * those between nodes, on each node's link, of across_bytes. Additions not counted. */
double dml__exchange_s(const struct dml__model *m, double bytes);
double dml__collect_s(const struct dml__model *m, double bytes);
double dml__levels_s(const struct dml__model *m, double across_bytes,
                     double within_bytes);

struct dml__node_task; /* node_task.h */

/* Where buffers are that an algorithm works on, and how it reaches them (device.h). */
enum dml__path { DML__ON_HOST, DML__BY_NCCL, DML__BY_IPC, DML__BY_HOST };

struct dml__alg {
    const char *name;
    const char *text; /* one line: the idea and its source */
    enum dml__path path;
    /* A reduction adds the terms of ranks 0, 1, ... P-1 one after the other in the
     * accumulator type and rounds once, so that the bits do not tell the algorithm. */
    bool rank_order;
    /* Works on call->pieces where they lie; others get them packed (list.c). */
    bool takes_pieces;
    /* NULL, or why this call cannot be done so. May be NULL: everything can. */
    const char *(*supports)(const struct dml__call *call);
    /* Seconds by the model for S bytes; used until it is measured. */
    double (*cost_s)(const struct dml__model *m, double bytes);
    /* Writes the schedule; */
    void (*build)(const struct dml__call *call, dml_request *request);
    /* or, within a node, the first stage of a task (node_task.h). */
    dml_status (*task)(struct dml__node_task *task);
};

/* Algorithms of a collective, in the order of the documentation; NULL ends. "mpi" is
 * the last of each. */
const struct dml__alg *const *dml__algs(dml_coll coll);
const struct dml__alg *dml__alg_find(dml_coll coll, const char *name);
/* 1 for the first, and so on. */
int dml__alg_number(dml_coll coll, const struct dml__alg *alg);
extern const struct dml__alg dml__alg_mpi, dml__alg_flat, dml__alg_shared, dml__alg_cma;

extern const struct dml__alg dml__allreduce_ring, dml__allreduce_bidirectional_ring,
    dml__allreduce_direct, dml__allreduce_recursive_doubling, dml__allreduce_staged,
    dml__allreduce_gather_fold, dml__allreduce_chain, dml__allreduce_rabenseifner,
    dml__allreduce_hierarchical, dml__allreduce_double_binary_tree;
extern const struct dml__alg dml__reduce_scatter_ring,
    dml__reduce_scatter_bidirectional_ring, dml__reduce_scatter_direct,
    dml__reduce_scatter_recursive_halving, dml__reduce_scatter_hierarchical;
extern const struct dml__alg dml__allgather_ring, dml__allgather_bidirectional_ring,
    dml__allgather_direct, dml__allgather_recursive_doubling,
    dml__allgather_hierarchical, dml__allgather_bruck;
extern const struct dml__alg dml__bcast_binomial, dml__bcast_scatter_allgather,
    dml__bcast_hierarchical, dml__bcast_double_binary_tree;
extern const struct dml__alg dml__reduce_binomial, dml__reduce_direct,
    dml__reduce_gather_fold, dml__reduce_rabenseifner, dml__reduce_hierarchical,
    dml__reduce_double_binary_tree;
extern const struct dml__alg dml__gather_direct, dml__gather_binomial;
extern const struct dml__alg dml__scatter_direct, dml__scatter_binomial;
extern const struct dml__alg dml__alltoall_pairwise, dml__alltoall_bruck;
extern const struct dml__alg dml__barrier_dissemination, dml__barrier_hierarchical;

/* ---- choosing ----------------------------------------------------------------------
 */

/* The algorithm for a call, and why ("why" may be NULL). NULL when a forced one cannot
 * do it; the error is recorded. may_measure: the call may wait, and is not one of the
 * first few. */
const struct dml__alg *dml__select(const struct dml__call *call, bool may_measure,
                                   dml_choice *why);

/* The status of the error that a function recorded which returns NULL. */
dml_status dml__last_status(const dml_comm *comm);

/* NULL, or why this algorithm cannot do this call here. */
const char *dml__refusal(const struct dml__alg *alg, const struct dml__call *call);

/* ---- running -----------------------------------------------------------------------
 */

/* Run one call with the given algorithm: blocking when request is NULL. */
dml_status dml__run(const struct dml__call *call, const struct dml__alg *alg,
                    dml_request **request);

/* A blocking call on device memory, if it needs no schedule (device.h). */
bool dml__device_at_once(const struct dml__call *call, const struct dml__alg *alg,
                         bool requested, dml_status *status);

/* Performs a call on a communicator of one rank. */
void dml__run_alone(const struct dml__call *call);

/* Make a request that performs the call whenever it is started. */
dml_status dml__plan(const struct dml__call *call, const struct dml__alg *alg,
                     dml_request **request);

/* ---- vectors in pieces -------------------------------------------------------------
 */

/* A piece of call->pieces, and the element of the vector with which it begins. */
struct dml__cursor {
    size_t piece, begin;
};

/* Where element "at" of the result lies, and how many from it on lie together, at most
 * n, which is not 0. The cursor moves to its piece, and only forward. */
size_t dml__together(const struct dml__call *call, struct dml__cursor *cursor,
                     size_t at, size_t n, char **where);

/* A copy of the call's pieces that lives as long as the request, or NULL. */
dml_piece *dml__sched_pieces(dml_request *request, const struct dml__call *call);

/* Writes the schedule of an all-reduce in pieces by an algorithm that wants them
 * together: it begins with packing them, and ends with unpacking the result. */
void dml__build_packed(const struct dml__call *call, const struct dml__alg *alg,
                       dml_request *request);

/* Elements of the result on this rank. */
size_t dml__result_elems(const struct dml__call *call);

/* Where a reduce-scatter makes its result, before it is copied to recv: there, or where
 * that still holds input for other ranks, in scratch. False when out of memory. */
bool dml__own_place(const struct dml__call *call, dml_request *request, char **own);

/* An element's size as it travels when the receiver adds it: where each rank scales its
 * own terms they are loaded before they are sent. */
static inline size_t dml__term_bytes(const struct dml__call *call)
{
    return call->red.own_scale ? call->red.acc_bytes : call->elem_bytes;
}

/* Writes the steps that add terms in rank order: terms[i] points to n elements of rank
 * i as they travel, complete after step after[i] (DML__NO_STEP: at once). The result
 * goes to "to", which may be a term; partial sums to "sum" [n] accumulators. Returns
 * the last step; "sum" and the terms are free after it. */
int dml__fold_in_order(const struct dml__call *call, dml_request *request,
                       const char *const *terms, const int *after, size_t n, void *sum,
                       void *to);

/* Fills call->red for call->dtype and call->op; false when there is no such pair. */
bool dml__reduction_init(struct dml__call *call);

/* ---- blocks and segments -----------------------------------------------------------
 */

/* Elements [offset, offset + count) of the vector that the blocks lie in. */
struct dml__range {
    size_t offset, count;
};

/* Part i of n of "count" elements, the longer parts first. */
struct dml__range dml__balanced(size_t count, int i, int n);

/* Block i of a call: as given by the caller, or of a whole vector (allreduce, reduce,
 * bcast) the balanced part i of P, the longer ones first. */
struct dml__range dml__block(const struct dml__call *call, int i);

/* Longest block. */
size_t dml__block_max(const struct dml__call *call);

/* Part of a range: at most "count" elements from "offset" on; empty past the end. */
struct dml__range dml__part(struct dml__range range, size_t offset, size_t count);

/*
 * A pipeline segment. Within a node: small enough for the partial sums of a window to
 * stay in the second-level cache, large enough for its cost not to be that of a
 * message. Across nodes: one message, and windows long enough for the link to stay busy
 * while an answer is on its way (1 Gbit/s and 5 ms are 0.6 MB).
 */
enum {
    DML__SEGMENT_BYTES = 128 * 1024,
    DML__NET_SEGMENT_BYTES = DML__NET_MESSAGE_BYTES,
    DML__WINDOW_SEGMENTS = 4,
    DML__NET_WINDOW_SEGMENTS = 32
};
static inline int dml__segment_bytes(int nnodes)
{
    return nnodes > 1 ? DML__NET_SEGMENT_BYTES : DML__SEGMENT_BYTES;
}
size_t dml__segment_elems(const struct dml__call *call);
int dml__window_segments(const struct dml__call *call);

static inline char *dml__at(const struct dml__call *call, size_t elem)
{
    return (char *)call->recv + elem * call->elem_bytes;
}

static inline const char *dml__in(const struct dml__call *call, size_t elem)
{
    return (const char *)call->send + elem * call->elem_bytes;
}

/* a mod P, not negative also for negative a. */
static inline int dml__mod(int a, int nranks)
{
    return (a % nranks + nranks) % nranks;
}

#endif
