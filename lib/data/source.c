/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whole lines out of a file, in bounded memory; see source.h. A file is shared out by
 * bytes: a line belongs to the rank in whose range it begins, so a rank whose range
 * does not begin at 0 starts one byte earlier and passes over what that line still has.
 */
#include "data/source.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK        ((size_t)256 << 10) /* stays in a core's cache */
#define DEFAULT_LINE ((size_t)16 << 20)
#define LEAST_LINE   64

void dml_text_opts_init(dml_text_opts *opts)
{
    *opts = (dml_text_opts){
        .size = sizeof *opts, .max_line_bytes = DEFAULT_LINE, .nranks = 1};
}

static dml_status check_opts(dml_ctx *ctx, const char *where, const dml_text_opts *o)
{
    DML_TRY(dml__check_size(ctx, where, o->size, sizeof *o, "dml_text_opts_init"));
    if (o->on_error != DML_ON_ERROR_FAIL && o->on_error != DML_ON_ERROR_SKIP)
        return dml__fail(ctx, DML_EINVAL, where, "on_error is %d; give FAIL or SKIP",
                         (int)o->on_error);
    if (o->max_line_bytes < LEAST_LINE || o->max_line_bytes > UINT32_MAX / 4)
        return dml__fail(ctx, DML_EINVAL, where,
                         "max_line_bytes is %zu; at least %d and at most 1 GiB "
                         "expected",
                         o->max_line_bytes, LEAST_LINE);
    if (o->nranks < 1 || o->rank < 0 || o->rank >= o->nranks)
        return dml__fail(ctx, DML_EINVAL, where,
                         "rank %d of %d; 0 <= rank < nranks expected", o->rank,
                         o->nranks);
    return DML_OK;
}

static dml_status grow(dml__source *s, size_t capacity)
{
    char *memory = dml__alloc(s->ctx, capacity + 2 * DML__SOURCE_PAD);
    if (memory == NULL)
        return dml__fail(s->ctx, DML_ENOMEM, s->reader.where,
                         "%s: no memory for a buffer of %zu bytes", s->reader.path,
                         capacity);
    if (s->end > 0)
        memcpy(memory + DML__SOURCE_PAD, s->text, s->end);
    dml__free(s->memory);
    s->memory = memory;
    s->text = memory + DML__SOURCE_PAD;
    s->capacity = capacity;
    return DML_OK;
}

/* Bytes [first, stop) of the file are this rank's. */
static dml_status take_share(dml__source *s)
{
    uint64_t rank = (uint64_t)s->opts.rank, nranks = (uint64_t)s->opts.nranks;
    s->stop = UINT64_MAX;
    if (nranks == 1)
        return DML_OK;
    if (!s->reader.plain || !s->reader.regular)
        return dml__fail(s->ctx, DML_EUNSUPPORTED, s->reader.where,
                         "%s: only a plain file can be shared out by bytes; decompress "
                         "it, or give each rank a file",
                         s->reader.path);
    uint64_t bytes = s->reader.file_bytes;
    /* A product that cannot overflow. */
    s->first = bytes / nranks * rank + bytes % nranks * rank / nranks;
    s->stop = rank + 1 == nranks
                  ? UINT64_MAX
                  : bytes / nranks * (rank + 1) + bytes % nranks * (rank + 1) / nranks;
    if (s->first == 0)
        return DML_OK;
    s->offset = s->first - 1;
    return dml__reader_skip_to(&s->reader, s->offset);
}

/* Room behind end, and what is still used at the front. */
static dml_status make_room(dml__source *s)
{
    size_t kept = s->end - s->begin;
    if (s->begin > 0 && kept > 0)
        memmove(s->text, s->text + s->begin, kept);
    s->whole -= s->begin;
    s->end = kept;
    s->begin = 0;
    if (kept < s->capacity)
        return DML_OK;
    return grow(s, dml__mul(s->capacity, 2));
}

/* Line ends as the rest of the code wants them: one behind every line, and no mark of
 * the byte order (which Windows' programs write) before the first. */
static dml_status tidy(dml__source *s, size_t fresh)
{
    static const char mark[] = "\xEF\xBB\xBF";
    if (s->offset == 0 && s->begin == 0 && fresh == 0 && s->end >= 3 &&
        memcmp(s->text, mark, 3) == 0) {
        s->begin = 3;
        s->offset = 3;
        if (s->stop > 0 && s->stop <= 3) /* The first line is still this share's. */
            s->stop = 4;
    }
    if (s->eof && s->end > s->begin && s->text[s->end - 1] != '\n') {
        if (s->end == s->capacity)
            DML_TRY(grow(s, s->capacity + 1));
        s->text[s->end++] = '\n';
    }
    size_t from = fresh > s->begin ? fresh : s->begin;
    const char *newline = memrchr(s->text + from, '\n', s->end - from);
    if (newline != NULL)
        s->whole = (size_t)(newline + 1 - s->text);
    return DML_OK;
}

/* Read behind end. */
static dml_status refill(dml__source *s)
{
    size_t fresh = s->end, room = s->capacity - s->end, got = 0;
    DML_TRY(dml__reader_some(&s->reader, s->text + s->end, room, &got, &s->eof));
    s->end += got;
    return tidy(s, fresh);
}

/* Pass over the rest of a line: of the one before the share, or of one that is too
 * long. */
static dml_status drop_line(dml__source *s)
{
    for (;;) {
        const char *from = s->text + s->begin;
        const char *newline = memchr(from, '\n', s->end - s->begin);
        size_t dropped =
            newline != NULL ? (size_t)(newline + 1 - from) : s->end - s->begin;
        s->begin += dropped;
        s->offset += dropped;
        if (newline != NULL)
            return DML_OK;
        s->begin = s->end = s->whole = 0;
        if (s->eof)
            return DML_OK;
        DML_TRY(refill(s));
    }
}

dml_status dml__source_more(dml__source *s)
{
    for (;;) {
        DML_TRY(make_room(s));
        size_t before = s->whole;
        if (s->eof)
            return DML_EEND;
        DML_TRY(refill(s));
        if (s->whole > before)
            return DML_OK;
        if (s->end <= s->opts.max_line_bytes)
            continue;
        if (before > 0) /* A row of several lines: its reader gives it up. */
            return DML_OK;
        s->lines++;
        DML_TRY(dml__source_bad(s, s->lines,
                                "longer than %zu bytes; raise the limit, or check that "
                                "this is a text file",
                                s->opts.max_line_bytes));
        DML_TRY(drop_line(s));
        if (s->whole > s->begin)
            return DML_OK;
    }
}

dml_status dml__source_open(dml__source *s, dml_ctx *ctx, const char *where,
                            const char *path, const dml_text_opts *opts)
{
    dml_text_opts defaults;
    dml_text_opts_init(&defaults);
    *s = (dml__source){.ctx = ctx, .opts = opts != NULL ? *opts : defaults};
    DML_TRY(check_opts(ctx, where, &s->opts));
    s->path = dml__alloc(ctx, strlen(path) + 1);
    if (s->path == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for a path");
    memcpy(s->path, path, strlen(path));
    DML_TRY(dml__reader_open(&s->reader, ctx, where, s->path));
    DML_TRY(grow(s, CHUNK));
    DML_TRY(take_share(s));
    return s->first > 0 ? drop_line(s) : DML_OK;
}

void dml__source_close(dml__source *s)
{
    dml__reader_close(&s->reader);
    dml__free(s->memory);
    dml__free(s->path);
    s->memory = NULL;
    s->path = NULL;
}

/* Why a line cannot be taken; NULL if it can. */
static const char *fault_of(const dml__source *s, const char *text, size_t bytes)
{
    if (bytes > s->opts.max_line_bytes)
        return "too long; raise the limit, or check that this is a text file";
    if (memchr(text, '\0', bytes) != NULL)
        return "holds a zero byte; check that this is a text file";
    return NULL;
}

dml_status dml__source_line(dml__source *s, const char *where, dml_line *line)
{
    s->reader.where = where;
    for (;;) {
        if (s->begin == s->whole)
            DML_TRY(dml__source_more(s));
        if (s->begin == s->whole || s->offset >= s->stop)
            return DML_EEND;
        char *text = s->text + s->begin;
        char *newline = memchr(text, '\n', s->whole - s->begin);
        size_t bytes = (size_t)(newline - text);
        *line = (dml_line){
            .text = {text, bytes}, .number = ++s->lines, .offset = s->offset};
        s->begin += bytes + 1;
        s->offset += bytes + 1;
        line->text.bytes -= bytes > 0 && text[bytes - 1] == '\r';
        const char *fault = fault_of(s, text, bytes);
        text[line->text.bytes] = '\0';
        if (fault == NULL)
            return DML_OK;
        DML_TRY(dml__source_bad(s, s->lines, "%s", fault));
    }
}

/* Newlines in the file's first bytes. */
static bool count_newlines(const char *path, uint64_t bytes, uint64_t *count)
{
    uint64_t done = 0;
    ssize_t got = 1;
    char block[16384];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *count = 0;
    while (fd >= 0 && done < bytes && got > 0) {
        uint64_t want = bytes - done < sizeof block ? bytes - done : sizeof block;
        got = read(fd, block, (size_t)want);
        for (ssize_t i = 0; i < got; i++)
            *count += block[i] == '\n';
        done += got > 0 ? (uint64_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    return done == bytes;
}

uint64_t dml__source_number(dml__source *s, uint64_t line)
{
    if (s->first == 0)
        return line;
    uint64_t before = 0;
    if (s->lines_before == 0 && count_newlines(s->path, s->first - 1, &before))
        s->lines_before = before + 1; /* the one that reaches into the share */
    return s->lines_before > 0 ? s->lines_before + line : 0;
}

dml_status dml__source_bad(dml__source *s, uint64_t line, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *at = text; *at != '\0'; at++) /* one line, whatever the file holds */
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    if (s->opts.on_error == DML_ON_ERROR_FAIL) {
        uint64_t number = dml__source_number(s, line);
        return dml__fail_values(s->ctx, DML_EFORMAT, s->reader.where, -1,
                                (int64_t)number, 0, "%s:%llu: %s", s->reader.path,
                                (unsigned long long)number, text);
    }
    if (s->skipped++ == 0)
        dml__log(s->ctx, DML_LOG_WARN,
                 "%s:%llu: left out: %s; further ones are counted only", s->reader.path,
                 (unsigned long long)dml__source_number(s, line), text);
    return DML_OK;
}
