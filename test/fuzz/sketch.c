/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sketches as bytes. What is taken for one keeps to its number of counters, and may
 * count on, be merged and be counted again.
 */
#include "fuzz.h"

#include <stdlib.h>

static void use(dml_sketch *sketch, const dml_sketch *other)
{
    dml_sketch_info info;
    dml_sketch_entry entry;
    fuzz_require(dml_sketch_get_info(sketch, &info) == DML_OK);
    double before = 0;
    for (size_t i = 0; i < info.keys; i++) {
        fuzz_require(dml_sketch_entry_at(sketch, i, &entry) == DML_OK);
        fuzz_require(i == 0 || entry.lower <= before);
        before = entry.lower;
    }
    const dml_keys keys = fuzz_keys(info.kind);
    fuzz_require(dml_sketch_merge(sketch, other) == DML_OK);
    fuzz_require(dml_sketch_add(sketch, &keys, NULL) == DML_OK);
    fuzz_require(dml_sketch_recount(sketch) == DML_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    uint8_t *bytes = fuzz_summed(data, size, (choice & 1) != 0);
    dml_sketch *sketch = NULL, *again = NULL;
    if (dml_sketch_unpack(fuzz_ctx(), bytes, size, &sketch) == DML_OK) {
        dml_sketch_info info;
        fuzz_require(dml_sketch_get_info(sketch, &info) == DML_OK);
        uint8_t *packed = malloc(info.pack_bytes);
        fuzz_require(packed != NULL && info.pack_bytes == size);
        fuzz_require(dml_sketch_pack(sketch, packed, size) == DML_OK);
        fuzz_require(dml_sketch_unpack(fuzz_ctx(), packed, size, &again) == DML_OK);
        free(packed);
        use(sketch, again);
    }
    dml_sketch_destroy(again);
    dml_sketch_destroy(sketch);
    free(bytes);
    return 0;
}
