/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Model files of dml-prf. For every second input the checksum is made good. What is
 * taken for a forest votes on rows of all kinds of bins.
 */
#include "fuzz.h"
#include "model.h"
#include "predict.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { SUM = 4, ROWS = 20, MOST_CELLS = 1 << 16 };

static void vote(const struct model *model)
{
    size_t nfeatures = model->schema.nfeatures, nclasses = model->schema.nclasses;
    if (nfeatures > MOST_CELLS / ROWS || nclasses > MOST_CELLS)
        return;
    uint8_t *bins = malloc(ROWS * nfeatures + 1);
    int64_t *sum = malloc(ROWS * (nclasses + 1) * sizeof *sum);
    fuzz_require(bins != NULL && sum != NULL);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t f = 0; f < nfeatures; f++) {
            size_t nbins = model->schema.column[f].nbins;
            bins[row * nfeatures + f] =
                (uint8_t)(row == 0 || nbins == 0 ? 255 : (row * 7 + f) % nbins);
        }
    fuzz_require(predict_rows(model, bins, ROWS, true, 1,
                              apply_for(dml_ctx_isa(fuzz_ctx())), sum));
    free(bins);
    free(sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job job = {.app = "fuzz", .ctx = fuzz_ctx()};
    struct model model = {0};
    uint8_t choice = fuzz_take(&data, &size);
    uint8_t *bytes = malloc(size + 1);
    fuzz_require(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    if ((choice & 1) != 0 && size >= SUM) {
        uLong crc = crc32_z(crc32_z(0, NULL, 0), bytes, size - SUM);
        for (int i = 0; i < SUM; i++)
            bytes[size - SUM + (size_t)i] = (uint8_t)(crc >> 8 * i);
    }
    if (model_read(&job, fuzz_file("", bytes, size), &model) == DML_OK)
        vote(&model);
    else
        fuzz_require(job.error[0] != '\0' && strchr(job.error, '\n') == NULL);
    model_free(&model);
    free(bytes);
    return 0;
}
