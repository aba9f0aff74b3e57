/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How good a split is, and the best one of a feature whose rows are summed up by bin.
 *
 * Everything that is summed is a whole number, so sums do not depend on the order of
 * rows, nor on who adds them; scores are made from the sums in one fixed way. That is
 * why forests are equal for any number of ranks, threads and either partition.
 */
#ifndef PRF_SPLIT_H
#define PRF_SPLIT_H

#include "tree.h"

enum criterion {
    CRITERION_GINI,
    CRITERION_ENTROPY,
    CRITERION_RATIO,
    CRITERION_SQUARES
};

/* A split of one node. Better is: a larger score; then the lower feature. */
struct split {
    double score; /* purity after the split, see split_purity() */
    double ratio; /* CRITERION_RATIO: gain / information of the split */
    uint32_t feature;
    uint8_t kind;      /* enum node_kind; NODE_LEAF: none */
    uint8_t low, high; /* NODE_NUMBER: neighbouring bins of the node; low goes left */
    bool missing_left;
    struct category_set set;
};

/* Sums of the rows of a node by bin; only bins that occur, ascending. C statistics: of
 * classification the weight of each class, of regression weight and weight * y. */
struct groups {
    size_t n, nstats;
    uint8_t bin[BINS];
    int64_t *stat;    /* [BINS][C] */
    int64_t *left;    /* [2][C] room for the scan */
    double *order;    /* [BINS] likewise */
    uint8_t *ordered; /* [BINS] likewise */
};

struct split_rule {
    enum criterion criterion;
    int64_t min_leaf;     /* least weight of a side */
    const int64_t *xlogx; /* [xlogx_room] see split_xlogx() */
    size_t xlogx_room;
};

bool groups_make(struct groups *groups, size_t nstats);
void groups_free(struct groups *groups);

/* x * log2(x) in units of 2^-20, so that sums of it are exact. */
int64_t split_xlogx(int64_t x);

/* Sum of the weights in C statistics. */
int64_t split_weight(enum criterion criterion, const int64_t *stat, size_t nstats);

/* How pure rows with these statistics are, times their weight; the score of a split is
 * its sides' sum. Gini: sum of squares / weight. Entropy: -weight * entropy in 2^-20
 * bits. Squares: (sum of y)^2 / weight. */
double split_purity(const struct split_rule *rule, const int64_t *stat, size_t nstats);

/* The best split of a feature. "flags" are those of the column, total [C] is of the
 * node. False when there is none. */
bool split_of_groups(const struct split_rule *rule, struct groups *groups,
                     const int64_t *total, uint8_t flags, struct split *split);

/* Does a come before b? */
static inline bool split_better(const struct split *a, const struct split *b)
{
    return a->score > b->score || (a->score >= b->score && a->feature < b->feature);
}

#endif
