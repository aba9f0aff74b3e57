/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rank's file of a snapshot: head, table of sections, one checksum over both, then
 * the sections' data in the table's order. The table has each section's own checksum.
 */
#include "ckpt/ckpt.h"
#include "core/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_TABLE \
    ((uint64_t)DML_CKPT_MAX_SECTIONS * (DML__SECTION_HEAD + DML_CKPT_NAME_MAX))
#define PIECE ((size_t)1 << 20)

static const char magic[8] = "DMLSHARD";

/* ---- writing ----------------------------------------------------------------------
 */

size_t dml__shard_head_bytes(const struct dml__section *sections, size_t nsections)
{
    size_t bytes = DML__SHARD_HEAD + DML__CKPT_SUM;
    for (size_t i = 0; i < nsections; i++)
        bytes += DML__SECTION_HEAD + strlen(sections[i].name);
    return bytes;
}

dml_status dml__shard_place(struct dml__shard *shard)
{
    uint64_t at = dml__shard_head_bytes(shard->sections, shard->nsections);
    for (size_t i = 0; i < shard->nsections; i++) {
        struct dml__section *s = &shard->sections[i];
        uint64_t each = dml_dtype_bytes((dml_dtype)s->dtype);
        if (each == 0 || s->count > INT64_MAX / each)
            return DML_EINVAL;
        s->bytes = s->count * each;
        s->offset = at;
        if (s->bytes > INT64_MAX - at)
            return DML_EINVAL;
        at += s->bytes;
    }
    shard->file_bytes = at;
    return DML_OK;
}

static uint8_t *pack_section(const struct dml__section *s, uint8_t *to)
{
    size_t length = strlen(s->name);
    dml__put_u32(to, (uint32_t)length);
    dml__put_u32(to + 4, s->kind);
    dml__put_u32(to + 8, s->dtype);
    dml__put_u32(to + 12, s->crc);
    dml__put_u64(to + 16, s->first);
    dml__put_u64(to + 24, s->count);
    dml__put_u64(to + 32, s->total);
    memcpy(to + DML__SECTION_HEAD, s->name, length);
    return to + DML__SECTION_HEAD + length;
}

void dml__shard_pack(const dml_ctx *ctx, struct dml__shard *shard, uint8_t *bytes)
{
    size_t all = dml__shard_head_bytes(shard->sections, shard->nsections);
    size_t summed = all - DML__CKPT_SUM;
    memset(bytes, 0, DML__SHARD_HEAD);
    memcpy(bytes, magic, sizeof magic);
    dml__put_u32(bytes + 8, DML__CKPT_VERSION);
    dml__put_u32(bytes + 12, shard->rank);
    dml__put_u32(bytes + 16, shard->ranks);
    dml__put_u32(bytes + 20, (uint32_t)shard->nsections);
    dml__put_u64(bytes + 24, shard->id);
    dml__put_u64(bytes + 32, shard->step);
    dml__put_u64(bytes + 40, summed - DML__SHARD_HEAD);
    dml__put_u64(bytes + 48, shard->file_bytes);
    uint8_t *to = bytes + DML__SHARD_HEAD;
    for (size_t i = 0; i < shard->nsections; i++)
        to = pack_section(&shard->sections[i], to);
    shard->crc = dml__ckpt_crc(ctx, 0, bytes, summed);
    dml__put_u32(to, shard->crc);
}

/* ---- reading ----------------------------------------------------------------------
 */

static dml_status DML__PRINTF(4, 5)
    bad(dml_ctx *ctx, const char *where, const char *path, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dml__fail(ctx, DML_EFORMAT, where, "%.160s: %s", path, text);
}

static dml_status open_file(dml_ctx *ctx, const char *where, const char *path, int *fd,
                            uint64_t *bytes)
{
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0 || fstat(*fd, &info) != 0) {
        int error = errno;
        if (*fd >= 0)
            close(*fd);
        *fd = -1;
        return dml__fail(ctx, error == ENOENT ? DML_EFORMAT : DML_EIO, where,
                         "%.200s: cannot open: %s", path, strerror(error));
    }
    *bytes = (uint64_t)info.st_size;
    if (S_ISREG(info.st_mode))
        return DML_OK;
    close(*fd);
    *fd = -1;
    return bad(ctx, where, path, "not a file");
}

static dml_status read_at(dml_ctx *ctx, const char *where, const char *path, int fd,
                          uint64_t offset, void *data, size_t bytes)
{
    uint8_t *to = data;
    for (size_t got = 0; got < bytes;) {
        ssize_t n = pread(fd, to + got, bytes - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dml__fail(ctx, DML_EIO, where,
                             "%.200s: cannot read at offset %llu: %s", path,
                             (unsigned long long)offset + got, strerror(errno));
        if (n == 0)
            return bad(ctx, where, path, "cut short at offset %llu",
                       (unsigned long long)offset + got);
        got += (size_t)n;
    }
    return DML_OK;
}

static bool good_name(const uint8_t *name, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (name[i] <= ' ' || name[i] > '~')
            return false;
    return length > 0 && length < DML_CKPT_NAME_MAX;
}

static bool good_section(const struct dml__section *s, uint32_t rank)
{
    if (s->dtype >= DML_NDTYPES || s->count > s->total ||
        s->first > s->total - s->count)
        return false;
    if (s->kind == DML_SECTION_VECTOR)
        return true;
    bool known =
        s->kind == DML_SECTION_OWN || (s->kind == DML_SECTION_SHARED && rank == 0);
    return known && s->dtype == DML_U8 && s->count == s->total;
}

/* Takes one entry of "left" bytes; returns its length, or 0. */
static size_t take_section(struct dml__section *s, const uint8_t *from, size_t left,
                           uint32_t rank)
{
    if (left < DML__SECTION_HEAD)
        return 0;
    size_t length = dml__get_u32(from);
    if (length > left - DML__SECTION_HEAD ||
        !good_name(from + DML__SECTION_HEAD, length))
        return 0;
    *s = (struct dml__section){.kind = dml__get_u32(from + 4),
                               .dtype = dml__get_u32(from + 8),
                               .crc = dml__get_u32(from + 12),
                               .first = dml__get_u64(from + 16),
                               .count = dml__get_u64(from + 24),
                               .total = dml__get_u64(from + 32)};
    memcpy(s->name, from + DML__SECTION_HEAD, length);
    return good_section(s, rank) ? DML__SECTION_HEAD + length : 0;
}

static dml_status take_sections(dml_ctx *ctx, const char *where, const char *path,
                                struct dml__shard *shard, const uint8_t *table,
                                size_t bytes)
{
    size_t at = 0;
    for (size_t i = 0; i < shard->nsections; i++) {
        size_t length =
            take_section(&shard->sections[i], table + at, bytes - at, shard->rank);
        if (length == 0)
            return bad(ctx, where, path, "section %zu makes no sense", i);
        at += length;
    }
    uint64_t announced = shard->file_bytes;
    if (at != bytes || dml__shard_place(shard) != DML_OK ||
        shard->file_bytes != announced)
        return bad(ctx, where, path, "its sections do not fit its length");
    return DML_OK;
}

/* The head, whose numbers are held against the file's length before they are used. */
static dml_status take_head(dml_ctx *ctx, const char *where, const char *path,
                            const uint8_t head[DML__SHARD_HEAD], uint64_t file_bytes,
                            struct dml__shard *shard, size_t *table_bytes)
{
    uint32_t version = dml__get_u32(head + 8);
    uint64_t table = dml__get_u64(head + 40);
    if (memcmp(head, magic, sizeof magic) != 0)
        return bad(ctx, where, path, "not a file of a snapshot");
    if (version != DML__CKPT_VERSION)
        return bad(ctx, where, path, "version %u; this libdml reads version %d",
                   version, DML__CKPT_VERSION);
    *shard = (struct dml__shard){.rank = dml__get_u32(head + 12),
                                 .ranks = dml__get_u32(head + 16),
                                 .nsections = dml__get_u32(head + 20),
                                 .id = dml__get_u64(head + 24),
                                 .step = dml__get_u64(head + 32),
                                 .file_bytes = dml__get_u64(head + 48)};
    if (shard->file_bytes != file_bytes)
        return bad(ctx, where, path, "%llu bytes long, %llu expected",
                   (unsigned long long)file_bytes,
                   (unsigned long long)shard->file_bytes);
    if (table > MOST_TABLE || file_bytes - DML__SHARD_HEAD < table + DML__CKPT_SUM ||
        shard->nsections > table / (DML__SECTION_HEAD + 1) ||
        shard->ranks > DML__CKPT_MOST_RANKS || shard->rank >= shard->ranks)
        return bad(ctx, where, path, "its head makes no sense");
    *table_bytes = (size_t)table;
    return DML_OK;
}

static dml_status take_table(dml_ctx *ctx, const char *where, const char *path, int fd,
                             const uint8_t head[DML__SHARD_HEAD], size_t bytes,
                             struct dml__shard *shard)
{
    uint8_t *table = dml__alloc(ctx, bytes + DML__CKPT_SUM);
    shard->sections =
        dml__alloc(ctx, dml__mul(shard->nsections, sizeof *shard->sections));
    dml_status status = DML_OK;
    if (table == NULL || shard->sections == NULL)
        status = dml__fail(ctx, DML_ENOMEM, where, "%.200s: no memory for %zu sections",
                           path, shard->nsections);
    if (status == DML_OK)
        status = read_at(ctx, where, path, fd, DML__SHARD_HEAD, table,
                         bytes + DML__CKPT_SUM);
    if (status == DML_OK) {
        shard->crc = dml__ckpt_crc(ctx, 0, head, DML__SHARD_HEAD);
        shard->crc = dml__ckpt_crc(ctx, shard->crc, table, bytes);
        if (shard->crc != dml__get_u32(table + bytes))
            status = bad(
                ctx, where, path,
                "wrong checksum of its head; it is damaged: go on from an older one");
    }
    if (status == DML_OK)
        status = take_sections(ctx, where, path, shard, table, bytes);
    dml__free(table);
    if (status != DML_OK) {
        dml__free(shard->sections);
        shard->sections = NULL;
    }
    return status;
}

dml_status dml__shard_read(dml_ctx *ctx, const char *where, const char *path,
                           struct dml__shard *shard)
{
    uint8_t head[DML__SHARD_HEAD];
    uint64_t file_bytes = 0;
    size_t table_bytes = 0;
    int fd = -1;
    DML_TRY(open_file(ctx, where, path, &fd, &file_bytes));
    dml_status status = read_at(ctx, where, path, fd, 0, head, sizeof head);
    if (status == DML_OK)
        status = take_head(ctx, where, path, head, file_bytes, shard, &table_bytes);
    if (status == DML_OK)
        status = take_table(ctx, where, path, fd, head, table_bytes, shard);
    close(fd);
    return status;
}

static dml_status wrong_data(dml_ctx *ctx, const char *where, const char *path,
                             const struct dml__section *s)
{
    return bad(ctx, where, path,
               "wrong checksum of section %s; it is damaged: go on from an older one",
               s->name);
}

dml_status dml__section_read(dml_ctx *ctx, const char *where, const char *path,
                             const struct dml__section *s, uint64_t first,
                             uint64_t count, void *data)
{
    uint64_t each = dml_dtype_bytes((dml_dtype)s->dtype), file_bytes = 0;
    size_t bytes = (size_t)(count * each);
    int fd = -1;
    DML_TRY(open_file(ctx, where, path, &fd, &file_bytes));
    dml_status status =
        read_at(ctx, where, path, fd, s->offset + first * each, data, bytes);
    close(fd);
    if (status == DML_OK && count == s->count &&
        dml__ckpt_crc(ctx, 0, data, bytes) != s->crc)
        status = wrong_data(ctx, where, path, s);
    return status;
}

static dml_status check_section(dml_ctx *ctx, const char *where, const char *path,
                                int fd, const struct dml__section *s, uint8_t *buffer)
{
    uint32_t crc = 0;
    for (uint64_t at = 0; at < s->bytes;) {
        size_t n = s->bytes - at < PIECE ? (size_t)(s->bytes - at) : PIECE;
        DML_TRY(read_at(ctx, where, path, fd, s->offset + at, buffer, n));
        crc = dml__ckpt_crc(ctx, crc, buffer, n);
        at += n;
    }
    return crc == s->crc ? DML_OK : wrong_data(ctx, where, path, s);
}

dml_status dml__shard_check(dml_ctx *ctx, const char *where, const char *path,
                            const struct dml__shard *shard)
{
    uint64_t file_bytes = 0;
    int fd = -1;
    uint8_t *buffer = dml__alloc(ctx, PIECE);
    if (buffer == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory to read %.200s", path);
    dml_status status = open_file(ctx, where, path, &fd, &file_bytes);
    for (size_t i = 0; i < shard->nsections && status == DML_OK; i++)
        status = check_section(ctx, where, path, fd, &shard->sections[i], buffer);
    if (fd >= 0)
        close(fd);
    dml__free(buffer);
    return status;
}
