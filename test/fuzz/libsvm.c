/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libsvm rows: indices that were handed out ascend, in both error modes.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    const char *path = fuzz_file("", data, size);
    dml_text_opts opts;
    dml_text_opts_init(&opts);
    opts.on_error = (choice & 1) != 0 ? DML_ON_ERROR_SKIP : DML_ON_ERROR_FAIL;
    dml_svm *svm = NULL;
    dml_svm_row row;
    dml_status status = dml_svm_open(fuzz_ctx(), path, &opts, &svm);
    while (status == DML_OK && (status = dml_svm_next(svm, &row)) == DML_OK) {
        fuzz_require(row.label - row.label == 0 && row.qid >= -1);
        for (size_t i = 0; i < row.count; i++)
            fuzz_require((i == 0 || row.index[i] > row.index[i - 1]) &&
                         row.value[i] - row.value[i] == 0);
    }
    fuzz_require(status == DML_EEND || status == DML_EFORMAT);
    dml_svm_close(svm);
    return 0;
}
