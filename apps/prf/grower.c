/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a thread that grows trees: all of it is allocated here, but for what
 * grows with a tree.
 */
#include "grower.h"

#include "histogram.h"
#include "shard.h"
#include "stats.h"

#include <stdlib.h>
#include <string.h>

#define XLOGX_ROOM  65536
#define BATCH_BYTES (1 << 20) /* of histograms that are summed over ranks at once */
#define CONSTANT_BYTES                                            \
    8192 /* of one level's bits; tables wider than that keep none \
          */

static int64_t *make_xlogx(void)
{
    int64_t *table = malloc(XLOGX_ROOM * sizeof *table);
    for (int64_t x = 0; table && x < XLOGX_ROOM; x++)
        table[x] = split_xlogx(x);
    return table;
}

static bool make_entries(struct grower *g)
{
    size_t room = g->entry_room = g->table->nrows + 1;
    g->rows = malloc(room * sizeof *g->rows);
    g->spare_rows = malloc(room * sizeof *g->spare_rows);
    g->codes = malloc(room * sizeof *g->codes);
    g->spare_codes = malloc(room * sizeof *g->spare_codes);
    g->local = malloc(room * sizeof *g->local);
    g->drawn = malloc(room);
    return g->rows && g->spare_rows && g->codes && g->spare_codes && g->local &&
           g->drawn;
}

static bool resize(void *array, size_t bytes)
{
    void **at = array;
    void *larger = realloc(*at, bytes);
    if (larger)
        *at = larger;
    return larger != NULL;
}

bool grower_more_entries(struct grower *g)
{
    size_t room = 2 * g->entry_room;
    if (!resize(&g->rows, room * sizeof *g->rows) ||
        !resize(&g->spare_rows, room * sizeof *g->spare_rows) ||
        !resize(&g->codes, room * sizeof *g->codes) ||
        !resize(&g->spare_codes, room * sizeof *g->spare_codes) ||
        !resize(&g->local, room * sizeof *g->local))
        return false;
    g->entry_room = room;
    return true;
}

/* Where ranks share rows, a sum over ranks is of as many features as fit. */
static size_t batch_of(const struct grow_params *params, size_t nstats)
{
    size_t most = BATCH_BYTES / (BINS * nstats * sizeof(int64_t));
    if (!params->team || !params->team->by_rows)
        return HISTOGRAM_FEATURES;
    most = most < HISTOGRAM_MOST ? most : HISTOGRAM_MOST;
    most = most < params->mtry ? most : params->mtry;
    size_t walks = (most + HISTOGRAM_FEATURES - 1) / HISTOGRAM_FEATURES;
    return (walks > 0 ? walks : 1) * HISTOGRAM_FEATURES;
}

static bool make_sums(struct grower *g)
{
    size_t width = stats_width(g->table);
    g->node_sums = calloc(width, sizeof *g->node_sums);
    g->left_sums = calloc(width, sizeof *g->left_sums);
    return g->node_sums && g->left_sums && shard_make(g);
}

static bool make_statistics(struct grower *g)
{
    size_t nclasses = g->table->nclasses, nstats = nclasses ? nclasses : 2;
    g->total = calloc(nstats, sizeof *g->total);
    g->class_of = calloc(nstats, sizeof *g->class_of);
    g->local_of = calloc(nstats, sizeof *g->local_of);
    g->by_class = calloc(nstats, sizeof *g->by_class);
    g->batch = batch_of(g->params, nstats);
    g->counts = calloc(g->batch * BINS * nstats, sizeof *g->counts);
    bool shares = g->params->team && g->params->team->by_rows;
    if (shares)
        g->batch_stat = calloc(g->batch * BINS * nstats, sizeof *g->batch_stat);
    g->scan_room = calloc(BINS_SIDE * nstats, sizeof *g->scan_room);
    return g->total && g->class_of && g->local_of && g->by_class && g->counts &&
           g->scan_room && (!shares || g->batch_stat) &&
           groups_make(&g->groups, nstats);
}

static bool make_search(struct grower *g)
{
    size_t nfeatures = g->table->nfeatures;
    g->constant_words = (nfeatures + 63) / 64;
    if (g->constant_words * 8 > CONSTANT_BYTES)
        g->constant_words = 0;
    g->constant = calloc(CONSTANT_DEPTH * g->constant_words + 1, sizeof *g->constant);
    g->permutation = malloc((nfeatures + 1) * sizeof *g->permutation);
    g->swaps = malloc((nfeatures + 1) * sizeof *g->swaps);
    for (size_t f = 0; g->permutation && f < nfeatures; f++)
        g->permutation[f] = (uint32_t)f;
    g->entry_stat = calloc(2 * LANES_ROWS, sizeof *g->entry_stat);
    g->number = malloc(LANES_ROWS * sizeof *g->number);
    for (size_t i = 0; g->number && i < LANES_ROWS; i++)
        g->number[i] = (uint16_t)i;
    g->lanes = aligned_alloc(64, sizeof *g->lanes);
    if (g->lanes)
        memset(g->lanes, 0, sizeof *g->lanes);
    bool ratio = g->params->criterion == CRITERION_RATIO;
    if (ratio)
        g->offers = calloc(g->params->mtry, sizeof *g->offers);
    return g->constant && g->permutation && g->swaps && g->lanes && g->entry_stat &&
           g->number && (!ratio || g->offers);
}

static bool make_block(struct grower *g)
{
    g->block = malloc(BLOCK_BYTES);
    size_t room = BLOCK_BYTES / g->table->nfeatures + 1;
    if (g->table->target)
        g->block_target = malloc(room * sizeof *g->block_target);
    if (g->table->weight)
        g->block_weight = malloc(room * sizeof *g->block_weight);
    return g->block && (!g->table->target || g->block_target) &&
           (!g->table->weight || g->block_weight);
}

struct grower *grower_create(const struct table *table,
                             const struct grow_params *params)
{
    struct grower *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->table = table;
    g->params = params;
    bool needs_log =
        params->criterion == CRITERION_ENTROPY || params->criterion == CRITERION_RATIO;
    g->rule = (struct split_rule){.criterion = params->criterion,
                                  .min_leaf = params->min_leaf,
                                  .xlogx = needs_log ? make_xlogx() : NULL,
                                  .xlogx_room = needs_log ? XLOGX_ROOM : 0};
    bool sharded = params->team && params->team->sharded;
    if ((needs_log && !g->rule.xlogx) || !make_entries(g) || !make_statistics(g) ||
        !make_search(g) || !make_block(g) || (sharded && !make_sums(g))) {
        grower_destroy(g);
        return NULL;
    }
    return g;
}

void grower_destroy(struct grower *g)
{
    if (!g)
        return;
    free((void *)g->rule.xlogx);
    groups_free(&g->groups);
    shard_free(g->shard);
    void *const owned[] = {
        g->rows,     g->spare_rows,  g->codes,        g->spare_codes,  g->drawn,
        g->stack,    g->block,       g->block_target, g->block_weight, g->total,
        g->class_of, g->local_of,    g->by_class,     g->local,        g->constant,
        g->swaps,    g->permutation, g->lanes,        g->counts,       g->scan_room,
        g->sums,     g->node_sums,   g->left_sums,    g->batch_stat,   g->offers,
        g->subtrees, g->entry_stat,  g->number,
    };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    free(g);
}

struct grow_shared grower_shared(const struct grower *g)
{
    return g->shared;
}

const uint8_t *grower_drawn(const struct grower *g)
{
    return g->drawn;
}
