/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arithmetic of the optimizers on one element, for the loops of the kernel sets and
 * for devices; see dml_optim_step() for the equations.
 */
#ifndef DML__OPTIM_ELEMENT_H
#define DML__OPTIM_ELEMENT_H

#include "core/half.h"

#include <math.h>
#include <stdbool.h>

/*
 * Factors of one update of SGD or LARS; see dml_optim_step() for the equations. One
 * loop serves both places of the rate: "in" goes into the velocity, "out" stands
 * outside.
 */
struct dml__sgd_args {
    float in, out;
    float carry;    /* what is kept of the velocity: mu, with momentum correction */
    float momentum; /* mu, for Nesterov's look-ahead */
    float weight_decay;
    bool nesterov;
};

/* Factors of one update of Adam, AdamW or LAMB. */
struct dml__adam_args {
    float keep1, add1, keep2, add2; /* beta1, 1 - beta1, beta2, 1 - beta2 */
    float unbias1, unbias2;         /* 1 / (1 - beta^t) */
    float eps;
    float grad_decay; /* lambda, added to the gradient: Adam */
    float step_decay; /* lambda, added to the step: AdamW, LAMB */
    float rate;       /* eta; LAMB: times the tensor's ratio */
};

/* A clipped infinity would be taken for a gradient. */
DML__HD static inline float dml__clip_element(float value, float limit)
{
    const float size = fabsf(value);
    return size > limit && size < INFINITY ? copysignf(limit, value) : value;
}

/* What a gradient adds to the velocity. */
DML__HD static inline float dml__sgd_push(float w, float g,
                                          const struct dml__sgd_args *args)
{
    return args->in * (g + args->weight_decay * w);
}

DML__HD static inline float dml__sgd_velocity(float velocity, float push,
                                              const struct dml__sgd_args *args)
{
    return args->carry * velocity + push;
}

/* By how much w falls, at the rate "out", with a velocity. */
DML__HD static inline float dml__sgd_step(float velocity, float push,
                                          const struct dml__sgd_args *args)
{
    return args->nesterov ? push + args->momentum * velocity : velocity;
}

DML__HD static inline float dml__adam_mean(float m, float g,
                                           const struct dml__adam_args *args)
{
    return args->keep1 * m + args->add1 * g;
}

DML__HD static inline float dml__adam_square(float v, float g,
                                             const struct dml__adam_args *args)
{
    return args->keep2 * v + args->add2 * (g * g);
}

/* By how much w falls at rate 1. */
DML__HD static inline float dml__adam_step(float w, float m, float v,
                                           const struct dml__adam_args *args)
{
    float root = sqrtf(v * args->unbias2) + args->eps;
    return m * args->unbias1 / root + args->step_decay * w;
}

#endif
