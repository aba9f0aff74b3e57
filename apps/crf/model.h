/* SPDX-License-Identifier: BSD-3-Clause */
/* Model files: weights with what is needed to use them; see model.c. */
#ifndef CRF_MODEL_H
#define CRF_MODEL_H

#include "objective.h"

/* A model in memory, whether trained or mapped from a file. */
struct model {
    struct vocabulary vocabulary;
    struct template template;
    struct source source; /* template: NULL or the one above */
    struct features features;
    float *weights; /* [features_count()] */
    size_t nlabels; /* those of the vocabulary that the model knows come first */
    void *map;      /* the file; features, weights and attributes point into it */
    size_t map_bytes;
};

/* Weights that are 0 are left out, and attributes without weights. On failure "error"
 * holds one line. */
dml_status model_write(FILE *file, const struct model *model, const double *weights,
                       struct job *job);

/* On failure the job holds one line. Close in any case. */
dml_status model_open(struct model *model, struct job *job, const char *path);
void model_close(struct model *model);

/* weights[] of "to" become those that "from" has for the same features, else 0. */
void model_copy_weights(const struct model *from, const struct model *to,
                        double *weights);

/* What labels sentences by a model. Destroy in any case. */
struct labeller {
    const struct model *model;
    struct layout layout;
    struct objective objective;
};
dml_status labeller_create(struct labeller *labeller, struct job *job,
                           const struct model *model, const struct kernels *kernels,
                           int threads);
void labeller_destroy(struct labeller *labeller);

/* Labels of all sentences of a corpus into labels[ntokens]. */
dml_status labeller_run(struct labeller *labeller, const struct corpus *corpus,
                        uint16_t *labels);

#endif
