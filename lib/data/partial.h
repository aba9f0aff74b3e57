/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file that is whole or absent: written as PATH.partial-NUMBER, and renamed at the
 * end.
 */
#ifndef DML__PARTIAL_H
#define DML__PARTIAL_H

#include "core/core.h"

typedef struct dml__partial {
    dml_ctx *ctx;
    const char *where; /* public function to name in errors */
    char *path;        /* owned */
    char *partial;     /* owned: its name until the commit */
    uint8_t *buffer;   /* owned */
    size_t used;       /* bytes of it that are not written yet */
    int fd;            /* -1: closed */
    uint64_t bytes;    /* appended so far */
    bool replaced;     /* a file had the name before */
    dml_status failed; /* the first failure, which later calls repeat */
} dml__partial;

/* The name is path with "suffix" behind it. Close with dml__partial_close(), also after
 * a failure. */
dml_status dml__partial_open(dml__partial *p, dml_ctx *ctx, const char *where,
                             const char *path, const char *suffix);

dml_status dml__partial_write(dml__partial *p, const void *data, size_t bytes);

/* Everything to the file, with "sync" to the disk; then its time of last change. */
dml_status dml__partial_finish(dml__partial *p, bool sync, int64_t *mtime_ns);

/* Give the finished file its name. */
dml_status dml__partial_rename(dml__partial *p, bool sync);

/* Take the name away again, unless a file had it before: that one is gone. */
void dml__partial_undo(dml__partial *p);

/* Free; removes the file if it was not renamed. */
void dml__partial_close(dml__partial *p);

#endif
