/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file sync.h
 * Gradient averaging for data-parallel training: replicas that start equal and average
 * their gradients every step stay equal.
 *
 * Parameters are registered once. During a step the caller says of each gradient when
 * it is final; gradients are gathered in buckets, and a bucket's all-reduce starts as
 * soon as its last gradient is ready, while the backward pass goes on. After the first
 * step buckets follow the order in which gradients really became ready (rank 0's).
 * Tensors that lie one after the other in memory in that order are reduced where they
 * are; others as a list of pieces (dml_iallreduce_list()).
 *
 * With a codec (opts.codec) buckets of f32 are sent in fewer bytes, and what a code
 * leaves out waits in this rank's residual for the next step. All ranks still get the
 * same bits. Vectors (rows 1) stay dense. The first step is dense; then codec and plain
 * average are measured once on the largest and the smallest bucket, now and then again,
 * and a bucket is compressed where that is predicted to take less than two thirds of
 * the time: see dml_reducer_get_bucket(). ",force" in the text compresses whatever that
 * costs. Gradients must be of one scale from step to step (undo a loss scale before
 * ready). With dgc momentum is the codec's: that of the optimizer must be 0.
 *
 * Gradients may lie in device memory (gpu.h), each on the same side on all ranks.
 * ready() then says that what the communicator's stream (dml_comm_set_stream()) holds
 * by now has made the gradient: kernels need not have ended. Buckets are averaged in a
 * stream of the reducer's own, those of tensors that lie apart in a copy on the device.
 * After finish() the communicator's stream waits for the averages; the host does, where
 * that stream is not "queued", for buckets that go by another path than nccl, and for
 * tensors on the host. With a codec codes are made, exchanged and read there. finish()
 * of a step that compresses something, with dgc of every step, waits on the host for
 * all of the step, to tell of numbers that are not finite; begin() refuses such a step
 * where the communicator's stream is captured in a graph.
 *
 * Thread rule: a reducer belongs to the thread that uses its communicator.
 *
 *     dml_reducer_begin(r, true);
 *     for each layer, last to first: { backward(layer); dml_reducer_ready(r, layer); }
 *     dml_reducer_finish(r);           // all gradients are now averages over the ranks
 *
 * Source: Li et al., PyTorch Distributed, VLDB 2020, section 3.2 (buckets, order).
 */
#ifndef DML_SYNC_H
#define DML_SYNC_H

#include "dml/comm.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One gradient tensor. */
typedef struct dml_tensor {
    void *data;       /**< [count] borrowed until the reducer is destroyed */
    size_t count;     /**< elements; may be 0 */
    dml_dtype dtype;  /**< a float type */
    const char *name; /**< for messages; copied; may be NULL */
} dml_tensor;

/** Options of a reducer. Fill with dml_reducer_opts_init(). */
typedef struct dml_reducer_opts {
    size_t size;               /**< sizeof(dml_reducer_opts), set by the initialiser */
    size_t bucket_bytes;       /**< a bucket is started at this size; default 4 MiB */
    size_t first_bucket_bytes; /**< the first one sooner; default 256 KiB */
    const char *codec;         /**< text of a codec (compress.h), equal on all ranks;
                                    copied; NULL: none */
    const size_t *rows; /**< [ngrads] of each gradient seen as a matrix, its first
                             dimension; 1: a vector; DML_KEEP_DENSE; copied. NULL:
                             nothing is known; powersgd needs it */
} dml_reducer_opts;

/** In dml_reducer_opts.rows: never compressed, and without dgc's momentum (a number
 * that is averaged along with the gradients, such as the loss). */
#define DML_KEEP_DENSE ((size_t)-1)

typedef struct dml_reducer dml_reducer;

/** Set all defaults. Not collective. Any thread. @since 0.1 */
DML_API void dml_reducer_opts_init(dml_reducer_opts *opts);

/**
 * Register gradients.
 * Collective over @p comm; number, counts and types of the tensors equal on all ranks:
 * verified here, DML_EMISMATCH names the first rank and tensor that differ.
 * @param[in] grads  [ngrads] copied; their data borrowed. The order is free; forward
 *                   order is usual: the first step assumes that gradients become ready
 *                   from the last to the first.
 * @param[in] opts   NULL for the defaults.
 * @param[out] reducer  returned; free with dml_reducer_destroy().
 * @return DML_OK | DML_EINVAL | DML_EMISMATCH | DML_ENOMEM | DML_ECOMM | DML_ETIMEOUT |
 * DML_EUNSUPPORTED (with a codec, of device memory: a bucket may have 2^32 elements or
 * more, with powersgd a gradient; the text names the gradient).
 * Threads: as the communicator.  @since 0.1
 */
DML_API dml_status dml_reducer_create(const dml_tensor *grads, size_t ngrads,
                                      const dml_reducer_opts *opts, dml_comm *comm,
                                      dml_reducer **reducer);

/** Free, before its communicator; no step may be open. NULL is a no-op. Collective.
 * @since 0.1 */
DML_API void dml_reducer_destroy(dml_reducer *reducer);

/**
 * Open a step.
 * Collective. @param reduce  false for a step that only accumulates gradients locally:
 *                            ready and finish then communicate nothing.
 * @return DML_OK | DML_EINVAL (a step is open) | DML_ECOMM (an earlier step failed, or
 * the device did) | DML_EUNSUPPORTED (the communicator's stream is captured, and this
 * step would wait for the device, see the file's head; nothing has changed).
 * @since 0.1
 */
DML_API dml_status dml_reducer_begin(dml_reducer *reducer, bool reduce);

/**
 * Gradient @p index is final: from here until finish it belongs to the reducer.
 * Not collective; the order may differ between ranks. Also progresses what is in
 * flight.
 * @return DML_OK | DML_EINVAL (no step open, index unknown, ready twice) | DML_ENOMEM |
 * DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT.
 * @since 0.1
 */
DML_API dml_status dml_reducer_ready(dml_reducer *reducer, size_t index);

/**
 * Close the step: wait until every gradient is the average over the ranks. A gradient
 * that was not ready counts as zero on this rank (an unused parameter), and its memory
 * receives the average of the others'.
 * Collective. @return DML_OK | DML_EINVAL (no step open) | DML_ENOMEM | DML_ECOMM |
 * DML_EMISMATCH | DML_ETIMEOUT |
 * DML_ENUMERIC on all ranks: a compressed gradient is not finite (or 2^100 and above);
 * the text names tensor, rank and step, of device memory the first tensor of the
 * bucket. The gradients are undefined then, what waited
 * is forgotten, and the next step may begin. A dense bucket hands a NaN on instead,
 * unless the codec is dgc, whose momentum would keep it.
 * @since 0.1
 */
DML_API dml_status dml_reducer_finish(dml_reducer *reducer);

/** What a reducer did so far. */
typedef struct dml_reducer_stats {
    size_t buckets;        /**< buckets per step */
    size_t packed_buckets; /**< of them, those whose tensors lie apart */
    uint64_t steps;        /**< steps that reduced */
    uint64_t bytes;        /**< gradient bytes per step */
    double wait_s;         /**< seconds finish waited: communication not hidden */
    double trial_s;        /**< seconds spent on trying whether the codec pays */
} dml_reducer_stats;

/** Read the counters. Not collective. @since 0.1 */
DML_API void dml_reducer_get_stats(const dml_reducer *reducer,
                                   dml_reducer_stats *stats);

/**
 * The next step that reduces is dense and takes along all that waits in residuals, so
 * that nothing is left behind: for the last step, or before a snapshot of the weights.
 * (With a rate that ends near 0 the last step does little: flush while it matters.)
 * Not collective, but all ranks must call it before the same step; no step may be open.
 * @return DML_OK | DML_EINVAL (a step is open).  @since 0.2
 */
DML_API dml_status dml_reducer_flush(dml_reducer *reducer);

/** What a reducer with a codec does with one bucket, and why; seconds are predictions
 * for the slowest rank, 0 where nothing was measured. */
typedef struct dml_bucket_info {
    size_t tensors;     /**< in it */
    size_t count;       /**< elements */
    dml_dtype dtype;    /**< of them */
    bool compressed;    /**< from the next step on */
    size_t dense_bytes; /**< of the bucket */
    size_t code_bytes;  /**< of its code; dense_bytes where it has none */
    size_t wire_bytes;  /**< that this rank sends in a compressed step; 0: none */
    double dense_s;     /**< plain average */
    double encode_s;    /**< of a compressed one, */
    double transfer_s;  /**< ... */
    double decode_s;    /**< ...; on a device by its events */
    uint64_t steps;     /**< compressed so far */
    const char *why;    /**< static: the reason, one clause */
} dml_bucket_info;

/** Read what is known of bucket @p index. Not collective.
 * @return DML_OK | DML_EINVAL (no such bucket).  @since 0.2 */
DML_API dml_status dml_reducer_get_bucket(const dml_reducer *reducer, size_t index,
                                          dml_bucket_info *info);

/* ---- state -------------------------------------------------------------------------
 */

/**
 * Bytes of the state that a reducer keeps from step to step on this rank: the order of
 * its buckets, and with a codec what waits in residuals, momentum, and what was
 * measured. A reducer made alike whose state is then set to the saved one goes on with
 * the same bits; also one of the same gradients on the other side, device or host, if
 * all of them lie there and none is empty (an empty one lies nowhere, and has a bucket
 * of its own), but for columns that powersgd begins anew (doc/gpu.md). Not
 * collective; it differs between ranks, and changes in the first
 * step and with the codec's options only.  @since 0.3 */
DML_API size_t dml_reducer_state_bytes(const dml_reducer *reducer);

/** Copy the state out, between two steps; of gradients on a device it waits for that.
 * Not collective.
 * @param[out] state  [dml_reducer_state_bytes()], in this machine's byte order.
 * @return DML_OK | DML_EINVAL (a step is open; another length) | DML_ENOMEM, and what a
 * device answers, where gradients lie there.  @since 0.3 */
DML_API dml_status dml_reducer_get_state(const dml_reducer *reducer, void *state,
                                         size_t bytes);

/**
 * Set the state, between two steps: of a reducer with the same gradients, options and
 * number of ranks, and from the same rank.
 * Collective. @param[in] state  [bytes] of dml_reducer_get_state().
 * @return DML_OK | DML_EINVAL (a step is open) | DML_EFORMAT (of another reducer,
 * damaged, or of an earlier version whose codec drew other random numbers) and
 * DML_EMISMATCH (another rank's is), after which it can only be destroyed | DML_ENOMEM
 * | DML_ECOMM | DML_ETIMEOUT.  @since 0.3 */
DML_API dml_status dml_reducer_set_state(dml_reducer *reducer, const void *state,
                                         size_t bytes);

/**
 * Make replicas equal: every rank gets root's tensors.
 * Collective over @p comm; number, counts and types equal on all ranks.
 * @param[in] tensors  [ntensors] borrowed until return; data read on root, else
 * written.
 * @return DML_OK | DML_EINVAL | DML_ENOMEM | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT.
 * @since 0.1
 */
DML_API dml_status dml_sync_bcast(const dml_tensor *tensors, size_t ntensors, int root,
                                  dml_comm *comm);

#ifdef __cplusplus
}
#endif
#endif
