/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text as it comes from a file: a buffer that always holds whole lines, the place in
 * the file for messages, and what is done with a bad line. All text readers are made of
 * it.
 */
#ifndef DML__SOURCE_H
#define DML__SOURCE_H

#include "dml/text.h"

#include "data/reader.h"

/* Bytes around the text that may be read: vectors, and eight digits, at a time. */
#define DML__SOURCE_PAD 64

typedef struct dml__source {
    dml__reader reader;
    dml_ctx *ctx;
    char *path; /* owned; as it was given */
    dml_text_opts opts;
    char *memory; /* owned: pad, capacity, pad */
    char *text;   /* memory after the pad */
    size_t capacity;
    size_t begin; /* text [begin, whole) are lines, each with its newline */
    size_t whole; /* ... and [whole, end) the start of the next one */
    size_t end;
    bool eof;              /* nothing will follow in text */
    uint64_t offset;       /* of text[begin] in the file */
    uint64_t lines;        /* lines of this share before text[begin] */
    uint64_t first, stop;  /* the share: lines that begin in [first, stop) */
    uint64_t lines_before; /* the share, once counted; else 0 */
    uint64_t skipped;
} dml__source;

/* opts may be NULL. Close with dml__source_close(), also after a failure. */
dml_status dml__source_open(dml__source *s, dml_ctx *ctx, const char *where,
                            const char *path, const dml_text_opts *opts);
void dml__source_close(dml__source *s);

/*
 * Drop what stands before begin and read on: at least one line more than before (unless
 * what is kept has grown past the limit), or DML_EEND when there is none. Lines may be
 * changed in place up to whole. Without a newline at the file's end one is added. A
 * line longer than the limit fails, or is dropped and counted. Text moves: indices
 * before this call are void.
 */
dml_status dml__source_more(dml__source *s);

/* The next line, checked; DML_EEND at the end. "where" is the caller, for errors. */
dml_status dml__source_line(dml__source *s, const char *where, dml_line *line);

/* Number in the whole file of the share's line number (1, ...): reads the file up to
 * the share, once; 0 when that fails. */
uint64_t dml__source_number(dml__source *s, uint64_t line);

/*
 * A line, or what begins there, is not as it should be: DML_EFORMAT with "PATH:LINE:
 * text", or DML_OK and one more is counted, after which it must be passed over.
 */
dml_status dml__source_bad(dml__source *s, uint64_t line, const char *format, ...)
    DML__PRINTF(3, 4);

#endif
