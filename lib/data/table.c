/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables: opening, columns by name or number, closing. The beginning of the file is
 * looked at without a share first, so that all ranks find the same delimiter, header
 * and columns.
 */
#include "data/table.h"

#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS 8192
#define MOST_ROWS  ((size_t)1 << 24)

void dml_table_opts_init(dml_table_opts *opts)
{
    *opts = (dml_table_opts){
        .size = sizeof *opts,
        .quotes = true,
        .missing = "NA,N/A,NaN,nan,null,NULL,?",
        .block_rows = BLOCK_ROWS,
    };
    dml_text_opts_init(&opts->text);
}

/* A delimiter that a number cannot hold. */
static bool is_delimiter(char c)
{
    return c != '\0' && strchr(",\t;| :~^&!#%/", c) != NULL;
}

static dml_status check_opts(dml_ctx *ctx, const char *where, const dml_table_opts *o)
{
    DML_TRY(dml__check_size(ctx, where, o->size, sizeof *o, "dml_table_opts_init"));
    if (o->delimiter != 0 && !is_delimiter(o->delimiter))
        return dml__fail(ctx, DML_EINVAL, where,
                         "delimiter '%c' (%d) cannot be used; give one of , tab ; | "
                         "blank : ~ ^ & ! # %% /",
                         o->delimiter, o->delimiter);
    if (o->header < DML_HEADER_AUTO || o->header > DML_HEADER_NO)
        return dml__fail(ctx, DML_EINVAL, where, "header is %d; give AUTO, YES or NO",
                         (int)o->header);
    if (o->block_rows == 0 || o->block_rows > MOST_ROWS)
        return dml__fail(ctx, DML_EINVAL, where, "block_rows is %zu; 1 to %zu expected",
                         o->block_rows, MOST_ROWS);
    return DML_OK;
}

/* The words of "a,b,c", copied. */
static dml_status take_missing(dml_table *t, const char *words, const char *where)
{
    words = words != NULL ? words : "";
    size_t bytes = strlen(words), n = 1;
    for (const char *at = words; *at != '\0'; at++)
        n += *at == ',';
    t->missing = dml__alloc(t->ctx, dml__mul(n, sizeof *t->missing));
    t->missing_words = dml__alloc(t->ctx, bytes + 1);
    if (t->missing == NULL || t->missing_words == NULL)
        return dml__fail(t->ctx, DML_ENOMEM, where, "no memory for %zu words", n);
    memcpy(t->missing_words, words, bytes);
    const char *at = t->missing_words;
    for (t->nmissing = 0; t->nmissing < n; t->nmissing++) {
        size_t length = strcspn(at, ",");
        t->missing[t->nmissing] = (dml_text){at, length};
        at += length + 1;
    }
    return DML_OK;
}

/* This rank's share in place of the whole file; the header is not part of it. */
static dml_status begin_rows(dml_table *t, const char *where, const char *path,
                             const dml_text_opts *opts)
{
    if (opts->nranks > 1) {
        dml__source_close(&t->source);
        DML_TRY(dml__source_open(&t->source, t->ctx, where, path, opts));
        DML_TRY(dml__table_mark(t, t->source.begin, t->source.whole));
    }
    t->source.opts = *opts;
    /* Blank lines before the header may be other shares'. */
    bool ours = t->header_at >= t->source.first && t->header_at < t->source.stop;
    if (!t->header || !ours)
        return DML_OK;
    uint64_t line = 0;
    dml_status status = dml__table_next_row(t, true, &line);
    return status == DML_EEND ? DML_OK : status;
}

static dml_status open_table(dml_table *t, const char *where, const char *path,
                             const dml_table_opts *opts)
{
    dml_text_opts whole = opts->text;
    whole.rank = 0;
    whole.nranks = 1;
    DML_TRY(take_missing(t, opts->missing, where));
    DML_TRY(dml__source_open(&t->source, t->ctx, where, path, &whole));
    DML_TRY(dml__table_read_head(t));
    return begin_rows(t, where, path, &opts->text);
}

dml_status dml_table_open(dml_ctx *ctx, const char *path, const dml_table_opts *opts,
                          dml_table **out)
{
    dml_table_opts defaults;
    dml_table_opts_init(&defaults);
    opts = opts != NULL ? opts : &defaults;
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    DML_TRY(check_opts(ctx, __func__, opts));
    dml_table *t = dml__alloc(ctx, sizeof *t);
    if (t == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a table's reader");
    t->ctx = ctx;
    t->bytes = dml__byte_kernels(dml__ctx_kernels(ctx)->name);
    t->wants_delimiter = opts->delimiter;
    t->quotes = opts->quotes;
    t->wants_header = opts->header;
    t->block_rows = opts->block_rows;
    dml_status status = open_table(t, __func__, path, opts);
    if (status != DML_OK)
        dml_table_close(t);
    else
        *out = t;
    return status;
}

size_t dml_table_columns(const dml_table *t)
{
    return t->ncolumns;
}

const char *dml_table_name(const dml_table *t, size_t column)
{
    return t->names != NULL && column < t->ncolumns ? t->names[column].data : NULL;
}

char dml_table_delimiter(const dml_table *t)
{
    return t->delimiter;
}

bool dml_table_is_numeric(const dml_table *t, size_t column)
{
    return column < t->ncolumns && t->numeric[column];
}

static dml_status no_such_column(const dml_table *t, const char *where,
                                 const char *name)
{
    char names[160] = "";
    size_t used = 0;
    for (size_t c = 0; t->names != NULL && c < t->ncolumns && used < 120; c++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%.30s",
                                 c > 0 ? ", " : "; names begin ", t->names[c].data);
    return dml__fail(t->ctx, DML_EINVAL, where,
                     "%s: no column \"%.60s\"; it has %zu: give a name, or a number "
                     "from 1, or from -1 backwards%s",
                     t->source.reader.path, name, t->ncolumns, names);
}

dml_status dml_table_find(const dml_table *t, const char *name, size_t *column)
{
    if (t == NULL || name == NULL || column == NULL)
        return dml__fail(t != NULL ? t->ctx : NULL, DML_EINVAL, __func__,
                         "the table, the name or the result is NULL");
    for (size_t c = 0; t->names != NULL && c < t->ncolumns; c++) {
        if (strcmp(t->names[c].data, name) == 0) {
            *column = c;
            return DML_OK;
        }
    }
    char *end = NULL;
    long long number = strtoll(name, &end, 10);
    long long n = (long long)t->ncolumns;
    if (end == name || *end != '\0' || number == 0 || number > n || number < -n)
        return no_such_column(t, __func__, name);
    *column = (size_t)(number > 0 ? number - 1 : n + number);
    return DML_OK;
}

dml_status dml_table_set_type(dml_table *t, size_t column, dml_column_type type)
{
    if (column >= t->ncolumns || type < DML_COLUMN_SKIP || type > DML_COLUMN_TEXT)
        return dml__fail(t->ctx, DML_EINVAL, __func__,
                         "column %zu of %zu, type %d: out of range", column,
                         t->ncolumns, (int)type);
    if (t->capacity > 0)
        return dml__fail(t->ctx, DML_EINVAL, __func__,
                         "rows have been read; set types before the first block");
    t->types[column] = type;
    return DML_OK;
}

uint64_t dml_table_skipped(const dml_table *t)
{
    return t->source.skipped;
}

void dml_table_close(dml_table *t)
{
    if (t == NULL)
        return;
    for (size_t c = 0; t->memory != NULL && c < t->ncolumns; c++)
        dml__free(t->memory[c].any);
    dml__source_close(&t->source);
    dml__free(t->columns);
    dml__free(t->memory);
    dml__free(t->types);
    dml__free(t->numeric);
    dml__free(t->cells);
    dml__free(t->marks);
    dml__free(t->name_text);
    dml__free(t->names);
    dml__free(t->missing_words);
    dml__free(t->missing);
    dml__free(t);
}
