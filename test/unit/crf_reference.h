/* SPDX-License-Identifier: BSD-3-Clause */
/* Small random problems and slow, plain answers, for the tests of dml-crf; see
 * crf_reference.c. */
#ifndef CRF_REFERENCE_H
#define CRF_REFERENCE_H

#include "objective.h"

/* Everything from a corpus to an objective, for one kernel set. */
struct problem {
    struct job job;
    struct corpus corpus;
    struct features features;
    struct layout layout;
    struct shard shard;
    struct objective objective;
    double *weights; /* [features] */
};

/* Random sentences of 1 to "longest" tokens, each with some of nattrs attributes (of
 * random value where "valued"), and weights in [-scale, scale]. With "pairs" tokens
 * have attributes of pairs of labels, too. */
struct problem_kind {
    size_t nsentences, longest, nattrs, nlabels;
    bool valued, pairs;
    double scale;
};
void problem_make(struct problem *problem, uint64_t seed,
                  const struct problem_kind *kind, const struct kernels *kernels,
                  int threads);
void problem_free(struct problem *problem);

/* Score of one labelling of a sentence. */
double reference_score(const struct problem *problem, size_t sentence,
                       const uint16_t *labels);

/* Sum of log Z - score over all sentences, by the forward recursion on logarithms. */
double reference_loss(const struct problem *problem);

/* Over all labellings of a sentence: log Z, the best one, marginals[T][L], and the
 * gradient of log Z less the score of the labels given, [features]. */
double reference_enumerate(const struct problem *problem, size_t sentence,
                           uint16_t *best, double *marginals, double *gradient);

#endif
