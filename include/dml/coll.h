/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file coll.h
 * Collective operations, blocking and non-blocking, and the choice of their algorithms.
 *
 * Common rules, not repeated below. Every call is collective over @p comm. count,
 * dtype, op and root are equal on all ranks unless said otherwise, and so is whether
 * DML_IN_PLACE is passed, where it is not the root's alone to decide; counts are in
 * elements, may be 0 and may exceed 2^31. Buffers are host memory, aligned to their
 * element or not, borrowed until the call returns (i-variants: until the request
 * completes), and do not overlap unless DML_IN_PLACE is passed. P is the number of
 * ranks, r the caller's rank.
 *
 * Errors: DML_EINVAL (an argument, named in dml_ctx_last_error(); nothing was sent),
 * DML_EUNSUPPORTED (the algorithm asked for cannot do this; the text says why),
 * DML_ENOMEM, DML_ECOMM (a peer or the network failed), DML_EMISMATCH (the ranks called
 * different things, or one of them refused its call), DML_ETIMEOUT (a rank is missing
 * or stuck: see doc/hangs.md). After the last four the output is undefined, and may be
 * written until the process ends: its memory must not be used again. Further calls on
 * the communicator give the same error, and it can only be destroyed.
 *
 * Numerics: the order of additions is fixed by (P, count, dtype, algorithm), so two
 * runs give the same bits; all ranks get the same bits. Of the algorithm "mpi" (and of
 * the automatic choice, which may take it) only what the MPI library promises holds:
 * equal calls give equal bits, a blocking and a non-blocking one may not. In
 * reproducible mode (dml_ctx_opts) reductions of floats depend on P and the inputs
 * alone. f16 and bf16 are accumulated in f32, rounded once (by "nccl" at every hop).
 *
 * i-variants: the same operation, started; see dml_wait(). Requests may be completed in
 * any order. They move on in calls on the communicator, or by themselves where the
 * context has a progress thread (ctx.h). Threads: one per communicator.
 */
#ifndef DML_COLL_H
#define DML_COLL_H

#include "dml/comm.h"

#ifdef __cplusplus
extern "C" {
#endif

/** X(NAME, number, "name"): the collectives. The name in capitals after DML_ is the
 * environment variable that forces an algorithm: DML_ALLREDUCE=ring. */
#define DML_COLL_MAP(X)                    \
    X(ALLREDUCE, 0, "allreduce")           \
    X(REDUCE_SCATTER, 1, "reduce_scatter") \
    X(ALLGATHER, 2, "allgather")           \
    X(BCAST, 3, "bcast")                   \
    X(REDUCE, 4, "reduce")                 \
    X(GATHER, 5, "gather")                 \
    X(SCATTER, 6, "scatter")               \
    X(ALLTOALL, 7, "alltoall")             \
    X(BARRIER, 8, "barrier")

typedef enum dml_coll {
#define DML_COLL_ENUM(NAME, number, name) DML_COLL_##NAME = (number),
    DML_COLL_MAP(DML_COLL_ENUM)
#undef DML_COLL_ENUM
} dml_coll;
#define DML_NCOLLS 9

/** Its name, "?" if unknown; static. Not collective; any thread.  @since 0.1 */
DML_API const char *dml_coll_name(dml_coll coll);

/**
 * Reduce one vector per rank; every rank gets the result, the same bits on all.
 * @param[in]  send  [count], or DML_IN_PLACE: the input lies in recv.
 * @param[out] recv  [count].
 * Cost: ring 2(P-1) messages of count/P elements; see doc/collectives.md.
 * Source: Patarasuk and Yuan 2009 (ring); Thakur, Rabenseifner and Gropp 2005.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_allreduce(const void *send, void *recv, size_t count,
                                 dml_dtype dtype, dml_op op, dml_comm *comm);

/** Start dml_allreduce(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_iallreduce(const void *send, void *recv, size_t count,
                                  dml_dtype dtype, dml_op op, dml_comm *comm,
                                  dml_request **request);

/** Part of a vector that lies in several places. */
typedef struct dml_piece {
    void *data;   /**< [count] */
    size_t count; /**< elements; may be 0 */
} dml_piece;

/**
 * dml_allreduce(), in place, of a vector whose pieces lie anywhere: for many tensors at
 * once. On a node the pieces are copied straight into the memory that the ranks share,
 * and results straight out of it; elsewhere through one packed vector.
 * @param[in] pieces  [npieces] copied; only the sum of their counts must be the same on
 *                    all ranks. Their data are read and written.
 * @return see the top of this file.  @since 0.2
 */
DML_API dml_status dml_allreduce_list(const dml_piece *pieces, size_t npieces,
                                      dml_dtype dtype, dml_op op, dml_comm *comm);

/** Start dml_allreduce_list(); @p request is returned, complete it with dml_wait() or
 * dml_test(). @since 0.2 */
DML_API dml_status dml_iallreduce_list(const dml_piece *pieces, size_t npieces,
                                       dml_dtype dtype, dml_op op, dml_comm *comm,
                                       dml_request **request);

/**
 * Reduce one vector per rank; rank r gets block r of the result.
 * @param[in]  send  [P * recv_count], or DML_IN_PLACE: the input lies in recv, and the
 *                   result is left in its first recv_count elements.
 * @param[out] recv  [recv_count] ([P * recv_count] in place; the rest is kept).
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_reduce_scatter(const void *send, void *recv, size_t recv_count,
                                      dml_dtype dtype, dml_op op, dml_comm *comm);

/** Start dml_reduce_scatter(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_ireduce_scatter(const void *send, void *recv, size_t recv_count,
                                       dml_dtype dtype, dml_op op, dml_comm *comm,
                                       dml_request **request);

/**
 * dml_reduce_scatter() with blocks of different sizes, in rank order without gaps.
 * @param[in] recv_counts  [P] elements per rank, the same on all ranks; copied.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_reduce_scatterv(const void *send, void *recv,
                                       const size_t *recv_counts, dml_dtype dtype,
                                       dml_op op, dml_comm *comm);

/** Start dml_reduce_scatterv(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_ireduce_scatterv(const void *send, void *recv,
                                        const size_t *recv_counts, dml_dtype dtype,
                                        dml_op op, dml_comm *comm,
                                        dml_request **request);

/**
 * Every rank gets the blocks of all ranks, in rank order.
 * @param[in]  send  [send_count], or DML_IN_PLACE: block r of recv is the input.
 * @param[out] recv  [P * send_count].
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_allgather(const void *send, void *recv, size_t send_count,
                                 dml_dtype dtype, dml_comm *comm);

/** Start dml_allgather(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_iallgather(const void *send, void *recv, size_t send_count,
                                  dml_dtype dtype, dml_comm *comm,
                                  dml_request **request);

/**
 * dml_allgather() with blocks of different sizes.
 * @param[in] send         [recv_counts[r]], or DML_IN_PLACE.
 * @param[in] recv_counts  [P] elements per rank, the same on all ranks; copied.
 * @param[in] displs       [P] element offset of each block in recv, or NULL: without
 *                         gaps; copied. Blocks may not overlap.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_allgatherv(const void *send, void *recv,
                                  const size_t *recv_counts, const size_t *displs,
                                  dml_dtype dtype, dml_comm *comm);

/** Start dml_allgatherv(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_iallgatherv(const void *send, void *recv,
                                   const size_t *recv_counts, const size_t *displs,
                                   dml_dtype dtype, dml_comm *comm,
                                   dml_request **request);

/**
 * Every rank gets root's vector.
 * @param[in,out] buf  [count] read on root, written elsewhere.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_bcast(void *buf, size_t count, dml_dtype dtype, int root,
                             dml_comm *comm);

/** Start dml_bcast(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_ibcast(void *buf, size_t count, dml_dtype dtype, int root,
                              dml_comm *comm, dml_request **request);

/**
 * Reduce one vector per rank; root gets the result.
 * @param[in]  send  [count]; on root also DML_IN_PLACE: the input lies in recv.
 * @param[out] recv  [count] on root; ignored elsewhere, may be NULL.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_reduce(const void *send, void *recv, size_t count,
                              dml_dtype dtype, dml_op op, int root, dml_comm *comm);

/** Start dml_reduce(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_ireduce(const void *send, void *recv, size_t count,
                               dml_dtype dtype, dml_op op, int root, dml_comm *comm,
                               dml_request **request);

/**
 * Root gets the blocks of all ranks, in rank order.
 * @param[in]  send  [send_count]; on root also DML_IN_PLACE: its block lies in recv.
 * @param[out] recv  [P * send_count] on root; ignored elsewhere, may be NULL.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_gather(const void *send, void *recv, size_t send_count,
                              dml_dtype dtype, int root, dml_comm *comm);

/** Start dml_gather(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_igather(const void *send, void *recv, size_t send_count,
                               dml_dtype dtype, int root, dml_comm *comm,
                               dml_request **request);

/**
 * dml_gather() with blocks of different sizes.
 * @param[in] recv_counts  [P] elements per rank, the same on all ranks (MPI asks for
 * them on root only); copied.
 * @param[in] displs       [P] element offsets in recv, or NULL: without gaps; copied.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_gatherv(const void *send, void *recv, const size_t *recv_counts,
                               const size_t *displs, dml_dtype dtype, int root,
                               dml_comm *comm);

/** Start dml_gatherv(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_igatherv(const void *send, void *recv, const size_t *recv_counts,
                                const size_t *displs, dml_dtype dtype, int root,
                                dml_comm *comm, dml_request **request);

/**
 * Rank r gets block r of root's vector.
 * @param[in]  send  [P * recv_count] on root; ignored elsewhere, may be NULL.
 * @param[out] recv  [recv_count]; on root also DML_IN_PLACE: its block stays in send.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_scatter(const void *send, void *recv, size_t recv_count,
                               dml_dtype dtype, int root, dml_comm *comm);

/** Start dml_scatter(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_iscatter(const void *send, void *recv, size_t recv_count,
                                dml_dtype dtype, int root, dml_comm *comm,
                                dml_request **request);

/**
 * dml_scatter() with blocks of different sizes.
 * @param[in] send_counts  [P] elements per rank, the same on all ranks; copied.
 * @param[in] displs       [P] element offsets in send, or NULL: without gaps; copied.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_scatterv(const void *send, void *recv, const size_t *send_counts,
                                const size_t *displs, dml_dtype dtype, int root,
                                dml_comm *comm);

/** Start dml_scatterv(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_iscatterv(const void *send, void *recv,
                                 const size_t *send_counts, const size_t *displs,
                                 dml_dtype dtype, int root, dml_comm *comm,
                                 dml_request **request);

/**
 * Rank r gets block r of every rank, in rank order.
 * @param[in]  send  [P * count], or DML_IN_PLACE: the input lies in recv.
 * @param[out] recv  [P * count].
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_alltoall(const void *send, void *recv, size_t count,
                                dml_dtype dtype, dml_comm *comm);

/** Start dml_alltoall(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_ialltoall(const void *send, void *recv, size_t count,
                                 dml_dtype dtype, dml_comm *comm,
                                 dml_request **request);

/**
 * No rank returns before all have called.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_barrier(dml_comm *comm);

/** Start dml_barrier(); @p request is returned, complete it with dml_wait() or
 * dml_test().
 * @since 0.1 */
DML_API dml_status dml_ibarrier(dml_comm *comm, dml_request **request);

/* ---- planned once, started many times ----------------------------------------------
 */

/** The arguments of a collective, as its function would get them. Members that it does
 * not have are ignored; start from {.size = sizeof(dml_coll_args)}. */
typedef struct dml_coll_args {
    size_t size;          /**< sizeof(dml_coll_args) */
    dml_coll coll;        /**< which */
    const void *send;     /**< the input, or DML_IN_PLACE */
    void *recv;           /**< the result; of dml_bcast() the one buffer */
    size_t count;         /**< count, recv_count or send_count of the function */
    const size_t *counts; /**< [P] makes it the v-variant; copied; else NULL */
    const size_t *displs; /**< [P] of the v-variants that have them; copied; or NULL */
    dml_dtype dtype;
    dml_op op;
    int root;
} dml_coll_args;

/**
 * Prepare a collective that is repeated: the algorithm is chosen and its plan written
 * here, once; each dml_start() performs it on what the buffers then hold, without
 * allocating. The counterpart of MPI_Allreduce_init and its like.
 * Collective: like a blocking call it may measure algorithms.
 * @param[in]  args     copied; buffers are borrowed while the request exists.
 * @param[out] request  returned, not started; see dml_start(); free with
 *                      dml_request_free() before its communicator (dml_comm_destroy()).
 * @return see the top of this file.  @since 0.2
 */
DML_API dml_status dml_coll_init(const dml_coll_args *args, dml_comm *comm,
                                 dml_request **request);

/** The same for dml_allreduce_list(): each dml_start() reduces what the pieces then
 * hold.
 * @param[in]  pieces   [npieces] copied; data borrowed while the request exists.
 * @param[out] request  as of dml_coll_init().
 * @return see the top of this file.  @since 0.2 */
DML_API dml_status dml_allreduce_list_init(const dml_piece *pieces, size_t npieces,
                                           dml_dtype dtype, dml_op op, dml_comm *comm,
                                           dml_request **request);

/* ---- operations --------------------------------------------------------------------
 */

/**
 * Make a pre-multiplied sum: the sum over ranks of scale times the input.
 * Not collective, but each rank must make the operation before it is used; scale may
 * differ between ranks. For integer types the product is rounded towards zero.
 * @param[out] op  valid on this communicator until dml_op_destroy().
 * @return DML_OK | DML_EINVAL (scale is not finite) | DML_ENOMEM.  @since 0.1
 */
DML_API dml_status dml_op_create_premul_sum(double scale, dml_comm *comm, dml_op *op);

/** Forget an operation; no collective that uses it may be pending. @since 0.1 */
DML_API dml_status dml_op_destroy(dml_op op, dml_comm *comm);

/* ---- algorithms --------------------------------------------------------------------
 */

/**
 * The table of algorithms of a collective, one entry per call.
 * Not collective. @param index 0, 1, ... until it returns DML_EEND.
 * @param[out] name, text  static strings: "ring", and a line with its source.
 * Threads: any.  @since 0.1
 */
DML_API dml_status dml_algorithm_list(dml_coll coll, size_t index, const char **name,
                                      const char **text);

/**
 * Force an algorithm for a collective, or give the choice back with "auto".
 * Must be called alike on all ranks. Stronger than the environment's DML_<COLLECTIVE>.
 * It holds for the memory that it is for, "nccl" and "ipc" for device memory, most for
 * the host's, "host_staged" for both; the other's choice is free. "ring,ipc": one each.
 * @return DML_OK | DML_EINVAL (it is unknown, or two are for one kind of memory).
 * @since 0.1 */
DML_API dml_status dml_comm_set_algorithm(dml_comm *comm, dml_coll coll,
                                          const char *name);

/** Why an algorithm was chosen. */
typedef struct dml_choice {
    const char *algorithm; /**< static name */
    double predicted_s;    /**< seconds by the cost model; 0 when forced */
    char why[320]; /**< one line: "measured: ring 1.2 us flat 0.5 us", "cost model:
                      ...", "FILE, line 7", or "forced by ..." */
} dml_choice;

/**
 * Which algorithm a collective on host memory uses, and why; measured first, as by the
 * third blocking call (up to 0.15 s, doc/tuning.md). Collective; arguments are equal.
 * @param count  elements of the whole vector: count for allreduce, reduce and bcast,
 * the sum over blocks for the others.
 * @param op     ignored by collectives that do not reduce.
 * @return see the top of this file.  @since 0.1
 */
DML_API dml_status dml_algorithm_query(dml_coll coll, size_t count, dml_dtype dtype,
                                       dml_op op, dml_comm *comm, dml_choice *choice);

#ifdef __cplusplus
}
#endif
#endif
