/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cells into columns: numbers, texts and missing values, a block of rows at a time. A
 * block ends where the source has to read on, because texts point into its buffer.
 */
#include "data/decimal.h"
#include "data/table.h"

#include <math.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)8 << 20) /* of all columns, unless one row takes more */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static dml_text trimmed(dml_text cell)
{
    while (cell.bytes > 0 && is_blank(*cell.data)) {
        cell.data++;
        cell.bytes--;
    }
    while (cell.bytes > 0 && is_blank(cell.data[cell.bytes - 1]))
        cell.bytes--;
    return cell;
}

static bool is_missing(const dml_table *t, dml_text cell)
{
    if (cell.bytes == 0)
        return true;
    for (size_t i = 0; i < t->nmissing; i++)
        if (t->missing[i].bytes == cell.bytes &&
            memcmp(t->missing[i].data, cell.data, cell.bytes) == 0)
            return true;
    return false;
}

bool dml__table_f64(const dml_table *t, dml_text cell, double *value)
{
    if (dml__decimal_f64(cell.data, cell.bytes, value))
        return true;
    cell = trimmed(cell);
    *value = (double)NAN;
    return is_missing(t, cell) || dml__decimal_f64(cell.data, cell.bytes, value);
}

bool dml__table_f32(const dml_table *t, dml_text cell, float *value)
{
    if (dml__decimal_f32(cell.data, cell.bytes, value))
        return true;
    cell = trimmed(cell);
    *value = NAN;
    return is_missing(t, cell) || dml__decimal_f32(cell.data, cell.bytes, value);
}

bool dml__table_is_not_finite(dml_text cell)
{
    cell = trimmed(cell);
    return dml__decimal_is_not_finite(cell.data, cell.bytes);
}

void dml__table_finish_text(const dml_table *t, dml_text *cell)
{
    /* The text is the source's, which may be changed up to what was read. */
    char *text = t->source.text + (cell->data - t->source.text);
    size_t bytes = cell->bytes;
    if (t->doubled && text[-1] == '"') {
        bytes = 0;
        for (size_t i = 0; i < cell->bytes; i++) {
            text[bytes++] = text[i];
            i += text[i] == '"';
        }
    }
    text[bytes] = '\0';
    cell->bytes = bytes;
}

static size_t bytes_of(dml_column_type type)
{
    return type == DML_COLUMN_F32    ? sizeof(float)
           : type == DML_COLUMN_F64  ? sizeof(double)
           : type == DML_COLUMN_TEXT ? sizeof(dml_text)
                                     : 0;
}

static dml_status allocate(dml_table *t)
{
    size_t row_bytes = 1;
    for (size_t c = 0; c < t->ncolumns; c++)
        row_bytes += bytes_of(t->types[c]);
    size_t fit = BLOCK_BYTES / row_bytes;
    size_t rows = fit < t->block_rows ? (fit > 0 ? fit : 1) : t->block_rows;
    for (size_t c = 0; c < t->ncolumns; c++) {
        size_t bytes = bytes_of(t->types[c]);
        dml__free(t->memory[c].any);
        t->memory[c].any = bytes > 0 ? dml__alloc(t->ctx, rows * bytes) : NULL;
        if (bytes > 0 && t->memory[c].any == NULL)
            return dml__fail(t->ctx, DML_ENOMEM, t->source.reader.where,
                             "%s: no memory for blocks of %zu rows and %zu columns",
                             t->source.reader.path, rows, t->ncolumns);
        t->columns[c].f32 = t->memory[c].any;
    }
    t->capacity = rows;
    return DML_OK;
}

/* The row at hand as row r of the block; false: column *bad is no number. */
static bool convert(dml_table *t, size_t r, size_t *bad)
{
    bool good = true;
    for (size_t c = 0; c < t->ncolumns && good; c++) {
        dml_text cell = t->cells[c];
        switch (t->types[c]) {
        case DML_COLUMN_F32:
            good = dml__table_f32(t, cell, &t->memory[c].f32[r]);
            break;
        case DML_COLUMN_F64:
            good = dml__table_f64(t, cell, &t->memory[c].f64[r]);
            break;
        case DML_COLUMN_TEXT:
            dml__table_finish_text(t, &cell);
            t->memory[c].text[r] = cell;
            break;
        default:
            break;
        }
        *bad = c;
    }
    return good;
}

static dml_status not_a_number(dml_table *t, uint64_t line, size_t c)
{
    double wide;
    dml_text cell = t->cells[c];
    const char *name = dml_table_name(t, c);
    bool large = t->types[c] == DML_COLUMN_F32 && dml__table_f64(t, cell, &wide);
    return dml__source_bad(
        &t->source, line, "column %zu%s%.60s%s: \"%.*s\" is %s", c + 1,
        name != NULL ? " (" : "", name != NULL ? name : "", name != NULL ? ")" : "",
        cell.bytes > 40 ? 40 : (int)cell.bytes, cell.data,
        large ? "beyond 3.4e38, the largest that is taken"
        : dml__table_is_not_finite(cell)
            ? "no finite number; write one, or leave the cell empty: a missing value"
            : "no number");
}

dml_status dml_table_next(dml_table *t, dml_table_block *block)
{
    size_t rows = 0;
    t->source.reader.where = __func__;
    if (t->capacity == 0)
        DML_TRY(allocate(t));
    while (rows < t->capacity) {
        uint64_t line = 0;
        size_t bad = 0;
        dml_status status = dml__table_next_row(t, rows == 0, &line);
        if (status == DML_PENDING || (status == DML_EEND && rows > 0))
            break;
        if (status != DML_OK)
            return status;
        if (convert(t, rows, &bad))
            rows++;
        else
            DML_TRY(not_a_number(t, line, bad));
    }
    *block = (dml_table_block){.rows = rows, .first = t->rows, .columns = t->columns};
    t->rows += rows;
    return DML_OK;
}
