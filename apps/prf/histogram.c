/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histograms of nodes with many rows.
 *
 * Classification without row weights and Gini's criterion, the common case, has its own
 * loops: counters of 32 bits, which bins_set.c scans by vectors. All else is summed in
 * 64 bits and judged by split.c.
 */
#include "histogram.h"

#include <string.h>

static bool shares_rows(const struct grower *g)
{
    return g->team && g->team->by_rows;
}

/* This rank's part of a node's entries. */
static size_t own_rows(const struct grower *g, const struct node_rows *node,
                       size_t *end)
{
    *end = node->n;
    if (!shares_rows(g) || g->team->sharded)
        return 0;
    size_t rank = (size_t)g->team->rank, nranks = (size_t)g->team->nranks;
    *end = node->n * (rank + 1) / nranks;
    return node->n * rank / nranks;
}

/* Count several features in one walk over the rows: neighbouring rows often hit the
 * same counter, and one addition has to wait for the other; other features' need not.
 * counts has room for HISTOGRAM_FEATURES.
 */
static void count(const struct grower *g, const struct node_rows *node,
                  const uint32_t *feature, size_t nfeatures, uint32_t *counts)
{
    const uint8_t *bins[HISTOGRAM_FEATURES];
    size_t stride = g->view.row_stride, room = node->nstats * BINS;
    const uint32_t *row = node->row;
    const uint16_t *code = g->local;
    for (size_t j = 0; j < HISTOGRAM_FEATURES; j++)
        bins[j] =
            g->view.bins + feature[j < nfeatures ? j : 0] * g->view.feature_stride;
    memset(counts, 0, HISTOGRAM_FEATURES * room * sizeof *counts);
    size_t end;
    for (size_t i = own_rows(g, node, &end); i < end; i++) {
        size_t at = row[i] * stride;
        uint32_t weight = code[i] & ENTRY_WEIGHT_MAX;
        uint32_t *of_class = counts + (code[i] >> ENTRY_WEIGHT_BITS) * BINS;
        for (size_t j = 0; j < HISTOGRAM_FEATURES; j++)
            of_class[j * room + bins_place(bins[j][at])] += weight;
    }
}

/* Statistics of a feature's bins in 64 bits, stat [BINS][C]. */
static void sum_bins(const struct grower *g, const struct node_rows *node,
                     uint32_t feature, int64_t *stat)
{
    const uint8_t *bins = g->view.bins + feature * g->view.feature_stride;
    size_t end, nstats = node->nstats;
    memset(stat, 0, BINS * nstats * sizeof *stat);
    for (size_t i = own_rows(g, node, &end); i < end; i++) {
        uint8_t bin = bins[node->row[i] * g->view.row_stride];
        histogram_add(g, stat + bin * nstats, node->row[i], g->local[i]);
    }
}

/* The groups, whose statistics are those of all bins, become those that occur. */
static void close_up(struct grower *g, size_t nstats)
{
    struct groups *groups = &g->groups;
    groups->nstats = nstats;
    groups->n = 0;
    for (size_t b = 0; b < BINS; b++) {
        int64_t *stat = groups->stat + b * nstats;
        if (split_weight(g->rule.criterion, stat, nstats) == 0)
            continue;
        if (groups->n < b)
            memcpy(groups->stat + groups->n * nstats, stat, nstats * sizeof *stat);
        groups->bin[groups->n++] = (uint8_t)b;
    }
}

static enum histogram_result split_of_counts(const struct grower *g,
                                             const struct node_rows *node,
                                             const uint32_t *counts,
                                             struct split *split)
{
    struct bins_node about = {.nclasses = node->nstats,
                              .total = g->total,
                              .weight = node->weight,
                              .min_leaf = g->rule.min_leaf};
    struct bins_cut cut;
    g->params->bins->scan(&about, counts, g->scan_room, &cut);
    if (!cut.found)
        return cut.constant ? HISTOGRAM_CONSTANT : HISTOGRAM_NONE;
    split->kind = NODE_NUMBER;
    split->score = cut.score;
    split->low = cut.low;
    split->high = cut.high;
    return HISTOGRAM_SPLIT;
}

static enum histogram_result
split_of_sums(struct grower *g, const struct node_rows *node, struct split *split)
{
    close_up(g, node->nstats);
    if (g->groups.n < 2)
        return HISTOGRAM_CONSTANT;
    return split_of_groups(&g->rule, &g->groups, g->total,
                           g->table->flags[split->feature], split)
               ? HISTOGRAM_SPLIT
               : HISTOGRAM_NONE;
}

/* Are the counters of a feature those of 32 bits? */
static bool is_counted(const struct grower *g, const struct split *split)
{
    return g->table->label && !g->table->weight &&
           g->rule.criterion == CRITERION_GINI && g->table->flags[split->feature] == 0;
}

/* The features that are counted, one after the other in counts; one sum over ranks
 * where they share rows. */
static void count_all(struct grower *g, const struct node_rows *node,
                      const struct split *split, size_t nsplits)
{
    size_t room = node->nstats * BINS, n = 0;
    uint32_t feature[HISTOGRAM_MOST];
    for (size_t j = 0; j < nsplits; j++)
        if (is_counted(g, &split[j]))
            feature[n++] = split[j].feature;
    for (size_t j = 0; j < n; j += HISTOGRAM_FEATURES)
        count(g, node, feature + j,
              n - j < HISTOGRAM_FEATURES ? n - j : HISTOGRAM_FEATURES,
              g->counts + j * room);
    if (n > 0 && shares_rows(g) &&
        !g->team->sum_u32(g->team->user, g->counts, n * room))
        g->failed = true;
}

/* The other ones, where ranks share rows, likewise in batch_stat. */
static void sum_all(struct grower *g, const struct node_rows *node,
                    const struct split *split, size_t nsplits)
{
    size_t room = node->nstats * BINS, n = 0;
    for (size_t j = 0; j < nsplits; j++)
        if (!is_counted(g, &split[j]))
            sum_bins(g, node, split[j].feature, g->batch_stat + n++ * room);
    if (n > 0 && !g->team->sum_i64(g->team->user, g->batch_stat, n * room))
        g->failed = true;
}

void histogram_splits(struct grower *g, const struct node_rows *node,
                      struct split *split, size_t nsplits,
                      enum histogram_result *result)
{
    size_t room = node->nstats * BINS, counted = 0, summed = 0;
    count_all(g, node, split, nsplits);
    if (shares_rows(g))
        sum_all(g, node, split, nsplits);
    for (size_t j = 0; j < nsplits; j++) {
        if (is_counted(g, &split[j])) {
            result[j] =
                split_of_counts(g, node, g->counts + counted++ * room, &split[j]);
            continue;
        }
        if (shares_rows(g))
            memcpy(g->groups.stat, g->batch_stat + summed++ * room,
                   room * sizeof *g->groups.stat);
        else
            sum_bins(g, node, split[j].feature, g->groups.stat);
        result[j] = split_of_sums(g, node, &split[j]);
    }
}
