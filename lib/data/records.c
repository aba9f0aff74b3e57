/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Record files from start to end. Data is summed while it is still in the cache, right
 * after the piece was read; memory grows with what arrives, not with what a length
 * announces. After a damaged length the next frame is found by its own checksum: one
 * place in 2^32 passes by chance, and its data's checksum is wrong then.
 */
#include "dml/records.h"

#include "data/frame.h"
#include "data/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PIECE       ((size_t)512 << 10)
#define MOST_BYTES  ((size_t)1 << 30)
#define FRAME_BYTES DML_RECORD_FRAME_BYTES

struct dml_records {
    dml__reader reader;
    dml_ctx *ctx;
    const struct dml__byte_kernels *bytes;
    char *path; /* owned */
    dml_records_opts opts;
    uint8_t *buffer; /* [capacity]; [begin, end) was read and not passed over */
    size_t capacity, begin, end;
    bool eof;
    uint64_t offset; /* of buffer[begin] in the file */
    size_t held;     /* bytes of the frame that was handed out last */
    uint64_t count, skipped;
};

void dml_records_opts_init(dml_records_opts *opts)
{
    *opts = (dml_records_opts){.size = sizeof *opts,
                               .check = true,
                               .max_bytes = MOST_BYTES,
                               .end = UINT64_MAX};
}

static dml_status check_opts(dml_ctx *ctx, const char *where, const dml_records_opts *o)
{
    DML_TRY(dml__check_size(ctx, where, o->size, sizeof *o, "dml_records_opts_init"));
    if (o->on_error != DML_ON_ERROR_FAIL && o->on_error != DML_ON_ERROR_SKIP)
        return dml__fail(ctx, DML_EINVAL, where, "on_error is %d; give FAIL or SKIP",
                         (int)o->on_error);
    if (o->max_bytes == 0 || o->max_bytes > SIZE_MAX / 4 || o->begin > o->end)
        return dml__fail(ctx, DML_EINVAL, where,
                         "max_bytes %zu or range %llu .. %llu is out of range",
                         o->max_bytes, (unsigned long long)o->begin,
                         (unsigned long long)o->end);
    return DML_OK;
}

static dml_status open_records(dml_records *r, const char *where, const char *path)
{
    r->path = dml__alloc(r->ctx, strlen(path) + 1);
    r->buffer = dml__alloc(r->ctx, PIECE);
    if (r->path == NULL || r->buffer == NULL)
        return dml__fail(r->ctx, DML_ENOMEM, where, "no memory for a buffer");
    r->capacity = PIECE;
    memcpy(r->path, path, strlen(path));
    DML_TRY(dml__reader_open(&r->reader, r->ctx, where, r->path));
    if (r->opts.begin == 0)
        return DML_OK;
    if (!r->reader.plain || !r->reader.regular)
        return dml__fail(r->ctx, DML_EUNSUPPORTED, where,
                         "%s: only a plain file can be read from byte %llu on; "
                         "decompress it",
                         r->reader.path, (unsigned long long)r->opts.begin);
    r->offset = r->opts.begin;
    return dml__reader_skip_to(&r->reader, r->offset);
}

dml_status dml_records_open(dml_ctx *ctx, const char *path,
                            const dml_records_opts *opts, dml_records **out)
{
    dml_records_opts defaults;
    dml_records_opts_init(&defaults);
    opts = opts != NULL ? opts : &defaults;
    if (path == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the path or the result is NULL");
    DML_TRY(check_opts(ctx, __func__, opts));
    dml_records *r = dml__alloc(ctx, sizeof *r);
    if (r == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a reader");
    r->ctx = ctx;
    r->opts = *opts;
    r->bytes = dml__ctx_bytes(ctx);
    dml_status status = open_records(r, __func__, path);
    if (status != DML_OK)
        dml_records_close(r);
    else
        *out = r;
    return status;
}

static void pass_over(dml_records *r, size_t bytes)
{
    r->begin += bytes;
    r->offset += bytes;
}

/* Have "wanted" bytes from begin on, or all that are left. */
static dml_status have(dml_records *r, size_t wanted)
{
    if (r->end - r->begin >= wanted || r->eof)
        return DML_OK;
    size_t kept = r->end - r->begin;
    uint8_t *to = r->buffer;
    if (wanted > r->capacity) {
        size_t capacity = wanted + wanted / 2;
        to = dml__alloc(r->ctx, capacity);
        if (to == NULL)
            return dml__fail(r->ctx, DML_ENOMEM, r->reader.where,
                             "%s: no memory for a record of %zu bytes at offset %llu",
                             r->reader.path, wanted, (unsigned long long)r->offset);
        r->capacity = capacity;
    }
    if (kept > 0)
        memmove(to, r->buffer + r->begin, kept);
    if (to != r->buffer)
        dml__free(r->buffer);
    r->buffer = to;
    r->begin = 0;
    r->end = kept;
    /* No further than a piece, so that it is summed before it leaves the cache. */
    size_t room = r->capacity - kept, got = 0;
    size_t most = wanted - kept > PIECE ? wanted - kept : PIECE;
    room = room < most ? room : most;
    for (; r->end < wanted && !r->eof; r->end += got, room -= got)
        DML_TRY(dml__reader_some(&r->reader, to + r->end, room, &got, &r->eof));
    return DML_OK;
}

/* A damaged place: an error, or one more to count. */
static dml_status DML__PRINTF(2, 3) bad(dml_records *r, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    unsigned long long offset = r->offset;
    if (r->opts.on_error == DML_ON_ERROR_FAIL)
        return dml__fail_values(r->ctx, DML_EFORMAT, r->reader.where, -1,
                                (int64_t)offset, 0, "%s: record at offset %llu: %s",
                                r->reader.path, offset, text);
    if (r->skipped++ == 0)
        dml__log(r->ctx, DML_LOG_WARN,
                 "%s: left out: record at offset %llu: %s; further ones are counted "
                 "only",
                 r->reader.path, offset, text);
    return DML_OK;
}

/* Go on to the next place where a length has the right checksum, or to the end. */
static dml_status find_frame(dml_records *r)
{
    for (;;) {
        pass_over(r, 1);
        DML_TRY(have(r, DML__FRAME_HEAD));
        if (r->end - r->begin < DML__FRAME_HEAD) {
            pass_over(r, r->end - r->begin);
            return DML_OK;
        }
        const uint8_t *head = r->buffer + r->begin;
        if (dml__frame_head_ok(r->bytes, head) &&
            dml__get_u64(head) <= r->opts.max_bytes)
            return DML_OK;
    }
}

/* Pass over "bytes" that need not be in memory. */
static dml_status discard(dml_records *r, uint64_t bytes)
{
    while (bytes > 0) {
        size_t part = bytes < PIECE ? (size_t)bytes : PIECE;
        DML_TRY(have(r, part));
        size_t got = r->end - r->begin < part ? r->end - r->begin : part;
        pass_over(r, got);
        bytes -= got;
        if (got < part)
            return DML_OK;
    }
    return DML_OK;
}

/* Have a whole frame in the buffer, its data summed piece by piece as they come. *got
 * is less than the frame where the file ends. */
static dml_status have_frame(dml_records *r, size_t bytes, size_t *got, uint32_t *crc)
{
    size_t summed = 0;
    *crc = 0;
    do {
        size_t next = bytes - summed > PIECE ? summed + PIECE : bytes;
        DML_TRY(have(r, next + FRAME_BYTES));
        *got = r->end - r->begin;
        if (*got < next + FRAME_BYTES)
            return DML_OK;
        const uint8_t *data = r->buffer + r->begin + DML__FRAME_HEAD;
        if (r->opts.check)
            *crc = r->bytes->crc32c(*crc, data + summed, next - summed);
        summed = next;
    } while (summed < bytes);
    return DML_OK;
}

/* A frame whose head is good, into *record; *good is false if it was passed over. */
static dml_status take_frame(dml_records *r, dml_record *record, bool *good)
{
    uint64_t announced = dml__get_u64(r->buffer + r->begin);
    *good = false;
    if (announced > r->opts.max_bytes) {
        DML_TRY(bad(r, "%llu bytes, at most %zu expected; raise the limit",
                    (unsigned long long)announced, r->opts.max_bytes));
        DML_TRY(discard(r, FRAME_BYTES));
        return discard(r, announced);
    }
    size_t bytes = (size_t)announced, got = 0;
    uint32_t crc = 0;
    DML_TRY(have_frame(r, bytes, &got, &crc));
    if (got < bytes + FRAME_BYTES) {
        DML_TRY(bad(r, "cut short: %zu bytes with its frame, the file ends after %zu",
                    bytes + FRAME_BYTES, got));
        return discard(r, got);
    }
    const uint8_t *data = r->buffer + r->begin + DML__FRAME_HEAD;
    uint32_t stored = dml__get_u32(data + bytes);
    if (r->opts.check && dml__mask(crc) != stored) {
        DML_TRY(bad(r, "wrong checksum of its %zu bytes: 0x%08x found, 0x%08x expected",
                    bytes, dml__mask(crc), stored));
        return discard(r, bytes + FRAME_BYTES);
    }
    *record = (dml_record){
        .data = data, .bytes = bytes, .offset = r->offset, .number = r->count++};
    r->held = bytes + FRAME_BYTES;
    *good = true;
    return DML_OK;
}

dml_status dml_records_next(dml_records *r, dml_record *record)
{
    bool good = false;
    r->reader.where = __func__;
    pass_over(r, r->held);
    r->held = 0;
    while (!good) {
        if (r->offset >= r->opts.end)
            return DML_EEND;
        DML_TRY(have(r, DML__FRAME_HEAD));
        size_t got = r->end - r->begin;
        if (got == 0)
            return DML_EEND;
        if (got < DML__FRAME_HEAD) {
            DML_TRY(bad(r,
                        "cut short: the file ends after %zu of the %d bytes before "
                        "the data",
                        got, DML__FRAME_HEAD));
            pass_over(r, got);
        } else if (!dml__frame_head_ok(r->bytes, r->buffer + r->begin)) {
            DML_TRY(bad(r, "wrong checksum of its length; it is damaged, or not a "
                           "record file"));
            DML_TRY(find_frame(r));
        } else {
            DML_TRY(take_frame(r, record, &good));
        }
    }
    return DML_OK;
}

uint64_t dml_records_skipped(const dml_records *r)
{
    return r->skipped;
}

void dml_records_close(dml_records *r)
{
    if (r == NULL)
        return;
    dml__reader_close(&r->reader);
    dml__free(r->buffer);
    dml__free(r->path);
    dml__free(r);
}

uint32_t dml_crc32c(const dml_ctx *ctx, uint32_t crc, const void *data, size_t bytes)
{
    return dml__ctx_bytes(ctx)->crc32c(crc, data, bytes);
}
