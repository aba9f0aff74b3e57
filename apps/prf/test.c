/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The trained trees vote on the test rows: every rank reads its own spool, a tree at a
 * time for each thread. Where rows are sharded each rank has test rows of its own, so
 * the trees go to all ranks, one after the other.
 */
#include "forest.h"
#include "record.h"
#include "vote.h"

#include <stdlib.h>

/* Read entry i of the spool. */
static bool read_tree(struct forest *forest, size_t i, struct tree *tree)
{
    const struct table *train = &forest->set->train;
    unsigned char *record;
#pragma omp critical(spool)
    record = spool_get(&forest->spool, i);
    const char *wrong =
        record ? record_read(record, train->nclasses, train->nfeatures, tree) : "";
    free(record);
    return !wrong;
}

/* The mean weight of trees that have rows out of bag; and the sum of all weights. */
static dml_status sum_weights(struct forest *forest, uint32_t *usual)
{
    const struct dataset *set = forest->set;
    int64_t sum[3] = {0, 0, 0}; /* weights, trees with rows, trees without */
    bool good = true;
#pragma omp parallel for num_threads(forest->threads) reduction(+ : sum[:3]) \
    reduction(&& : good)
    for (size_t i = 0; i < forest->spool.n; i++) {
        struct tree tree = {0};
        good = read_tree(forest, i, &tree) && good;
        sum[0] += vote_weight(&tree, set->train.nclasses, set->target_variance, 0);
        sum[tree.oob_rows > 0 ? 1 : 2]++;
        tree_free(&tree);
    }
    dml_status status = job_agree(
        forest->job,
        good ? DML_OK
             : job_fail(forest->job, DML_EIO,
                        "a tree cannot be read back: no memory, or /tmp fails"));
    if (status == DML_OK)
        status = job_note(forest->job, dml_allreduce(DML_IN_PLACE, sum, 3, DML_I64,
                                                     DML_SUM, forest->job->comm));
    *usual = sum[1] > 0 && sum[0] > 0 ? (uint32_t)((double)sum[0] / (double)sum[1])
                                      : VOTE_ONE;
    forest->weight_sum = (double)sum[0] + (double)sum[2] * (double)*usual;
    return job_agree(forest->job, status);
}

/* ---- sharded rows --------------------------------------------------------------- */

/* A tree from the rank that keeps it (see worker.c) to all. Collective. */
static dml_status share_tree(struct forest *forest, size_t number, struct tree *tree)
{
    struct job *job = forest->job;
    const struct table *train = &forest->set->train;
    int owner = (int)(number % (size_t)job->nranks);
    size_t own = number / (size_t)job->nranks;
    unsigned char *record = owner == job->rank ? spool_get(&forest->spool, own) : NULL;
    uint64_t bytes = record ? forest->spool.entry[own].bytes : 0;
    dml_status status = job_note(job, dml_bcast(&bytes, 1, DML_U64, owner, job->comm));
    if (status == DML_OK && owner != job->rank)
        record = malloc(bytes + 1);
    if (status == DML_OK && (bytes == 0 || !record))
        /* others may wait: DML_ECOMM ends them, too */
        status = job_fail(job, DML_ECOMM,
                          "a tree cannot be read back: no memory, or /tmp fails");
    if (status == DML_OK)
        status = job_note(job, dml_bcast(record, bytes, DML_U8, owner, job->comm));
    const char *wrong =
        status == DML_OK ? record_read(record, train->nclasses, train->nfeatures, tree)
                         : NULL;
    if (wrong)
        status = job_fail(job, DML_ECOMM, "a tree cannot be used: %s", wrong);
    free(record);
    return status;
}

static dml_status vote_together(struct forest *forest, uint32_t usual)
{
    struct dataset *set = forest->set;
    const struct table *test = &set->test;
    uint32_t *rows = malloc((test->nrows + 1) * sizeof *rows);
    uint32_t *leaves = malloc((test->nrows + 1) * sizeof *leaves);
    dml_status status = job_agree(
        forest->job, rows && leaves ? DML_OK
                                    : job_fail(forest->job, DML_ENOMEM,
                                               "no memory to test the trees"));
    for (size_t r = 0; status == DML_OK && r < test->nrows; r++)
        rows[r] = (uint32_t)r;
    for (size_t t = 0; status == DML_OK && t < forest->ntrees; t++) {
        struct tree tree = {0};
        status = share_tree(forest, t, &tree);
        if (status == DML_OK) {
            forest->params.apply(&tree, test->by_row, test->nfeatures, rows,
                                 test->nrows, leaves);
            vote_cast(&set->test_votes, &tree, test->nclasses,
                      vote_weight(&tree, test->nclasses, set->target_variance, usual),
                      NULL, leaves, test->nrows);
        }
        tree_free(&tree);
    }
    free(rows);
    free(leaves);
    return job_agree(forest->job, status);
}

/* ---- shared rows ---------------------------------------------------------------- */

static dml_status vote_apart(struct forest *forest, uint32_t usual)
{
    struct dataset *set = forest->set;
    const struct table *test = &set->test;
    bool good = true;
#pragma omp parallel num_threads(forest->threads) reduction(&& : good)
    {
        struct tree tree = {0};
        uint32_t *rows = malloc(test->nrows * sizeof *rows);
        uint32_t *leaves = malloc(test->nrows * sizeof *leaves);
        good = rows && leaves;
        for (size_t r = 0; good && r < test->nrows; r++)
            rows[r] = (uint32_t)r;
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < forest->spool.n; i++) {
            good = good && read_tree(forest, i, &tree);
            if (good) {
                forest->params.apply(&tree, test->by_row, test->nfeatures, rows,
                                     test->nrows, leaves);
                vote_cast(
                    &set->test_votes, &tree, test->nclasses,
                    vote_weight(&tree, test->nclasses, set->target_variance, usual),
                    NULL, leaves, test->nrows);
            }
            tree_free(&tree);
        }
        free(rows);
        free(leaves);
    }
    dml_status status =
        job_agree(forest->job, good ? DML_OK
                                    : job_fail(forest->job, DML_ENOMEM,
                                               "no memory to test the trees"));
    group_wait(forest->group);
    if (status == DML_OK)
        status = vote_gather(forest->group, &set->test_votes, test->nclasses);
    return job_agree(forest->job, status);
}

dml_status forest_test(struct forest *forest)
{
    uint32_t usual;
    dml_status status = sum_weights(forest, &usual);
    if (status != DML_OK || forest->set->test.all_rows == 0)
        return status;
    return forest->set->sharded ? vote_together(forest, usual)
                                : vote_apart(forest, usual);
}
