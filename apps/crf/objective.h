/* SPDX-License-Identifier: BSD-3-Clause */
/* What training minimises: minus the log likelihood of labels, and its gradient, summed
 * over one rank's sentences; see objective.c. */
#ifndef CRF_OBJECTIVE_H
#define CRF_OBJECTIVE_H

#include "bench.h"
#include "feature_set.h"

struct worker;

struct objective {
    struct job *job;
    const struct kernels *kernels;
    const struct layout *layout;
    const struct shard *shard;
    int threads;
    size_t count;           /* of weights: features_count() */
    struct chain chain;     /* points into memory and weights */
    void *weights, *memory; /* of the kernels' type */
    double *trans;          /* [L][L] */
    struct worker *workers; /* [threads] */
};

/* Destroy in any case. On failure the job holds one line. */
dml_status objective_create(struct objective *objective, struct job *job,
                            const struct kernels *kernels, const struct layout *layout,
                            const struct shard *shard, int threads);
void objective_destroy(struct objective *objective);

/* Use these weights, [count], from now on. */
void objective_set(struct objective *objective, const double *weights);

/* Change one state weight, by its slot, or one transition: for labelling only. */
void objective_change(struct objective *objective, size_t slot, double weight);
void objective_change_pair(struct objective *objective, size_t from, size_t to,
                           double weight);

/* Over the sentences list[0 .. n - 1] of the shard, or 0 .. n - 1 without a list: *loss
 * and, where gradient is not NULL, gradient[count]. */
dml_status objective_run(struct objective *objective, const uint32_t *list, size_t n,
                         double *loss, double *gradient);

/* The best labellings of all sentences of a shard, into labels[ntokens]. */
dml_status objective_label(struct objective *objective, const struct shard *shard,
                           uint16_t *labels);

#endif
