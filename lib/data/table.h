/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of a table's reader: table.c opens it, table_head.c looks at its beginning,
 * table_row.c cuts rows into cells, table_block.c makes columns of them.
 */
#ifndef DML__TABLE_H
#define DML__TABLE_H

#include "data/source.h"
#include "kernels/bytes.h"

/* Memory of one column of a block. */
typedef union dml__cells {
    void *any;
    float *f32;
    double *f64;
    dml_text *text;
} dml__cells;

struct dml_table {
    dml__source source;
    dml_ctx *ctx;
    const struct dml__byte_kernels *bytes;
    char wants_delimiter; /* 0: any */
    dml_header wants_header;
    char delimiter;
    bool quotes;
    bool header;
    uint64_t header_at; /* offset of the first row in the file */
    size_t block_rows;

    dml_text *missing; /* [nmissing] in missing_words */
    size_t nmissing;
    char *missing_words;

    size_t ncolumns;
    dml_text *names; /* [ncolumns] in name_text; NULL without a header */
    char *name_text;
    bool *numeric;          /* [ncolumns] as the first rows have it */
    dml_column_type *types; /* [ncolumns] */

    /* Marks of the source's lines from text[base] on, and the first of the next row. */
    uint32_t *marks; /* [marks_room] */
    size_t marks_room, nmarks, mark, base;

    dml_text *cells; /* [ncolumns] of the row at hand */
    bool doubled;    /* some of them hold doubled quotes */

    dml__cells *memory;  /* [ncolumns]: the block's */
    dml_column *columns; /* [ncolumns]: the same for the caller */
    size_t capacity;     /* rows of a block; 0: not allocated yet */
    uint64_t rows;       /* handed out so far */
};

/* Where a row begins in the text, or, once it was cut, where it ends. */
typedef struct dml__row {
    size_t at;   /* index in the source's text */
    size_t mark; /* first mark not before it */
    size_t cells;
    size_t lines; /* of text that it takes */
    const char *fault;
} dml__row;

typedef enum dml__cut {
    DML__CUT_ROW,  /* whole */
    DML__CUT_MORE, /* its end is not in the text yet */
    DML__CUT_BAD   /* see fault */
} dml__cut;

/* List the marks of text [from, to), which ends in a newline. */
dml_status dml__table_mark(dml_table *t, size_t from, size_t to);

/* Cut the row at *row into t->cells (up to ncolumns of them), and move *row behind it;
 * a bad row is not moved. */
dml__cut dml__table_cut(dml_table *t, dml__row *row);

/* The next row of the file into t->cells; its line's number. Bad and ragged rows have
 * been dealt with. "may_read" false: DML_PENDING where the source would have to read,
 * which moves the text. */
dml_status dml__table_next_row(dml_table *t, bool may_read, uint64_t *line);

/* Take the quotes of a cell's inside off, in place, and end it with a zero. */
void dml__table_finish_text(const dml_table *t, dml_text *cell);

/* A number, or NaN where the cell is empty or a word for "missing". */
bool dml__table_f64(const dml_table *t, dml_text cell, double *value);
bool dml__table_f32(const dml_table *t, dml_text cell, float *value);

/* Is the cell an infinity, a NaN that is no word for "missing", or beyond the type? */
bool dml__table_is_not_finite(dml_text cell);

/* Delimiter, columns, header, names, numeric: from the file's first rows, which are not
 * consumed. The source has just been opened, without a share. */
dml_status dml__table_read_head(dml_table *t);

#endif
