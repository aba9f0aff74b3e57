/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of plain and gzip files. Shares of a plain file give the lines of the whole.
 */
#include "fuzz.h"

#include <string.h>

static uint64_t count_lines(const char *path, const dml_text_opts *opts,
                            uint64_t *bytes)
{
    dml_lines *lines = NULL;
    dml_line line;
    uint64_t count = 0;
    dml_status status = dml_lines_open(fuzz_ctx(), path, opts, &lines);
    while (status == DML_OK && (status = dml_lines_next(lines, &line)) == DML_OK) {
        fuzz_require(strlen(line.text.data) == line.text.bytes);
        fuzz_require(line.text.bytes <= opts->max_line_bytes);
        *bytes += line.text.bytes;
        count++;
    }
    if (lines != NULL)
        fuzz_require(opts->nranks > 1 || dml_lines_number(lines) >= count);
    dml_lines_close(lines);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    const char *path = fuzz_file("", data, size);
    dml_text_opts opts;
    dml_text_opts_init(&opts);
    opts.on_error = DML_ON_ERROR_SKIP;
    opts.max_line_bytes = (choice & 1) != 0 ? 64 : 1 << 20;
    uint64_t bytes = 0, shared_bytes = 0, shared = 0;
    uint64_t whole = count_lines(path, &opts, &bytes);
    bool gzip = size >= 2 && data[0] == 0x1f && data[1] == 0x8b;
    opts.nranks = 2 + (choice >> 1) % 5;
    for (opts.rank = 0; opts.rank < opts.nranks && !gzip; opts.rank++)
        shared += count_lines(path, &opts, &shared_bytes);
    fuzz_require(gzip || (shared == whole && shared_bytes == bytes));
    return 0;
}
