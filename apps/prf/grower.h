/* SPDX-License-Identifier: BSD-3-Clause */
/* What grow.c and search.c know of a tree that is being grown. */
#ifndef PRF_GROWER_H
#define PRF_GROWER_H

#include "grow.h"

/* A row in a node: its class and how often it was drawn. A row that was drawn more
 * often stands in several entries. */
#define ENTRY_WEIGHT_BITS 3
#define ENTRY_WEIGHT_MAX  7

#define BLOCK_BYTES    (1536 * 1024) /* found by measuring; above the size of L2 */
#define CONSTANT_DEPTH 64            /* levels for which constants are kept */

/* Where the bins of rows are: element (row, feature) is at
 * bins[row * row_stride + feature * feature_stride]. */
struct view {
    const uint8_t *bins;
    size_t row_stride, feature_stride;
    const int32_t *target;  /* by the same row numbers; NULL for classification */
    const uint32_t *weight; /* NULL: all 1 */
};

/* A node that waits to be decided. */
struct task {
    uint32_t begin, end; /* its entries */
    uint32_t all;        /* their number, with those of other ranks */
    uint32_t node;
    uint32_t depth;
    uint64_t seed; /* of its random numbers: a function of the path from the root */
};

/* The node that is being decided. */
struct node_rows {
    const uint32_t *row;  /* [n] */
    const uint16_t *code; /* [n] class << ENTRY_WEIGHT_BITS | times drawn */
    size_t n;
    uint64_t seed;
    size_t nstats;      /* C: classes that occur, or 2 */
    int64_t weight;     /* sum */
    double purity;      /* before the split */
    uint64_t *constant; /* bit per feature: known to be constant here; NULL: not kept */
};

struct grower {
    const struct table *table;
    const struct grow_params *params;
    struct split_rule rule;

    struct view view;
    uint32_t *rows, *spare_rows;   /* entries of the tree, [entry_room] */
    uint16_t *codes, *spare_codes; /* likewise */
    size_t entry_room;
    uint8_t *drawn; /* [N] */

    struct task *stack;
    size_t nstack, stack_room;

    /* A subtree's rows, copied so that they fit the cache; see view.c. */
    uint8_t *block;
    int32_t *block_target;
    uint32_t *block_weight;
    size_t block_floor; /* tasks below this height of the stack don't use the block */
    bool in_block;
    const struct grow_team *team; /* while large nodes are shared; else NULL */
    struct task *subtrees;        /* [nsubtrees] put off until the top is grown */
    size_t nsubtrees, subtree_room;
    struct grow_shared shared;
    /* Where rows are sharded, see stats.c and shard.c. */
    int64_t *sums;                  /* [stack_room][width] of the tasks on the stack */
    int64_t *node_sums, *left_sums; /* [width] of the node that is decided */
    struct shard *shard;
    size_t constant_base; /* depth at which nothing is known to be constant */
    bool failed;

    /* Statistics of the node: classes that occur, numbered anew. */
    int64_t *total;     /* [C] */
    uint16_t *class_of; /* [C] the table's number of a class */
    uint16_t *local_of; /* [K] its number in the node */
    int64_t *by_class;  /* [K] zero between nodes */
    uint16_t *local;    /* [entry_room] codes with the node's numbers */
    uint16_t *number;   /* [LANES_ROWS] 0, 1, ... */
    uint64_t *constant; /* [levels][words] see search.c */
    size_t constant_words, constant_levels;

    uint32_t *permutation; /* [F] identity between nodes */
    uint32_t *swaps;       /* [F] */
    struct lanes *lanes;
    int64_t *entry_stat; /* [rows of a small node][2] weight and weight * y */
    size_t batch;        /* features whose histograms are made at once */
    uint32_t *counts;    /* [batch][C][BINS] see bins.h */
    int64_t *batch_stat; /* [batch][BINS][C] where ranks share rows */
    uint32_t *scan_room; /* [C][BINS_SIDE] */
    struct groups groups;
    double importance_unit; /* impurity that counts as 1 */
    struct split *offers;   /* [mtry] CRITERION_RATIO only */
    size_t noffers;
};

/* Twice as many entries; false when memory is short. */
bool grower_more_entries(struct grower *grower);

/* The best split of a node among mtry usable features; kind NODE_LEAF: there is none.
 */
void search_split(struct grower *grower, struct node_rows *node, struct split *best);

#endif
