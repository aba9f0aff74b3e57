/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading a data file, plain or gzip, or standard input, from start to end. Every
 * failure is recorded with the file's path, what was found and what to do.
 */
#ifndef DML__READER_H
#define DML__READER_H

#include "core/core.h"

#include <zlib.h>

typedef struct dml__reader {
    dml_ctx *ctx;
    const char *where; /* public function to name in errors */
    const char *path;  /* borrowed; its end only, if it is very long */
    gzFile gz;
    bool plain;        /* the file is not gzip */
    bool regular;      /* a file; else standard input, of unknown length */
    size_t file_bytes; /* on disk */
    size_t offset;     /* decoded bytes handed out so far */
    int error;         /* errno of the first reading that failed; 0: none */
} dml__reader;

/* Bytes that grow as they are read. Zero-initialise; free data with dml__free(). */
typedef struct dml__bytes {
    uint8_t *data;
    size_t count;
    size_t capacity;
} dml__bytes;

/* "-" is standard input. Close with dml__reader_close(), also after a failure. */
dml_status dml__reader_open(dml__reader *reader, dml_ctx *ctx, const char *where,
                            const char *path);
void dml__reader_close(dml__reader *reader);

/* Up to bytes bytes, at least one: *got is smaller at the end of the file, where *ended
 * becomes true, and before a fault, which the next call returns. */
dml_status dml__reader_some(dml__reader *reader, void *out, size_t bytes, size_t *got,
                            bool *ended);

/* Up to bytes bytes; *got is smaller at the end of the file only. */
dml_status dml__reader_read(dml__reader *reader, void *out, size_t bytes, size_t *got);

/* Go to this byte of a plain file of which nothing has been read. */
dml_status dml__reader_skip_to(dml__reader *reader, uint64_t offset);

/* Whether another byte follows. */
dml_status dml__reader_more(dml__reader *reader, bool *more);

/* Append up to limit bytes. The memory taken is bounded by what the file really holds,
 * whatever limit is. */
dml_status dml__reader_append(dml__reader *reader, size_t limit, dml__bytes *bytes);

/* Record that the file holds seen decoded bytes where expected were needed. */
dml_status dml__reader_wrong_length(const dml__reader *reader, size_t seen,
                                    size_t expected);

/* Refuse a file that cannot hold expected decoded bytes, before memory is taken: a
 * plain file must have just this length, a gzip file can be tightly packed within
 * limits. */
dml_status dml__reader_check_room(const dml__reader *reader, size_t expected);

#endif
