/* SPDX-License-Identifier: BSD-3-Clause */
/* A training in progress: data, weights, and the objective over all ranks; see
 * trainer.c. */
#ifndef CRF_TRAINER_H
#define CRF_TRAINER_H

#include "commands.h"
#include "files.h"
#include "model.h"
#include "score.h"

struct trainer {
    const struct crf_run *run;
    struct files files;
    struct model model; /* its weights stay NULL: see "weights" */
    const struct kernels *kernels;
    struct layout layout;
    struct shard shard;              /* this rank's sentences */
    struct shard dev, test;          /* and its part of the others */
    struct corpus dev_set, test_set; /* whole */
    size_t dev_first, test_first;    /* this rank's first sentence of each */
    struct objective objective;
    size_t nsentences, ntokens; /* of the training set, all ranks */
    uint64_t mark;              /* hash of training set, dev set and vocabulary */

    size_t count;     /* weights */
    double *weights;  /* [count] on all ranks alike, in memory of dml_alloc() */
    double *gradient; /* [count] likewise; what is reduced */
    size_t *blocks;   /* [ranks] weights that each rank updates, in rank order */
    size_t first;     /* of this rank's block */

    double read_s, comm_s, compute_s;
    double loss; /* of the last evaluation, over all ranks, without regularisation */
};

double trainer_now_s(void);

/* Collective, as are all below: read, number, share out. Destroy in any case. */
dml_status trainer_create(struct trainer *trainer, const struct crf_run *run);
void trainer_destroy(struct trainer *trainer);

/* Loss and gradient of c2-regularised likelihood at x, this rank's block of the
 * weights, for that block. */
dml_status trainer_evaluate(struct trainer *trainer, const double *x, double *value,
                            double *gradient);

/* All ranks' blocks together become the weights that are used. */
dml_status trainer_set(struct trainer *trainer, const double *x);

/* The objective at "weights", and its gradient's norm. */
dml_status trainer_measure(struct trainer *trainer, double *value, double *norm);

/* How well "weights" label the dev set or the test set; the counts are of all ranks. */
dml_status trainer_score(struct trainer *trainer, bool test, struct score *score);

#endif
