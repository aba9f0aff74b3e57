/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of tables share: a file, a table of it, all its cells in one text.
 */
#ifndef TABLE_FIXTURE_H
#define TABLE_FIXTURE_H

#include "dml/rng.h"
#include "dml/text.h"

#include "data_fixture.h"

#include <math.h>

static inline void put(const fixture *f, const char *text)
{
    write_file(f->images, false, text, strlen(text));
}

static inline dml_table *open_table(const fixture *f, const dml_table_opts *opts)
{
    dml_table *t = NULL;
    dml_status status = dml_table_open(f->ctx, f->images, opts, &t);
    if (status != DML_OK) {
        dml_error error;
        dml_ctx_last_error(f->ctx, &error);
        fail_msg("open: %s", error.text);
    }
    return t;
}

/* All rows as "cell|cell|\n", every column as text. */
static inline dml_status join(dml_table *t, char *out, size_t room)
{
    dml_table_block block;
    dml_status status;
    size_t columns = dml_table_columns(t), used = 0;
    uint64_t rows = 0;
    out[0] = '\0';
    for (size_t c = 0; c < columns; c++)
        assert_int_equal(dml_table_set_type(t, c, DML_COLUMN_TEXT), DML_OK);
    while ((status = dml_table_next(t, &block)) == DML_OK) {
        assert_true(block.rows > 0);
        assert_int_equal(block.first, rows);
        rows += block.rows;
        for (size_t r = 0; r < block.rows; r++) {
            for (size_t c = 0; c < columns; c++) {
                dml_text cell = block.columns[c].text[r];
                assert_int_equal(cell.data[cell.bytes], 0);
                assert_true(used + cell.bytes + 3 < room);
                memcpy(out + used, cell.data, cell.bytes);
                used += cell.bytes;
                out[used++] = '|';
            }
            out[used++] = '\n';
        }
        out[used] = '\0';
    }
    return status;
}

#endif
