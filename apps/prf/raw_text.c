/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows from text tables and libsvm files.
 *
 * The file that is read first says which columns are features, numbers or words.
 * Columns of a later file (a test set, rows to predict) are found by name where both
 * files have a header, else by place; there the label may be absent.
 */
#include "raw_text.h"

#include "tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NONE SIZE_MAX

/* Rows of libsvm files at once, unless they are wide. */
#define BLOCK_ROWS  8192
#define BLOCK_CELLS ((size_t)4 << 20)

static dml_status find(struct job *job, const struct layout *layout, const char *name,
                       size_t *column)
{
    return job_note(job, dml_table_find(layout->table, name, column));
}

/* Is a column named in the list "a,b,3"? */
static bool is_listed(const struct layout *layout, const char *list, size_t column)
{
    char name[CLI_TEXT];
    for (const char *at = list; at && *at;) {
        size_t length = strcspn(at, ","), found = NONE;
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        if (dml_table_find(layout->table, name, &found) == DML_OK && found == column)
            return true;
        at += length + (at[length] == ',');
    }
    return false;
}

/* Every name of the list must be there. */
static dml_status check_list(struct job *job, const struct layout *layout,
                             const char *list)
{
    char name[CLI_TEXT];
    for (const char *at = list; at && *at;) {
        size_t length = strcspn(at, ","), found;
        snprintf(name, sizeof name, "%.*s", (int)length, at);
        if (find(job, layout, name, &found) != DML_OK)
            return DML_EINVAL;
        at += length + (at[length] == ',');
    }
    return DML_OK;
}

static char *copy_name(const struct layout *layout, size_t column)
{
    const char *name = dml_table_name(layout->table, column);
    return name ? strdup(name) : NULL;
}

/* Columns are told apart by their names. */
static dml_status check_names(struct job *job, const struct raw_source *source,
                              const struct layout *layout)
{
    struct words words = {0};
    dml_status status = DML_OK;
    for (size_t c = 0; status == DML_OK && c < layout->ncolumns; c++) {
        const char *name = dml_table_name(layout->table, c);
        int64_t number = name ? words_find(&words, name, true) : (int64_t)c;
        if (number < 0)
            status = job_fail(job, DML_ENOMEM, "out of memory for words");
        else if ((size_t)number != c)
            status = job_fail(job, DML_EFORMAT,
                              "%.300s: columns %lld and %zu are both named \"%.60s\"; "
                              "give each its own name",
                              source->path, (long long)number + 1, c + 1, name);
    }
    words_free(&words);
    return status;
}

/* The first file: all columns but label and weight are features. */
static dml_status learn_columns(struct job *job, const struct raw_source *source,
                                struct layout *layout, struct raw *raw)
{
    dml_status status = check_names(job, source, layout);
    if (status != DML_OK)
        return status;
    if (find(job, layout, source->label, &layout->label) != DML_OK ||
        (source->weights && find(job, layout, source->weights, &layout->weight)) ||
        check_list(job, layout, source->categories) != DML_OK)
        return DML_EINVAL;
    raw->has_weight = source->weights != NULL;
    raw->column = calloc(layout->ncolumns, sizeof *raw->column);
    raw->label_name = copy_name(layout, layout->label);
    raw->label_is_word = !dml_table_is_numeric(layout->table, layout->label);
    if (!raw->column)
        return job_fail(job, DML_ENOMEM, "out of memory");
    for (size_t c = 0; c < layout->ncolumns; c++) {
        if (c == layout->label || c == layout->weight)
            continue;
        struct raw_column *column = &raw->column[raw->nfeatures];
        column->name = copy_name(layout, c);
        if (!column->name && dml_table_name(layout->table, c))
            return job_fail(job, DML_ENOMEM, "out of memory for names");
        column->is_category = !dml_table_is_numeric(layout->table, c) ||
                              is_listed(layout, source->categories, c);
        layout->feature[c] = raw->nfeatures++;
    }
    if (raw->nfeatures == 0)
        return job_fail(job, DML_EFORMAT, "%s has no column but the label",
                        source->path);
    return DML_OK;
}

/* A later file with a header: by name. */
static dml_status match_names(struct job *job, const struct raw_source *source,
                              struct layout *layout, const struct raw *raw)
{
    for (size_t f = 0; f < raw->nfeatures; f++) {
        size_t c = NONE;
        for (size_t i = 0; i < layout->ncolumns && c == NONE; i++)
            if (strcmp(dml_table_name(layout->table, i), raw->column[f].name) == 0)
                c = i;
        if (c == NONE)
            return job_fail(job, DML_EFORMAT, "%s has no column \"%s\"", source->path,
                            raw->column[f].name);
        layout->feature[c] = f;
    }
    for (size_t c = 0; raw->label_name && c < layout->ncolumns; c++)
        if (strcmp(dml_table_name(layout->table, c), raw->label_name) == 0)
            layout->label = c;
    return DML_OK;
}

/* A later file: by place, with the label, or features alone. */
static dml_status match_places(struct job *job, const struct raw_source *source,
                               struct layout *layout, const struct raw *raw)
{
    size_t next = 0;
    if (layout->ncolumns != raw->nfeatures) {
        if (find(job, layout, source->label, &layout->label) != DML_OK)
            return DML_EINVAL;
        if (source->weights && find(job, layout, source->weights, &layout->weight))
            return DML_EINVAL;
    }
    for (size_t c = 0; c < layout->ncolumns; c++)
        if (c != layout->label && c != layout->weight && next < raw->nfeatures)
            layout->feature[c] = next++;
        else if (c != layout->label && c != layout->weight)
            next++;
    if (next != raw->nfeatures)
        return job_fail(job, DML_EFORMAT,
                        "%s has %zu columns, which are not the %zu features that were "
                        "trained on",
                        source->path, layout->ncolumns, raw->nfeatures);
    return DML_OK;
}

static dml_status set_types(struct job *job, struct layout *layout,
                            const struct raw *raw)
{
    for (size_t c = 0; c < layout->ncolumns; c++) {
        size_t f = layout->feature[c];
        dml_column_type type = DML_COLUMN_SKIP;
        if (c == layout->label)
            type = raw->label_is_word ? DML_COLUMN_TEXT : DML_COLUMN_F64;
        else if (c == layout->weight)
            type = DML_COLUMN_F32;
        else if (f != NONE)
            type = raw->column[f].is_category ? DML_COLUMN_TEXT : DML_COLUMN_F32;
        if (job_note(job, dml_table_set_type(layout->table, c, type)) != DML_OK)
            return DML_EINVAL;
    }
    return DML_OK;
}

static dml_status open_layout(struct job *job, const struct raw_source *source,
                              struct layout *layout, struct raw *raw)
{
    layout->label = layout->weight = NONE;
    dml_status status =
        job_note(job, dml_table_open(job->ctx, source->path, NULL, &layout->table));
    if (status != DML_OK)
        return status;
    layout->ncolumns = dml_table_columns(layout->table);
    layout->feature = malloc(layout->ncolumns * sizeof *layout->feature);
    if (!layout->feature)
        return job_fail(job, DML_ENOMEM, "out of memory");
    for (size_t c = 0; c < layout->ncolumns; c++)
        layout->feature[c] = NONE;
    if (!raw->column)
        status = learn_columns(job, source, layout, raw);
    else if (!source->again && dml_table_name(layout->table, 0) && raw->column[0].name)
        status = match_names(job, source, layout, raw);
    else
        status = match_places(job, source, layout, raw);
    return status == DML_OK ? set_types(job, layout, raw) : status;
}

/* ---- rows ----------------------------------------------------------------------- */

static dml_status word_cell(struct job *job, struct words *words, const dml_text *text,
                            double *cell)
{
    *cell = NAN;
    if (text->bytes == 0)
        return DML_OK;
    int64_t number = words_find(words, text->data, true);
    if (number < 0)
        return job_fail(job, DML_ENOMEM, "out of memory for words");
    *cell = (double)number;
    return DML_OK;
}

/* Words for "no value", as in columns of numbers (see dml_table_opts.missing). */
static bool is_missing(const dml_text *text)
{
    static const char *const words[] = {"",    "NA",   "N/A",  "NaN",
                                        "nan", "null", "NULL", "?"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text->data, words[i]) == 0)
            return true;
    return false;
}

/* One column of a block of the file. */
static dml_status copy_column(struct job *job, const struct layout *layout, size_t c,
                              const dml_table_block *block, struct raw *raw)
{
    size_t f = layout->feature[c];
    const dml_column *column = &block->columns[c];
    struct raw_rows *rows = &raw->block;
    for (size_t i = 0; i < block->rows; i++) {
        double cell = 0;
        dml_status status = DML_OK;
        if (c == layout->label && raw->label_is_word && is_missing(&column->text[i]))
            rows->label[i] = NAN;
        else if (c == layout->label && raw->label_is_word)
            status =
                word_cell(job, &raw->label_words, &column->text[i], &rows->label[i]);
        else if (c == layout->label)
            rows->label[i] = column->f64[i];
        else if (c == layout->weight && raw->has_weight)
            rows->weight[i] = column->f32[i];
        else if (f != NONE && !raw->column[f].is_category)
            rows->cells[i * raw->nfeatures + f] = column->f32[i];
        else if (f != NONE) {
            status = word_cell(job, &raw->column[f].words, &column->text[i], &cell);
            rows->cells[i * raw->nfeatures + f] = (float)cell;
        }
        if (status != DML_OK)
            return status;
    }
    return DML_OK;
}

dml_status raw_open_table(struct raw_reader *reader)
{
    return open_layout(reader->job, reader->source, &reader->layout, reader->raw);
}

dml_status raw_next_table(struct raw_reader *reader)
{
    struct raw *raw = reader->raw;
    dml_table_block block = {.rows = 0};
    dml_status status = dml_table_next(reader->layout.table, &block);
    status = status == DML_EEND ? DML_OK : job_note(reader->job, status);
    if (status == DML_OK)
        status = raw_start_block(reader->job, raw, block.rows);
    for (size_t i = 0; status == DML_OK && i < block.rows; i++)
        raw->block.label[i] = NAN;
    for (size_t c = 0;
         status == DML_OK && block.rows > 0 && c < reader->layout.ncolumns; c++)
        status = copy_column(reader->job, &reader->layout, c, &block, raw);
    return status;
}

/* ---- libsvm --------------------------------------------------------------------- */

/* Features of a file: one more than its largest index. */
static dml_status svm_width(struct raw_reader *reader, size_t *width)
{
    struct job *job = reader->job;
    dml_svm *svm = NULL;
    dml_svm_row row;
    dml_status status =
        job_note(job, dml_svm_open(job->ctx, reader->source->path, NULL, &svm));
    *width = 1;
    while (status == DML_OK) {
        dml_status next = dml_svm_next(svm, &row);
        if (next == DML_EEND)
            break;
        status = job_note(job, next);
        if (status == DML_OK && row.count && row.index[row.count - 1] >= *width)
            *width = (size_t)row.index[row.count - 1] + 1;
        if (*width > TREE_MAX_FEATURES)
            status = job_fail(job, DML_EUNSUPPORTED,
                              "%.300s:%llu: index %zu; the largest that a forest takes "
                              "is %zu",
                              reader->source->path, (unsigned long long)row.line,
                              *width - 1, TREE_MAX_FEATURES - 1);
    }
    dml_svm_close(svm);
    return status;
}

dml_status raw_open_libsvm(struct raw_reader *reader)
{
    struct job *job = reader->job;
    struct raw *raw = reader->raw;
    if (!raw->column) {
        dml_status status = svm_width(reader, &raw->nfeatures);
        if (status != DML_OK)
            return status;
        raw->column = calloc(raw->nfeatures, sizeof *raw->column);
        if (!raw->column)
            return job_fail(job, DML_ENOMEM, "out of memory");
    }
    return job_note(job,
                    dml_svm_open(job->ctx, reader->source->path, NULL, &reader->svm));
}

dml_status raw_next_libsvm(struct raw_reader *reader)
{
    struct raw *raw = reader->raw;
    size_t n = 0, room = BLOCK_CELLS / raw->nfeatures;
    room = room < 1 ? 1 : room > BLOCK_ROWS ? BLOCK_ROWS : room;
    dml_status status = raw_start_block(reader->job, raw, room);
    while (status == DML_OK && n < room) {
        dml_svm_row row;
        dml_status next = dml_svm_next(reader->svm, &row);
        if (next == DML_EEND)
            break;
        status = job_note(reader->job, next);
        if (status != DML_OK)
            break;
        float *cells = raw->block.cells + n * raw->nfeatures;
        memset(cells, 0, raw->nfeatures * sizeof *cells);
        raw->block.label[n++] = row.label;
        for (size_t i = 0; i < row.count; i++)
            if (row.index[i] < raw->nfeatures)
                cells[row.index[i]] = row.value[i];
    }
    raw->block.nrows = n;
    return status;
}
