/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file optim.h
 * Optimizers: pure mathematics on flat tensors. No communication; replicas that see
 * equal gradients stay equal bit for bit.
 *
 * A result depends on the values alone: neither on the kernel set of the processor, nor
 * on the number of threads, nor on where tensors lie in memory. Statistics that a rule
 * needs (LARS's and LAMB's norms) are per tensor, never per bucket, and summed in f64
 * over blocks of DML_OPTIM_BLOCK elements, so that an optimizer that holds a shard of
 * the tensors can get the bits of one that holds them all: see dml_optim_norms().
 *
 * 16-bit parameters have an f32 master copy in the optimizer, which is what a rule
 * updates; the parameter is that copy, rounded.
 *
 * On a device. Tensors may lie in device memory, all of them: the optimizer finds out
 * when it is created, and its state then lies there too. A step is queued in a stream
 * (dml_optim_set_stream()) and returns; nothing waits for the device. So what a step
 * finds comes late: a gradient that is not finite stops all later steps, which change
 * nothing, until a call returns DML_ENUMERIC for it: the next step that sees it, or
 * dml_optim_wait(). Results have the bits of the host's. Such steps can be recorded
 * into a CUDA graph; dml_optim_read_rate() then gives each its rate.
 *
 * Thread rule: one thread at a time per optimizer.
 */
#ifndef DML_OPTIM_H
#define DML_OPTIM_H

#include "dml/ctx.h"
#include "dml/lr.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** X(NAME, number, "name"): the update rules; see dml_optim_step(). */
#define DML_OPTIM_MAP(X) \
    X(SGD, 0, "sgd")     \
    X(ADAM, 1, "adam")   \
    X(ADAMW, 2, "adamw") \
    X(LARS, 3, "lars")   \
    X(LAMB, 4, "lamb")   \
    X(ADAGRAD, 5, "adagrad")

typedef enum dml_optim_rule {
#define DML_OPTIM_ENUM(NAME, number, name) DML_OPTIM_##NAME = (number),
    DML_OPTIM_MAP(DML_OPTIM_ENUM)
#undef DML_OPTIM_ENUM
} dml_optim_rule;

/** Flags of a parameter tensor. */
enum {
    DML_PARAM_NO_DECAY = 1, /**< no weight decay: biases, norms */
    DML_PARAM_NO_ADAPT = 2  /**< no layer-wise adaptation (LARS, LAMB): biases, norms */
};

/** The usual flags of a tensor with @p ndims dimensions: both for 0 and 1 (biases, and
 * scales and shifts of norms), none above. Pure; any thread. @since 0.2 */
DML_API unsigned dml_param_flags(int ndims);

/** Elements over which squares are summed at a time; see dml_optim_norms(). */
#define DML_OPTIM_BLOCK 1024

/**
 * One parameter tensor and its gradient. What is left out of an initialiser is zero:
 * {.param = w, .grad = g, .count = n} is a whole f32 tensor.
 */
typedef struct dml_param {
    void *param;          /**< [count] borrowed until the optimizer is destroyed */
    const void *grad;     /**< [count] borrowed likewise */
    size_t count;         /**< elements here; may be 0 */
    unsigned flags;       /**< DML_PARAM_* */
    dml_dtype dtype;      /**< of param: f32 (0), f16 or bf16 */
    dml_dtype grad_dtype; /**< of grad, likewise */
    const char *name;     /**< for messages; copied; may be NULL */
    size_t first;         /**< a shard: index in the whole tensor of its element 0 */
    size_t whole;         /**< a shard: elements of the whole tensor; 0: it is whole */
} dml_param;

/** Where the learning rate stands in a rule with momentum: see dml_optim_step(). The
 * two differ as soon as the rate changes. */
typedef enum dml_velocity {
    DML_RATE_OUTSIDE =
        0, /**< the velocity holds gradients (Goyal et al. 2017, equation 9) */
    DML_RATE_INSIDE =
        1 /**< the velocity holds steps (Sutskever et al. 2013, equation 1) */
} dml_velocity;

/** When gradients are looked at for NaN and infinity. */
typedef enum dml_finite {
    DML_FINITE_RIDE = 0,  /**< during the sweep that reads them anyway: costs nothing.
                              Clipping by norm, loss scaling and LARS read them before
                              anything is changed; the others may leave parameters or
                              state half updated when they find a fault */
    DML_FINITE_FIRST = 1, /**< always before anything is changed: one more sweep over
                              the gradients where there is none yet. Shards of one
                              tensor need it, to fail together */
    DML_FINITE_OFF = 2    /**< not at all */
} dml_finite;

/** Options of an optimizer. Fill with dml_optim_opts_init(), which knows the rule's
 * defaults; a rule ignores what it has no use for. */
typedef struct dml_optim_opts {
    size_t size;         /**< sizeof(dml_optim_opts), set by the initialiser */
    double momentum;     /**< mu; SGD, LARS: 0.9 */
    bool nesterov;       /**< Nesterov's look-ahead; needs momentum > 0 */
    double weight_decay; /**< lambda; SGD, Adam, AdaGrad: 0, LARS: 1e-4, AdamW, LAMB:
                            0.01 */

    dml_velocity velocity;    /**< SGD: rate outside, LARS: inside */
    bool momentum_correction; /**< rate inside: the velocity is scaled by new
                                  rate / old rate when the rate changes (Goyal et al.
                                  2017, section 3), unless the old one is 0; default 0
                                */
    double beta1, beta2;      /**< Adam, AdamW, LAMB: 0.9 and 0.999 */
    double eps;               /**< Adam, AdamW: 1e-8, LAMB: 1e-6, LARS: 0, AdaGrad:
                                   1e-10 */
    bool bias_correction;     /**< Adam, AdamW, LAMB: moments are divided by 1 - beta^t;
                                   default true */
    double trust;             /**< LARS's trust coefficient; default 0.001 */
    double trust_max;         /**< LARS, LAMB: bound on a tensor's ratio; 0 (default):
                                   none */

    double clip_norm;  /**< gradients are scaled down so that the norm of all of them
                            together is at most this; 0 (default): off */
    double clip_value; /**< each gradient element is cut to [-this, this]; 0: off. One
                            kind of clipping at a time */
    double loss_scale; /**< S: gradients are those of S times the loss; 0 (default):
                          off. 65536 is a usual start */
    uint64_t loss_scale_window; /**< S is doubled after so many good steps, up to 2^24,
                                     and halved, down to 2^-24, where one is skipped;
                                     default 2000; 0: S is fixed */
    dml_finite finite;          /**< default DML_FINITE_RIDE */
    int threads; /**< threads that work on a step, the caller's among them; default 1 */
    int rank;    /**< named in messages; default -1: not */
} dml_optim_opts;

typedef struct dml_optim dml_optim;

/** Set the defaults of a rule. Not collective. Any thread. @since 0.1 */
DML_API void dml_optim_opts_init(dml_optim_opts *opts, dml_optim_rule rule);

/**
 * Create an optimizer; its state starts at zero, master copies at the parameters.
 * Not collective.
 * @param[in]  params  [nparams] copied; the tensors borrowed.
 * @param[in]  opts    NULL for the rule's defaults; copied.
 * @param[out] optim   returned; free with dml_optim_destroy().
 * @return DML_OK | DML_EINVAL (rule unknown; an option out of range, named; a tensor
 * without memory, of another type, or outside its whole; some tensors on a device, or
 * between its elements) | DML_ENOMEM (no memory, or no thread) | DML_ECOMM (the device
 * failed).
 * @since 0.1
 */
DML_API dml_status dml_optim_create(dml_ctx *ctx, dml_optim_rule rule,
                                    const dml_param *params, size_t nparams,
                                    const dml_optim_opts *opts, dml_optim **optim);

/** Free; NULL is a no-op. @since 0.1 */
DML_API void dml_optim_destroy(dml_optim *optim);

/**
 * One update of all parameters from their gradients, with the learning rate @p lr
 * (eta). lambda is weight_decay, 0 for tensors with DML_PARAM_NO_DECAY; t is the number
 * of the step, 1 at first.
 *
 * - SGD: g += lambda w. Rate outside the velocity: v = mu v + g; w -= eta v, or with
 *   Nesterov w -= eta (g + mu v). Rate inside: v = mu v + eta g; w -= v, or with
 *   Nesterov w -= eta g + mu v: with g taken at the current weights, as in the
 *   rewritten form that frameworks use. With momentum correction mu v is mu (eta / the
 *   step before's eta) v. Source: inside: Sutskever, Martens, Dahl and Hinton 2013,
 *   equations 1-4; Goyal et al. 2017 (arXiv 1706.02677): equation 9 is outside, 10 is
 *   inside, and section 3 the correction.
 * - LARS: SGD, with g + lambda w multiplied by the tensor's ratio, trust |w| /
 *   (|g| + lambda |w| + eps); 1 where either norm is 0, or with DML_PARAM_NO_ADAPT.
 *   Source: You, Gitman and Ginsburg 2017 (arXiv 1708.03888), algorithm 1.
 * - Adam: g += lambda w; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
 *   u = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps); w -= eta u.
 *   Source: Kingma and Ba 2015, algorithm 1.
 * - AdamW: m, v, u as in Adam without lambda; w -= eta (u + lambda w).
 *   Source: Loshchilov and Hutter 2019, algorithm 2.
 * - LAMB: u as in Adam without lambda, eps 1e-6; r = u + lambda w; w -= eta (|w| / |r|)
 * r, the ratio 1 where either norm is 0, or with DML_PARAM_NO_ADAPT. Source: You et al.
 * 2019 (arXiv 1904.00962), algorithm 2.
 * - AdaGrad: g += lambda w; G += g^2; w -= eta g / (sqrt(G) + eps).
 *   Source: Duchi, Hazan and Singer 2011 (JMLR 12), figure 1, diagonal.
 *
 * g is the gradient divided by the loss scale, then clipped. Bytes moved for an f32
 * parameter: SGD with momentum 20, AdaGrad 20, LARS 28, Adam and AdamW 28, LAMB 40; 4
 * more for clip_norm, loss_scale or DML_FINITE_FIRST with a rule other than LARS.
 *
 * With a loss scale, a gradient that is not finite is no error: the step is skipped and
 * the scale halved (unless it is fixed); see dml_optim_get_info().
 * @return DML_OK | DML_EINVAL (lr not finite, or negative; the optimizer has shards:
 * use dml_optim_norms()) | DML_ENUMERIC (a gradient, or the weights or state, not
 * finite: tensor, step and opts.rank are named; see dml_finite) | DML_ECOMM (the device
 * failed).  @since 0.1
 */
DML_API dml_status dml_optim_step(dml_optim *optim, double lr);

/**
 * The first part of a step, for optimizers that each hold a shard of the tensors: sums
 * of squares, to be added up over the optimizers. One step is
 *
 *     double *sums;
 *     size_t nsums;
 *     while ((status = dml_optim_norms(optim, &sums, &nsums)) == DML_PENDING)
 *         dml_allreduce(DML_IN_PLACE, sums, nsums, DML_F64, DML_SUM, comm);
 *     if (status == DML_OK)
 *         status = dml_optim_apply(optim, lr);
 *
 * which dml_optim_step() is without the all-reduce. A rule may ask for none, one or two
 * vectors of sums, the same and as long on all ranks whose params agree in number,
 * order, whole sizes and flags. There is one sum for each DML_OPTIM_BLOCK elements
 * of a whole tensor, counted from its start (two for LARS's and LAMB's pairs of norms),
 * 0 where the block lies elsewhere. So when shards begin and end at multiples of
 * DML_OPTIM_BLOCK of their tensors, the step has the bits of the unsharded one;
 * elsewhere a block's sum is rounded once more.
 * Not collective: it communicates nothing itself.
 * @param[out] sums   the optimizer's own memory, where the tensors lie; to be changed
 * in place, on a device in the optimizer's stream.
 * @param[out] nsums  its length; may be 0.
 * @return DML_PENDING (add up and call again) | DML_OK (ready for dml_optim_apply()) |
 * DML_ENUMERIC (as dml_optim_step(), equal on all ranks).  @since 0.2
 */
DML_API dml_status dml_optim_norms(dml_optim *optim, double **sums, size_t *nsums);

/**
 * The second part of a step: see dml_optim_norms() and dml_optim_step().
 * @return as dml_optim_step(), where with DML_FINITE_RIDE and rules other than LARS and
 * LAMB a shard may find DML_ENUMERIC alone | DML_EINVAL (dml_optim_norms() did not
 * return DML_OK before).  @since 0.2
 */
DML_API dml_status dml_optim_apply(dml_optim *optim, double lr);

/**
 * Another momentum (mu) from the next step on, such as dml_lr_momentum_at() gives it;
 * for SGD and LARS. Part of no state: set it before each step, or not at all. Of
 * sharded optimizers: dml_sharded_optim(), the same on all ranks. Not collective.
 * @return DML_OK | DML_EINVAL (the rule has none; not from 0 to below 1; above 0 where
 * the optimizer was made with 0, so without a velocity; 0 with nesterov; in mid-step).
 * @since 0.2
 */
DML_API dml_status dml_optim_set_momentum(dml_optim *optim, double momentum);

/* ---- tensors on a device -----------------------------------------------------------
 */

/**
 * Queue steps in this stream, a dml_gpu_stream, from now on; at first the default one.
 * It must live until another is set, or the optimizer is destroyed. Waits for what is
 * queued. Without effect on tensors of the host. Not collective.
 * @return DML_OK | DML_ECOMM (the device failed).  @since 0.4
 */
DML_API dml_status dml_optim_set_stream(dml_optim *optim, void *stream);

/**
 * Take the learning rate of a step from *rate when it is made, and leave aside what is
 * passed: a graph that is replayed has the same arguments every time. Not collective.
 * @param[in] rate  borrowed; of an optimizer on a device in memory that this reads, and
 * there it must be 0 or more and finite; NULL: the argument counts again.  @since 0.4
 */
DML_API void dml_optim_read_rate(dml_optim *optim, const double *rate);

/**
 * Wait for the steps that are queued; dml_optim_get_info() and
 * dml_optim_get_counters() know of them then, and before of what a step of late has
 * seen. Nothing to do for tensors of the host. Not collective.
 * @return DML_OK | DML_ENUMERIC (as dml_optim_step(), once for each fault) | DML_ECOMM
 * (the device failed).  @since 0.4
 */
DML_API dml_status dml_optim_wait(dml_optim *optim);

/** What happened so far. */
typedef struct dml_optim_info {
    uint64_t steps;    /**< t: updates made */
    uint64_t skipped;  /**< steps skipped because a gradient was not finite */
    bool last_skipped; /**< whether the last step was */
    double
        loss_scale;   /**< by which to multiply the loss of the next step; 1 when off */
    double grad_norm; /**< of all gradients together at the last step, before clipping;
                           NaN where no sum was needed */
} dml_optim_info;

/** @param[out] info  copied out. Not collective. @since 0.2 */
DML_API void dml_optim_get_info(const dml_optim *optim, dml_optim_info *info);

/* ---- state -------------------------------------------------------------------------
 */

/** All of the state that is not in slots. Plain data: write it to a file as it is, or
 * field by field. */
typedef struct dml_optim_counters {
    uint64_t steps;      /**< t: updates made */
    uint64_t skipped;    /**< steps skipped */
    uint64_t good_steps; /**< since the loss scale last changed */
    double loss_scale;   /**< S, or 0 */
    double last_lr;      /**< eta of the last update, for momentum correction */
} dml_optim_counters;

/** One vector of state of one tensor. */
typedef struct dml_optim_slot {
    const char *name; /**< "velocity", "m", "v", "sum" or "master"; static */
    float *data;      /**< [count] where the tensors lie; lives as long as the
                           optimizer; may be written to between steps */
    size_t count;     /**< elements of the tensor here; 0 for a master copy that an f32
                           tensor does not need */
} dml_optim_slot;

/** Vectors of state per tensor. Not collective. @since 0.2 */
DML_API size_t dml_optim_nslots(const dml_optim *optim);

/** Bytes of all slots together. Not collective. @since 0.2 */
DML_API size_t dml_optim_state_bytes(const dml_optim *optim);

/**
 * A vector of state. An optimizer made with the same rule, params and options, whose
 * slots and counters are then set to the saved ones, goes on with the same bits.
 * Not collective.
 * @return DML_OK | DML_EINVAL (no such tensor or slot).  @since 0.2
 */
DML_API dml_status dml_optim_get_slot(dml_optim *optim, size_t param, size_t slot,
                                      dml_optim_slot *out);

/** Copy the counters out. Not collective. @since 0.2 */
DML_API void dml_optim_get_counters(const dml_optim *optim, dml_optim_counters *out);

/** Set the counters, between two steps. Not collective.
 * @return DML_OK | DML_EINVAL (a loss scale without opts.loss_scale or the other way
 * round; a number that is not finite; in mid-step).  @since 0.2 */
DML_API dml_status dml_optim_set_counters(dml_optim *optim,
                                          const dml_optim_counters *counters);

/** Take the master copies from the 16-bit parameters anew: after somebody else, such as
 * a broadcast, wrote those. Without 16-bit parameters nothing is done. Not collective.
 * @since 0.2 */
DML_API void dml_optim_reload(dml_optim *optim);

#ifdef __cplusplus
}
#endif
#endif
