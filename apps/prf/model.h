/* SPDX-License-Identifier: BSD-3-Clause */
/* Model files: see model.c for the format. */
#ifndef PRF_MODEL_H
#define PRF_MODEL_H

#include "../common/outfile.h"
#include "forest.h"
#include "schema.h"
#include "tree.h"

/* A forest in memory. */
struct model {
    struct schema schema;
    uint64_t seed;
    uint32_t criterion, mtry, max_depth; /* as trained */
    double min_leaf, sample_fraction;    /* likewise */
    double oob;                          /* accuracy or R2 out of bag */
    double *importance;                  /* [F] sums to 1, or all 0 */
    size_t ntrees;
    struct tree *trees; /* [ntrees] */
    uint32_t *weight;   /* [ntrees] of the vote by accuracy */
    double weight_sum;
};

/* A checksum of all that a schema says. */
uint32_t model_schema_crc(const struct schema *schema);

/* Write a forest that lies in the ranks' spools; rank 0 has "file". about: all but the
 * trees. Collective, agreed. */
dml_status model_write(struct forest *forest, const struct model *about, FILE *file);

/* Read and check a model. On failure free it all the same. Not collective. */
dml_status model_read(struct job *job, const char *path, struct model *model);
void model_free(struct model *model);

#endif
