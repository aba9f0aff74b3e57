/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a thread does with a tree when it is grown: the tree votes on the rows that it
 * did not draw, and goes to the rank's spool.
 */
#include "worker.h"

#include "record.h"
#include "vote.h"

#include <stdlib.h>

bool worker_make(struct worker *worker, const struct forest *forest)
{
    const struct table *train = &forest->set->train;
    *worker = (struct worker){.grower = grower_create(train, &forest->params)};
    worker->importance = calloc(train->nfeatures, sizeof *worker->importance);
    worker->ignored = calloc(train->nfeatures, sizeof *worker->ignored);
    worker->rows = malloc((train->nrows + 1) * sizeof *worker->rows);
    worker->leaves = malloc((train->nrows + 1) * sizeof *worker->leaves);
    return worker->grower && worker->importance && worker->ignored && worker->rows &&
           worker->leaves &&
           (!forest->permutes ||
            permute_make(&worker->permute, train, forest->params.apply));
}

void worker_free(struct worker *worker)
{
    grower_destroy(worker->grower);
    tree_free(&worker->tree);
    free(worker->importance);
    free(worker->ignored);
    free(worker->rows);
    free(worker->leaves);
    free(worker->record);
    permute_free(&worker->permute);
}

/* How a tree does on the n rows that it did not see, and on those of other ranks. */
static bool judge_tree(const struct table *train, const struct grow_team *team,
                       struct worker *worker, size_t n)
{
    struct tree *tree = &worker->tree;
    int64_t sums[2 + EXACT_LIMBS] = {(int64_t)n};
    exact errors = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t leaf = worker->leaves[i], row = worker->rows[i];
        if (train->label)
            sums[1] +=
                vote_class_of_leaf(tree, train->nclasses, leaf) == train->label[row];
        else
            errors += exact_square((int64_t)vote_target_of_leaf(tree, leaf) -
                                   train->target[row]);
    }
    exact_put(errors, sums + 2);
    if (team && team->sharded && !team->sum_i64(team->user, sums, 2 + EXACT_LIMBS))
        return false;
    tree->oob_rows = (uint32_t)sums[0];
    tree->oob_right = (uint32_t)sums[1];
    tree->oob_error = sums[0] > 0 ? (double)exact_get(sums + 2) / (double)sums[0] : 0;
    return true;
}

static bool keep_tree(struct forest *forest, struct worker *worker, uint64_t number)
{
    size_t nclasses = forest->set->train.nclasses;
    size_t bytes = record_bytes(&worker->tree, nclasses);
    if (bytes > worker->record_room) {
        unsigned char *larger = realloc(worker->record, bytes);
        if (!larger)
            return false;
        worker->record = larger;
        worker->record_room = bytes;
    }
    record_write(&worker->tree, nclasses, worker->record);
    bool kept;
#pragma omp critical(spool)
    kept = spool_add(&forest->spool, number, worker->record, bytes);
    return kept;
}

/* Rows that the tree which was drawn last did not see, and their leaves. */
static size_t find_leaves(const struct forest *forest, struct worker *worker)
{
    const struct table *train = &forest->set->train;
    const uint8_t *drawn = grower_drawn(worker->grower);
    size_t n = 0;
    for (size_t r = 0; r < train->nrows; r++) {
        worker->rows[n] = (uint32_t)r;
        n += drawn[r] == 0;
    }
    forest->params.apply(&worker->tree, train->by_row, train->nfeatures, worker->rows,
                         n, worker->leaves);
    return n;
}

static bool is_mine(const struct forest *forest, uint64_t number)
{
    const struct job *job = forest->job;
    return number % (uint64_t)job->nranks == (uint64_t)job->rank;
}

bool worker_grow(struct forest *forest, struct worker *worker, uint64_t number)
{
    struct dataset *set = forest->set;
    const struct table *train = &set->train;
    struct tree *tree = &worker->tree;
    if (!grower_grow(worker->grower, number, tree,
                     forest->permutes ? worker->ignored : worker->importance))
        return false;
    const struct grow_team *team = forest->params.team;
    bool mine = !team || is_mine(forest, number);
    if (!mine && !team->sharded)
        return true; /* another rank keeps it, and casts its votes */
    size_t n = find_leaves(forest, worker);
    if (!judge_tree(train, team, worker, n))
        return false;
    vote_cast(&set->oob, tree, train->nclasses, 0, worker->rows, worker->leaves, n);
    if (forest->permutes)
        permute_tree(&worker->permute, train, tree, forest->params.seed, number,
                     worker->rows, n, set->target_variance, worker->importance);
    return !mine || keep_tree(forest, worker, number);
}

const char *worker_take(struct forest *forest, struct worker *worker, uint64_t number,
                        const unsigned char *record, size_t bytes)
{
    struct dataset *set = forest->set;
    const struct table *train = &set->train;
    struct tree *tree = &worker->tree;
    tree_free(tree);
    if (record_bytes_of(record, train->nclasses) != bytes)
        return "it is of another length than it says";
    const char *wrong = record_read(record, train->nclasses, train->nfeatures, tree);
    if (wrong)
        return wrong;
    grower_draw(worker->grower, number);
    size_t n = find_leaves(forest, worker);
    vote_cast(&set->oob, tree, train->nclasses, 0, worker->rows, worker->leaves, n);
    if (!is_mine(forest, number))
        return NULL;
    bool kept;
#pragma omp critical(spool)
    kept = spool_add(&forest->spool, number, record, bytes);
    return kept ? NULL : "there is no room for it in /tmp";
}
