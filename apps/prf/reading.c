/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads files in two walks, so that the rows of other ranks need no memory: the first
 * one gathers columns, words, labels and the cells from which bins are made; the second
 * one keeps the bins of the own rows. Where the first walk could keep all cells, which
 * is up to SAMPLE_ROWS rows, there is no second one.
 *
 * Of larger files bins are made from every step-th row, step being the lowest power of
 * two that leaves at most SAMPLE_ROWS: the same rows on every rank.
 */
#include "reading.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_ROWS ((size_t)1 << 20)

enum row_use { ROW_LEFT_OUT, ROW_TRAIN, ROW_TEST };

/* What a row of a file is for. */
static enum row_use use_of(const struct reading *in, const struct reading_file *file,
                           size_t row, double label)
{
    const struct prf_options *options = in->options;
    if (!isfinite(label))
        return ROW_LEFT_OUT;
    if (file == &in->test)
        return ROW_TEST;
    bool tests =
        (options->train_rows != CLI_AUTO && row >= (size_t)options->train_rows) ||
        (options->test_every > 0 && (row + 1) % (size_t)options->test_every == 0);
    if (!tests)
        return ROW_TRAIN;
    return in->test_apart ? ROW_LEFT_OUT : ROW_TEST;
}

static bool is_standard(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

dml_status reading_check(struct job *job, const struct prf_options *options,
                         int nreaders)
{
    bool data = is_standard(options->data), test = is_standard(options->test);
    const char *option = data ? "--data -" : "--test -";
    if (data && test)
        return job_fail(job, DML_EINVAL,
                        "--data - and --test -: standard input can be read once; put "
                        "one of them in a file");
    if ((data || test) && nreaders > 1)
        return job_fail(job, DML_EINVAL,
                        "%s: standard input can be read once, by rank 0, but %d ranks "
                        "read the rows, one for each table in memory (of a node, or of "
                        "--table-ranks); put the rows in a file that all of them see",
                        option, nreaders);
    if (data && strcmp(options->format, "libsvm") == 0)
        return job_fail(
            job, DML_EINVAL,
            "--data - --format libsvm: standard input can be read once, but "
            "such rows are first read for their largest index; put them in "
            "a file");
    return DML_OK;
}

/* ---- the first walk ------------------------------------------------------------- */

static dml_status survey(struct job *job, struct reading_file *file, int part,
                         int nparts)
{
    struct raw *raw = &file->raw;
    struct raw_reader *reader = NULL;
    dml_status status = raw_open(job, &file->source, raw, &reader);
    size_t first = raw->nfeatures * (size_t)part / (size_t)nparts;
    size_t end = raw->nfeatures * ((size_t)part + 1) / (size_t)nparts;
    while (status == DML_OK) {
        status = raw_next(reader);
        if (status != DML_OK || raw->block.nrows == 0)
            break;
        status = raw_keep(job, raw, first, end - first, SAMPLE_ROWS);
    }
    raw_close(reader);
    raw_free_rows(&raw->block);
    file->complete = raw->kept.step <= 1 && nparts == 1;
    return status;
}

/* Rows of a file for training and for the test; use [rows] or NULL. */
static void count_rows(struct reading *in, const struct reading_file *file,
                       uint8_t *use)
{
    const struct raw_rows *kept = &file->raw.kept;
    for (size_t r = 0; r < kept->nrows; r++) {
        enum row_use what = use_of(in, file, r, kept->label[r]);
        in->ntrain += what == ROW_TRAIN;
        in->ntest += what == ROW_TEST;
        if (use)
            use[r] = what == ROW_TRAIN;
    }
}

dml_status reading_survey(struct job *job, const struct prf_options *options, int part,
                          int nparts, struct reading *in, struct schema *schema)
{
    in->options = options;
    dml_status status = options_find_data(job, &prf_train_command, options, in->path);
    in->train.source = (struct raw_source){.path = in->path,
                                           .format = options->format,
                                           .label = options->label,
                                           .weights = options->weights,
                                           .categories = options->categories,
                                           .part = "train"};
    if (status == DML_OK)
        status = survey(job, &in->train, part, nparts);
    uint8_t *use = malloc(in->train.raw.kept.nrows + 1);
    if (status == DML_OK && !use)
        status = job_fail(job, DML_ENOMEM, "out of memory");
    if (status == DML_OK) {
        in->test_apart = options->test != NULL;
        count_rows(in, &in->train, use);
        status = schema_make(job, &in->train.raw, use, options_task(options), schema);
    }
    free(use);
    if (!in->train.complete)
        raw_free_rows(&in->train.raw.kept);
    return status;
}

dml_status reading_survey_test(struct job *job, const struct schema *schema,
                               struct reading *in)
{
    in->test.source = in->train.source;
    in->test.source.part = "t10k";
    if (in->options->test)
        in->test.source.path = in->options->test;
    else if (!raw_is_images(in->path) || in->ntest > 0)
        return DML_OK;
    in->test_apart = true;
    dml_status status = schema_prepare_raw(job, schema, &in->test.raw);
    if (status == DML_OK)
        status = survey(job, &in->test, 0, 1);
    if (status != DML_OK)
        return status;
    count_rows(in, &in->test, NULL);
    if (!in->test.complete)
        raw_free_rows(&in->test.raw.kept);
    return DML_OK;
}

/* ---- the second walk ------------------------------------------------------------ */

/* Rows of a file that are for one purpose. */
struct chosen {
    uint32_t *row; /* [n] in the block */
    size_t n;
    size_t first; /* of all rows for that purpose: those of the blocks before */
};

/* The chosen rows that are of a part. */
static dml_status put_rows(struct job *job, const struct schema *schema,
                           const struct raw *raw, const struct raw_rows *rows,
                           const struct chosen *chosen, const struct table *table,
                           int64_t *far)
{
    size_t begin = chosen->first, end = chosen->first + chosen->n;
    size_t last = table->first_row + table->nrows;
    begin = begin > table->first_row ? begin : table->first_row;
    end = end < last ? end : last;
    if (begin >= end)
        return DML_OK;
    const uint32_t *row = chosen->row + (begin - chosen->first);
    struct schema_bins bins = {.by_row = (uint8_t *)table->by_row,
                               .by_column = (uint8_t *)table->by_column,
                               .first = begin - table->first_row,
                               .nrows = table->nrows};
    for (size_t i = 0; i < end - begin; i++) {
        size_t r = row[i], at = bins.first + i;
        double label = rows->label[r];
        if (table->label)
            ((uint16_t *)table->label)[at] = (uint16_t)schema_class(schema, raw, label);
        if (table->target)
            ((int32_t *)table->target)[at] = schema_target(schema, label);
        if (table->weight)
            ((uint32_t *)table->weight)[at] = schema_weight(schema, rows->weight[r]);
        if (far)
            far[at] = schema_far(schema, label);
    }
    return schema_encode(job, schema, raw, rows, row, end - begin, &bins);
}

/* Rows from row "first" of the file on. train, test: what has been chosen before. */
static dml_status put_block(struct job *job, const struct reading *in,
                            const struct reading_file *file,
                            const struct schema *schema, const struct raw_rows *rows,
                            size_t first, struct chosen *train, struct chosen *test,
                            const struct dataset *part, size_t nparts)
{
    dml_status status = DML_OK;
    train->first += train->n;
    test->first += test->n;
    train->n = test->n = 0;
    for (size_t r = 0; r < rows->nrows; r++) {
        enum row_use what = use_of(in, file, first + r, rows->label[r]);
        if (what == ROW_TRAIN)
            train->row[train->n++] = (uint32_t)r;
        else if (what == ROW_TEST)
            test->row[test->n++] = (uint32_t)r;
    }
    for (size_t p = 0; status == DML_OK && p < nparts; p++) {
        status = put_rows(job, schema, &file->raw, rows, train, &part[p].train, NULL);
        if (status == DML_OK)
            status = put_rows(job, schema, &file->raw, rows, test, &part[p].test,
                              (int64_t *)part[p].test_truth.far);
    }
    return status;
}

static bool make_chosen(struct chosen *chosen, size_t n)
{
    void *larger = realloc(chosen->row, (n + 1) * sizeof *chosen->row);
    if (larger)
        chosen->row = larger;
    return larger != NULL;
}

/* The second walk must have found what the first one did. */
static dml_status check_walk(struct job *job, const struct reading *in,
                             const struct reading_file *file,
                             const struct chosen *train, const struct chosen *test)
{
    bool first = file == &in->train;
    size_t ntrain = first ? in->ntrain : 0;
    size_t ntest = first && in->test_apart ? 0 : in->ntest;
    if (train->first + train->n == ntrain && test->first + test->n == ntest)
        return DML_OK;
    return job_fail(
        job, DML_EFORMAT,
        "%s: %zu rows at the second reading, %zu at the first; it must be a "
        "file that stays as it is",
        file->source.path, train->first + train->n + test->first + test->n,
        ntrain + ntest);
}

static dml_status walk(struct job *job, const struct reading *in,
                       struct reading_file *file, const struct schema *schema,
                       const struct dataset *part, size_t nparts)
{
    struct chosen train = {.n = 0}, test = {.n = 0};
    struct raw *raw = &file->raw;
    struct raw_reader *reader = NULL;
    const struct raw_rows *rows = file->complete ? &raw->kept : &raw->block;
    dml_status status = DML_OK;
    file->source.again = file == &in->train;
    if (!file->complete && is_standard(file->source.path))
        return job_fail(job, DML_EINVAL,
                        "standard input can be read once, but of more than %zu rows "
                        "not all cells are kept, and they are read again; put them in "
                        "a file",
                        SAMPLE_ROWS);
    if (!file->complete)
        status = raw_open(job, &file->source, raw, &reader);
    for (size_t first = 0; status == DML_OK; first += rows->nrows) {
        if (!file->complete)
            status = raw_next(reader);
        if (status != DML_OK || (rows->nrows == 0 && !file->complete))
            break;
        if (!make_chosen(&train, rows->nrows) || !make_chosen(&test, rows->nrows))
            status = job_fail(job, DML_ENOMEM, "out of memory");
        else
            status = put_block(job, in, file, schema, rows, first, &train, &test, part,
                               nparts);
        if (file->complete)
            break;
    }
    raw_close(reader);
    raw_free(raw);
    free(train.row);
    free(test.row);
    return status == DML_OK ? check_walk(job, in, file, &train, &test) : status;
}

dml_status reading_fill(struct job *job, struct reading *in,
                        const struct schema *schema, const struct dataset *part,
                        size_t nparts)
{
    dml_status status = walk(job, in, &in->train, schema, part, nparts);
    if (status == DML_OK && in->test_apart)
        status = walk(job, in, &in->test, schema, part, nparts);
    return status;
}

void reading_free(struct reading *in)
{
    raw_free(&in->train.raw);
    raw_free(&in->test.raw);
}
