/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys and weights from files as dml-skew reads them: tables, corpora, words. The first
 * byte of the input chooses.
 */
#include "fuzz.h"
#include "input.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"table", "words", "columns", "table"};
    struct job job = {.app = "fuzz", .ctx = fuzz_ctx()};
    struct key_list list = {0};
    uint8_t choice = fuzz_take(&data, &size);
    const struct skew_options options = {
        .data = fuzz_file("", data, size),
        .format = formats[choice & 3],
        .key = (choice & 4) != 0 ? "2" : "1",
        .as = (choice & 8) != 0 ? "number" : "text",
        .weight = (choice & 3) == 3 ? "-1" : NULL,
    };
    if (key_list_read(&job, &options, &list) == DML_OK) {
        const dml_keys keys = key_list_part(&list, 0, list.count);
        fuzz_require(keys.count == list.count);
        for (size_t i = 0; i < list.count; i++) {
            double cost = key_list_cost(&list, i);
            fuzz_require(cost >= 0 && isfinite(cost));
        }
    } else {
        fuzz_require(job.error[0] != '\0' && strchr(job.error, '\n') == NULL);
    }
    key_list_free(&list);
    return 0;
}
