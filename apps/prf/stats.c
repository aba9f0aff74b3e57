/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sums over the rows of a node: weights of its classes, or of its targets.
 *
 * Where rows are sharded they are sums over ranks, so that all decide the same. They
 * are made when a node is split, for its left side: the right one's are what is left.
 * So one message serves two nodes, and also tells how many entries they have.
 */
#include "stats.h"

#include "exact.h"

#include <string.h>

/* The node's classes are class_of[0 .. n-1], their weights in by_class. */
static void use_numbers(struct grower *g, struct node_rows *node, size_t n)
{
    node->nstats = n;
    for (size_t k = 0; k < n; k++) {
        size_t c = g->class_of[k];
        g->local_of[c] = (uint16_t)(k << ENTRY_WEIGHT_BITS);
        g->total[k] = g->by_class[c];
        g->by_class[c] = 0;
    }
    for (size_t i = 0; n > 1 && i < node->n; i++) {
        uint16_t code = node->code[i];
        g->local[i] = (uint16_t)(g->local_of[code >> ENTRY_WEIGHT_BITS] |
                                 (code & ENTRY_WEIGHT_MAX));
    }
}

/* Number the classes that occur anew, ascending. */
static void number_classes(struct grower *g, struct node_rows *node)
{
    size_t n = 0;
    for (size_t i = 0; i < node->n; i++) {
        size_t c = node->code[i] >> ENTRY_WEIGHT_BITS;
        int64_t weight = node->code[i] & ENTRY_WEIGHT_MAX;
        if (g->view.weight)
            weight *= g->view.weight[node->row[i]];
        if (g->by_class[c] == 0) {
            size_t at = n++;
            for (; at > 0 && g->class_of[at - 1] > c; at--)
                g->class_of[at] = g->class_of[at - 1];
            g->class_of[at] = (uint16_t)c;
        }
        g->by_class[c] += weight;
    }
    use_numbers(g, node, n);
}

/* As number_classes(), from the sums of all ranks. */
static void number_all_classes(struct grower *g, struct node_rows *node)
{
    size_t n = 0, nclasses = g->table->nclasses;
    memcpy(g->by_class, g->node_sums + 1, nclasses * sizeof *g->by_class);
    for (size_t c = 0; c < nclasses; c++)
        if (g->by_class[c] > 0)
            g->class_of[n++] = (uint16_t)c;
    use_numbers(g, node, n);
}

/* True when all targets are equal. */
static bool sum_targets(struct grower *g, struct node_rows *node)
{
    bool equal = true;
    int64_t sum[2] = {0, 0};
    for (size_t i = 0; i < node->n; i++) {
        int64_t weight = node->code[i];
        int32_t y = g->view.target[node->row[i]];
        if (g->view.weight)
            weight *= g->view.weight[node->row[i]];
        sum[0] += weight;
        sum[1] += weight * y;
        equal &= y == g->view.target[node->row[0]];
        g->local[i] = node->code[i];
    }
    memcpy(g->total, sum, sizeof sum);
    node->nstats = 2;
    return equal;
}

/* As sum_targets(), from the sums of all ranks. With weights w that are above 0 all y
 * are equal where (sum of w) * (sum of w y^2) = (sum of w y)^2 (Cauchy and Schwarz);
 * sums of w y stay below 2^60 (labels.c), so that both sides fit. */
static bool use_all_targets(struct grower *g, struct node_rows *node)
{
    const int64_t *sums = g->node_sums + 1;
    memcpy(g->total, sums, 2 * sizeof *sums);
    memcpy(g->local, node->code, node->n * sizeof *g->local);
    node->nstats = 2;
    return (exact)sums[0] * exact_get(sums + 2) == exact_square(sums[1]);
}

bool stats_sum(struct grower *g, struct node_rows *node)
{
    bool pure, sharded = g->team && g->team->sharded;
    if (g->table->target) {
        pure = sharded ? use_all_targets(g, node) : sum_targets(g, node);
    } else {
        if (sharded)
            number_all_classes(g, node);
        else
            number_classes(g, node);
        pure = node->nstats < 2;
    }
    node->weight = split_weight(g->rule.criterion, g->total, node->nstats);
    return pure;
}

/* ---- sharded rows --------------------------------------------------------------- */

size_t stats_width(const struct table *table)
{
    return 1 + (table->nclasses > 0 ? table->nclasses : 2 + EXACT_LIMBS);
}

bool stats_over_ranks(struct grower *g, uint32_t begin, uint32_t end, int64_t *sums)
{
    const struct table *table = g->table;
    const struct grow_team *team = g->team;
    size_t width = stats_width(table);
    exact squares = 0;
    memset(sums, 0, width * sizeof *sums);
    sums[0] = end - begin;
    for (uint32_t i = begin; i < end; i++) {
        int64_t weight = g->codes[i] & ENTRY_WEIGHT_MAX;
        uint32_t row = g->rows[i];
        if (table->weight)
            weight *= table->weight[row];
        if (table->target) {
            sums[1] += weight;
            sums[2] += weight * table->target[row];
            squares += (exact)weight * exact_square(table->target[row]);
        } else {
            sums[1 + (g->codes[i] >> ENTRY_WEIGHT_BITS)] += weight;
        }
    }
    if (table->target)
        exact_put(squares, sums + 3);
    return team->sum_i64(team->user, sums, width);
}
