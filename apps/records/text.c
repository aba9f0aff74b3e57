/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text files into records: one row, line or sentence each, as text without the last
 * newline of a row or line.
 */
#include "convert.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the library takes for the longest line. */
#define LEAST_LINE 64
#define MOST_LINE  (UINT32_MAX / 4)

static int no_memory(void)
{
    return refuse("no memory for a record");
}

static dml_text_opts text_opts(const struct conversion *c)
{
    dml_text_opts opts;
    dml_text_opts_init(&opts);
    opts.on_error = on_error_of(c->app);
    uint64_t limit = (uint64_t)c->app->o.max_bytes;
    opts.max_line_bytes = limit < LEAST_LINE  ? LEAST_LINE
                          : limit > MOST_LINE ? MOST_LINE
                                              : (size_t)limit;
    return opts;
}

/* The end of a reading: all is well at the end of the data. */
static int ended(const struct conversion *c, dml_status status)
{
    return status == DML_EEND ? EXIT_GOOD : complain(c->app);
}

int lines_to_records(struct conversion *c)
{
    dml_text_opts opts = text_opts(c);
    dml_lines *lines = NULL;
    dml_line line;
    dml_status status = dml_lines_open(c->app->ctx, c->app->o.in, &opts, &lines);
    if (status != DML_OK)
        return complain(c->app);
    while ((status = dml_lines_next(lines, &line)) == DML_OK) {
        if (!add(c, line.text.data, line.text.bytes)) {
            dml_lines_close(lines);
            return no_memory();
        }
        status = append(c, line.number - 1, (double)line.text.bytes);
        if (status != DML_OK)
            break;
    }
    c->skipped = dml_lines_skipped(lines);
    dml_lines_close(lines);
    return ended(c, status);
}

/* ---- tables -----------------------------------------------------------------------
 */

static bool add_cell(struct conversion *c, dml_text cell, char delimiter, bool alone)
{
    if (alone && cell.bytes == 0) /* An empty line would be none of the table's. */
        return add(c, "\"\"", 2);
    const char special[] = {delimiter, '"', '\n', '\r', '\0'};
    if (strcspn(cell.data, special) == cell.bytes)
        return add(c, cell.data, cell.bytes);
    bool good = add(c, "\"", 1);
    for (size_t i = 0; i < cell.bytes && good; i++)
        good = add(c, &cell.data[i], 1) && (cell.data[i] != '"' || add(c, "\"", 1));
    return good && add(c, "\"", 1);
}

/* Columns of the options, or SIZE_MAX. */
struct wanted {
    size_t key, weight;
};

/* A weight from a cell, which is text here as all of the row; it must be a number not
 * below 0, written as the library's columns of numbers have it: no hexadecimal. */
static bool read_weight(dml_text cell, double *weight)
{
    char *end = NULL;
    *weight = strtod(cell.data, &end);
    return cell.bytes > 0 && strspn(cell.data, "+-.0123456789eE \t") == cell.bytes &&
           end != cell.data && *(end + strspn(end, " \t")) == '\0' &&
           isfinite(*weight) && *weight >= 0;
}

static int append_rows(struct conversion *c, const dml_table *t,
                       const dml_table_block *b, const struct wanted *w)
{
    char delimiter = dml_table_delimiter(t);
    size_t columns = dml_table_columns(t);
    for (size_t r = 0; r < b->rows; r++) {
        uint64_t key = b->first + r;
        double weight = 1;
        bool good = true;
        for (size_t column = 0; column < columns && good; column++) {
            good = column == 0 || add(c, &delimiter, 1);
            good = good &&
                   add_cell(c, b->columns[column].text[r], delimiter, columns == 1);
        }
        if (!good)
            return no_memory();
        if (w->key != SIZE_MAX) {
            dml_text cell = b->columns[w->key].text[r];
            key = dml_hash_bytes(cell.data, cell.bytes, 0);
        }
        if (w->weight != SIZE_MAX &&
            !read_weight(b->columns[w->weight].text[r], &weight)) {
            if (on_error_of(c->app) == DML_ON_ERROR_FAIL)
                return refuse(
                    "%s: row %" PRIu64 ": the weight \"%.40s\" is no number from 0 "
                    "on",
                    c->app->o.in, b->first + r + 1, b->columns[w->weight].text[r].data);
            c->bytes = 0; /* what was put together */
            c->skipped++;
            continue;
        }
        if (append(c, key, weight) != DML_OK)
            return complain(c->app);
    }
    return EXIT_GOOD;
}

static int find(const struct conversion *c, const dml_table *t, const char *name,
                size_t *column)
{
    *column = SIZE_MAX;
    if (!name || dml_table_find(t, name, column) == DML_OK)
        return EXIT_GOOD;
    return complain(c->app);
}

static int append_table(struct conversion *c, dml_table *t)
{
    struct wanted w;
    dml_table_block b;
    dml_status status;
    if (find(c, t, c->app->o.key, &w.key) != EXIT_GOOD ||
        find(c, t, c->app->o.weight, &w.weight) != EXIT_GOOD)
        return EXIT_FAILED;
    for (size_t column = 0; column < dml_table_columns(t); column++)
        dml_table_set_type(t, column, DML_COLUMN_TEXT);
    while ((status = dml_table_next(t, &b)) == DML_OK) {
        int result = append_rows(c, t, &b, &w);
        if (result != EXIT_GOOD)
            return result;
    }
    c->skipped += dml_table_skipped(t);
    return ended(c, status);
}

int table_to_records(struct conversion *c)
{
    const struct options *o = &c->app->o;
    dml_table_opts opts;
    dml_table_opts_init(&opts);
    opts.text = text_opts(c);
    opts.header = o->header[0] == 'y'   ? DML_HEADER_YES
                  : o->header[0] == 'n' ? DML_HEADER_NO
                                        : DML_HEADER_AUTO;
    if (o->delimiter)
        opts.delimiter = strcmp(o->delimiter, "tab") == 0 ? '\t' : o->delimiter[0];
    dml_table *t = NULL;
    if (dml_table_open(c->app->ctx, o->in, &opts, &t) != DML_OK)
        return complain(c->app);
    int result = append_table(c, t);
    dml_table_close(t);
    return result;
}

/* ---- libsvm -----------------------------------------------------------------------
 */

static bool add_row(struct conversion *c, const dml_svm_row *row)
{
    char word[64];
    int n = snprintf(word, sizeof word, "%.17g", row->label);
    bool good = add(c, word, (size_t)n);
    if (row->qid >= 0) {
        n = snprintf(word, sizeof word, " qid:%" PRId64, row->qid);
        good = good && add(c, word, (size_t)n);
    }
    for (size_t i = 0; i < row->count && good; i++) {
        n = snprintf(word, sizeof word, " %" PRIu32 ":%.9g", row->index[i],
                     (double)row->value[i]);
        good = add(c, word, (size_t)n);
    }
    return good;
}

int svm_to_records(struct conversion *c)
{
    dml_text_opts opts = text_opts(c);
    dml_svm *svm = NULL;
    dml_svm_row row;
    dml_status status = dml_svm_open(c->app->ctx, c->app->o.in, &opts, &svm);
    if (status != DML_OK)
        return complain(c->app);
    for (uint64_t i = 0; (status = dml_svm_next(svm, &row)) == DML_OK; i++) {
        if (!add_row(c, &row)) {
            dml_svm_close(svm);
            return no_memory();
        }
        status = append(c, row.qid >= 0 ? (uint64_t)row.qid : i, (double)row.count);
        if (status != DML_OK)
            break;
    }
    c->skipped = dml_svm_skipped(svm);
    dml_svm_close(svm);
    return ended(c, status);
}

/* ---- sentences --------------------------------------------------------------------
 */

static bool add_sentence(struct conversion *c, const dml_sentence *s, char between)
{
    bool good = true;
    for (size_t i = 0; i < s->comments && good; i++)
        good = add(c, s->comment[i].data, s->comment[i].bytes) && add(c, "\n", 1);
    for (size_t i = 0; i < s->tokens * s->columns && good; i++) {
        char after = (i + 1) % s->columns == 0 ? '\n' : between;
        good = add(c, s->cells[i].data, s->cells[i].bytes) && add(c, &after, 1);
    }
    return good;
}

int conll_to_records(struct conversion *c)
{
    dml_conll_opts opts;
    dml_conll_opts_init(&opts);
    opts.text = text_opts(c);
    opts.all_nodes = true;
    bool conllu = strcmp(c->app->o.from, "conllu") == 0;
    opts.format = conllu ? DML_CONLL_U : DML_CONLL_COLUMNS;
    dml_conll *conll = NULL;
    dml_sentence s;
    dml_status status = dml_conll_open(c->app->ctx, c->app->o.in, &opts, &conll);
    if (status != DML_OK)
        return complain(c->app);
    for (uint64_t i = 0; (status = dml_conll_next(conll, &s)) == DML_OK; i++) {
        if (!add_sentence(c, &s, conllu ? '\t' : ' ')) {
            dml_conll_close(conll);
            return no_memory();
        }
        status = append(c, i, (double)s.tokens);
        if (status != DML_OK)
            break;
    }
    c->skipped = dml_conll_skipped(conll);
    dml_conll_close(conll);
    return ended(c, status);
}
