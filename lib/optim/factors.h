/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a step reckons once for a tensor, or once for all: factors, ratios, the loss
 * scale. For the host and for devices (DML__HD, core/half.h).
 */
#ifndef DML__OPTIM_FACTORS_H
#define DML__OPTIM_FACTORS_H

#include "dml/optim.h"

#include "core/half.h"
#include "kernels/optim_element.h"

#include <float.h>
#include <math.h>

/* What is the same for all tensors of one step. */
struct dml__optim_now {
    double lr, last_lr;      /* last_lr: 0 before the first update */
    double unbias1, unbias2; /* 1 / (1 - beta^t), or 1 */
    double grad_scale;       /* gradients are multiplied by this */
};

/* lambda, or 0 for a tensor that is exempt. */
DML__HD static inline double dml__optim_decay(const dml_optim_opts *opts,
                                              unsigned flags)
{
    return (flags & DML_PARAM_NO_DECAY) != 0 ? 0 : opts->weight_decay;
}

/* As an f32: the largest one rather than infinity. */
DML__HD static inline float dml__optim_f32(double x)
{
    return x > FLT_MAX ? FLT_MAX : (float)x;
}

/*
 * x^n by squaring, in pairs of doubles whose sum is the number (Dekker 1971): pow() of
 * another library, or of a device, would differ in the last bit.
 */
DML__HD static inline double dml__optim_power(double x, uint64_t n)
{
    double high = 1, low = 0, square = x, rest = 0;
    for (;; n >>= 1) {
        if ((n & 1) != 0) {
            double product = high * square;
            double error = fma(high, square, -product) + (high * rest + low * square);
            high = product + error;
            low = error - (high - product);
        }
        if (n <= 1)
            return high;
        double product = square * square;
        double error = fma(square, square, -product) + 2 * (square * rest);
        square = product + error;
        rest = error - (square - product);
    }
}

/* Of step number t, but for the rate. */
DML__HD static inline struct dml__optim_now
dml__optim_now_of(const dml_optim_opts *opts, const dml_optim_counters *counters)
{
    const uint64_t t = counters->steps + 1;
    const bool unbias = opts->bias_correction;
    struct dml__optim_now now;
    now.lr = 0;
    now.last_lr = counters->last_lr;
    now.unbias1 = unbias ? 1 / (1 - dml__optim_power(opts->beta1, t)) : 1;
    now.unbias2 = unbias ? 1 / (1 - dml__optim_power(opts->beta2, t)) : 1;
    now.grad_scale = opts->loss_scale > 0 ? 1 / counters->loss_scale : 1;
    return now;
}

/* ratio: layer-wise adaptation, LARS's. */
DML__HD static inline struct dml__sgd_args
dml__optim_sgd_args(const dml_optim_opts *opts, const struct dml__optim_now *now,
                    unsigned flags, double ratio)
{
    const bool inside = opts->velocity == DML_RATE_INSIDE;
    /* At rate 0 corrected velocities are 0: then nothing is left to correct. */
    const bool corrects = opts->momentum_correction && now->last_lr > 0;
    const double change = corrects ? now->lr / now->last_lr : 1;
    struct dml__sgd_args args;
    args.in = dml__optim_f32(inside ? now->lr * ratio : ratio);
    args.out = inside ? 1 : (float)now->lr;
    args.carry = dml__optim_f32(opts->momentum * change);
    args.momentum = (float)opts->momentum;
    args.weight_decay = (float)dml__optim_decay(opts, flags);
    args.nesterov = opts->nesterov;
    return args;
}

/*
 * Adam's: the decays are left 0. 1 - beta is taken in f64: of 0.999 rounded to f32
 * little would be left.
 */
DML__HD static inline struct dml__adam_args
dml__optim_adam_args(const dml_optim_opts *opts, const struct dml__optim_now *now)
{
    struct dml__adam_args args;
    args.keep1 = (float)opts->beta1;
    args.add1 = (float)(1 - opts->beta1);
    args.keep2 = (float)opts->beta2;
    args.add2 = (float)(1 - opts->beta2);
    args.unbias1 = dml__optim_f32(now->unbias1);
    args.unbias2 = dml__optim_f32(now->unbias2);
    args.eps = (float)opts->eps;
    args.grad_decay = 0;
    args.step_decay = 0;
    args.rate = (float)now->lr;
    return args;
}

DML__HD static inline struct dml__adam_args
dml__optim_lamb_args(const dml_optim_opts *opts, const struct dml__optim_now *now,
                     unsigned flags, double ratio)
{
    struct dml__adam_args args = dml__optim_adam_args(opts, now);
    args.step_decay = (float)dml__optim_decay(opts, flags);
    args.rate = dml__optim_f32(now->lr * ratio);
    return args;
}

/* AdaGrad is Adam with no memory of the gradient, and all of the square. */
DML__HD static inline struct dml__adam_args
dml__optim_adagrad_args(const dml_optim_opts *opts, const struct dml__optim_now *now,
                        unsigned flags)
{
    struct dml__adam_args args;
    args.keep1 = 0;
    args.add1 = 1;
    args.keep2 = 1;
    args.add2 = 1;
    args.unbias1 = 1;
    args.unbias2 = 1;
    args.eps = (float)opts->eps;
    args.grad_decay = (float)dml__optim_decay(opts, flags);
    args.step_decay = 0;
    args.rate = (float)now->lr;
    return args;
}

DML__HD static inline double dml__optim_lars_ratio(const dml_optim_opts *opts,
                                                   unsigned flags, double w_norm,
                                                   double g_norm)
{
    const double decay = dml__optim_decay(opts, flags);
    return opts->trust * w_norm / (g_norm + decay * w_norm + opts->eps);
}

/* A tensor's ratio from the squares of |w| and the other norm. */
DML__HD static inline double dml__optim_ratio(dml_optim_rule rule,
                                              const dml_optim_opts *opts,
                                              unsigned flags, double w_square,
                                              double other_square)
{
    if ((flags & DML_PARAM_NO_ADAPT) != 0 || !(w_square > 0 && other_square > 0))
        return 1;
    const double w_norm = sqrt(w_square), other_norm = sqrt(other_square);
    const double ratio = rule == DML_OPTIM_LARS
                             ? dml__optim_lars_ratio(opts, flags, w_norm, other_norm)
                             : w_norm / other_norm;
    return opts->trust_max > 0 && ratio > opts->trust_max ? opts->trust_max : ratio;
}

/* By what gradients of this norm are multiplied. */
DML__HD static inline double dml__optim_clip(const dml_optim_opts *opts, double norm)
{
    return opts->clip_norm > 0 && norm > opts->clip_norm ? opts->clip_norm / norm : 1;
}

/*
 * The loss scale after a step that was skipped, or made. Micikevicius et al. 2018,
 * arXiv 1710.03740, section 3.2.
 */
DML__HD static inline void dml__optim_adapt_loss_scale(const dml_optim_opts *opts,
                                                       bool skipped,
                                                       dml_optim_counters *c)
{
    const double largest = 0x1p24, smallest = 0x1p-24;
    if (opts->loss_scale == 0 || opts->loss_scale_window == 0)
        return;
    if (skipped) {
        c->good_steps = 0;
        if (c->loss_scale / 2 >= smallest)
            c->loss_scale /= 2;
    } else if (++c->good_steps >= opts->loss_scale_window) {
        c->good_steps = 0;
        if (c->loss_scale * 2 <= largest)
            c->loss_scale *= 2;
    }
}

#endif
