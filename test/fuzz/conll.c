/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sentences in all three layouts.
 */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    const char *path = fuzz_file("", data, size);
    dml_conll_opts opts;
    dml_conll_opts_init(&opts);
    opts.format = (dml_conll_format)(choice % 3);
    opts.all_nodes = (choice & 4) != 0;
    opts.text.on_error = (choice & 8) != 0 ? DML_ON_ERROR_SKIP : DML_ON_ERROR_FAIL;
    opts.max_tokens = (choice & 16) != 0 ? 3 : 1000;
    opts.text.max_line_bytes = (choice & 32) != 0 ? 64 : 1 << 20;
    dml_conll *conll = NULL;
    dml_sentence s;
    dml_status status = dml_conll_open(fuzz_ctx(), path, &opts, &conll);
    while (status == DML_OK && (status = dml_conll_next(conll, &s)) == DML_OK) {
        fuzz_require(s.tokens > 0 && s.tokens <= opts.max_tokens && s.line > 0);
        for (size_t i = 0; i < s.tokens * s.columns; i++)
            fuzz_require(strlen(s.cells[i].data) == s.cells[i].bytes);
        for (size_t i = 0; i < s.comments; i++)
            fuzz_require(s.comment[i].data[0] == '#');
    }
    fuzz_require(status == DML_EEND || status == DML_EFORMAT);
    dml_conll_close(conll);
    return 0;
}
