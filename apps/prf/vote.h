/* SPDX-License-Identifier: BSD-3-Clause */
/* Votes of trees on rows, and what they amount to; see vote.c. */
#ifndef PRF_VOTE_H
#define PRF_VOTE_H

#include "dataset.h"
#include "exact.h"
#include "tree.h"

#define VOTE_ONE 65535 /* weight of a tree that is always right */

/* A tree's votes on n rows, which fell into leaves[0 .. n-1]. row: their numbers in
 * votes, NULL: 0 .. n-1. Any thread, any rank of the group. */
void vote_cast(struct votes *votes, const struct tree *tree, size_t nclasses,
               uint32_t weight, const uint32_t *row, const uint32_t *leaves, size_t n);

/* Class that a leaf stands for: the lowest of the largest shares. */
size_t vote_class_of_leaf(const struct tree *tree, size_t nclasses, uint32_t leaf);

/* Target that a leaf stands for. */
static inline int32_t vote_target_of_leaf(const struct tree *tree, uint32_t leaf)
{
    return (int32_t)tree->nodes[leaf].link;
}

/* The class with most votes; the lowest of several. sum is of one row. */
size_t vote_winner(const _Atomic int64_t *sum, size_t nclasses);

/* Votes of all groups, added up on their leaders. Collective over leaders. */
dml_status vote_gather(struct group *group, struct votes *votes, size_t nclasses);

/* A tree's weight, from how it did out of bag; "usual" where it had no row there. */
uint32_t vote_weight(const struct tree *tree, size_t nclasses, double target_variance,
                     uint32_t usual);

/* Whole numbers that say how good votes on some rows are; those of other rows are
 * added. Rows without a vote don't count. */
enum {
    VOTE_ROWS,
    VOTE_RIGHT,                               /* classification: rows voted right */
    VOTE_Y,                                   /* sum of targets */
    VOTE_SQUARES = VOTE_Y + EXACT_LIMBS,      /* of their squares */
    VOTE_ERRORS = VOTE_SQUARES + EXACT_LIMBS, /* of squares of their errors */
    VOTE_SUMS = VOTE_ERRORS + EXACT_LIMBS
};

/* weighted: the weighted votes, whose trees have weight_sum together. */
void vote_sum(const struct votes *votes, bool weighted, double weight_sum,
              const struct vote_truth *truth, int64_t sums[VOTE_SUMS]);

/* Classification: the part of rows voted right; regression: R2. */
struct vote_score {
    size_t rows;
    double value;
};
struct vote_score vote_score(const int64_t sums[VOTE_SUMS], bool classes);

#endif
