/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grows a tree depth first.
 *
 * A tree gets no copy of the table: rows drawn with replacement are entries (row,
 * class, times drawn), and a split rearranges the entries of its node in place, keeping
 * the order of rows (the paper's data multiplexing by an index table). While a node has
 * many rows, features are read column by column; see view.c for the others.
 *
 * Random numbers of a node are a function of (seed, tree, path from the root), so trees
 * do not depend on who grows them, nor on the order in which nodes are decided.
 */
#include "grow.h"

#include "dml/rng.h"

#include "grower.h"
#include "histogram.h"
#include "stats.h"
#include "team.h"
#include "view.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATH_STREAM 0x5bd1e995u /* keeps seeds of nodes apart from drawn rows */

/* Do all ranks decide this node, each with rows of its own? */
static bool is_sharded(const struct grower *g)
{
    return g->team && g->team->sharded;
}

/* ---- rows of a tree ------------------------------------------------------------- */

/* A row was drawn; is it one of this rank? */
static void count_draw(struct grower *g, uint64_t row)
{
    uint64_t r = row - g->table->first_row;
    if (r < g->table->nrows)
        g->drawn[r] = (uint8_t)(g->drawn[r] + (g->drawn[r] < UINT8_MAX));
}

/* Draw with replacement; counter 0 of the tree's stream is the root's seed. */
void grower_draw(struct grower *g, uint64_t number)
{
    uint64_t nrows = g->table->all_rows;
    memset(g->drawn, 0, g->table->nrows);
    for (uint64_t i = 0; i < g->params->draws; i += 2) {
        uint64_t bits = dml_rng_u64(g->params->seed, number, 1 + i / 2);
        uint64_t first = (bits >> 32) * nrows >> 32;
        uint64_t second = (bits & UINT32_MAX) * nrows >> 32;
        count_draw(g, first);
        if (i + 1 < g->params->draws)
            count_draw(g, second);
    }
}

static bool make_entries_of_tree(struct grower *g, uint32_t *count)
{
    const struct table *table = g->table;
    uint32_t n = 0;
    for (size_t r = 0; r < table->nrows; r++) {
        unsigned left = table->weight && table->weight[r] == 0 ? 0 : g->drawn[r];
        unsigned class_ = table->label ? table->label[r] : 0;
        while (left > 0) {
            unsigned times = left < ENTRY_WEIGHT_MAX ? left : ENTRY_WEIGHT_MAX;
            if (n == g->entry_room && !grower_more_entries(g))
                return false;
            g->rows[n] = (uint32_t)r;
            g->codes[n++] = (uint16_t)(class_ << ENTRY_WEIGHT_BITS | times);
            left -= times;
        }
    }
    *count = n;
    return true;
}

/* ---- leaves --------------------------------------------------------------------- */

static bool make_leaf(struct grower *g, const struct task *task,
                      const struct node_rows *node, struct tree *tree)
{
    size_t nclasses = g->table->nclasses;
    uint32_t value, number;
    if (node->weight == 0) { /* all rows that were drawn have weight 0 */
        value = 0;
    } else if (nclasses == 0) {
        value = (uint32_t)(int32_t)llround((double)g->total[1] / (double)g->total[0]);
    } else if (node->nstats == 1) {
        value = g->class_of[0];
    } else {
        if (!tree_add_shares(tree, nclasses, &number))
            return false;
        uint16_t *shares = tree->shares + number * nclasses;
        memset(shares, 0, nclasses * sizeof *shares);
        for (size_t k = 0; k < node->nstats; k++)
            shares[g->class_of[k]] = (uint16_t)llround(
                (double)g->total[k] * UINT16_MAX / (double)node->weight);
        value = (uint32_t)nclasses + number;
    }
    tree->nodes[task->node] = (struct node){.kind = NODE_LEAF, .link = value};
    if (task->depth > tree->depth)
        tree->depth = task->depth;
    return true;
}

/* ---- splits --------------------------------------------------------------------- */

/* Rows that go left stay in front, in their order; number of them. */
static uint32_t part_rows(struct grower *g, const struct task *task,
                          const struct node *node, const struct category_set *sets)
{
    const uint8_t *bins = g->view.bins + node->feature * g->view.feature_stride;
    size_t stride = g->view.row_stride;
    uint32_t *rows = g->rows + task->begin;
    uint16_t *codes = g->codes + task->begin;
    uint32_t n = task->end - task->begin, left = 0, right = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = rows[i];
        uint16_t code = codes[i];
        bool goes_left = tree_goes_left(node, sets, bins[row * stride]);
        rows[left] = g->spare_rows[right] = row;
        codes[left] = g->spare_codes[right] = code;
        left += goes_left;
        right += !goes_left;
    }
    memcpy(rows + left, g->spare_rows, right * sizeof *rows);
    memcpy(codes + left, g->spare_codes, right * sizeof *codes);
    return left;
}

/* sums: those of all ranks, where rows are sharded. */
static bool push(struct grower *g, const struct task *task, const int64_t *sums)
{
    size_t width = stats_width(g->table);
    if (g->nstack == g->stack_room) {
        size_t room = g->stack_room ? 2 * g->stack_room : 64;
        struct task *stack = realloc(g->stack, room * sizeof *stack);
        if (!stack)
            return false;
        g->stack = stack;
        int64_t *larger =
            g->shard ? realloc(g->sums, room * width * sizeof *larger) : NULL;
        if (g->shard && !larger)
            return false;
        g->sums = larger;
        g->stack_room = room;
    }
    if (sums)
        memcpy(g->sums + g->nstack * width, sums, width * sizeof *sums);
    g->stack[g->nstack++] = *task;
    return true;
}

/* Entries of all ranks that go left; "count" of this one do. Leaves the sums of the
 * left side in left_sums, and in node_sums those of the right one. */
static uint32_t count_left(struct grower *g, const struct task *task, uint32_t count)
{
    if (!is_sharded(g))
        return count;
    if (!stats_over_ranks(g, task->begin, task->begin + count, g->left_sums))
        g->failed = true;
    for (size_t i = 0; i < stats_width(g->table); i++)
        g->node_sums[i] -= g->left_sums[i];
    return (uint32_t)g->left_sums[0];
}

/* The highest bin that goes left: bins between the two that the node has are parted at
 * the middle of their values, for the sake of rows that the tree did not draw. */
static uint8_t threshold_of(const struct table *table, const struct split *split)
{
    if (table->flags[split->feature] & COLUMN_MISSING && split->high == BIN_MISSING)
        return BIN_MISSING - 1; /* all that is there goes left */
    if (!table->values)
        return (uint8_t)((split->low + split->high) / 2);
    const float *value = table->values + table->begin[split->feature];
    double middle = 0.5 * ((double)value[split->low] + (double)value[split->high]);
    uint8_t threshold = split->low;
    while (threshold + 1 < split->high && (double)value[threshold + 1] <= middle)
        threshold++;
    return threshold;
}

static bool make_split(struct grower *g, const struct task *task,
                       const struct split *split, struct tree *tree)
{
    uint32_t child;
    struct node node = {
        .kind = split->kind & 3u,
        .feature = split->feature & (TREE_MAX_FEATURES - 1),
        .threshold = split->kind == NODE_NUMBER ? threshold_of(g->table, split) : 0,
        .missing_left = split->missing_left};
    if (!tree_add_pair(tree, &child))
        return false;
    node.link = child;
    if (split->kind == NODE_CATEGORY) {
        struct category_set set = split->set;
        set.child = child;
        if (!tree_add_set(tree, &set, &node.link))
            return false;
    }
    tree->nodes[task->node] = node;
    uint32_t count = part_rows(g, task, &node, tree->sets);
    uint32_t middle = task->begin + count, all = count_left(g, task, count);
    struct task left = {.begin = task->begin,
                        .end = middle,
                        .all = all,
                        .node = child,
                        .depth = task->depth + 1,
                        .seed =
                            dml_rng_u64(g->params->seed ^ PATH_STREAM, task->seed, 0)};
    struct task right = {.begin = middle,
                         .end = task->end,
                         .all = task->all - all,
                         .node = child + 1,
                         .depth = task->depth + 1,
                         .seed =
                             dml_rng_u64(g->params->seed ^ PATH_STREAM, task->seed, 1)};
    return push(g, &right, is_sharded(g) ? g->node_sums : NULL) &&
           push(g, &left, is_sharded(g) ? g->left_sums : NULL);
}

/* ---- nodes ---------------------------------------------------------------------- */

/* What is known to be constant at the parent, to be added to. */
static uint64_t *inherit_constants(struct grower *g, const struct task *task)
{
    if (task->depth >= CONSTANT_DEPTH || g->constant_words == 0)
        return NULL;
    uint64_t *mine = g->constant + task->depth * g->constant_words;
    if (task->depth == g->constant_base)
        memset(mine, 0, g->constant_words * sizeof *mine);
    else
        memcpy(mine, mine - g->constant_words, g->constant_words * sizeof *mine);
    return mine;
}

/* Decide one node: a leaf, or a split whose sides are put on the stack. */
static bool decide(struct grower *g, const struct task *task, struct tree *tree,
                   int64_t *importance)
{
    view_choose(g, task);
    struct node_rows node = {.row = g->rows + task->begin,
                             .code = g->codes + task->begin,
                             .n = task->end - task->begin,
                             .seed = task->seed};
    bool pure = stats_sum(g, &node);
    size_t deepest = g->params->max_depth;
    if (pure || node.weight < 2 * g->rule.min_leaf ||
        (deepest > 0 && task->depth >= deepest))
        return make_leaf(g, task, &node, tree);
    struct split split;
    node.purity = split_purity(&g->rule, g->total, node.nstats);
    node.constant = inherit_constants(g, task);
    if (g->team) {
        g->shared.nodes++;
        g->shared.classes += node.nstats;
    }
    search_split(g, &node, &split);
    if (split.kind == NODE_LEAF)
        return make_leaf(g, task, &node, tree);
    double gain = split.score - node.purity;
    if (gain > 0 && importance)
        importance[split.feature] += llround(ldexp(gain / g->importance_unit, 32));
    return make_split(g, task, &split, tree);
}

/* Weight of all rows that were drawn; at least 1. */
static double root_weight(const struct grower *g, const struct task *root)
{
    int64_t weight = 0;
    const uint32_t *weights = g->table->weight;
    if (is_sharded(g))
        weight = split_weight(g->rule.criterion, g->node_sums + 1, g->table->nclasses);
    for (uint32_t i = root->begin; !is_sharded(g) && i < root->end; i++)
        weight += (g->codes[i] & ENTRY_WEIGHT_MAX) *
                  (int64_t)(weights ? weights[g->rows[i]] : 1);
    return weight > 1 ? (double)weight : 1;
}

/* Decide all nodes on the stack; large ones only, and put off the others, while a team
 * shares them. */
static bool grow_stack(struct grower *g, struct tree *tree, int64_t *importance)
{
    while (g->nstack > 0) {
        struct task task = g->stack[--g->nstack];
        size_t width = stats_width(g->table);
        if (is_sharded(g))
            memcpy(g->node_sums, g->sums + g->nstack * width, width * sizeof *g->sums);
        bool later = g->team && task.all <= g->team->alone;
        if (later ? !team_put_off(g, &task) : !decide(g, &task, tree, importance))
            return false;
        if (g->failed)
            return false;
    }
    return true;
}

bool grower_grow_part(struct grower *g, const struct task *task, struct tree *tree,
                      int64_t *importance)
{
    g->constant_base = task->depth;
    g->in_block = false;
    return push(g, task, is_sharded(g) ? g->node_sums : NULL) &&
           grow_stack(g, tree, importance);
}

bool grower_grow(struct grower *g, uint64_t number, struct tree *tree,
                 int64_t *importance)
{
    struct task root = {.seed = dml_rng_u64(g->params->seed, number, 0)};
    grower_draw(g, number);
    if (!make_entries_of_tree(g, &root.end))
        return false;
    g->nstack = g->nsubtrees = 0;
    g->failed = false;
    g->team = g->params->team;
    root.all = root.end;
    if (is_sharded(g)) {
        if (!stats_over_ranks(g, 0, root.end, g->node_sums))
            return false;
        root.all = (uint32_t)g->node_sums[0];
    }
    g->importance_unit = g->params->impurity * root_weight(g, &root);
    /* Of the nodes that all ranks decide, one rank counts the importance. */
    int64_t *counted = g->team && g->team->rank > 0 ? NULL : importance;
    if (g->failed || !tree_start(tree) || !grower_grow_part(g, &root, tree, counted))
        return false;
    return !g->team || team_grow_subtrees(g, tree, importance);
}
