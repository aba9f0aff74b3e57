/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of a snapshot's files. The checksum is made good for every second input.
 */
#include "ckpt/ckpt.h"
#include "core/wire.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t choice = fuzz_take(&data, &size);
    uint8_t *bytes = malloc(size + 1);
    fuzz_require(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    if ((choice & 1) != 0 && size >= DML__CKPT_SUM) {
        size_t summed = size - DML__CKPT_SUM;
        dml__put_u32(bytes + summed, dml_crc32c(fuzz_ctx(), 0, bytes, summed));
    }
    const char *path = fuzz_file("", bytes, size);
    struct dml__manifest manifest;
    if (dml__manifest_read(fuzz_ctx(), "fuzz", path, &manifest) == DML_OK) {
        /* Packed again it is the same, but for bytes that nobody reads. */
        fuzz_require(dml__manifest_bytes(manifest.ranks) == size);
        dml__manifest_pack(fuzz_ctx(), &manifest, bytes);
        dml__free(manifest.entries);
    }
    free(bytes);
    return 0;
}
