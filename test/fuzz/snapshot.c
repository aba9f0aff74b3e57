/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot of two files, which the input is cut into, with a list that fits them. For
 * every second input the heads' checksums are made good. What is taken for a snapshot
 * can be read: all sections of all ranks, and vectors whole and in parts.
 */
#include "ckpt/snapshot.h"

#include "core/wire.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RANKS = 2, MOST_BYTES = 1 << 16 };

static char folder[] = "/tmp/dml-fuzz-XXXXXX";

static void file_name(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", folder, name);
}

static void remove_folder(void)
{
    dml__ckpt_remove(NULL, folder);
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    char path[128];
    file_name(name, path);
    FILE *file = fopen(path, "wb");
    fuzz_require(file != NULL);
    fuzz_require(size == 0 || fwrite(bytes, 1, size, file) == size);
    fuzz_require(fclose(file) == 0);
}

static void write_shard(int rank, const uint8_t *data, size_t size, bool mend,
                        struct dml__manifest *manifest)
{
    char name[DML__NAME_ROOM];
    uint8_t *bytes = malloc(size + 1);
    fuzz_require(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    uint32_t crc = 0;
    if (size >= DML__SHARD_HEAD) {
        uint64_t table = dml__get_u64(bytes + 40);
        dml__put_u64(bytes + 48, mend ? size : dml__get_u64(bytes + 48));
        if (table <= size - DML__SHARD_HEAD &&
            size - DML__SHARD_HEAD - table >= DML__CKPT_SUM) {
            size_t summed = DML__SHARD_HEAD + (size_t)table;
            crc = dml_crc32c(fuzz_ctx(), 0, bytes, summed);
            if (mend)
                dml__put_u32(bytes + summed, crc);
        }
        manifest->id = dml__get_u64(bytes + 24);
        manifest->step = dml__get_u64(bytes + 32);
    }
    manifest->entries[rank] = (struct dml__manifest_entry){size, crc};
    dml__shard_name(rank, name);
    write_file(name, bytes, size);
    free(bytes);
}

static void read_section(const dml_snapshot *s, const struct dml__part *part)
{
    static uint8_t data[MOST_BYTES];
    const struct dml__section *section = part->section;
    dml_section_info info;
    fuzz_require(dml_snapshot_find(s, section->name, (int)part->rank, &info) == DML_OK);
    dml_status status = DML_OK;
    if (section->kind == DML_SECTION_SHARED)
        status = dml_snapshot_get_shared(s, section->name, data, section->bytes);
    else if (section->kind == DML_SECTION_OWN)
        status = dml_snapshot_get_own(s, section->name, (int)part->rank, data,
                                      section->bytes);
    else
        for (uint64_t first = 0; first < info.count && first < 3; first++)
            status = dml_snapshot_get_vector(s, section->name, data, info.dtype, first,
                                             info.count - first, info.count);
    fuzz_require(status == DML_OK || status == DML_EFORMAT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dml__manifest_entry entries[RANKS];
    struct dml__manifest manifest = {.ranks = RANKS, .entries = entries};
    uint8_t choice = fuzz_take(&data, &size), packed[256];
    size_t first = (size_t)fuzz_take(&data, &size) << 8 | fuzz_take(&data, &size);
    first = first < size ? first : size;
    if (size > MOST_BYTES)
        return 0;
    if (folder[sizeof folder - 2] == 'X') {
        fuzz_require(mkdtemp(folder) != NULL);
        atexit(remove_folder);
    }
    write_shard(1, data + first, size - first, (choice & 1) != 0, &manifest);
    write_shard(0, data, first, (choice & 1) != 0, &manifest);
    dml__manifest_pack(fuzz_ctx(), &manifest, packed);
    write_file(DML__MANIFEST_NAME, packed, dml__manifest_bytes(RANKS));
    dml_snapshot *s = NULL;
    if (dml__snapshot_load(fuzz_ctx(), "fuzz", folder, &s) == DML_OK) {
        for (uint32_t r = 0; r < RANKS; r++)
            (void)dml__snapshot_check(s, "fuzz", r);
        for (size_t i = 0; i < s->nparts; i++)
            read_section(s, &s->parts[i]);
    }
    dml_snapshot_close(s);
    return 0;
}
