/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The search for a node's split: features are drawn without replacement until mtry of
 * them are usable, which is: not constant in the node. (A forest that stops after mtry
 * draws makes leaves too early where most columns are mostly constant.)
 *
 * Nodes of up to LANES_ROWS entries (NUMBERED_ROWS where the vectors don't scan) are
 * sorted feature by feature in the lanes of vectors; larger ones are summed up in
 * histograms. Which way a (node, feature) is judged, and so its rounding, depends on
 * the node and the column alone; where rows are sharded all ranks decide large nodes
 * only, which are summed up in histograms in any case.
 *
 * A feature that is constant in a node is so below it: the bits of those found so far
 * are handed down to save their test. It changes nothing in what is found.
 */
#include "draw.h"
#include "histogram.h"

#include <stdlib.h>
#include <string.h>

static void mark_constant(struct node_rows *node, uint32_t feature)
{
    if (node->constant)
        node->constant[feature / 64] |= (uint64_t)1 << (feature % 64);
}

/* ---- offers --------------------------------------------------------------------- */

static void offer(struct grower *g, struct split *best, const struct split *split)
{
    if (g->rule.criterion == CRITERION_RATIO)
        g->offers[g->noffers++] = *split;
    else if (best->kind == NODE_LEAF || split_better(split, best))
        *best = *split;
}

/* C4.5: the best ratio among features whose gain is at least the mean, because the
 * ratio alone favours splits that cut off next to nothing. */
static void choose_by_ratio(struct grower *g, const struct node_rows *node,
                            struct split *best)
{
    double sum = 0;
    for (size_t i = 0; i < g->noffers; i++)
        sum += g->offers[i].score - node->purity;
    /* In the order of features, so that it does not depend on that of drawing. */
    double mean = g->noffers ? sum / (double)g->noffers : 0;
    for (size_t i = 0; i < g->noffers; i++) {
        const struct split *split = &g->offers[i];
        if (split->score - node->purity < mean)
            continue;
        if (best->kind == NODE_LEAF || split->ratio > best->ratio ||
            (split->ratio >= best->ratio && split->feature < best->feature))
            *best = *split;
    }
}

/* ---- small nodes ---------------------------------------------------------------- */

#define TOGETHER      64  /* features of a batch that ranks share out */
#define NUMBERED_ROWS 256 /* their numbers fit a key's lower byte */

/* One pass: up to LANES features of a node. */
struct pass {
    uint32_t feature[LANES];
    size_t room, filled;  /* lanes that shall be, and are, used */
    bool coded;           /* keys hold class and weight; else the entry's number */
    const uint16_t *code; /* [n] the one or the other */
};

/* Bins of some lanes' features. */
static void gather(struct grower *g, const struct node_rows *node,
                   const struct pass *pass, const uint8_t *lane, size_t nlanes)
{
    const struct view *view = &g->view;
    size_t offset[LANES];
    for (size_t j = 0; j < nlanes; j++)
        offset[j] = pass->feature[lane[j]] * view->feature_stride;
    for (size_t i = 0; i < node->n; i++) {
        const uint8_t *bins = view->bins + node->row[i] * view->row_stride;
        uint16_t *key = g->lanes->key[i];
        for (size_t j = 0; j < nlanes; j++)
            key[lane[j]] = (uint16_t)(bins[offset[j]] << 8 | pass->code[i]);
    }
}

/* Bins of the first "count" lanes' features, and of any in the other lanes. */
static void gather_all(struct grower *g, const struct node_rows *node,
                       const struct pass *pass, size_t count)
{
    struct lanes_rows rows = {.bins = g->view.bins,
                              .row = node->row,
                              .n = node->n,
                              .stride = g->view.row_stride,
                              .code = pass->code};
    for (size_t l = 0; l < LANES; l++)
        rows.offset[l] = pass->feature[l < count ? l : 0] * g->view.feature_stride;
    g->params->lanes->gather(g->lanes, &rows);
}

/* Fill lanes with features that are not constant. Lanes left over hold a constant. */
static void fill_pass(struct grower *g, struct node_rows *node, struct draw *draw,
                      struct pass *pass)
{
    uint8_t lane[LANES];
    uint16_t differs[LANES];
    size_t nfree = pass->room;
    for (size_t j = 0; j < nfree; j++)
        lane[j] = (uint8_t)j;
    pass->filled = 0;
    while (nfree > 0) {
        size_t count = 0, still = 0;
        while (count < nfree &&
               draw_feature(g, node, draw, &pass->feature[lane[count]]))
            count++;
        if (count == 0)
            break;
        if (count == pass->room && count > LANES / 4)
            gather_all(g, node, pass, count);
        else
            gather(g, node, pass, lane, count);
        g->params->lanes->compare(g->lanes, node->n, differs);
        for (size_t j = 0; j < nfree; j++) {
            if (j < count && differs[lane[j]])
                continue;
            if (j < count)
                mark_constant(node, pass->feature[lane[j]]);
            lane[still++] = lane[j];
        }
        pass->filled += nfree - still;
        nfree = still;
    }
    for (size_t j = 0; j < nfree; j++)
        for (size_t i = 0; i < node->n; i++)
            g->lanes->key[i][lane[j]] = 0;
}

/* Groups of one lane's sorted keys. */
static void groups_of_lane(struct grower *g, const struct node_rows *node,
                           const struct pass *pass, size_t l)
{
    struct groups *groups = &g->groups;
    groups->n = 0;
    groups->nstats = node->nstats;
    int64_t *stat = groups->stat;
    for (size_t i = 0; i < node->n; i++) {
        uint16_t key = g->lanes->key[i][l];
        uint8_t bin = (uint8_t)(key >> 8);
        if (groups->n == 0 || bin != groups->bin[groups->n - 1]) {
            stat = groups->stat + groups->n * node->nstats;
            memset(stat, 0, node->nstats * sizeof *stat);
            groups->bin[groups->n++] = bin;
        }
        size_t entry = key & 255;
        uint16_t code = pass->coded ? key & 255 : g->local[entry];
        histogram_add(g, stat, pass->coded ? 0 : node->row[entry], code);
    }
}

/* Squares of a column of numbers, the common case of regression, straight from sorted
 * keys. */
static void judge_squares(struct grower *g, const struct node_rows *node, size_t l,
                          struct split *split)
{
    const struct lanes *lanes = g->lanes;
    int64_t weight = 0, sum = 0, min_leaf = g->rule.min_leaf;
    double best = -1;
    for (size_t i = 0; i + 1 < node->n; i++) {
        uint16_t key = lanes->key[i][l], next = lanes->key[i + 1][l];
        weight += g->entry_stat[2 * (key & 255)];
        sum += g->entry_stat[2 * (key & 255) + 1];
        if (key >> 8 == next >> 8)
            continue;
        int64_t others = node->weight - weight;
        double left = (double)sum, right = (double)(g->total[1] - sum);
        double score = left * left / (double)weight + right * right / (double)others;
        if (weight >= min_leaf && others >= min_leaf && score > best) {
            best = score;
            split->low = (uint8_t)(key >> 8);
            split->high = (uint8_t)(next >> 8);
        }
    }
    split->score = best;
    split->kind = best >= 0 ? NODE_NUMBER : NODE_LEAF;
}

static void judge_lane(struct grower *g, const struct node_rows *node,
                       const struct pass *pass, size_t l, struct split *best)
{
    struct split split = {.feature = pass->feature[l]};
    uint8_t flags = g->table->flags[split.feature];
    if (pass->coded && flags == 0 && g->rule.criterion == CRITERION_GINI) {
        const struct lanes *lanes = g->lanes;
        if (lanes->score[l] < 0)
            return;
        split.kind = NODE_NUMBER;
        split.score = lanes->score[l];
        split.low = (uint8_t)lanes->low[l];
        split.high = (uint8_t)lanes->high[l];
        offer(g, best, &split);
        return;
    }
    if (flags == 0 && g->rule.criterion == CRITERION_SQUARES) {
        judge_squares(g, node, l, &split);
        if (split.kind != NODE_LEAF)
            offer(g, best, &split);
        return;
    }
    groups_of_lane(g, node, pass, l);
    if (split_of_groups(&g->rule, &g->groups, g->total, flags, &split))
        offer(g, best, &split);
}

/* Do class and weight of every entry fit a key's lower byte, and sums their types? */
static bool keys_hold_codes(const struct grower *g, const struct node_rows *node)
{
    return g->table->label && !g->table->weight && node->nstats <= LANES_CLASSES &&
           node->weight <= LANES_WEIGHT;
}

static void search_small(struct grower *g, struct node_rows *node, struct draw *draw,
                         struct split *best)
{
    struct lanes *lanes = g->lanes;
    bool coded = keys_hold_codes(g, node);
    struct pass pass = {.coded = coded, .code = coded ? g->local : g->number};
    bool scans = pass.coded && g->rule.criterion == CRITERION_GINI;
    if (scans) {
        int32_t squares = 0;
        for (size_t c = 0; c < node->nstats; c++) {
            squares += (int32_t)(g->total[c] * g->total[c]);
            for (int l = 0; l < LANES; l++)
                lanes->total[c][l] = (uint16_t)g->total[c];
        }
        for (int l = 0; l < LANES; l++) {
            lanes->weight[l] = (uint16_t)node->weight;
            lanes->squares[l] = squares;
        }
    }
    for (size_t i = 0; g->table->target && i < node->n; i++) {
        int64_t *stat = g->entry_stat + 2 * i;
        stat[0] = stat[1] = 0;
        histogram_add(g, stat, node->row[i], g->local[i]);
    }
    for (size_t seen = 0; seen < g->params->mtry; seen += pass.filled) {
        pass.room = g->params->mtry - seen < LANES ? g->params->mtry - seen : LANES;
        fill_pass(g, node, draw, &pass);
        if (pass.filled == 0)
            return;
        g->params->lanes->sort(lanes, node->n);
        if (scans)
            g->params->lanes->scan(lanes, node->n, node->nstats,
                                   (uint16_t)(g->rule.min_leaf < UINT16_MAX
                                                  ? g->rule.min_leaf
                                                  : UINT16_MAX));
        for (size_t l = 0; l < pass.room; l++)
            if (lanes->key[0][l] >> 8 != lanes->key[node->n - 1][l] >> 8)
                judge_lane(g, node, &pass, l, best);
    }
}

/* ---- large nodes ---------------------------------------------------------------- */

/* What one rank says of a feature. */
struct verdict {
    struct split split;
    enum histogram_result result;
};

/* Features of one batch, judged by the ranks in turn: verdict j is in the piece of rank
 * j % P, at j / P. Returns the ordered verdicts in "all". */
static void judge_together(struct grower *g, const struct node_rows *node,
                           const uint32_t *feature, size_t n, struct verdict *all)
{
    const struct grow_team *team = g->team;
    size_t nranks = (size_t)team->nranks, each = (n + nranks - 1) / nranks, mine = 0;
    struct verdict *pieces = calloc(nranks * each, sizeof *pieces);
    struct split split[HISTOGRAM_FEATURES];
    enum histogram_result result[HISTOGRAM_FEATURES];
    if (!pieces) {
        g->failed = true;
        return;
    }
    struct verdict *own = pieces + (size_t)team->rank * each;
    for (size_t j = (size_t)team->rank; j < n;) {
        size_t count = 0;
        memset(split, 0, sizeof split);
        for (; count < HISTOGRAM_FEATURES && j < n; j += nranks)
            split[count++].feature = feature[j];
        histogram_splits(g, node, split, count, result);
        for (size_t k = 0; k < count; k++)
            own[mine++] = (struct verdict){split[k], result[k]};
    }
    if (!team->exchange(team->user, pieces, each * sizeof *pieces))
        g->failed = true;
    for (size_t j = 0; j < n; j++)
        all[j] = pieces[j % nranks * each + j / nranks];
    free(pieces);
}

/* As search_large(), with the features of a batch shared out. */
static void search_together(struct grower *g, struct node_rows *node, struct draw *draw,
                            struct split *best)
{
    uint32_t feature[TOGETHER];
    struct verdict verdict[TOGETHER];
    for (size_t seen = 0; !g->failed && seen < g->params->mtry;) {
        size_t wanted = g->params->mtry - seen, n = 0;
        if (wanted > TOGETHER)
            wanted = TOGETHER;
        while (n < wanted && draw_feature(g, node, draw, &feature[n]))
            n++;
        if (n == 0)
            return;
        judge_together(g, node, feature, n, verdict);
        for (size_t j = 0; !g->failed && j < n; j++) {
            seen += verdict[j].result != HISTOGRAM_CONSTANT;
            if (verdict[j].result == HISTOGRAM_CONSTANT)
                mark_constant(node, feature[j]);
            else if (verdict[j].result == HISTOGRAM_SPLIT)
                offer(g, best, &verdict[j].split);
        }
    }
}

static void search_large(struct grower *g, struct node_rows *node, struct draw *draw,
                         struct split *best)
{
    struct split split[HISTOGRAM_MOST];
    enum histogram_result result[HISTOGRAM_MOST];
    size_t batch = g->team ? g->batch : HISTOGRAM_FEATURES;
    for (size_t seen = 0; seen < g->params->mtry;) {
        size_t wanted = g->params->mtry - seen, n = 0;
        if (wanted > batch)
            wanted = batch;
        memset(split, 0, wanted * sizeof *split);
        while (n < wanted && draw_feature(g, node, draw, &split[n].feature))
            n++;
        if (n == 0)
            return;
        histogram_splits(g, node, split, n, result);
        for (size_t j = 0; j < n; j++) {
            seen += result[j] != HISTOGRAM_CONSTANT;
            if (result[j] == HISTOGRAM_CONSTANT)
                mark_constant(node, split[j].feature);
            else if (result[j] == HISTOGRAM_SPLIT)
                offer(g, best, &split[j]);
        }
    }
}

void search_split(struct grower *g, struct node_rows *node, struct split *best)
{
    struct draw draw = {.state = node->seed};
    best->kind = NODE_LEAF;
    g->noffers = 0;
    bool scans = g->rule.criterion == CRITERION_GINI && keys_hold_codes(g, node);
    bool sharded = g->team && g->team->sharded;
    if (!sharded && node->n <= (scans ? LANES_ROWS : NUMBERED_ROWS))
        search_small(g, node, &draw, best);
    else if (g->team && !g->team->by_rows)
        search_together(g, node, &draw, best);
    else
        search_large(g, node, &draw, best);
    undo_draws(g, &draw);
    if (g->rule.criterion == CRITERION_RATIO)
        choose_by_ratio(g, node, best);
}
