/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file optim.h
 * Optimizers and learning-rate schedules: pure mathematics on flat tensors. No
 * communication; replicas that see equal gradients stay equal bit for bit.
 *
 * Parameters are f32 tensors with flags. Statistics that a rule needs (LARS's and
 * LAMB's norms) are per tensor, never per bucket. Thread rule: one thread at a time per
 * optimizer; schedules are pure.
 */
#ifndef DML_OPTIM_H
#define DML_OPTIM_H

#include "dml/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

/** X(NAME, number, "name"): the update rules. */
#define DML_OPTIM_MAP(X) X(SGD, 0, "sgd")

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

/** One parameter tensor and its gradient. */
typedef struct dml_param {
    float *param;      /**< [count] borrowed until the optimizer is destroyed */
    const float *grad; /**< [count] borrowed likewise */
    size_t count;      /**< elements; may be 0 */
    unsigned flags;    /**< DML_PARAM_* */
} dml_param;

/** Options of an optimizer. Fill with dml_optim_opts_init(). */
typedef struct dml_optim_opts {
    size_t size;         /**< sizeof(dml_optim_opts), set by the initialiser */
    double momentum;     /**< mu; default 0.9 for SGD */
    int nesterov;        /**< non-zero: Nesterov's look-ahead; needs momentum > 0 */
    double weight_decay; /**< lambda, added to the gradient as lambda * w; default 0 */
} dml_optim_opts;

typedef struct dml_optim dml_optim;

/** Set the defaults of a rule. Not collective. Any thread. @since 0.1 */
DML_API void dml_optim_opts_init(dml_optim_opts *opts, dml_optim_rule rule);

/**
 * Create an optimizer; its state starts at zero.
 * Not collective.
 * @param[in]  params  [nparams] copied; the tensors borrowed.
 * @param[in]  opts    NULL for the rule's defaults; copied.
 * @param[out] optim   returned; free with dml_optim_destroy().
 * @return DML_OK | DML_EINVAL (rule unknown; an option out of range, named) |
 * DML_ENOMEM.
 * @since 0.1
 */
DML_API dml_status dml_optim_create(dml_ctx *ctx, dml_optim_rule rule,
                                    const dml_param *params, size_t nparams,
                                    const dml_optim_opts *opts, dml_optim **optim);

/** Free; NULL is a no-op. @since 0.1 */
DML_API void dml_optim_destroy(dml_optim *optim);

/**
 * One update of all parameters from their gradients, with the learning rate @p lr
 * (eta).
 *
 * SGD ("rate outside the velocity"): g += lambda w; v = mu v + g; w -= eta v, or with
 * Nesterov w -= eta (g + mu v).
 * Source: Sutskever, Martens, Dahl and Hinton 2013, equations 1-4, in the form used by
 * Goyal et al. 2017 (arXiv 1706.02677), equation 9.
 * @return DML_OK | DML_EINVAL (lr not finite, or negative).  @since 0.1
 */
DML_API dml_status dml_optim_step(dml_optim *optim, double lr);

/* ---- schedules ---------------------------------------------------------------------
 */

/** X(NAME, number, "name"): the shapes of a schedule after its warm-up. */
#define DML_LR_MAP(X)          \
    X(CONSTANT, 0, "constant") \
    X(STEP, 1, "step")         \
    X(COSINE, 2, "cosine")     \
    X(POLY, 3, "poly")

typedef enum dml_lr_shape {
#define DML_LR_ENUM(NAME, number, name) DML_LR_##NAME = (number),
    DML_LR_MAP(DML_LR_ENUM)
#undef DML_LR_ENUM
} dml_lr_shape;

/** A schedule: a pure function of the step. Fill with dml_lr_init(). */
typedef struct dml_lr {
    size_t size;           /**< sizeof(dml_lr), set by the initialiser */
    dml_lr_shape shape;    /**< default constant */
    double base;           /**< eta_0, reached at the end of the warm-up; default 0.1 */
    double end;            /**< rate at total_steps (cosine, poly); default 0 */
    double warmup_start;   /**< rate at step 0 when there is a warm-up; default 0 */
    uint64_t warmup_steps; /**< steps of linear warm-up; default 0 */
    uint64_t total_steps;  /**< T: cosine and poly end here; default 1 */
    double power;          /**< poly: p; default 1 */
    double gamma;          /**< step: factor at each milestone; default 0.1 */
    const uint64_t *milestones; /**< step: increasing steps; borrowed; may be NULL */
    size_t nmilestones;         /**< length of milestones */
} dml_lr;

/** Set the defaults. Any thread. @since 0.1 */
DML_API void dml_lr_init(dml_lr *lr);

/** Check a schedule before it is used.
 * @return DML_OK | DML_EINVAL, the fault named in the context's last error: base, end
 * or gamma or warmup_start not finite, power not above 0, warm-up longer than the
 * whole, milestones not increasing.
 * @since 0.1 */
DML_API dml_status dml_lr_check(dml_ctx *ctx, const dml_lr *lr);

/**
 * Rate at @p step (0-based). With s = step, W = warmup_steps, T = total_steps:
 * s < W: warmup_start + (base - warmup_start) s/W; after that, with t = (s-W)/(T-W)
 * clamped to [0, 1]: constant: base; step: base gamma^k, k milestones <= s; cosine:
 * end + (base - end)(1 + cos(pi t))/2; poly: end + (base - end)(1 - t)^p.
 * Pure; any thread. Source: Loshchilov and Hutter 2017 (cosine); You et al. 2017
 * (poly); Goyal et al. 2017, section 2.2 (warm-up).  @since 0.1
 */
DML_API double dml_lr_at(const dml_lr *lr, uint64_t step);

/** Linear scaling rule: rate for a batch @p factor times as large, base * factor.
 * Source: Goyal et al. 2017, section 2.1. @since 0.1 */
DML_API double dml_lr_scale_linear(double base, double factor);

#ifdef __cplusplus
}
#endif
#endif
