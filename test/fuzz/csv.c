/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables: every type of column, both error modes, whole and in shares.
 */
#include "fuzz.h"

#include <string.h>

static void read_block(const dml_table *t, const dml_table_block *b, uint8_t choice)
{
    volatile size_t seen = 0; /* so that all that is handed out is touched */
    for (size_t c = 0; c < dml_table_columns(t); c++) {
        int type = (int)((c + choice) % 4);
        for (size_t r = 0; r < b->rows; r++) {
            if (type == DML_COLUMN_F32)
                seen += b->columns[c].f32[r] == 0;
            else if (type == DML_COLUMN_F64)
                seen += b->columns[c].f64[r] == 0;
            else if (type == DML_COLUMN_TEXT)
                fuzz_require(strlen(b->columns[c].text[r].data) ==
                             b->columns[c].text[r].bytes);
        }
    }
}

static void read_table(const char *path, const dml_table_opts *opts, uint8_t choice)
{
    dml_table *t = NULL;
    dml_table_block b;
    if (dml_table_open(fuzz_ctx(), path, opts, &t) != DML_OK)
        return;
    for (size_t c = 0; c < dml_table_columns(t); c++)
        dml_table_set_type(t, c, (dml_column_type)((c + choice) % 4));
    size_t column;
    dml_table_find(t, "-1", &column);
    dml_table_find(t, "a", &column);
    dml_status status;
    while ((status = dml_table_next(t, &b)) == DML_OK)
        read_block(t, &b, choice);
    fuzz_require(status == DML_EEND || status == DML_EFORMAT);
    dml_table_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    const char *path = fuzz_file("", data, size);
    dml_table_opts opts;
    dml_table_opts_init(&opts);
    opts.block_rows = (choice & 4) != 0 ? 2 : 64; /* memory is zeroed for each input */
    opts.header = (dml_header)((choice >> 3) % 3);
    opts.quotes = (choice & 0x20) == 0;
    opts.text.on_error = (choice & 0x40) != 0 ? DML_ON_ERROR_SKIP : DML_ON_ERROR_FAIL;
    opts.text.max_line_bytes = (choice & 0x80) != 0 ? 64 : 1 << 20;
    read_table(path, &opts, choice);
    opts.text.nranks = 2;
    for (opts.text.rank = 0; opts.text.rank < 2; opts.text.rank++)
        read_table(path, &opts, choice);
    return 0;
}
