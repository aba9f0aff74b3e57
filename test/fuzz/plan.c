/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans as bytes. What is taken for one is written as the same bytes, and sends every
 * key to one of its parts.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void route(const dml_plan *plan, const dml_plan_info *info)
{
    const dml_keys keys = fuzz_keys(info->kind);
    uint32_t parts[8];
    for (uint64_t first = 0; first < 3; first++) {
        fuzz_require(dml_plan_route(plan, &keys, NULL, first, parts) == DML_OK);
        for (size_t i = 0; i < keys.count; i++)
            fuzz_require(parts[i] < info->parts);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    uint8_t *bytes = fuzz_summed(data, size, (choice & 1) != 0);
    dml_plan *plan = NULL;
    if (dml_plan_unpack(fuzz_ctx(), bytes, size, &plan) == DML_OK) {
        dml_plan_info info;
        dml_plan_get_info(plan, &info);
        fuzz_require(info.pack_bytes == size);
        uint8_t *again = malloc(size);
        fuzz_require(again != NULL && dml_plan_pack(plan, again, size) == DML_OK &&
                     memcmp(bytes, again, size) == 0);
        free(again);
        route(plan, &info);
    }
    dml_plan_destroy(plan);
    free(bytes);
    return 0;
}
