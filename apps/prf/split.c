/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scores, and the scan of one feature's bins in any criterion, with missing values and
 * categories; see split.h.
 *
 * Missing values are tried on both sides. Categories are ordered by their mean target
 * (several classes: by the share of the node's commonest class) and cut as numbers are:
 * the best subset for two classes and for squares (Fisher 1958; Breiman et al. 1984,
 * theorem 4.5), a good one else.
 *
 * Gain ratio: Quinlan, C4.5, 1993.
 */
#include "split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define XLOGX_BITS 20

bool groups_make(struct groups *groups, size_t nstats)
{
    *groups = (struct groups){.nstats = nstats};
    groups->stat = calloc(BINS * nstats, sizeof *groups->stat);
    groups->left = calloc(2 * nstats, sizeof *groups->left);
    groups->order = calloc(BINS, sizeof *groups->order);
    groups->ordered = calloc(BINS, sizeof *groups->ordered);
    return groups->stat && groups->left && groups->order && groups->ordered;
}

void groups_free(struct groups *groups)
{
    free(groups->stat);
    free(groups->left);
    free(groups->order);
    free(groups->ordered);
    *groups = (struct groups){0};
}

int64_t split_xlogx(int64_t x)
{
    return x < 2 ? 0 : llround(ldexp((double)x * log2((double)x), XLOGX_BITS));
}

static int64_t xlogx(const struct split_rule *rule, int64_t x)
{
    return (uint64_t)x < rule->xlogx_room ? rule->xlogx[x] : split_xlogx(x);
}

int64_t split_weight(enum criterion criterion, const int64_t *stat, size_t nstats)
{
    if (criterion == CRITERION_SQUARES)
        return stat[0];
    int64_t weight = 0;
    for (size_t c = 0; c < nstats; c++)
        weight += stat[c];
    return weight;
}

double split_purity(const struct split_rule *rule, const int64_t *stat, size_t nstats)
{
    int64_t weight = split_weight(rule->criterion, stat, nstats);
    if (rule->criterion == CRITERION_SQUARES)
        return (double)stat[1] * (double)stat[1] / (double)weight;
    if (rule->criterion == CRITERION_GINI) {
        double squares = 0;
        for (size_t c = 0; c < nstats; c++)
            squares += (double)stat[c] * (double)stat[c];
        return squares / (double)weight;
    }
    int64_t sum = -xlogx(rule, weight);
    for (size_t c = 0; c < nstats; c++)
        sum += xlogx(rule, stat[c]);
    return (double)sum;
}

/* What a scan knows while it goes on. */
struct scan {
    const struct split_rule *rule;
    const int64_t *total;
    size_t nstats;
    int64_t *left, *right;
    struct split *best;
    double whole; /* purity of the node; of the ratio */
};

/* Judge the cut with scan->left on its left side. True when it is the best so far. */
static bool judge(struct scan *scan)
{
    enum criterion criterion = scan->rule->criterion;
    for (size_t c = 0; c < scan->nstats; c++)
        scan->right[c] = scan->total[c] - scan->left[c];
    int64_t left = split_weight(criterion, scan->left, scan->nstats);
    int64_t right = split_weight(criterion, scan->right, scan->nstats);
    if (left < scan->rule->min_leaf || right < scan->rule->min_leaf)
        return false;
    double score = split_purity(scan->rule, scan->left, scan->nstats) +
                   split_purity(scan->rule, scan->right, scan->nstats);
    if (scan->best->kind != NODE_LEAF && !(score > scan->best->score))
        return false;
    scan->best->score = score;
    if (criterion == CRITERION_RATIO) {
        int64_t information = xlogx(scan->rule, left + right) -
                              xlogx(scan->rule, left) - xlogx(scan->rule, right);
        scan->best->ratio = (score - scan->whole) / (double)information;
    }
    return true;
}

static void add(int64_t *sum, const int64_t *stat, size_t nstats)
{
    for (size_t c = 0; c < nstats; c++)
        sum[c] += stat[c];
}

/* Cuts between the first "count" groups, in the order of bins; "missing" is added to
 * the left side from the start, or NULL. */
static void scan_numbers(struct scan *scan, const struct groups *groups, size_t count,
                         const int64_t *missing)
{
    memset(scan->left, 0, scan->nstats * sizeof *scan->left);
    if (missing)
        add(scan->left, missing, scan->nstats);
    for (size_t g = 0; g + 1 < count; g++) {
        add(scan->left, groups->stat + g * scan->nstats, scan->nstats);
        if (!judge(scan))
            continue;
        scan->best->kind = NODE_NUMBER;
        scan->best->low = groups->bin[g];
        scan->best->high = groups->bin[g + 1];
        scan->best->missing_left = missing != NULL;
    }
}

static void scan_with_missing(struct scan *scan, const struct groups *groups)
{
    size_t last = groups->n - 1;
    const int64_t *missing = groups->stat + last * scan->nstats;
    if (groups->bin[last] != BIN_MISSING) {
        scan_numbers(scan, groups, groups->n, NULL);
        return;
    }
    /* To the right, with the cut "all that is there against missing" as the last. */
    scan_numbers(scan, groups, groups->n, NULL);
    scan_numbers(scan, groups, last, missing);
}

/* Order the groups by mean target; ties by bin. */
static void order_groups(struct scan *scan, struct groups *groups)
{
    size_t top = 0;
    bool squares = scan->rule->criterion == CRITERION_SQUARES;
    for (size_t c = 1; !squares && c < scan->nstats; c++)
        if (scan->total[c] > scan->total[top])
            top = c;
    for (size_t g = 0; g < groups->n; g++) {
        const int64_t *stat = groups->stat + g * scan->nstats;
        double weight = (double)split_weight(scan->rule->criterion, stat, scan->nstats);
        double mean = (double)stat[squares ? 1 : top] / weight;
        size_t at = g;
        for (; at > 0 && groups->order[at - 1] > mean; at--) {
            groups->order[at] = groups->order[at - 1];
            groups->ordered[at] = groups->ordered[at - 1];
        }
        groups->order[at] = mean;
        groups->ordered[at] = (uint8_t)g;
    }
}

static void scan_categories(struct scan *scan, struct groups *groups)
{
    struct category_set set = {.child = 0};
    order_groups(scan, groups);
    memset(scan->left, 0, scan->nstats * sizeof *scan->left);
    for (size_t i = 0; i + 1 < groups->n; i++) {
        size_t g = groups->ordered[i];
        uint8_t bin = groups->bin[g];
        add(scan->left, groups->stat + g * scan->nstats, scan->nstats);
        set.left[bin / 64] |= (uint64_t)1 << (bin % 64);
        if (!judge(scan))
            continue;
        scan->best->kind = NODE_CATEGORY;
        scan->best->set = set;
    }
}

bool split_of_groups(const struct split_rule *rule, struct groups *groups,
                     const int64_t *total, uint8_t flags, struct split *split)
{
    struct scan scan = {
        .rule = rule,
        .total = total,
        .nstats = groups->nstats,
        .left = groups->left,
        .right = groups->left + groups->nstats,
        .best = split,
    };
    split->kind = NODE_LEAF;
    split->ratio = 0;
    split->missing_left = false;
    if (groups->n < 2)
        return false;
    if (rule->criterion == CRITERION_RATIO)
        scan.whole = split_purity(rule, total, groups->nstats);
    if (flags & COLUMN_CATEGORY)
        scan_categories(&scan, groups);
    else if (flags & COLUMN_MISSING)
        scan_with_missing(&scan, groups);
    else
        scan_numbers(&scan, groups, groups->n, NULL);
    return split->kind != NODE_LEAF;
}
