/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How trees are shared over ranks, and the messages of trees that all grow together.
 *
 * Whole trees per thread need no message at all, so they are chosen as soon as there is
 * a tree for every thread of every rank. With fewer trees than that, ranks would idle:
 * then they share the large nodes (more than LANES_ROWS rows) of every tree, and its
 * subtrees. Bytes that a rank sends for one large node, with P ranks:
 *
 *     features   V m (P - 1) / P     a verdict of V = 80 bytes on each of m features
 *     rows       8 B m C (P - 1) / P the sums of B = 256 bins in C statistics, of 4
 *                                    bytes for classes, reduced and handed out (twice)
 *
 * so features are fewer bytes; but with m < P some ranks have none, and rows are
 * shared.
 *
 * Sharded rows: large nodes are as "rows" above, and 8 (K + 1) bytes more for the sums
 * of its left side, of K classes (regression: 56 bytes); where a node has at most n
 * entries its rows are moved to one rank, once for the whole subtree:
 *
 *     moved      n R (P - 1) / P     rows of R = F + 6 bytes, or some more
 *
 * n is where both are equal: to split a node further would cost as much as to move it.
 * Then the histograms of all N / n larger nodes are about as many bytes as all rows, so
 * that a tree costs at most about twice what moving every row once would. Every rank
 * shall have some subtrees to take, so n is at most an 8th of a rank's share.
 */
#include "forest.h"
#include "shard.h"

#include <stdlib.h>
#include <string.h>

enum partition together_choose(const struct forest *forest, const char *name)
{
    if (forest->set->sharded)
        return PARTITION_ROWS;
    size_t workers = (size_t)forest->job->nranks * (size_t)forest->threads;
    if (strcmp(name, "rows") == 0)
        return PARTITION_ROWS;
    if (strcmp(name, "features") == 0)
        return PARTITION_FEATURES;
    if (strcmp(name, "trees") == 0 || forest->job->nranks == 1 ||
        forest->ntrees >= workers)
        return PARTITION_TREES;
    return forest->params.mtry >= (size_t)forest->job->nranks ? PARTITION_FEATURES
                                                              : PARTITION_ROWS;
}

const char *together_name(enum partition partition)
{
    static const char *const names[] = {"trees", "rows", "features"};
    return names[partition];
}

/* The end of a message that began at "begin"; did it succeed? */
static bool ended(struct together *together, double begin, dml_status status)
{
    together->seconds += forest_now_s() - begin;
    together->status = status;
    return job_note(together->job, status) == DML_OK;
}

static bool sum_u32(void *user, uint32_t *values, size_t n)
{
    struct together *together = user;
    double begin = forest_now_s();
    return ended(
        together, begin,
        dml_allreduce(DML_IN_PLACE, values, n, DML_I32, DML_SUM, together->job->comm));
}

static bool sum_i64(void *user, int64_t *values, size_t n)
{
    struct together *together = user;
    double begin = forest_now_s();
    return ended(
        together, begin,
        dml_allreduce(DML_IN_PLACE, values, n, DML_I64, DML_SUM, together->job->comm));
}

static bool exchange(void *user, void *pieces, size_t bytes)
{
    struct together *together = user;
    double begin = forest_now_s();
    return ended(
        together, begin,
        dml_allgather(DML_IN_PLACE, pieces, bytes, DML_U8, together->job->comm));
}

static bool exchange_records(void *user, const unsigned char *mine, size_t bytes,
                             unsigned char **all, size_t *all_bytes)
{
    struct together *together = user;
    struct job *job = together->job;
    size_t nranks = (size_t)job->nranks;
    uint64_t own = bytes;
    uint64_t *each = calloc(nranks, sizeof *each);
    size_t *counts = calloc(nranks, sizeof *counts);
    double begin = forest_now_s();
    dml_status status =
        each && counts ? dml_allgather(&own, each, 1, DML_U64, job->comm) : DML_ENOMEM;
    *all_bytes = 0;
    for (size_t r = 0; status == DML_OK && r < nranks; r++) {
        counts[r] = each[r];
        *all_bytes += each[r];
    }
    *all = malloc(*all_bytes + 1);
    if (status == DML_OK)
        status = *all ? dml_allgatherv(bytes > 0 ? (const void *)mine : *all, *all,
                                       counts, NULL, DML_U8, job->comm)
                      : DML_ENOMEM;
    free(each);
    free(counts);
    return ended(together, begin, status);
}

/* ---- sharded rows --------------------------------------------------------------- */

#define MOVED_BYTES      ((size_t)16 << 20) /* rows that a rank takes at once */
#define GROWER_ROW_BYTES 15                 /* beside the row, see grower.c */
#define EXCHANGE_BYTES   ((size_t)8 << 20)  /* for messages */
#define SUBTREES_EACH    8                  /* at least, that a rank takes of a tree */

static dml_status take(void *user, int source, const void *record, size_t bytes)
{
    const struct together *together = user;
    (void)source;
    (void)bytes; /* records are of one size */
    return together->move->take(together->move->self, record) ? DML_OK : DML_EFORMAT;
}

static dml_status make_exchange(struct together *together, size_t bytes)
{
    size_t least = ((size_t)64 << 10) * (size_t)together->job->nranks;
    dml_exchange_opts opts;
    dml_exchange_opts_init(&opts);
    opts.record_bytes = bytes;
    opts.budget_bytes = least > EXCHANGE_BYTES ? least : EXCHANGE_BYTES;
    return dml_exchange_create(&opts, take, together, together->job->comm,
                               &together->exchange);
}

static bool move_rows(void *user, const struct grow_move *move)
{
    struct together *together = user;
    double begin = forest_now_s();
    unsigned char *record = malloc(move->bytes);
    dml_status status = record ? DML_OK : DML_ENOMEM;
    int to = -1;
    together->move = move;
    if (status == DML_OK && !together->exchange)
        status = make_exchange(together, move->bytes);
    while (status == DML_OK && (to = move->next(move->self, record)) >= 0)
        status = dml_exchange_push(together->exchange, to, record, move->bytes);
    if (together->exchange && record) {
        dml_status last = dml_exchange_finish(together->exchange);
        status = status == DML_OK ? last : status;
    }
    free(record);
    return ended(together, begin, status);
}

/* Entries of the largest nodes whose rows are moved, see the top of this file. */
static size_t entries_alone(const struct forest *forest)
{
    const struct table *table = &forest->set->train;
    const struct grow_params *params = &forest->params;
    bool counts = table->label && !table->weight && params->criterion == CRITERION_GINI;
    size_t nstats = table->nclasses ? table->nclasses : 2;
    size_t histograms = 2 * params->mtry * BINS * nstats *
                        (counts ? sizeof(uint32_t) : sizeof(int64_t));
    size_t n = histograms / shard_row_bytes(table);
    size_t most = params->draws / ((size_t)forest->job->nranks * SUBTREES_EACH);
    n = n < most ? n : most;
    return n > LANES_ROWS ? n : LANES_ROWS;
}

void together_team(struct forest *forest, enum partition partition)
{
    const struct table *table = &forest->set->train;
    bool sharded = forest->set->sharded;
    size_t alone = sharded ? entries_alone(forest) : LANES_ROWS;
    size_t room =
        sharded ? MOVED_BYTES / (shard_row_bytes(table) + GROWER_ROW_BYTES) : 0;
    room = room < alone ? alone : room;
    forest->together.job = forest->job;
    forest->team = (struct grow_team){
        .rank = forest->job->rank,
        .nranks = forest->job->nranks,
        .by_rows = partition == PARTITION_ROWS,
        .sharded = sharded,
        .alone = alone,
        .moved_rows = room < table->all_rows ? room : table->all_rows,
        .user = &forest->together,
        .sum_u32 = sum_u32,
        .sum_i64 = sum_i64,
        .exchange = exchange,
        .exchange_records = exchange_records,
        .move = move_rows};
}

void together_close(struct together *together)
{
    dml_exchange_destroy(together->exchange);
    together->exchange = NULL;
}

uint64_t together_moved(const struct together *together)
{
    dml_exchange_stats stats = {.bytes_moved = 0};
    if (together->exchange)
        dml_exchange_get_stats(together->exchange, &stats);
    return stats.bytes_moved;
}
