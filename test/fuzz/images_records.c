/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images in record files: the input is the records, each behind two bytes of its
 * length, which are framed here, so that checksums are right.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 16 };

static size_t put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> 8 * i);
    return (size_t)bytes;
}

static uint32_t masked(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[9 * MOST_BYTES];
    size_t count = 0;
    if (size > MOST_BYTES)
        return 0;
    while (size > 0) {
        size_t bytes = (size_t)fuzz_take(&data, &size) << 8;
        bytes |= fuzz_take(&data, &size);
        bytes = bytes < size ? bytes : size;
        put(file + count, bytes, 8);
        uint32_t crc = dml_crc32c(fuzz_ctx(), 0, file + count, 8);
        count += 8;
        count += put(file + count, masked(crc), 4);
        if (bytes > 0)
            memcpy(file + count, data, bytes);
        count += bytes;
        count += put(file + count, masked(dml_crc32c(fuzz_ctx(), 0, data, bytes)), 4);
        data += bytes;
        size -= bytes;
    }
    const char *path = fuzz_file("", file, count);
    dml_images *images = NULL;
    if (dml_images_open_records(fuzz_ctx(), &path, 1, &images) == DML_OK) {
        dml_images_info info;
        dml_images_get_info(images, &info);
        fuzz_require(info.count > 0 && info.channels > 0 && info.nclasses > 0);
        float *moments = malloc(2 * info.channels * sizeof *moments);
        fuzz_require(moments != NULL);
        dml_images_moments(images, moments, moments + info.channels);
        free(moments);
    }
    dml_images_destroy(images);
    return 0;
}
