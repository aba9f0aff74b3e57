/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file shard.h
 * Data-parallel training whose optimizer state is spread over the ranks: each of N
 * ranks holds 1/N of it and updates 1/N of every bucket of parameters.
 *
 * It takes the place of a reducer and an optimizer. Gradients are gathered in buckets,
 * and a bucket's reduce-scatter starts as soon as its last gradient is ready, while the
 * backward pass goes on. A step then updates the parts of the parameters that are this
 * rank's, and starts the all-gathers that bring the others' parts, in the order in
 * which the next forward pass will need them.
 *
 *     dml_sharded_begin(s);
 *     for each layer, last to first: { backward(layer); dml_sharded_ready(s, layer); }
 *     dml_sharded_step(s, lr);             // gathering of parameters goes on
 *     ...
 *     for each layer, first to last: { dml_sharded_wait(s, layer); forward(layer); }
 *
 * Bits: a step has those of a reducer and an unsharded optimizer when the all-reduce
 * and the reduce-scatter add in the same order. They do on one and two ranks, and in
 * reproducible mode (ctx.h) on any number; else the two runs agree to rounding. The
 * rules themselves never make a difference: where a rule needs norms, every tensor is
 * cut at multiples of DML_OPTIM_BLOCK of its elements, elsewhere at multiples of 16.
 * So a rank's share is 1/N to within one such block per type of parameter.
 *
 * Tensors may lie in device memory (gpu.h), all of them, on all ranks; then so do state
 * and packed vectors, and the calls queue work in a stream of the object's own: behind
 * what the communicator's stream (dml_comm_set_stream()) holds when a gradient is
 * ready, and before what comes there after step (gradients may be written) and wait
 * (parameters may be read). Where that stream is "queued" ready, step and wait make the
 * host wait only for paths other than nccl, and a number that is not finite is found
 * late: by the next begin, which waits for all of the step before (unless the stream is
 * captured), and then returns DML_ENUMERIC and opens no step; its own call comes next.
 * The rank is not named then.
 *
 * Between begin and the return of step no other collective may be called on the
 * communicator but before the first ready. Thread rule: as the communicator.
 *
 * Source: Rajbhandari et al., ZeRO, SC 2020 (arXiv 1910.02054), section 5.
 */
#ifndef DML_SHARD_H
#define DML_SHARD_H

#include "dml/comm.h"
#include "dml/optim.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Options. Fill with dml_sharded_opts_init(). */
typedef struct dml_sharded_opts {
    size_t size;               /**< sizeof(dml_sharded_opts), set by the initialiser */
    size_t bucket_bytes;       /**< of parameters; a bucket is closed at this size;
                                    default 4 MiB */
    size_t first_bucket_bytes; /**< the first one sooner; default 256 KiB */
} dml_sharded_opts;

typedef struct dml_sharded dml_sharded;

/** Set all defaults. Not collective. Any thread. @since 0.2 */
DML_API void dml_sharded_opts_init(dml_sharded_opts *opts);

/**
 * Register parameters and their gradients. The parameters must be equal on all ranks
 * (see dml_sync_bcast()).
 * Collective over @p comm; rule, options but rank and threads, and number, counts,
 * types and flags of the tensors are equal on all ranks: verified.
 * @param[in] params  [nparams] whole tensors, in the order in which the forward pass
 *                    uses them; gradients are expected in the reverse order. Copied;
 *                    the tensors borrowed. Gradients are read only.
 * @param[in] optim   NULL for the rule's defaults. DML_FINITE_RIDE means
 *                    DML_FINITE_FIRST here but for LARS, so that all ranks
 *                    find a fault, and nothing is changed then.
 * @param[in] opts    NULL for the defaults.
 * @param[out] sharded  returned; free with dml_sharded_destroy().
 * @return DML_OK | DML_EINVAL | DML_EMISMATCH (also where tensors lie) |
 * DML_ENOMEM | DML_ECOMM | DML_ETIMEOUT.
 * @since 0.2
 */
DML_API dml_status dml_sharded_create(dml_optim_rule rule, const dml_param *params,
                                      size_t nparams, const dml_optim_opts *optim,
                                      const dml_sharded_opts *opts, dml_comm *comm,
                                      dml_sharded **sharded);

/** Free, before its communicator; waits for parameters that are being gathered. NULL is
 * a no-op. Collective.
 * @since 0.2 */
DML_API void dml_sharded_destroy(dml_sharded *sharded);

/** Open a step. Parameters may still be being gathered.
 * Collective. @return DML_OK | DML_EINVAL (a step is open) | DML_ECOMM (an earlier step
 * failed) | DML_ENUMERIC (of the last step, on a device).  @since 0.2 */
DML_API dml_status dml_sharded_begin(dml_sharded *sharded);

/**
 * The gradient of parameter @p index is final: from here until the step's end it may
 * not be written to. Also progresses what is in flight.
 * Not collective; the order may differ between ranks.
 * @return DML_OK | DML_EINVAL (no step open, index unknown, ready twice) | DML_ECOMM.
 * @since 0.2
 */
DML_API dml_status dml_sharded_ready(dml_sharded *sharded, size_t index);

/**
 * Close the step: average the gradients over the ranks, update, and start to gather the
 * parameters. A gradient that was not ready counts as zero on this rank. All gradients
 * keep this rank's values.
 * Collective. @param lr  the learning rate, equal on all ranks.
 * @return DML_OK | DML_EINVAL (no step open; lr: the step stays open) | DML_ENUMERIC
 * (on all ranks: tensor, rank and step are named; parameters unchanged, the next step
 * may begin) | DML_ENOMEM | DML_ECOMM.  @since 0.2
 */
DML_API dml_status dml_sharded_step(dml_sharded *sharded, double lr);

/**
 * Wait until parameter @p index may be read; cheap when it may already. Collective in
 * effect: the others must reach their waits, too, or any other call that progresses the
 * communicator.
 * @return DML_OK | DML_EINVAL (index unknown) | DML_ECOMM | DML_EMISMATCH |
 * DML_ETIMEOUT.  @since 0.2
 */
DML_API dml_status dml_sharded_wait(dml_sharded *sharded, size_t index);

/** The same for all parameters: before they are tested, or saved. Collective.
 * @return DML_OK | DML_ECOMM | DML_EMISMATCH | DML_ETIMEOUT.  @since 0.2 */
DML_API dml_status dml_sharded_wait_all(dml_sharded *sharded);

/** Sizes, and what happened so far. */
typedef struct dml_sharded_stats {
    size_t buckets;              /**< per step */
    size_t packed_grad_buckets;  /**< of them, those whose gradients are copied */
    size_t packed_param_buckets; /**< likewise parameters */
    size_t state_bytes;          /**< optimizer state of this rank, master copies too */
    size_t whole_state_bytes;    /**< of all ranks together: what one optimizer that is
                                      not sharded would hold */
    uint64_t steps;              /**< closed */
    uint64_t grad_bytes;         /**< gradients of all tensors, per step */
    uint64_t param_bytes;        /**< parameters likewise */
    double grad_wait_s;  /**< seconds that dml_sharded_step() waited for gradients */
    double param_wait_s; /**< seconds waited for parameters */
} dml_sharded_stats;

/** Read the counters. Not collective. @since 0.2 */
DML_API void dml_sharded_get_stats(const dml_sharded *sharded,
                                   dml_sharded_stats *stats);

/* ---- state -------------------------------------------------------------------------
 */

/** This rank's optimizer, for dml_optim_get_info(), the names and number of its slots,
 * and its counters, which are equal on all ranks: set them on all. Do not step it;
 * lives as long as @p sharded. Not collective. @since 0.2 */
DML_API dml_optim *dml_sharded_optim(dml_sharded *sharded);

/**
 * Collect a slot of state of one tensor from its pieces: the vector that an optimizer
 * that is not sharded has there. A snapshot is all slots, the counters, and the
 * parameters after dml_sharded_wait_all(); it fits any number of ranks, and none.
 * Collective; not while a step is open.
 * @param[out] out  [count of the tensor] host memory on root (nothing for the master
 * copy of an f32 tensor); ignored elsewhere, may be NULL there.
 * @return DML_OK | DML_EINVAL | DML_EMISMATCH | DML_ENOMEM | DML_ECOMM | DML_ETIMEOUT.
 * @since 0.2
 */
DML_API dml_status dml_sharded_slot_gather(dml_sharded *sharded, size_t param,
                                           size_t slot, float *out, int root);

/**
 * The reverse: spread root's vector over the pieces.
 * Collective; not while a step is open.
 * @param[in] in  [count of the tensor] host memory on root; ignored elsewhere.
 * @return as dml_sharded_slot_gather().  @since 0.2
 */
DML_API dml_status dml_sharded_slot_scatter(dml_sharded *sharded, size_t param,
                                            size_t slot, const float *in, int root);

#ifdef __cplusplus
}
#endif
#endif
