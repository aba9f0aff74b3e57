/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Index files, beside a record file of two empty records. The head's checksum is made
 * good for every second input, as few would come further otherwise.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = 64, ENTRY = 32, FRAME = 16 };

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t masked(const void *data, size_t bytes)
{
    uint32_t crc = dml_crc32c(fuzz_ctx(), 0, data, bytes);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static const char *record_file(void)
{
    uint8_t frames[2 * FRAME] = {0};
    for (uint8_t *frame = frames; frame < frames + sizeof frames; frame += FRAME) {
        put_u32(frame + 8, masked(frame, 8));
        put_u32(frame + 12, masked(NULL, 0));
    }
    return fuzz_file("", frames, sizeof frames);
}

/* Sums that are right, whatever the rest is. */
static void mend(uint8_t *bytes, size_t size)
{
    if (size < HEAD)
        return;
    put_u32(bytes + 48, dml_crc32c(fuzz_ctx(), 0, bytes + HEAD, size - HEAD));
    put_u32(bytes + 60, dml_crc32c(fuzz_ctx(), 0, bytes, 60));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    uint8_t *bytes = malloc(size + 1);
    fuzz_require(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    if ((choice & 1) != 0)
        mend(bytes, size);
    const char *path = record_file();
    fuzz_file(".index", bytes, size);
    dml_record_index *index = NULL;
    if (dml_record_index_open(fuzz_ctx(), path, &index) == DML_OK) {
        size_t count = dml_record_index_count(index);
        const dml_record_entry *e = dml_record_index_entries(index);
        for (size_t i = 0; i < count; i++)
            fuzz_require(e[i].offset + e[i].bytes + FRAME <= 2 * FRAME);
    }
    dml_record_index_destroy(index);
    free(bytes);
    return 0;
}
