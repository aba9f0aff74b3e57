/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of lib/optim know of each other: an optimizer, its tensors, and what
 * an update rule is: one table entry, one file.
 *
 * A step is at most three sweeps over all tensors: gradients (sums of squares, where
 * something needs them), moments (LAMB's), update. A sweep hands a rule one block of a
 * tensor at a time, as f32 whatever the tensors' types are; a block's vectors fit in
 * the first-level cache. Rules know neither threads, nor shards, nor types, nor
 * clipping.
 */
#ifndef DML__OPTIMIZER_H
#define DML__OPTIMIZER_H

#include "dml/optim.h"

#include "kernels/kernels.h"
#include "optim/factors.h"
#include "optim/optim_device.h"

#define DML__OPTIM_SLOTS 2 /* most vectors of state per tensor but the master copy */

struct dml__optim_tensor {
    dml_param param; /* name never NULL; whole never 0 but for empty tensors */
    float *master;   /* [param.count]; NULL: param itself is f32 */
    float *slot[DML__OPTIM_SLOTS]; /* each [param.count], zero at first */
    size_t first_sum;              /* blocks of the whole tensors before this one */
    size_t first_work;             /* blocks of the shards before this one */
    double ratio;                  /* of this step: layer-wise adaptation */
};

/* A block of one tensor, or what is here of it. */
struct dml__optim_part {
    const struct dml__optim_tensor *tensor;
    size_t n;       /* elements */
    float *w;       /* [n] the parameter, or its master copy */
    const float *g; /* [n] unscaled and clipped; NULL in a sweep without gradients */
    float *slot[DML__OPTIM_SLOTS]; /* [n] each, or NULL */
};

/* Which norms a rule needs beside |w|. */
enum dml__optim_norms {
    DML__NORMS_NONE,
    DML__NORMS_GRAD, /* |g|, in the sweep over the gradients */
    DML__NORMS_STEP  /* that of the step, in the sweep that makes the moments */
};

struct dml__optim_rule {
    dml_optim_rule rule;
    const char *name;
    const char *slot_names[DML__OPTIM_SLOTS];
    enum dml__optim_norms norms;
    void (*defaults)(dml_optim_opts *opts);
    /* Range of the options this rule reads; "where" is the public function's name. */
    dml_status (*check)(dml_ctx *ctx, const char *where, const dml_optim_opts *opts);
    size_t (*nslots)(const dml_optim_opts *opts); /* <= DML__OPTIM_SLOTS */
    /* With DML__NORMS_STEP: new moments; sums: of squares of the step that w would take
     * at rate 1, and of w. */
    void (*moments)(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                    const struct dml__optim_now *now,
                    const struct dml__optim_part *part, double sums[2]);
    void (*update)(const struct dml__kernels *kernels, const dml_optim_opts *opts,
                   const struct dml__optim_now *now,
                   const struct dml__optim_part *part);
};

extern const struct dml__optim_rule dml__optim_sgd, dml__optim_adam, dml__optim_adamw,
    dml__optim_lars, dml__optim_lamb, dml__optim_adagrad;

/* Where a step stands. */
enum dml__optim_phase {
    DML__OPTIM_IDLE,    /* between two steps */
    DML__OPTIM_GRADS,   /* the caller has the gradients' sums */
    DML__OPTIM_MOMENTS, /* the caller has the moments' sums */
    DML__OPTIM_READY    /* all norms are known, or the step is to be skipped */
};

struct dml_optim {
    dml_ctx *ctx;
    const struct dml__kernels *kernels;
    const struct dml__optim_rule *rule;
    dml_optim_opts opts;
    size_t nparams, nslots;
    struct dml__optim_tensor *tensors; /* [nparams] */
    char *names;                       /* all tensors', one after another */
    float *state;                      /* all slots and master copies */
    size_t state_count;                /* elements of these, without gaps */
    bool sharded, has_masters;
    size_t nsums, nwork; /* blocks of the whole tensors, and of what is here */
    double *sums;        /* [nsums][1 or 2], NULL when the rule and options need none */
    struct dml__optim_device *device; /* NULL: the tensors lie on the host */
    const double *rate;               /* NULL: the caller passes it */
    struct dml__team *team;           /* NULL: the caller works alone */
    size_t *faulty; /* [threads] a tensor that is not finite, or nparams */

    enum dml__optim_phase phase;
    bool skip; /* the step that is under way */
    struct dml__optim_now now;
    double grad_norm;
    bool last_skipped;
    dml_optim_counters counters;
};

/* ---- rules -------------------------------------------------------------------------
 */

/* An option's range, as a rule's check() refuses it: DML_EINVAL with name and value. */
dml_status dml__optim_refuse(dml_ctx *ctx, const char *where, const char *option,
                             double value, const char *range);

/* momentum, nesterov, velocity and momentum_correction. */
dml_status dml__optim_check_momentum(dml_ctx *ctx, const char *where,
                                     const dml_optim_opts *opts);

/* beta1, beta2 and eps. */
dml_status dml__optim_check_moments(dml_ctx *ctx, const char *where,
                                    const dml_optim_opts *opts);

/* SGD's update with steps of "ratio" times the gradient: LARS's, too. */
void dml__optim_sgd_update(const struct dml__kernels *kernels,
                           const dml_optim_opts *opts, const struct dml__optim_now *now,
                           const struct dml__optim_part *part);

/* ---- sweeps ------------------------------------------------------------------------
 * Each returns the first tensor in which something is not finite, or nparams.
 */

/* True if gradients are summed before anything is changed. */
bool dml__optim_sums_grads(const dml_optim *optim);

/* Doubles per block in the sums of the gradients: 2 when the rule needs |w| then. */
size_t dml__optim_grad_width(const dml_optim *optim);

void dml__optim_sweep_grads(dml_optim *optim);
void dml__optim_sweep_moments(dml_optim *optim);
size_t dml__optim_sweep_update(dml_optim *optim);

/* ---- steps -------------------------------------------------------------------------
 */

/* Takes over what has become of the steps that a device had to do, and waits for them,
 * if asked; DML_ENUMERIC as dml_optim_step(). */
dml_status dml__optim_look(dml_optim *optim, const char *where, bool wait);

/* ---- threads -----------------------------------------------------------------------
 */

struct dml__team;

/* nthreads - 1 threads that sleep until there is work; NULL when they cannot be had. */
struct dml__team *dml__team_create(dml_ctx *ctx, int nthreads);
void dml__team_destroy(struct dml__team *team);

/* work(user, index) for 0 <= index < nthreads of the team, 0 on the caller's thread;
 * returns when all are done. */
void dml__team_run(struct dml__team *team, void (*work)(void *user, int index),
                   void *user);

#endif
