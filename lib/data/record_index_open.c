/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading an index, and making one from a record file. An index is believed only when
 * its own checksums are right and the record file is still the one it was made of: same
 * length and time, or, where the time differs because the file was copied, the same
 * heads and tails of all frames.
 */
#include "data/reader.h"
#include "data/record_index.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGAIN "make it anew: dml-records index --file FILE"

/* One index file as it is being read. */
typedef struct opening {
    dml_ctx *ctx;
    const char *where;
    const char *path; /* of the record file */
    struct stat info; /* of the record file */
    dml__reader reader;
    dml_record_index *index;
    uint32_t entries_crc;
} opening;

static int64_t mtime_ns_of(const struct stat *info)
{
    return (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
}

static dml_status damaged(const opening *o, const char *what)
{
    return dml__fail(o->ctx, DML_EFORMAT, o->where, "%s: %s; " AGAIN, o->reader.path,
                     what);
}

static dml_status read_head(opening *o, uint64_t *count)
{
    uint8_t head[DML__INDEX_HEAD];
    size_t got = 0;
    const struct dml__byte_kernels *k = dml__ctx_bytes(o->ctx);
    DML_TRY(dml__reader_read(&o->reader, head, sizeof head, &got));
    if (got < sizeof head)
        return damaged(o, "cut short: the index's head is not whole");
    if (memcmp(head, DML__INDEX_MAGIC, 8) != 0)
        return damaged(o, "not an index of a record file");
    if (k->crc32c(0, head, 60) != dml__get_u32(head + 60))
        return damaged(o, "wrong checksum of the index's head");
    if (dml__get_u32(head + 8) != DML__INDEX_VERSION ||
        dml__get_u32(head + 12) != DML__INDEX_HEAD ||
        dml__get_u32(head + 44) != DML__INDEX_ENTRY)
        return damaged(o, "an index of another version than 1");
    *count = dml__get_u64(head + 16);
    if (*count > (SIZE_MAX - DML__INDEX_HEAD) / DML__INDEX_ENTRY ||
        DML__INDEX_HEAD + *count * DML__INDEX_ENTRY != o->reader.file_bytes)
        return damaged(o, "cut short, or longer than its number of records says");
    o->index->file_bytes = dml__get_u64(head + 24);
    o->index->mtime_ns = (int64_t)dml__get_u64(head + 32);
    o->index->digest = dml__get_u32(head + 40);
    o->entries_crc = dml__get_u32(head + 48);
    return DML_OK;
}

static dml_record_entry get_entry(const uint8_t *from)
{
    uint64_t weight = dml__get_u64(from + 24);
    dml_record_entry entry = {.offset = dml__get_u64(from),
                              .bytes = dml__get_u64(from + 8),
                              .key = dml__get_u64(from + 16)};
    memcpy(&entry.weight, &weight, sizeof entry.weight);
    return entry;
}

/* Do the entries lie one behind the other within the record file? */
static bool is_sound(const dml_record_index *index)
{
    uint64_t end = 0, file = index->file_bytes;
    for (size_t i = 0; i < index->count; i++) {
        const dml_record_entry *e = &index->entries[i];
        if (e->offset < end || e->offset > file || e->bytes > file - e->offset ||
            file - e->offset - e->bytes < DML_RECORD_FRAME_BYTES ||
            !isfinite(e->weight) || e->weight < 0)
            return false;
        end = e->offset + e->bytes + DML_RECORD_FRAME_BYTES;
    }
    return true;
}

static dml_status read_entries(opening *o, uint64_t count)
{
    const struct dml__byte_kernels *k = dml__ctx_bytes(o->ctx);
    uint8_t block[256 * DML__INDEX_ENTRY];
    uint32_t crc = 0;
    dml_record_index *index = o->index;
    index->entries = dml__alloc(o->ctx, dml__mul(count, sizeof *index->entries));
    if (index->entries == NULL)
        return dml__fail(o->ctx, DML_ENOMEM, o->where,
                         "%s: no memory for the index of %llu records", o->reader.path,
                         (unsigned long long)count);
    index->capacity = (size_t)count;
    for (size_t got = 1; index->count < count;) {
        size_t rest = (size_t)count - index->count;
        size_t want = (rest < 256 ? rest : 256) * DML__INDEX_ENTRY;
        DML_TRY(dml__reader_read(&o->reader, block, want, &got));
        if (got < want)
            return damaged(o, "cut short while it was read");
        crc = k->crc32c(crc, block, got);
        for (size_t at = 0; at < got; at += DML__INDEX_ENTRY)
            index->entries[index->count++] = get_entry(block + at);
    }
    if (crc != o->entries_crc || !is_sound(index))
        return damaged(o, "wrong checksum of the index's entries");
    return DML_OK;
}

static dml_status stale(const opening *o, const char *how)
{
    return dml__fail_values(o->ctx, DML_EMISMATCH, o->where, -1,
                            (int64_t)o->info.st_size, (int64_t)o->index->file_bytes,
                            "%s: stale: the record file %s; " AGAIN, o->reader.path,
                            how);
}

static bool read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
    ssize_t n;
    do
        n = pread(fd, to, bytes, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)bytes;
}

/* The frames' heads and tails against the digest. */
static dml_status compare_frames(const opening *o)
{
    const struct dml__byte_kernels *k = dml__ctx_bytes(o->ctx);
    uint8_t head[DML__FRAME_HEAD], tail[DML__FRAME_TAIL];
    uint32_t digest = 0;
    int fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dml__fail(o->ctx, DML_EIO, o->where, "%.200s: cannot open: %s", o->path,
                         strerror(errno));
    bool good = true;
    for (size_t i = 0; i < o->index->count && good; i++) {
        const dml_record_entry *e = &o->index->entries[i];
        good = read_at(fd, head, sizeof head, e->offset) &&
               read_at(fd, tail, sizeof tail, e->offset + sizeof head + e->bytes);
        digest = k->crc32c(digest, head, sizeof head);
        digest = k->crc32c(digest, tail, sizeof tail);
    }
    close(fd);
    return good && digest == o->index->digest ? DML_OK : stale(o, "has changed since");
}

static dml_status read_index(opening *o, const char *name)
{
    uint64_t count = 0;
    if (stat(o->path, &o->info) != 0)
        return dml__fail(o->ctx, DML_EIO, o->where,
                         "%.200s: cannot open: %s; check the "
                         "path",
                         o->path, strerror(errno));
    struct stat index_info;
    if (stat(name, &index_info) != 0 && errno == ENOENT)
        return dml__fail(o->ctx, DML_EIO, o->where,
                         "%.200s: has no index (%s is not there); make it: dml-records "
                         "index --file FILE",
                         o->path, DML__INDEX_SUFFIX);
    DML_TRY(dml__reader_open(&o->reader, o->ctx, o->where, name));
    if (!o->reader.plain)
        return damaged(o, "not an index of a record file");
    DML_TRY(read_head(o, &count));
    DML_TRY(read_entries(o, count));
    if ((uint64_t)o->info.st_size != o->index->file_bytes)
        return stale(o, "has another length");
    return mtime_ns_of(&o->info) == o->index->mtime_ns ? DML_OK : compare_frames(o);
}

dml_status dml_record_index_open(dml_ctx *ctx, const char *path, dml_record_index **out)
{
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    opening o = {.ctx = ctx, .where = __func__, .path = path};
    size_t bytes = strlen(path) + sizeof DML__INDEX_SUFFIX;
    char *name = dml__alloc(ctx, bytes);
    if (name == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a path");
    snprintf(name, bytes, "%s" DML__INDEX_SUFFIX, path);
    dml_status status = dml__index_new(ctx, __func__, &o.index);
    if (status == DML_OK)
        status = read_index(&o, name);
    dml__reader_close(&o.reader);
    dml__free(name);
    if (status != DML_OK)
        dml_record_index_destroy(o.index);
    else
        *out = o.index;
    return status;
}

/* All records of an open reader. The tail of each stands behind its data. */
static dml_status index_all(dml_records *records, dml_record_index *index,
                            const char *where, dml_record_key_fn *key, void *user)
{
    dml_record r;
    dml_status status;
    while ((status = dml_records_next(records, &r)) == DML_OK) {
        const uint8_t *data = r.data;
        dml_record_entry e = {.offset = r.offset,
                              .bytes = r.bytes,
                              .key = r.number,
                              .weight = (double)r.bytes};
        if (key != NULL)
            key(user, &r, &e.key, &e.weight);
        if (!isfinite(e.weight) || e.weight < 0)
            return dml__fail(index->ctx, DML_EINVAL, where,
                             "record at offset %llu: weight %g, finite and at least 0 "
                             "expected",
                             (unsigned long long)r.offset, e.weight);
        DML_TRY(dml__index_reserve(index, where));
        dml__index_add(index, &e, data - DML__FRAME_HEAD, data + r.bytes);
    }
    return status == DML_EEND ? DML_OK : status;
}

dml_status dml_record_index_build(dml_ctx *ctx, const char *path,
                                  const dml_records_opts *opts, dml_record_key_fn *key,
                                  void *user, dml_record_index **out)
{
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    struct stat before, after;
    dml_record_file *plain = NULL; /* refuses what offsets are of no use for */
    DML_TRY(dml_record_file_open(ctx, path, true, &plain));
    dml_record_file_close(plain);
    dml_record_index *index = NULL;
    dml_records *records = NULL;
    bool seen = stat(path, &before) == 0;
    dml_status status = dml__index_new(ctx, __func__, &index);
    if (status == DML_OK)
        status = dml_records_open(ctx, path, opts, &records);
    if (status == DML_OK)
        status = index_all(records, index, __func__, key, user);
    dml_records_close(records);
    if (status == DML_OK &&
        (!seen || stat(path, &after) != 0 || before.st_size != after.st_size ||
         mtime_ns_of(&before) != mtime_ns_of(&after)))
        status = dml__fail(ctx, DML_EMISMATCH, __func__,
                           "%.200s: changed while it was indexed; run again", path);
    if (status != DML_OK) {
        dml_record_index_destroy(index);
        return status;
    }
    index->file_bytes = (uint64_t)before.st_size;
    index->mtime_ns = mtime_ns_of(&before);
    *out = index;
    return DML_OK;
}
