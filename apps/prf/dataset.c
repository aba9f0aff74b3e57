/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One rank of a group reads the files, the others wait; what it made of them lies in
 * shared memory: one table for all, or, where rows are sharded, one for each rank with
 * its part of the rows. Groups read for themselves and find the same, so nothing is
 * sent.
 */
#include "dataset.h"

#include "columns.h"
#include "reading.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALIGNMENT 64

/* Sizes, and numbers that all ranks need. */
struct shape {
    uint64_t nrows, nfeatures, nclasses, ntest;
    uint64_t has_weight, nvalues;
    uint64_t nparts; /* of the rows: 1, or the number of ranks */
    double target_variance, weight_scale;
};

/* ---- shared memory -------------------------------------------------------------- */

/* The next piece of the group's memory; with base NULL only its size counts. */
static void *take(char *base, size_t *at, size_t count, size_t bytes)
{
    void *piece = base && count > 0 ? base + *at : NULL;
    *at += (count * bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    return piece;
}

static void lay_out_votes(char *base, size_t *at, size_t n, size_t nclasses,
                          bool weighted, struct votes *votes)
{
    size_t width = nclasses ? nclasses : 1;
    votes->nrows = n;
    votes->sum = take(base, at, n * width, sizeof *votes->sum);
    votes->weighted = take(base, at, weighted ? n * width : 0, sizeof *votes->weighted);
    votes->count = take(base, at, n, sizeof *votes->count);
}

/* Part p's rows of n: from *first on. Returns how many. Rows are cut evenly. */
static size_t rows_of_part(uint64_t n, uint64_t p, uint64_t nparts, size_t *first)
{
    *first = n * p / nparts;
    return n * (p + 1) / nparts - *first;
}

/* What part p holds alone. No array is absent because the part has no rows. */
static void lay_out_part(char *base, size_t *at, const struct shape *shape, uint64_t p,
                         struct dataset *set)
{
    struct table *train = &set->train, *test = &set->test;
    size_t width = shape->nfeatures, nclasses = shape->nclasses;
    train->all_rows = shape->nrows;
    test->all_rows = shape->ntest;
    train->nrows = rows_of_part(shape->nrows, p, shape->nparts, &train->first_row);
    test->nrows = rows_of_part(shape->ntest, p, shape->nparts, &test->first_row);
    size_t n = train->nrows + !train->nrows, m = test->nrows;
    train->by_row = take(base, at, n, width);
    train->by_column = take(base, at, n, width);
    train->label = take(base, at, nclasses ? n : 0, sizeof *train->label);
    train->target = take(base, at, nclasses ? 0 : n, sizeof *train->target);
    train->weight = take(base, at, shape->has_weight ? n : 0, sizeof *train->weight);
    test->by_row = take(base, at, m, width);
    test->label = take(base, at, nclasses ? m : 0, sizeof *test->label);
    const int64_t *far = take(base, at, nclasses ? 0 : m, sizeof *far);
    lay_out_votes(base, at, train->nrows, nclasses, false, &set->oob);
    lay_out_votes(base, at, m, nclasses, true, &set->test_votes);
    set->train_truth = (struct vote_truth){
        .nclasses = nclasses, .label = train->label, .target = train->target};
    set->test_truth =
        (struct vote_truth){.nclasses = nclasses, .label = test->label, .far = far};
}

/* The same on all ranks of a group, but that "set" gets the part of the group's rank
 * "rank" where rows are in parts. Returns bytes in all. */
static size_t lay_out(char *base, const struct shape *shape, const struct group *group,
                      int rank, struct dataset *set)
{
    size_t at = 0, width = shape->nfeatures;
    struct table *train = &set->train, *test = &set->test;
    *train = (struct table){.nfeatures = width, .nclasses = shape->nclasses};
    *test = (struct table){.nfeatures = width, .nclasses = shape->nclasses};
    set->sharded = shape->nparts > 1;
    set->counts = take(base, &at, 1, sizeof *set->counts);
    test->flags = train->flags = take(base, &at, width, 1);
    train->begin = take(base, &at, width, sizeof *train->begin);
    train->values = take(base, &at, shape->nvalues, sizeof *train->values);
    set->target_variance = shape->target_variance;
    set->weight_scale = shape->weight_scale;
    for (int r = 0; r < (set->sharded ? group->nranks : 1); r++) {
        struct dataset other = *set;
        lay_out_part(base, &at, shape, set->sharded ? (uint64_t)(group->first + r) : 0,
                     !set->sharded || r == rank ? set : &other);
    }
    return at;
}

/* What all ranks of the group need to know of columns. */
static void fill_columns(const struct schema *schema, const struct table *train)
{
    uint64_t begin = 0;
    for (size_t f = 0; f < schema->nfeatures; f++) {
        const struct schema_column *column = &schema->column[f];
        ((uint8_t *)train->flags)[f] = column->flags;
        ((uint64_t *)train->begin)[f] = begin;
        for (size_t b = 0; column->value && b < column->nbins; b++)
            ((float *)train->values)[begin++] = column->value[b];
    }
}

/* The leader's files into the group's memory. */
static dml_status fill(struct group *group, struct reading *in,
                       const struct shape *shape, const struct schema *schema)
{
    size_t nparts = shape->nparts > 1 ? (size_t)group->nranks : 1;
    struct dataset *part = calloc(nparts, sizeof *part);
    if (!part)
        return job_fail(group->job, DML_ENOMEM, "out of memory");
    for (size_t p = 0; p < nparts; p++)
        (void)lay_out(group->memory, shape, group, (int)p, &part[p]);
    fill_columns(schema, &part[0].train);
    dml_status status = reading_fill(group->job, in, schema, part, nparts);
    free(part);
    return status;
}

static uint64_t count_values(const struct schema *schema)
{
    uint64_t count = 0;
    for (size_t f = 0; f < schema->nfeatures; f++)
        count += schema->column[f].value ? schema->column[f].nbins : 0;
    return count;
}

/* MiB of a table that auto takes for too many. */
static double most_mib(const struct group *group, const struct prf_options *options)
{
    if (options->table_mib != CLI_AUTO)
        return (double)options->table_mib;
    double node = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return ldexp(node, -20) / 2 * group->nranks / group->on_node;
}

/* Are rows shared or sharded? All ranks find the same; leaders know the shape.
 * Collective, agreed. */
static dml_status choose_rows(const struct group *group,
                              const struct prf_options *options, struct shape *shape)
{
    struct job *job = group->job;
    double table = (double)shape->nrows * 2 * (double)shape->nfeatures;
    int64_t sharded = strcmp(options->rows, "auto") == 0
                          ? ldexp(table, -20) > most_mib(group, options)
                          : strcmp(options->rows, "sharded") == 0;
    dml_status status = job_note(
        job, dml_allreduce(DML_IN_PLACE, &sharded, 1, DML_I64, DML_MAX, job->comm));
    shape->nparts = sharded ? (uint64_t)job->nranks : 1;
    if (status != DML_OK || shape->nparts == 1)
        return job_agree(job, status);
    if (strcmp(options->importance, "permutation") == 0)
        status =
            job_fail(job, DML_EUNSUPPORTED,
                     "--importance permutation exchanges cells of any two rows: it "
                     "needs --rows shared");
    else if (strcmp(options->partition, "auto") != 0 &&
             strcmp(options->partition, "rows") != 0)
        status = job_fail(job, DML_EINVAL,
                          "--partition %s: ranks that have rows of their own "
                          "(--rows sharded) share rows",
                          options->partition);
    return job_agree(job, status);
}

/* The leaders' first look at the files. Where it is known that rows are sharded, each
 * group makes the bins of a part of the columns, to save memory. Collective, agreed. */
static dml_status look(struct group *group, const struct prf_options *options,
                       struct reading *in, struct schema *schema)
{
    struct job *job = group->job;
    bool parts = strcmp(options->rows, "sharded") == 0 && group->ngroups > 1;
    dml_status status = reading_check(job, options, group->ngroups);
    if (status == DML_OK && group->rank == 0)
        status = reading_survey(job, options, parts ? group->number : 0,
                                parts ? group->ngroups : 1, in, schema);
    status = job_agree(job, status);
    if (status != DML_OK)
        return status;
    if (parts && group->rank == 0)
        status = columns_share(group, schema);
    if (status == DML_OK && group->rank == 0)
        status = reading_survey_test(job, schema, in);
    return job_agree(job, status);
}

dml_status dataset_open(struct group *group, const struct prf_options *options,
                        struct dataset *set)
{
    struct job *job = group->job;
    struct reading in = {.ntrain = 0};
    struct shape shape = {0};
    *set = (struct dataset){0};
    dml_status status = look(group, options, &in, &set->schema);
    if (status != DML_OK)
        goto out;
    if (group->rank == 0)
        shape = (struct shape){.nrows = in.ntrain,
                               .nfeatures = set->schema.nfeatures,
                               .nclasses = set->schema.nclasses,
                               .ntest = in.ntest,
                               .has_weight = in.train.raw.has_weight,
                               .nvalues = count_values(&set->schema),
                               .target_variance = set->schema.target_variance,
                               .weight_scale = set->schema.weight_scale};
    status = choose_rows(group, options, &shape);
    if (status != DML_OK)
        goto out;
    status = group_tell(group, &shape, sizeof shape);
    if (status == DML_OK)
        status = group_share(group, lay_out(NULL, &shape, group, group->rank, set));
    if (status == DML_OK) {
        (void)lay_out(group->memory, &shape, group, group->rank, set);
        if (group->rank == 0)
            status = fill(group, &in, &shape, &set->schema);
    }
    status = job_agree(job, status);
    if (status == DML_OK)
        group_wait(group);
out:
    reading_free(&in);
    return status;
}

void dataset_close(struct dataset *set)
{
    schema_free(&set->schema);
    *set = (struct dataset){0};
}
