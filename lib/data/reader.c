/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a data file, plain or gzip: zlib reads both alike. What this file adds is
 * that nothing is believed before it is seen: memory grows with the bytes that arrive.
 */
#include "data/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB                ((size_t)1 << 20)
#define DECODE_BUFFER      ((unsigned)(MIB / 8))
#define MAX_READ           ((size_t)1 << 30) /* gzread() counts in int */
#define DEFLATE_BEST_RATIO 1032 /* decoded bytes per stored byte, at most */
#define PATH_SHOWN         200  /* the rest of a message must fit as well */

static dml_status open_failed(dml__reader *r, const char *why)
{
    return dml__fail(r->ctx, DML_EIO, r->where, "%s: cannot open: %s; check the path",
                     r->path, why);
}

dml_status dml__reader_open(dml__reader *r, dml_ctx *ctx, const char *where,
                            const char *path)
{
    size_t length = strlen(path);
    *r = (dml__reader){.ctx = ctx, .where = where, .path = path};
    if (length > PATH_SHOWN)
        r->path = path + (length - PATH_SHOWN);
    bool standard = strcmp(path, "-") == 0;
    if (standard)
        r->path = "standard input";
    /* Not blocking: a FIFO without a writer is refused below, not waited for. */
    int fd =
        standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return open_failed(r, strerror(errno));
    dml_status status = DML_OK;
    struct stat info;
    if (fstat(fd, &info) != 0)
        status = open_failed(r, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        status = open_failed(r, "it is a directory, a file was expected");
    else if (!S_ISREG(info.st_mode) && !standard)
        status = open_failed(r, "it is not a regular file (for a pipe, give - and "
                                "redirect)");
    else if ((r->gz = gzdopen(fd, "rb")) == NULL)
        status = dml__fail(ctx, DML_ENOMEM, where, "%s: no memory to read it", r->path);
    if (status != DML_OK) {
        close(fd);
        return status;
    }
    gzbuffer(r->gz, DECODE_BUFFER);
    r->regular = S_ISREG(info.st_mode);
    r->file_bytes = r->regular ? (size_t)info.st_size : 0;
    r->plain = gzdirect(r->gz) != 0;
    return DML_OK;
}

void dml__reader_close(dml__reader *r)
{
    if (r->gz != NULL)
        gzclose_r(r->gz);
    r->gz = NULL;
}

/* What stopped the last read; DML_OK at the proper end of the file. */
static dml_status read_status(dml__reader *r)
{
    int code = Z_OK;
    const char *text = gzerror(r->gz, &code);
    switch (code) {
    case Z_OK:
    case Z_STREAM_END:
        return DML_OK;
    case Z_BUF_ERROR:
        return dml__fail_values(r->ctx, DML_EFORMAT, r->where, -1, (int64_t)r->offset,
                                0,
                                "%s: cut short: its gzip stream ends after %zu decoded "
                                "bytes without an end mark; fetch the file again",
                                r->path, r->offset);
    case Z_MEM_ERROR:
        return dml__fail(r->ctx, DML_ENOMEM, r->where, "%s: no memory to decode it",
                         r->path);
    case Z_ERRNO:
        return dml__fail(r->ctx, DML_EIO, r->where,
                         "%s: cannot read past byte %zu: %s; check the disk", r->path,
                         r->offset, strerror(r->error));
    default:
        return dml__fail_values(r->ctx, DML_EFORMAT, r->where, -1, (int64_t)r->offset,
                                0,
                                "%s: damaged gzip stream after %zu decoded bytes (%s); "
                                "fetch the file again",
                                r->path, r->offset, text);
    }
}

dml_status dml__reader_some(dml__reader *r, void *out, size_t bytes, size_t *got,
                            bool *ended)
{
    size_t part = bytes < MAX_READ ? bytes : MAX_READ;
    int n = gzread(r->gz, out, (unsigned)part), code = Z_OK;
    if (n < 0 && r->error == 0)
        r->error = errno;
    *got = n > 0 ? (size_t)n : 0;
    *ended = false;
    r->offset += *got;
    if (*got == part)
        return DML_OK;
    if (*got == 0)
        DML_TRY(read_status(r));
    gzerror(r->gz, &code);
    *ended = code == Z_OK || code == Z_STREAM_END;
    return DML_OK;
}

dml_status dml__reader_read(dml__reader *r, void *out, size_t bytes, size_t *got)
{
    uint8_t *to = out;
    bool ended = false;
    *got = 0;
    while (*got < bytes && !ended) {
        size_t part;
        DML_TRY(dml__reader_some(r, to + *got, bytes - *got, &part, &ended));
        *got += part;
    }
    return DML_OK;
}

dml_status dml__reader_skip_to(dml__reader *r, uint64_t offset)
{
    if (gzseek(r->gz, (z_off_t)offset, SEEK_SET) < 0)
        return dml__fail(r->ctx, DML_EIO, r->where, "%s: cannot go to byte %llu: %s",
                         r->path, (unsigned long long)offset, strerror(errno));
    r->offset = offset;
    return DML_OK;
}

dml_status dml__reader_more(dml__reader *r, bool *more)
{
    int byte = gzgetc(r->gz);
    *more = byte >= 0;
    if (!*more && r->error == 0)
        r->error = errno;
    if (!*more)
        return read_status(r);
    gzungetc(byte, r->gz);
    return DML_OK;
}

static dml_status reserve(dml__reader *r, dml__bytes *b, size_t capacity)
{
    if (capacity <= b->capacity)
        return DML_OK;
    uint8_t *data = dml__alloc(r->ctx, capacity);
    if (data == NULL)
        return dml__fail(r->ctx, DML_ENOMEM, r->where, "%s: no memory for %zu bytes",
                         r->path, capacity);
    if (b->count > 0)
        memcpy(data, b->data, b->count);
    dml__free(b->data);
    b->data = data;
    b->capacity = capacity;
    return DML_OK;
}

/* First guess of what the file still holds, never nothing: exact for a plain file;
 * images seldom shrink to less than half by gzip. */
static size_t guess(const dml__reader *r)
{
    if (r->plain && r->regular)
        return r->file_bytes > r->offset ? r->file_bytes - r->offset : 1;
    size_t doubled = dml__mul(r->file_bytes, 2);
    return doubled > MIB ? doubled : MIB;
}

dml_status dml__reader_append(dml__reader *r, size_t limit, dml__bytes *b)
{
    size_t end = limit < SIZE_MAX - b->count ? b->count + limit : SIZE_MAX;
    size_t first = guess(r);
    DML_TRY(reserve(r, b, limit < first ? end : b->count + first));
    while (b->count < end) {
        size_t room = b->capacity < end ? b->capacity - b->count : end - b->count;
        size_t got = 0;
        DML_TRY(dml__reader_read(r, b->data + b->count, room, &got));
        b->count += got;
        if (got < room || b->count == end)
            return DML_OK;
        bool more = false;
        DML_TRY(dml__reader_more(r, &more));
        if (!more)
            return DML_OK;
        size_t doubled = dml__mul(b->capacity, 2);
        DML_TRY(reserve(r, b, doubled < end ? doubled : end));
    }
    return DML_OK;
}

dml_status dml__reader_wrong_length(const dml__reader *r, size_t seen, size_t expected)
{
    const char *what = seen < expected ? "cut short" : "longer than announced";
    return dml__fail_values(
        r->ctx, DML_EFORMAT, r->where, -1, (int64_t)seen, (int64_t)expected,
        "%s: %s: %zu bytes%s found, %zu expected; fetch the file "
        "again",
        r->path, what, seen, r->plain ? "" : " (decoded)", expected);
}

dml_status dml__reader_check_room(const dml__reader *r, size_t expected)
{
    if (!r->regular)
        return DML_OK;
    if (r->plain && r->file_bytes != expected)
        return dml__reader_wrong_length(r, r->file_bytes, expected);
    if (r->plain || expected / DEFLATE_BEST_RATIO <= r->file_bytes)
        return DML_OK;
    return dml__fail_values(r->ctx, DML_EFORMAT, r->where, -1, (int64_t)r->file_bytes,
                            (int64_t)expected,
                            "%s: its header announces %zu bytes, which a gzip file of "
                            "%zu bytes cannot hold; fetch the file again",
                            r->path, expected, r->file_bytes);
}
