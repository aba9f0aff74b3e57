/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histograms as bytes. What is taken for one is written as the same bytes, and may be
 * merged, joined, shortened and planned by.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 3 };

static void plan_and_route(const dml_histogram *h, dml_key_kind kind, bool whole)
{
    const dml_keys keys = fuzz_keys(kind);
    dml_plan_opts opts;
    dml_plan_opts_init(&opts);
    opts.whole_keys = whole;
    for (int planner = 0; planner < DML_NPLANNERS; planner++) {
        dml_plan *plan = NULL;
        uint32_t parts[8];
        if (dml_plan_create(fuzz_ctx(), (dml_planner)planner, PARTS, h, &opts, &plan) !=
            DML_OK)
            continue;
        fuzz_require(dml_plan_route(plan, &keys, NULL, 0, parts) == DML_OK);
        for (size_t i = 0; i < keys.count; i++)
            fuzz_require(parts[i] < PARTS);
        dml_plan_destroy(plan);
    }
}

static void use(dml_histogram *h, const dml_histogram_info *info, uint8_t choice)
{
    dml_ctx *ctx = fuzz_ctx();
    const dml_histogram *both[] = {h, h};
    dml_histogram *merged = NULL, *joined = NULL;
    dml_histogram_error error;
    if (dml_histogram_merge(ctx, both, 2, &merged) == DML_OK)
        plan_and_route(merged, info->kind, (choice & 2) != 0);
    if (dml_histogram_shorten(h, 2 + choice / 16u) == DML_OK && merged != NULL &&
        dml_histogram_join(ctx, h, merged, 1, &joined) == DML_OK)
        plan_and_route(joined, info->kind, (choice & 2) != 0);
    if (merged != NULL)
        (void)dml_histogram_compare(h, merged, 0, &error);
    dml_histogram_destroy(joined);
    dml_histogram_destroy(merged);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    uint8_t *bytes = fuzz_summed(data, size, (choice & 1) != 0);
    dml_histogram *h = NULL;
    if (dml_histogram_unpack(fuzz_ctx(), bytes, size, &h) == DML_OK) {
        dml_histogram_info info;
        dml_histogram_get_info(h, &info);
        fuzz_require(info.pack_bytes == size);
        uint8_t *again = malloc(size);
        fuzz_require(again != NULL && dml_histogram_pack(h, again, size) == DML_OK &&
                     memcmp(bytes, again, size) == 0);
        free(again);
        use(h, &info, choice);
    }
    dml_histogram_destroy(h);
    free(bytes);
    return 0;
}
