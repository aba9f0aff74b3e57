/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rows into cells. All delimiters, newlines, quotes and zeros of the text at hand are
 * found beforehand by vectors; cutting walks from mark to mark and looks at no other
 * byte.
 */
#include "data/table.h"

#include <stdio.h>

dml_status dml__table_mark(dml_table *t, size_t from, size_t to)
{
    size_t wanted = to - from;
    if (wanted > t->marks_room) {
        dml__free(t->marks);
        t->marks_room = 0;
        t->marks = dml__alloc(t->ctx, dml__mul(wanted, sizeof *t->marks));
        if (t->marks == NULL)
            return dml__fail(t->ctx, DML_ENOMEM, t->source.reader.where,
                             "%s: no memory for rows of %zu bytes",
                             t->source.reader.path, wanted);
        t->marks_room = wanted;
    }
    const char *text = t->source.text + from;
    t->nmarks = t->bytes->find_marks(text, wanted, t->delimiter, t->marks);
    t->mark = 0;
    t->base = from;
    return DML_OK;
}

static inline size_t mark_at(const dml_table *t, size_t mark)
{
    return t->base + t->marks[mark];
}

/* The inside of a quoted cell whose opening quote is a mark; *end is the closing one.
 */
static dml__cut cut_quoted(dml_table *t, dml__row *row, size_t *end)
{
    const char *text = t->source.text;
    for (size_t k = row->mark + 1; k < t->nmarks; k++) {
        size_t at = mark_at(t, k);
        if (text[at] == '\0') {
            row->fault = "holds a zero byte; check that this is a text file";
            return DML__CUT_BAD;
        }
        row->lines += text[at] == '\n';
        if (text[at] != '"')
            continue;
        if (text[at + 1] == '"') {
            t->doubled = true;
            k++;
            continue;
        }
        *end = at;
        row->mark = k + 1;
        return DML__CUT_ROW;
    }
    return DML__CUT_MORE;
}

/* A quoted cell and what must follow it; row->at becomes the mark behind it. */
static dml__cut cut_quoted_cell(dml_table *t, dml__row *row, dml_text *cell)
{
    const char *text = t->source.text;
    size_t start = row->at + 1, end = 0;
    dml__cut cut = cut_quoted(t, row, &end);
    if (cut != DML__CUT_ROW)
        return cut;
    row->at = end + 1;
    row->at += text[row->at] == '\r' && text[row->at + 1] == '\n';
    *cell = (dml_text){text + start, end - start};
    if (text[row->at] == t->delimiter || text[row->at] == '\n')
        return DML__CUT_ROW;
    row->fault = "text behind a closing quote; inside quotes, double them";
    return DML__CUT_BAD;
}

/* A cell without quotes around it. */
static inline dml__cut cut_plain_cell(const dml_table *t, dml__row *row, dml_text *cell)
{
    const char *text = t->source.text;
    size_t start = row->at, end = mark_at(t, row->mark);
    while (text[end] == '"')
        end = mark_at(t, ++row->mark);
    row->at = end;
    if (text[end] == '\0') {
        row->fault = "holds a zero byte; check that this is a text file";
        return DML__CUT_BAD;
    }
    end -= text[end] == '\n' && end > start && text[end - 1] == '\r';
    *cell = (dml_text){text + start, end - start};
    return DML__CUT_ROW;
}

dml__cut dml__table_cut(dml_table *t, dml__row *row)
{
    const char *text = t->source.text;
    dml__row r = {.at = row->at, .mark = row->mark};
    t->doubled = false;
    for (char last = t->delimiter; last != '\n'; last = text[r.at++], r.mark++) {
        dml_text cell;
        dml__cut cut = t->quotes && text[r.at] == '"' ? cut_quoted_cell(t, &r, &cell)
                                                      : cut_plain_cell(t, &r, &cell);
        if (cut != DML__CUT_ROW) {
            row->fault = r.fault;
            return cut;
        }
        if (r.cells < t->ncolumns)
            t->cells[r.cells] = cell;
        r.cells++;
    }
    r.lines++;
    *row = r;
    return DML__CUT_ROW;
}

/* Pass over what was cut, or over one line of what could not be. */
static void consume(dml_table *t, const dml__row *row)
{
    dml__source *s = &t->source;
    s->offset += row->at - s->begin;
    s->begin = row->at;
    s->lines += row->lines;
    t->mark = row->mark;
}

static void consume_line(dml_table *t)
{
    dml__row row = {.mark = t->mark, .lines = 1};
    while (t->source.text[mark_at(t, row.mark)] != '\n')
        row.mark++;
    row.at = mark_at(t, row.mark++) + 1;
    consume(t, &row);
}

/* Read on, and find the marks of it; DML_EEND at the end. */
static dml_status read_on(dml_table *t)
{
    dml__source *s = &t->source;
    dml_status status = dml__source_more(s);
    return status != DML_OK ? status : dml__table_mark(t, s->begin, s->whole);
}

static bool is_empty_line(const dml__source *s)
{
    const char *at = s->text + s->begin;
    return at[0] == '\n' || (at[0] == '\r' && at[1] == '\n');
}

/* A row whose end is not there: read on, or give the row up. */
static dml_status complete(dml_table *t, bool may_read)
{
    dml__source *s = &t->source;
    if (s->end - s->begin <= s->opts.max_line_bytes) {
        if (!may_read)
            return DML_PENDING;
        dml_status status = read_on(t);
        if (status != DML_EEND)
            return status;
    }
    DML_TRY(dml__source_bad(s, s->lines + 1, "a quote is left open"));
    /* At the file's end source_more() may have moved the text. */
    DML_TRY(dml__table_mark(t, s->begin, s->whole));
    consume_line(t);
    return DML_OK;
}

/* The faults of a row as a whole; NULL if there is none. */
static const char *fault_of(const dml_table *t, const dml__row *row, char text[80])
{
    if (row->at - t->source.begin > t->source.opts.max_line_bytes)
        return "too long; raise the limit, or check that this is a text file";
    if (row->lines > 1 && t->source.opts.nranks > 1)
        return "a newline in quotes: such a file cannot be shared out by bytes";
    if (row->cells == t->ncolumns)
        return NULL;
    snprintf(text, 80, "%zu cells found, %zu expected as in the first row", row->cells,
             t->ncolumns);
    return text;
}

dml_status dml__table_next_row(dml_table *t, bool may_read, uint64_t *line)
{
    dml__source *s = &t->source;
    for (;;) {
        if (s->begin == s->whole) {
            if (!may_read)
                return DML_PENDING;
            dml_status status = read_on(t);
            if (status != DML_OK)
                return status;
            continue;
        }
        if (s->offset >= s->stop)
            return DML_EEND;
        if (is_empty_line(s)) {
            consume_line(t);
            continue;
        }
        dml__row row = {.at = s->begin, .mark = t->mark};
        dml__cut cut = dml__table_cut(t, &row);
        if (cut == DML__CUT_MORE) {
            dml_status status = complete(t, may_read);
            if (status != DML_OK)
                return status;
            continue;
        }
        char text[80];
        const char *fault = cut == DML__CUT_BAD ? row.fault : fault_of(t, &row, text);
        *line = s->lines + 1;
        if (fault == NULL) {
            consume(t, &row);
            return DML_OK;
        }
        DML_TRY(dml__source_bad(s, *line, "%s", fault));
        if (cut == DML__CUT_BAD)
            consume_line(t);
        else
            consume(t, &row);
    }
}
