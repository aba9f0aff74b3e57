/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tables and libsvm files as dml-prf reads them: numbers, words, a label, weights. The
 * first byte of the input chooses. Cells of categories and labels name words.
 */
#include "fuzz.h"
#include "raw.h"

#include <math.h>
#include <string.h>

static void check(const struct raw *raw)
{
    const struct raw_rows *rows = &raw->kept;
    for (size_t i = 0; i < rows->nrows; i++) {
        for (size_t f = 0; f < raw->nfeatures && rows->cells; f++) {
            float cell = rows->cells[i * raw->nfeatures + f];
            if (raw->column[f].is_category && !isnan(cell))
                fuzz_require(cell >= 0 && (size_t)cell < raw->column[f].words.n);
        }
        if (raw->label_is_word && rows->label && !isnan(rows->label[i]))
            fuzz_require((size_t)rows->label[i] < raw->label_words.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job job = {.app = "fuzz", .ctx = fuzz_ctx()};
    struct raw raw = {0};
    uint8_t choice = fuzz_take(&data, &size);
    const struct raw_source source = {
        .path = fuzz_file("", data, size),
        .format = (choice & 1) != 0 ? "libsvm" : "table",
        .label = (choice & 2) != 0 ? "1" : "-1",
        .weights = (choice & 4) != 0 ? "2" : NULL,
        .categories = (choice & 8) != 0 ? "1,2" : NULL,
    };
    if (raw_read(&job, &source, &raw) == DML_OK)
        check(&raw);
    else
        fuzz_require(job.error[0] != '\0' && strchr(job.error, '\n') == NULL);
    raw_free(&raw);
    return 0;
}
