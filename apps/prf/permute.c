/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Importance by permutation (Breiman 2001): a feature matters as much as a tree's
 * out-of-bag error grows when the feature's cells are exchanged between rows.
 */
#include "permute.h"

#include "dml/rng.h"

#include "vote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STREAM 0x7065726du /* keeps these random numbers apart from others */

bool permute_make(struct permute *permute, const struct table *train, apply_fn *apply)
{
    size_t n = train->nrows;
    *permute = (struct permute){.apply = apply, .room = n};
    permute->bins = malloc(n * train->nfeatures);
    permute->used = malloc(train->nfeatures);
    permute->order = malloc(n * sizeof *permute->order);
    permute->identity = malloc(n * sizeof *permute->identity);
    permute->leaves = malloc(n * sizeof *permute->leaves);
    for (size_t i = 0; permute->identity && i < n; i++)
        permute->identity[i] = (uint32_t)i;
    return permute->bins && permute->used && permute->order && permute->identity &&
           permute->leaves;
}

void permute_free(struct permute *permute)
{
    free(permute->bins);
    free(permute->used);
    free(permute->order);
    free(permute->identity);
    free(permute->leaves);
}

/* Accuracy, or minus the mean squared error in units of the variance. */
static double judge(const struct permute *permute, const struct table *train,
                    const struct tree *tree, const uint32_t *rows, size_t n,
                    double variance)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t leaf = permute->leaves[i];
        if (train->label) {
            sum += vote_class_of_leaf(tree, train->nclasses, leaf) ==
                   train->label[rows[i]];
            continue;
        }
        double error =
            (double)vote_target_of_leaf(tree, leaf) - (double)train->target[rows[i]];
        sum -= error * error / variance;
    }
    return sum / (double)n;
}

void permute_tree(struct permute *permute, const struct table *train,
                  const struct tree *tree, uint64_t seed, uint64_t number,
                  const uint32_t *rows, size_t n, double variance, int64_t *importance)
{
    size_t width = train->nfeatures;
    if (n == 0)
        return;
    double before = train->label ? (double)tree->oob_right / (double)n
                                 : -tree->oob_error / variance;
    memset(permute->used, 0, width);
    for (size_t i = 0; i < tree->nnodes; i++)
        if (tree->nodes[i].kind != NODE_LEAF)
            permute->used[tree->nodes[i].feature] = 1;
    for (size_t i = 0; i < n; i++)
        memcpy(permute->bins + i * width, train->by_row + rows[i] * width, width);
    for (size_t f = 0; f < width; f++) {
        if (!permute->used[f])
            continue;
        dml_rng_permutation(seed ^ STREAM, number * width + f, (uint32_t)n,
                            permute->order);
        for (size_t i = 0; i < n; i++)
            permute->bins[i * width + f] =
                train->by_row[rows[permute->order[i]] * width + f];
        permute->apply(tree, permute->bins, width, permute->identity, n,
                       permute->leaves);
        double drop = before - judge(permute, train, tree, rows, n, variance);
        importance[f] += llround(ldexp(drop, 32));
        for (size_t i = 0; i < n; i++)
            permute->bins[i * width + f] = train->by_row[rows[i] * width + f];
    }
}
