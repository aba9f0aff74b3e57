/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The index in memory, and into its file. Entries are stored little endian.
 */
#include "data/record_index.h"

#include <string.h>

#define AT_ONCE 512 /* entries encoded between two writes */

dml_status dml__index_new(dml_ctx *ctx, const char *where, dml_record_index **out)
{
    dml_record_index *index = dml__alloc(ctx, sizeof *index);
    if (index == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for an index");
    index->ctx = ctx;
    *out = index;
    return DML_OK;
}

dml_status dml__index_reserve(dml_record_index *index, const char *where)
{
    if (index->count < index->capacity)
        return DML_OK;
    size_t capacity = 2 * index->capacity + 256;
    dml_record_entry *more = dml__alloc(index->ctx, dml__mul(capacity, sizeof *more));
    if (more == NULL)
        return dml__fail(index->ctx, DML_ENOMEM, where,
                         "no memory for an index of %zu records", capacity);
    if (index->count > 0)
        memcpy(more, index->entries, index->count * sizeof *more);
    dml__free(index->entries);
    index->entries = more;
    index->capacity = capacity;
    return DML_OK;
}

void dml__index_add(dml_record_index *index, const dml_record_entry *entry,
                    const uint8_t head[DML__FRAME_HEAD],
                    const uint8_t tail[DML__FRAME_TAIL])
{
    const struct dml__byte_kernels *k = dml__ctx_bytes(index->ctx);
    index->digest = k->crc32c(index->digest, head, DML__FRAME_HEAD);
    index->digest = k->crc32c(index->digest, tail, DML__FRAME_TAIL);
    index->entries[index->count++] = *entry;
}

static void put_entry(uint8_t *to, const dml_record_entry *entry)
{
    uint64_t weight;
    memcpy(&weight, &entry->weight, sizeof weight);
    dml__put_u64(to, entry->offset);
    dml__put_u64(to + 8, entry->bytes);
    dml__put_u64(to + 16, entry->key);
    dml__put_u64(to + 24, weight);
}

/* Entries from "first" on, encoded; returns their bytes, 0 at the end. */
static size_t encode(const dml_record_index *index, size_t first,
                     uint8_t out[AT_ONCE * DML__INDEX_ENTRY])
{
    size_t rest = first < index->count ? index->count - first : 0;
    size_t n = rest < AT_ONCE ? rest : AT_ONCE;
    for (size_t i = 0; i < n; i++)
        put_entry(out + i * DML__INDEX_ENTRY, &index->entries[first + i]);
    return n * DML__INDEX_ENTRY;
}

dml_status dml__index_store(const dml_record_index *index, dml__partial *file,
                            bool sync)
{
    const struct dml__byte_kernels *k = dml__ctx_bytes(index->ctx);
    uint8_t block[AT_ONCE * DML__INDEX_ENTRY], head[DML__INDEX_HEAD] = {0};
    uint32_t crc = 0;
    size_t bytes;
    int64_t mtime_ns;
    for (size_t i = 0; (bytes = encode(index, i, block)) > 0; i += AT_ONCE)
        crc = k->crc32c(crc, block, bytes);
    memcpy(head, DML__INDEX_MAGIC, 8);
    dml__put_u32(head + 8, DML__INDEX_VERSION);
    dml__put_u32(head + 12, DML__INDEX_HEAD);
    dml__put_u64(head + 16, index->count);
    dml__put_u64(head + 24, index->file_bytes);
    dml__put_u64(head + 32, (uint64_t)index->mtime_ns);
    dml__put_u32(head + 40, index->digest);
    dml__put_u32(head + 44, DML__INDEX_ENTRY);
    dml__put_u32(head + 48, crc);
    dml__put_u32(head + 60, k->crc32c(0, head, 60));
    DML_TRY(dml__partial_write(file, head, sizeof head));
    for (size_t i = 0; (bytes = encode(index, i, block)) > 0; i += AT_ONCE)
        DML_TRY(dml__partial_write(file, block, bytes));
    return dml__partial_finish(file, sync, &mtime_ns);
}

dml_status dml_record_index_write(dml_ctx *ctx, const dml_record_index *index,
                                  const char *path)
{
    if (index == NULL || path == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the index or the path is NULL");
    dml__partial file;
    dml_status status =
        dml__partial_open(&file, ctx, __func__, path, DML__INDEX_SUFFIX);
    if (status == DML_OK)
        status = dml__index_store(index, &file, true);
    if (status == DML_OK)
        status = dml__partial_rename(&file, true);
    dml__partial_close(&file);
    return status;
}

size_t dml_record_index_count(const dml_record_index *index)
{
    return index->count;
}

const dml_record_entry *dml_record_index_entries(const dml_record_index *index)
{
    return index->entries;
}

void dml_record_index_destroy(dml_record_index *index)
{
    if (index == NULL)
        return;
    dml__free(index->entries);
    dml__free(index);
}
