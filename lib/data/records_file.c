/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records at known offsets: one read into the caller's buffer, which then is checked.
 * The file's position is not used, so threads need no lock. Not mapped: a mapped file
 * that is cut short by another program ends the reading one.
 */
#include "dml/records.h"

#include "data/frame.h"
#include "data/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_READ ((size_t)16 << 10)

struct dml_record_file {
    dml_ctx *ctx;
    const struct dml__byte_kernels *bytes;
    char *path; /* owned */
    bool check;
    int fd;
    uint64_t file_bytes;
};

static dml_status open_file(dml_record_file *f, const char *where, const char *path)
{
    struct stat info;
    f->path = dml__alloc(f->ctx, strlen(path) + 1);
    if (f->path == NULL)
        return dml__fail(f->ctx, DML_ENOMEM, where, "no memory for a path");
    memcpy(f->path, path, strlen(path));
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0 || fstat(f->fd, &info) != 0)
        return dml__fail(f->ctx, DML_EIO, where,
                         "%.200s: cannot open: %s; check the path", path,
                         strerror(errno));
    if (!S_ISREG(info.st_mode))
        return dml__fail(f->ctx, DML_EUNSUPPORTED, where,
                         "%.200s: records at offsets need a regular file", path);
    f->file_bytes = (uint64_t)info.st_size;
    unsigned char magic[2] = {0};
    if (pread(f->fd, magic, 2, 0) == 2 && magic[0] == 0x1f && magic[1] == 0x8b)
        return dml__fail(f->ctx, DML_EUNSUPPORTED, where,
                         "%.200s: records at offsets need a plain file; decompress it",
                         path);
    return DML_OK;
}

dml_status dml_record_file_open(dml_ctx *ctx, const char *path, bool check,
                                dml_record_file **out)
{
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    dml_record_file *f = dml__alloc(ctx, sizeof *f);
    if (f == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a reader");
    *f = (dml_record_file){
        .ctx = ctx, .bytes = dml__ctx_bytes(ctx), .check = check, .fd = -1};
    dml_status status = open_file(f, __func__, path);
    if (status != DML_OK)
        dml_record_file_close(f);
    else
        *out = f;
    return status;
}

/* Read up to "bytes" at an offset; less only where the file ends. */
static dml_status read_at(const dml_record_file *f, const char *where, uint64_t offset,
                          void *out, size_t bytes, size_t *got)
{
    uint8_t *to = out;
    *got = 0;
    while (*got < bytes && offset + *got <= INT64_MAX) {
        ssize_t n = pread(f->fd, to + *got, bytes - *got, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dml__fail(f->ctx, DML_EIO, where,
                             "%.200s: cannot read at offset %llu: %s; check the disk",
                             f->path, (unsigned long long)offset, strerror(errno));
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return DML_OK;
}

static dml_status bad(const dml_record_file *f, const char *where, uint64_t offset,
                      const char *what)
{
    return dml__fail_values(f->ctx, DML_EFORMAT, where, -1, (int64_t)offset, 0,
                            "%.200s: record at offset %llu: %s", f->path,
                            (unsigned long long)offset, what);
}

/* One system call serves most records; a long one needs a second. */
dml_status dml_record_file_read(const dml_record_file *f, uint64_t offset, void *buffer,
                                size_t room, dml_record *record)
{
    if (room < DML_RECORD_FRAME_BYTES)
        return dml__fail(f->ctx, DML_EINVAL, __func__,
                         "a buffer of %zu bytes holds no frame; at least %d expected",
                         room, DML_RECORD_FRAME_BYTES);
    size_t got = 0, more = 0, first = room < FIRST_READ ? room : FIRST_READ;
    uint8_t *head = buffer, *data = head + DML__FRAME_HEAD;
    DML_TRY(read_at(f, __func__, offset, head, first, &got));
    if (got < DML__FRAME_HEAD)
        return bad(f, __func__, offset, "the file ends before or in its length");
    if (!dml__frame_head_ok(f->bytes, head))
        return bad(f, __func__, offset,
                   "wrong checksum of its length; the offset is none of a record, or "
                   "the file is damaged");
    uint64_t bytes = dml__get_u64(head);
    if (bytes > room - DML_RECORD_FRAME_BYTES)
        return dml__fail_values(f->ctx, DML_EINVAL, __func__, -1, (int64_t)bytes,
                                (int64_t)(room - DML_RECORD_FRAME_BYTES),
                                "%.200s: record at offset %llu has %llu bytes, the "
                                "buffer room for %zu; bring a larger buffer",
                                f->path, (unsigned long long)offset,
                                (unsigned long long)bytes,
                                room - DML_RECORD_FRAME_BYTES);
    size_t whole = (size_t)bytes + DML_RECORD_FRAME_BYTES;
    if (got == first && got < whole)
        DML_TRY(read_at(f, __func__, offset + got, head + got, whole - got, &more));
    if (got + more < whole)
        return bad(f, __func__, offset, "cut short by the end of the file");
    if (f->check && dml__mask(f->bytes->crc32c(0, data, (size_t)bytes)) !=
                        dml__get_u32(data + bytes))
        return bad(f, __func__, offset, "wrong checksum of its data");
    *record = (dml_record){.data = data, .bytes = (size_t)bytes, .offset = offset};
    return DML_OK;
}

uint64_t dml_record_file_bytes(const dml_record_file *f)
{
    return f->file_bytes;
}

void dml_record_file_close(dml_record_file *f)
{
    if (f == NULL)
        return;
    if (f->fd >= 0)
        close(f->fd);
    dml__free(f->path);
    dml__free(f);
}
