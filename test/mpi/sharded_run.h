/* SPDX-License-Identifier: BSD-3-Clause */
/* Two ways to train on one set of values, for test_sharded; see sharded_run.c. */
#ifndef DML_SHARDED_RUN_H
#define DML_SHARDED_RUN_H

#include "dml_test.h"

enum { NTENSORS = 9, BIAS = 6 };

extern const size_t sharded_sizes[NTENSORS];

struct sharded_variant {
    const char *text;
    dml_optim_rule rule;
    dml_dtype dtype, grad_dtype;
    bool contiguous, forward_order; /* memory of the tensors; else each for itself */
    double clip_norm, clip_value, loss_scale;
    int nesterov;
    int fault_step; /* with a loss scale: an infinite gradient in this step; else -1 */
};

/* Both ways to train, on one set of values. */
struct sharded_run {
    struct dml_test *t;
    const struct sharded_variant *v;
    dml_ctx *ctx;
    dml_comm *comm;
    char *memory[4]; /* params, grads; of the reference and of the shards */
    dml_param whole[NTENSORS], cut[NTENSORS];
    dml_reducer *reducer;
    dml_optim *optim;
    dml_sharded *sharded;
};

/* False, with the failure recorded, when something could not be made; close it in any
 * case. */
bool sharded_open(struct sharded_run *r, struct dml_test *t,
                  const struct sharded_variant *v, bool reproducible);
void sharded_close(struct sharded_run *r);

/* A new object of the run's tensors, or NULL. */
dml_sharded *sharded_make(struct sharded_run *r);

/* The gradients of this rank in a step, for both ways. */
void sharded_gradients(struct sharded_run *r, int step);

/* The learning rate of a step, and the step in each of the two ways. */
double sharded_rate(int step);
void sharded_step_whole(struct sharded_run *r, int step);
void sharded_step_cut(struct sharded_run *r, int step);

/* All parameters must have the same bits in both. */
void sharded_compare(struct sharded_run *r, int step);

#endif
