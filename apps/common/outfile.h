/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are whole or absent. What is written stays in memory until the commit,
 * which writes it beside its name and renames it: a process that is killed before
 * leaves nothing behind. A device or a pipe, such as /dev/stdout, is written in place.
 * Opening before long work finds an unwritable path early.
 */
#ifndef APPS_OUTFILE_H
#define APPS_OUTFILE_H

#include "dml/dml.h"

#include <stdbool.h>
#include <stdio.h>

struct outfile {
    FILE *file;    /* to write to; NULL when closed */
    char *text;    /* what was written; freed by commit and cancel */
    size_t bytes;  /* of text */
    char *path;    /* owned */
    char *partial; /* owned; the name while it is being written */
    bool in_place; /* a device or a pipe, which cannot be renamed to */
};

/* On failure "error" holds one line. */
dml_status outfile_open(struct outfile *out, const char *path, char *error,
                        size_t error_bytes);

/* Write to the disk and rename. Closes in any case. */
dml_status outfile_commit(struct outfile *out, char *error, size_t error_bytes);

/* Drop what was written. A no-op on a closed one. */
void outfile_cancel(struct outfile *out);

#endif
