/* SPDX-License-Identifier: BSD-3-Clause */
/* Sums over the rows of a node; see stats.c. */
#ifndef PRF_STATS_H
#define PRF_STATS_H

#include "grower.h"

/* Sum up a node: the grower's statistics, and the node's weight. True when it is pure.
 */
bool stats_sum(struct grower *g, struct node_rows *node);

/* Of entries begin .. end - 1 of all ranks: their number; then the weight of each
 * class, or of regression weight, weight * y and, in limbs, weight * y^2. */
size_t stats_width(const struct table *table);
bool stats_over_ranks(struct grower *g, uint32_t begin, uint32_t end, int64_t *sums);

#endif
