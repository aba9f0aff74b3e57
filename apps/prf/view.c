/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the bins of a node's rows are read: large nodes column by column, in the table.
 * As soon as the rows fit the cache they are copied beside each other, once, and the
 * whole subtree is grown from the copy.
 */
#include "view.h"

#include "lanes.h"

#include <string.h>

#define BLOCK_ROWS 16 /* fewer are not worth the copy */
#define COPY_AHEAD 6  /* rows that are fetched before they are copied */

static void view_table(struct grower *g, bool by_row)
{
    const struct table *table = g->table;
    g->view = (struct view){
        .bins = by_row ? table->by_row : table->by_column,
        .row_stride = by_row ? table->nfeatures : 1,
        .feature_stride = by_row ? 1 : table->nrows,
        .target = table->target,
        .weight = table->weight,
    };
}

/* The processor does not foresee the next row. */
static void fetch(const uint8_t *row, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(row + at);
}

/* Copy the rows of a task, which get numbers of their own for the whole subtree. */
static void enter_block(struct grower *g, const struct task *task)
{
    const struct table *table = g->table;
    size_t nfeatures = table->nfeatures;
    for (uint32_t i = task->begin; i < task->end; i++) {
        uint32_t row = g->rows[i], to = i - task->begin;
        if (i + COPY_AHEAD < task->end)
            fetch(table->by_row + g->rows[i + COPY_AHEAD] * nfeatures, nfeatures);
        memcpy(g->block + to * nfeatures, table->by_row + row * nfeatures, nfeatures);
        if (table->target)
            g->block_target[to] = table->target[row];
        if (table->weight)
            g->block_weight[to] = table->weight[row];
        g->rows[i] = to;
    }
    g->view = (struct view){.bins = g->block,
                            .row_stride = nfeatures,
                            .feature_stride = 1,
                            .target = g->block_target,
                            .weight = g->block_weight};
    g->in_block = true;
    g->block_floor = g->nstack;
}

void view_choose(struct grower *g, const struct task *task)
{
    size_t n = task->end - task->begin, nfeatures = g->table->nfeatures;
    if (g->in_block && g->nstack >= g->block_floor)
        return;
    g->in_block = false;
    if (g->table->nrows * nfeatures <= BLOCK_BYTES)
        view_table(g, true);
    else if (!g->team && n >= BLOCK_ROWS && n * nfeatures <= BLOCK_BYTES)
        enter_block(g, task); /* not for rows that another rank may get */
    else
        view_table(g, n <= LANES_ROWS || !g->table->by_column);
}
