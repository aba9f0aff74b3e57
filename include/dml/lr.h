/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file lr.h
 * Learning-rate schedules: pure functions of the step, exact at every boundary.
 */
#ifndef DML_LR_H
#define DML_LR_H

#include "dml/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

/** X(NAME, number, "name"): the shapes of a schedule after its warm-up. */
#define DML_LR_MAP(X)          \
    X(CONSTANT, 0, "constant") \
    X(STEP, 1, "step")         \
    X(COSINE, 2, "cosine")     \
    X(POLY, 3, "poly")         \
    X(ONECYCLE, 4, "onecycle")

typedef enum dml_lr_shape {
#define DML_LR_ENUM(NAME, number, name) DML_LR_##NAME = (number),
    DML_LR_MAP(DML_LR_ENUM)
#undef DML_LR_ENUM
} dml_lr_shape;

/** A schedule: a pure function of the step. Fill with dml_lr_init(). */
typedef struct dml_lr {
    size_t size;        /**< sizeof(dml_lr), set by the initialiser */
    dml_lr_shape shape; /**< default constant */
    double base;        /**< eta_0, reached at the end of the warm-up; default 0.1 */
    double end;         /**< rate at total_steps (cosine, poly, one-cycle); default 0 */
    double warmup_start;   /**< rate at step 0 when there is a warm-up; default 0 */
    uint64_t warmup_steps; /**< steps of linear warm-up; default 0 */
    uint64_t total_steps;  /**< T: cosine, poly and one-cycle end here; default 1 */
    double power;          /**< poly: p; default 1 */
    double gamma;          /**< step: factor at each milestone; default 0.1 */
    double momentum;       /**< mu_0; default 0.9 */
    double momentum_low;   /**< one-cycle: mu where the rate is base; default 0.9 */
    const uint64_t *milestones; /**< step: increasing steps; borrowed; may be NULL */
    size_t nmilestones;         /**< length of milestones */
} dml_lr;

/** Set the defaults. Any thread. @since 0.1 */
DML_API void dml_lr_init(dml_lr *lr);

/** Check a schedule before it is used.
 * @return DML_OK | DML_EINVAL, the fault named in the context's last error: base, end
 * or gamma or warmup_start not finite, a momentum not from 0 to below 1, power not
 * above 0, warm-up (of one-cycle: twice) longer than the whole, milestones not
 * increasing.
 * @since 0.1 */
DML_API dml_status dml_lr_check(dml_ctx *ctx, const dml_lr *lr);

/**
 * Rate at @p step (0-based). With s = step, W = warmup_steps, T = total_steps:
 * s < W: warmup_start + (base - warmup_start) s/W; after that, with t = (s-W)/(T-W)
 * clamped to [0, 1]: constant: base; step: base gamma^k, k milestones <= s; cosine:
 * end + (base - end)(1 + cos(pi t))/2; poly: end + (base - end)(1 - t)^p; one-cycle:
 * the warm-up is the way up, W more steps lead down to warmup_start on a straight line,
 * and the rest from there to end on another.
 * Pure; any thread. Source: Loshchilov and Hutter 2017 (cosine); You et al. 2017
 * (poly); Goyal et al. 2017, section 2.2 (warm-up); Smith and Topin 2018,
 * arXiv 1708.07120 (one-cycle).  @since 0.1
 */
DML_API double dml_lr_at(const dml_lr *lr, uint64_t step);

/**
 * Momentum at @p step, for dml_optim_set_momentum(): that of one-cycle goes against the
 * rate, from momentum down to momentum_low at step W, on a straight line, back up to
 * momentum at step 2 W, and stays there. All other shapes keep momentum.
 * Pure; any thread. Source: Smith 2018, arXiv 1803.09820, section 4.3.  @since 0.2 */
DML_API double dml_lr_momentum_at(const dml_lr *lr, uint64_t step);

/** Linear scaling rule: rate for a batch @p factor times as large, base * factor.
 * Source: Goyal et al. 2017, section 2.1. @since 0.1 */
DML_API double dml_lr_scale_linear(double base, double factor);

/** Square-root scaling rule, base * sqrt(factor): keeps the variance of a step, and
 * suits the rules that divide by a root (Adam, LAMB).
 * Source: You et al. 2019, arXiv 1904.00962, section 4. @since 0.2 */
DML_API double dml_lr_scale_sqrt(double base, double factor);

#ifdef __cplusplus
}
#endif
#endif
