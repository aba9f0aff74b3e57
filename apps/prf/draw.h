/* SPDX-License-Identifier: BSD-3-Clause */
/* Features of a node in random order, without replacement; see draw.c. */
#ifndef PRF_DRAW_H
#define PRF_DRAW_H

#include "grower.h"

struct draw {
    uint64_t state;
    size_t count; /* features drawn so far */
};

/* The next feature that is not known to be constant; false when all are drawn. */
bool draw_feature(struct grower *g, const struct node_rows *node, struct draw *draw,
                  uint32_t *feature);

/* Make the grower's permutation the identity again. */
void undo_draws(struct grower *g, const struct draw *draw);

#endif
