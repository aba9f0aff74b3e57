/* SPDX-License-Identifier: BSD-3-Clause */
/* Importance of features by permutation, tree by tree; see permute.c. */
#ifndef PRF_PERMUTE_H
#define PRF_PERMUTE_H

#include "apply.h"

/* Of one thread. */
struct permute {
    apply_fn *apply;
    uint8_t *bins;      /* rows out of bag, copied, [n][F] */
    uint8_t *used;      /* [F] does the tree ask for the feature? */
    uint32_t *order;    /* [n] */
    uint32_t *identity; /* [n] */
    uint32_t *leaves;   /* [n] */
    size_t room;        /* rows */
};

bool permute_make(struct permute *permute, const struct table *train, apply_fn *apply);
void permute_free(struct permute *permute);

/* Adds to importance[f], in units of 2^-32, by how much the tree's accuracy on the n
 * rows sinks (regression: its error grows, in units of the variance) when their cells
 * of feature f are exchanged. tree->oob_* are of the rows as they are. */
void permute_tree(struct permute *permute, const struct table *train,
                  const struct tree *tree, uint64_t seed, uint64_t number,
                  const uint32_t *rows, size_t n, double variance, int64_t *importance);

#endif
