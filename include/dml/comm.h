/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file comm.h
 * Communicators, requests, and point-to-point messages.
 *
 * A communicator is made from an MPI communicator (mpi.h), which it duplicates: traffic
 * of libdml never meets the caller's. Thread rule for everything here and in coll.h:
 * one thread at a time per communicator, and MPI must have been initialised with
 * MPI_THREAD_MULTIPLE if several communicators are used from several threads. The
 * progress thread that a context may have (ctx.h) does not count: it steps back.
 *
 * Collective calls on one communicator must be made in the same order by all ranks;
 * non-blocking ones may overlap.
 */
#ifndef DML_COMM_H
#define DML_COMM_H

#include "dml/status.h"
#include "dml/types.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Largest tag of dml_send() and dml_recv(). */
#define DML_TAG_MAX 16383

/**
 * Split a communicator by colour, as MPI_Comm_split does.
 * Collective over @p comm. @p color >= 0, or -1 to be in no part (then *out is NULL).
 * @param[out] out  returned; free with dml_comm_destroy().
 * @return DML_OK | DML_EINVAL (color < -1, out is NULL; the other ranks get
 * DML_EMISMATCH) | DML_ENOMEM | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT.  @since 0.1
 */
DML_API dml_status dml_comm_split(dml_comm *comm, int color, int key, dml_comm **out);

/**
 * Free a communicator. Collective; no request on it may be pending. NULL is a no-op.
 * Must be called before MPI_Finalize.
 * Requests of dml_coll_init() end with it: one that is still there is freed, with a
 * warning, and must not be used any more, not even by dml_request_free().
 * After an error that ended the communicator it waits for nobody, and what MPI may
 * still use of the library's memory is kept until the process ends; so are its MPI
 * communicators (up to four; MPI has some thousands), lest the next one receive what is
 * still on its way. @since 0.1
 */
DML_API void dml_comm_destroy(dml_comm *comm);

/**
 * Make a communicator of the ranks that are left, after a call on @p comm, or on a part
 * of it, has returned DML_EPEER. Their order stays. It ends @p comm, and every other
 * communicator of the context that has a lost rank, on all ranks: calls on them return
 * DML_EPEER from now on, so ranks that have noticed nothing yet come here, too. Destroy
 * them; whoever does that waits for nobody.
 * Needs an MPI library with ULFM (mpi-ext.h with MPIX_Comm_shrink: Open MPI 5, started
 * by "mpirun --with-ft ulfm"). Elsewhere the launcher ends the job with the first rank.
 * MPI_Finalize may not return afterwards, whatever libdml does (Open MPI 5.0.7: its
 * launcher may go on counting the lost rank): set a limit around it, as dml-cnn does.
 * Collective over the ranks that are left. No other thread may be in a call on any
 * communicator of the context.
 * @param[out] out  returned; free with dml_comm_destroy().
 * @return DML_OK | DML_EINVAL (out is NULL) | DML_EUNSUPPORTED (MPI has no ULFM; the
 * communicator is as it was) | DML_ENOMEM | DML_ECOMM | DML_EPEER (another one has
 * ended meanwhile; call it again). Source: Bland et al., Post-failure recovery of MPI
 * communication capability, IJHPCA 27(3), 2013.  @since 0.4
 */
DML_API dml_status dml_comm_shrink(dml_comm *comm, dml_comm **out);

/** Has this job what dml_comm_shrink() needs? Not collective. Any thread, between
 * MPI_Init and MPI_Finalize. @since 0.4 */
DML_API bool dml_comm_can_shrink(void);

/** This process's rank, 0 .. size-1. Not collective. @since 0.1 */
DML_API int dml_comm_rank(const dml_comm *comm);

/** Number of ranks. Not collective. @since 0.1 */
DML_API int dml_comm_size(const dml_comm *comm);

/** Ranks of this communicator on this node (shared memory), and this rank's number
 * among them (either pointer may be NULL). Not collective. @since 0.1 */
DML_API void dml_comm_node(const dml_comm *comm, int *node_rank, int *node_size);

/** The context this communicator belongs to. Not collective. @since 0.1 */
DML_API dml_ctx *dml_comm_ctx(const dml_comm *comm);

/** Counters of a communicator since it was made, for this rank. */
typedef struct dml_comm_stats {
    uint64_t bytes_sent;     /**< payload bytes handed to the transport; of the MPI
                                  library's own algorithms the bytes passed to them */
    uint64_t bytes_received; /**< the same, received */
    uint64_t messages_sent;  /**< messages handed to the transport */
    uint64_t collectives;    /**< collective operations started */
    double wait_s;           /**< seconds in calls that had to wait, reductions in them
                                  included; not in MPI's own calls below 4 KiB */
} dml_comm_stats;

/** Read the counters. Not collective. @since 0.1 */
DML_API void dml_comm_get_stats(const dml_comm *comm, dml_comm_stats *stats);

/* ---- symmetric memory --------------------------------------------------------------
 */

/**
 * Allocate memory that the other ranks of the node can reach, so that collectives on it
 * copy nothing in between. It may be used like any other memory, whole or in part, and
 * with other communicators too (there it is like memory of malloc). Where memory cannot
 * be shared a warning is logged and private memory is returned: calls work, with
 * copies.
 * Collective over @p comm.
 * @param      bytes   may differ between ranks; 0 is legal.
 * @param[out] memory  returned, zeroed, aligned to 64 bytes; free with dml_free(), or
 * by dml_comm_destroy().
 * @return DML_OK | DML_EINVAL | DML_ENOMEM (on all ranks) | DML_ECOMM | DML_EMISMATCH |
 * DML_ETIMEOUT.  @since 0.2
 */
DML_API dml_status dml_alloc(dml_comm *comm, size_t bytes, void **memory);

/**
 * Free memory of dml_alloc() on the same communicator; NULL is a no-op.
 * Collective over @p comm; allocations are freed in the same order by all ranks.
 * @return DML_OK | DML_EINVAL (not from dml_alloc() on @p comm, or free already).
 * @since 0.2
 */
DML_API dml_status dml_free(dml_comm *comm, void *memory);

/* ---- point to point ----------------------------------------------------------------
 * Either side's buffer may be device memory (gpu.h). It goes by a copy of the whole
 * message on the host: a send waits until the communicator's stream has come to it and
 * the copy is made; a receive is complete when what arrived is on the device, behind
 * what the stream holds then.
 */

/**
 * Send @p count elements to @p peer; returns when @p buf may be used again.
 * Not collective; the peer must receive the same count and type with the same tag.
 * @param[in] buf    [count] borrowed.  @param count elements; 0 is legal, past 2^31
 * too.
 * @param     peer   rank in @p comm; may not be the caller.  @param tag 0 ..
 * DML_TAG_MAX.
 * @return DML_OK | DML_EINVAL | DML_EUNSUPPORTED (device memory, while the stream is
 * captured) | DML_ENOMEM | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT (of a message that
 * does not come, or of what ended the communicator).  @since 0.1
 */
DML_API dml_status dml_send(const void *buf, size_t count, dml_dtype dtype, int peer,
                            int tag, dml_comm *comm);

/** Receive @p count elements from @p peer: the other half of dml_send(); same rules.
 * @param[out] buf [count] borrowed.  @since 0.1 */
DML_API dml_status dml_recv(void *buf, size_t count, dml_dtype dtype, int peer, int tag,
                            dml_comm *comm);

/** Start dml_send(); @p buf is borrowed until @p request completes. @since 0.1 */
DML_API dml_status dml_isend(const void *buf, size_t count, dml_dtype dtype, int peer,
                             int tag, dml_comm *comm, dml_request **request);

/** Start dml_recv(); @p buf is borrowed until @p request completes. @since 0.1 */
DML_API dml_status dml_irecv(void *buf, size_t count, dml_dtype dtype, int peer,
                             int tag, dml_comm *comm, dml_request **request);

/* ---- requests ----------------------------------------------------------------------
 */

/**
 * Wait for a request; it is freed and *request set to NULL. A NULL request is complete.
 * A request of dml_coll_init() is kept, to be started again; one that is not started
 * is complete.
 * Not collective (the other ranks must start their part, not wait for it).
 * Progresses every pending request of this communicator, and now and then those of the
 * context's other communicators that no other thread is using: so ranks may wait for
 * requests on several communicators in different orders. What comes for those may be
 * seen late by a thirty-second part of the wait, at most 1 ms.
 * @return what the operation would have returned if it were blocking.
 * Threads: the one that uses the communicator.  @since 0.1
 */
DML_API dml_status dml_wait(dml_request **request);

/** Wait for @p n requests.
 * @return as dml_wait(); the first error, if any, after all ended. @since 0.1 */
DML_API dml_status dml_waitall(size_t n, dml_request **requests);

/**
 * Wait until one of @p n requests of one communicator is complete, and complete it as
 * dml_wait() does.
 * @param[in,out] requests  [n]; NULL ones, and those of dml_coll_init() that are not
 *                          started, are passed over.
 * @param[out]    index     which one; @p n when there was none to wait for.
 * @return as dml_wait(), of that request.  @since 0.3 */
DML_API dml_status dml_waitany(size_t n, dml_request **requests, size_t *index);

/**
 * Progress, and complete one of @p n requests if one of them is complete: as
 * dml_waitany(), which waits.
 * @return DML_PENDING (*index is not written) while none is; else as dml_wait().
 * @since 0.3 */
DML_API dml_status dml_testany(size_t n, dml_request **requests, size_t *index);

/**
 * Progress, and say whether the request is complete.
 * @return DML_PENDING while it is not; else as dml_wait(), and *request is NULL. @since
 * 0.1
 */
DML_API dml_status dml_test(dml_request **request);

/** Progress all pending requests of a communicator without waiting; in vain, those of
 * the context's other communicators too. Not collective. Cheap when there are none.
 * Call it from long computations, unless the context has a progress thread (ctx.h).
 * @return DML_OK | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT. @since 0.1 */
DML_API dml_status dml_progress(dml_comm *comm);

/**
 * Do requests on this communicator move on whatever its callers do? Where not they need
 * dml_progress() or another call. True where the context has a progress thread (ctx.h)
 * that needs no calls of MPI, since all ranks share memory, or may make them. What the
 * MPI library does by an algorithm of its own moves on in calls of MPI.
 * Not collective; may differ between ranks.  @since 0.2
 */
DML_API bool dml_comm_progresses(const dml_comm *comm);

/**
 * Start a request of dml_coll_init(); complete it with dml_wait() or dml_test(), which
 * keep it. Not collective, but all ranks must start their requests and call collectives
 * of a communicator in the same order.
 * @return DML_OK | DML_EINVAL (another kind of request, or started and not yet waited
 * for) | DML_EUNSUPPORTED (device memory, while the stream is captured) | DML_ENOMEM |
 * DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT (the communicator has ended).  @since 0.2
 */
DML_API dml_status dml_start(dml_request *request);

/** Start @p n requests, in their order.
 * @return as dml_start(); the first error ends it. @since 0.2 */
DML_API dml_status dml_startall(size_t n, dml_request **requests);

/** Free a request of dml_coll_init() and set it to NULL; a NULL request is a no-op.
 * Not collective.
 * @return DML_OK | DML_EINVAL (it is pending, or of another kind).  @since 0.2 */
DML_API dml_status dml_request_free(dml_request **request);

#ifdef __cplusplus
}
#endif
#endif
