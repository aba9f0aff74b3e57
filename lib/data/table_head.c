/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a table's first rows tell: the delimiter that cuts them alike, the number of
 * columns, whether there is a header, and which columns hold numbers.
 */
#include "data/table.h"

#include <string.h>

#define HEAD_BYTES ((size_t)64 << 10)
#define HEAD_ROWS  1000

static const char candidates[] = ",\t;|";

/* End of the lines to look at; whole lines, at least one. */
static size_t head_end(const dml__source *s)
{
    size_t bytes = s->whole - s->begin;
    const char *from = s->text + s->begin;
    const char *last = bytes > HEAD_BYTES ? memrchr(from, '\n', HEAD_BYTES) : NULL;
    return last != NULL ? (size_t)(last + 1 - s->text) : s->whole;
}

/* Bytes of the empty line that stands there; 0: none does. */
static size_t empty_line(const char *at)
{
    return at[0] == '\n' ? 1 : at[0] == '\r' && at[1] == '\n' ? 2 : 0;
}

/* Pass over empty lines. */
static void skip_empty(const dml_table *t, dml__row *row, size_t end)
{
    size_t bytes;
    while (row->at < end && (bytes = empty_line(t->source.text + row->at)) > 0) {
        row->at += bytes;
        row->mark++;
    }
}

/* The next row of the head that can be cut; false: there is none. */
static bool next_row(dml_table *t, dml__row *row, size_t end)
{
    skip_empty(t, row, end);
    return row->at < end && dml__table_cut(t, row) == DML__CUT_ROW;
}

/* Rows that have as many cells as the first one, if it has several, and how many rows
 * there are. */
typedef struct vote {
    size_t rows, alike, cells;
} vote;

static dml_status count_rows(dml_table *t, char delimiter, size_t end, vote *v)
{
    dml__row row = {.at = t->source.begin};
    *v = (vote){0};
    t->delimiter = delimiter;
    DML_TRY(dml__table_mark(t, t->source.begin, end));
    while (v->rows < HEAD_ROWS && next_row(t, &row, end)) {
        if (v->rows++ == 0)
            v->cells = row.cells;
        v->alike += row.cells == v->cells && v->cells > 1;
    }
    return DML_OK;
}

/* More rows alike, then more cells, is better. */
static bool is_better(const vote *a, const vote *b)
{
    /* alike / rows, without division; a head without rows has no say. */
    size_t left = a->alike * b->rows, right = b->alike * a->rows;
    return left > right || (left == right && a->cells > b->cells);
}

static dml_status choose_delimiter(dml_table *t, size_t end)
{
    char chosen = t->wants_delimiter != 0 ? t->wants_delimiter : candidates[0];
    vote best = {0}, v;
    DML_TRY(count_rows(t, chosen, end, &best));
    for (size_t i = 1; candidates[i] != '\0' && t->wants_delimiter == 0; i++) {
        DML_TRY(count_rows(t, candidates[i], end, &v));
        if (v.alike > 0 && is_better(&v, &best)) {
            best = v;
            chosen = candidates[i];
        }
    }
    t->delimiter = chosen;
    t->ncolumns = best.cells;
    if (best.rows == 0)
        return dml__fail(t->ctx, DML_EFORMAT, t->source.reader.where,
                         "%s:%llu: no row of a table; check the path and the quotes",
                         t->source.reader.path,
                         (unsigned long long)t->source.lines + 1);
    return dml__table_mark(t, t->source.begin, end);
}

static dml_status allocate(dml_table *t)
{
    size_t n = t->ncolumns;
    t->cells = dml__alloc(t->ctx, dml__mul(n, sizeof *t->cells));
    t->numeric = dml__alloc(t->ctx, dml__mul(n, sizeof *t->numeric));
    t->types = dml__alloc(t->ctx, dml__mul(n, sizeof *t->types));
    t->memory = dml__alloc(t->ctx, dml__mul(n, sizeof *t->memory));
    t->columns = dml__alloc(t->ctx, dml__mul(n, sizeof *t->columns));
    if (t->cells == NULL || t->numeric == NULL || t->types == NULL ||
        t->memory == NULL || t->columns == NULL)
        return dml__fail(t->ctx, DML_ENOMEM, t->source.reader.where,
                         "%s: no memory for %zu columns", t->source.reader.path, n);
    for (size_t c = 0; c < n; c++)
        t->types[c] = DML_COLUMN_F64;
    return DML_OK;
}

/* What a cell says of its column. An infinity is meant as a number, though it is none
 * that can be handed out; in a column of words it is a word. */
enum cell_kind { CELL_MISSING, CELL_NUMBER, CELL_NOT_FINITE, CELL_WORD };

static enum cell_kind kind_of(const dml_table *t, dml_text cell)
{
    double value;
    if (dml__table_f64(t, cell, &value))
        return value == value ? CELL_NUMBER : CELL_MISSING;
    return dml__table_is_not_finite(cell) ? CELL_NOT_FINITE : CELL_WORD;
}

static bool has_number(const dml_table *t)
{
    for (size_t c = 0; c < t->ncolumns; c++) {
        enum cell_kind kind = kind_of(t, t->cells[c]);
        if (kind == CELL_NUMBER || kind == CELL_NOT_FINITE)
            return true;
    }
    return false;
}

/* Whether the first row, at "first", is a header: no number in it, but one below. */
static bool looks_like_header(dml_table *t, dml__row first, size_t end)
{
    if (!next_row(t, &first, end) || has_number(t))
        return false;
    return next_row(t, &first, end) && first.cells == t->ncolumns && has_number(t);
}

/* Columns that hold a number, or nothing at all, and no word. Where one that is not
 * finite stands among them, reading the column names it. */
static dml_status find_numeric(dml_table *t, dml__row row, size_t end)
{
    unsigned *kinds = dml__alloc(t->ctx, dml__mul(t->ncolumns, sizeof *kinds));
    if (kinds == NULL)
        return dml__fail(t->ctx, DML_ENOMEM, t->source.reader.where,
                         "%s: no memory for %zu columns", t->source.reader.path,
                         t->ncolumns);
    for (size_t rows = 0; rows < HEAD_ROWS && next_row(t, &row, end); rows++)
        for (size_t c = 0; c < t->ncolumns && row.cells == t->ncolumns; c++)
            kinds[c] |= 1u << kind_of(t, t->cells[c]);
    for (size_t c = 0; c < t->ncolumns; c++) {
        bool number = kinds[c] & 1u << CELL_NUMBER;
        bool alone = !(kinds[c] & 1u << CELL_NOT_FINITE);
        t->numeric[c] = !(kinds[c] & 1u << CELL_WORD) && (number || alone);
    }
    dml__free(kinds);
    return DML_OK;
}

/* Copies of the cells at hand, quotes taken off. */
static dml_status take_names(dml_table *t)
{
    size_t bytes = 0;
    for (size_t c = 0; c < t->ncolumns; c++)
        bytes += t->cells[c].bytes + 1;
    t->names = dml__alloc(t->ctx, dml__mul(t->ncolumns, sizeof *t->names));
    t->name_text = dml__alloc(t->ctx, bytes);
    if (t->names == NULL || t->name_text == NULL)
        return dml__fail(t->ctx, DML_ENOMEM, t->source.reader.where,
                         "%s: no memory for %zu names", t->source.reader.path,
                         t->ncolumns);
    char *to = t->name_text;
    for (size_t c = 0; c < t->ncolumns; c++) {
        t->names[c].data = to;
        for (size_t i = 0; i < t->cells[c].bytes; i++) {
            *to++ = t->cells[c].data[i];
            i += t->doubled && t->cells[c].data[-1] == '"' && to[-1] == '"';
        }
        t->names[c].bytes = (size_t)(to - t->names[c].data);
        to++; /* a zero stands there */
    }
    return DML_OK;
}

/* The first lines, as many as hold a whole row. */
static dml_status read_first(dml_table *t)
{
    dml__source *s = &t->source;
    dml_status status = dml__source_more(s);
    if (status == DML_EEND)
        return dml__fail(t->ctx, DML_EFORMAT, s->reader.where,
                         "%s: empty; a table with at least one row was expected",
                         s->reader.path);
    return status;
}

dml_status dml__table_read_head(dml_table *t)
{
    DML_TRY(read_first(t));
    size_t end = head_end(&t->source);
    DML_TRY(choose_delimiter(t, end));
    DML_TRY(allocate(t));
    dml__row row = {.at = t->source.begin};
    t->header = t->wants_header == DML_HEADER_YES ||
                (t->wants_header == DML_HEADER_AUTO && looks_like_header(t, row, end));
    skip_empty(t, &row, end);
    /* The file's first line begins at byte 0, also behind a mark of the byte order. */
    bool first = t->source.lines == 0 && row.at == t->source.begin;
    t->header_at = first ? 0 : t->source.offset + (row.at - t->source.begin);
    if (t->header && next_row(t, &row, end))
        DML_TRY(take_names(t));
    DML_TRY(find_numeric(t, row, end));
    return dml__table_mark(t, t->source.begin, t->source.whole);
}
