/* SPDX-License-Identifier: BSD-3-Clause */
/* What the trainers share: progress, the dev set, the best weights; see train.c. */
#ifndef CRF_TRAIN_H
#define CRF_TRAIN_H

#include "../common/checkpoint.h"
#include "../common/progress.h"
#include "../common/report.h"
#include "trainer.h"

struct training {
    const struct crf_run *run;
    struct trainer trainer;
    struct progress progress;
    struct outfile curve, report, model; /* open on rank 0 where asked for */
    double *x;                           /* this rank's block of the weights */
    double *best; /* [count] weights that labelled the dev set best, or NULL */
    double best_value, dev_value;
    size_t stale;                      /* epochs since */
    double start_s, train_s, before_s; /* clock; all; of the parts of the job before */
    struct checkpoint checkpoint;
    dml_snapshot *snapshot; /* that the job goes on from, while it is being read */
    size_t iterations, evaluations; /* of lbfgs, or epochs and steps */
    double objective, gradient_norm;
    uint64_t dense_steps, sparse_steps; /* how batches' gradients were summed */
    uint64_t step, nsteps; /* for monitors: steps or iterations, of so many or 0, */
    double done, total;    /* and passes over the training set */
    const char *end;
};

/* After an epoch, whose weights are in trainer.weights: dev set, curve, a line. The
 * numbers that are not finite are not shown. */
dml_status training_epoch(struct training *training, double done, double total,
                          bool look_at_dev, bool *stop);

/* For monitors: where it is; see struct training. */
void training_publish(struct training *training, uint64_t step, uint64_t nsteps,
                      double done, double total);

dml_status train_lbfgs(struct training *training);
dml_status train_batches(struct training *training);
dml_status train_perceptron(struct training *training);

#endif
