/* SPDX-License-Identifier: BSD-3-Clause */
/* Sums over the bins of one feature for nodes of many rows; see histogram.c. */
#ifndef PRF_HISTOGRAM_H
#define PRF_HISTOGRAM_H

#include "grower.h"

enum histogram_result { HISTOGRAM_CONSTANT, HISTOGRAM_NONE, HISTOGRAM_SPLIT };

#define HISTOGRAM_FEATURES 4  /* in one walk over the rows */
#define HISTOGRAM_MOST     64 /* at once */

/* The best split of each of up to g->batch features, split[j].feature. */
void histogram_splits(struct grower *g, const struct node_rows *node,
                      struct split *split, size_t nsplits,
                      enum histogram_result *result);

/* Add one entry to the C statistics of a bin. code: with the node's class numbers. */
static inline void histogram_add(const struct grower *g, int64_t *stat, uint32_t row,
                                 uint16_t code)
{
    int64_t weight = code & ENTRY_WEIGHT_MAX;
    if (g->view.weight)
        weight *= g->view.weight[row];
    if (g->view.target) {
        stat[0] += weight;
        stat[1] += weight * g->view.target[row];
    } else {
        stat[code >> ENTRY_WEIGHT_BITS] += weight;
    }
}

#endif
