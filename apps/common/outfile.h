/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are whole or absent. What is written stays in memory until the commit,
 * which writes it beside its name and renames it: a process that is killed before
 * leaves nothing behind. A device or a pipe is written in place, "-" and /dev/stdout
 * through the standard stream that is open; a link stays a link.
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
    char *path;    /* as it was given, for messages; owned */
    char *target;  /* where a link leads; owned */
    char *partial; /* owned; the name while it is being written */
    bool streamed; /* nothing is kept in memory */
    bool fleeting; /* may be set: rewritten often, it need not outlive a crash of the
                      machine, and is not brought to the disk */
    bool in_place; /* a device or a pipe, which cannot be renamed to */
};

/* Has all that was printed reached standard output? Ask before the process ends. On
 * failure "error" holds one line. */
dml_status stdout_commit(char *error, size_t error_bytes);

/* On failure "error" holds one line. */
dml_status outfile_open(struct outfile *out, const char *path, char *error,
                        size_t error_bytes);

/* The same for what is too long for the memory: it is written beside its name as it
 * comes. A process that is killed leaves that file, PATH.partial-NUMBER, but never a
 * cut one of this name; the next run that writes PATH removes it. */
dml_status outfile_stream(struct outfile *out, const char *path, char *error,
                          size_t error_bytes);

/* Bring all of a stream to the disk, so that its commit is no more than a new name.
 * Closes on failure. */
dml_status outfile_sync(struct outfile *out, char *error, size_t error_bytes);

/* Write to the disk and rename. Closes in any case. */
dml_status outfile_commit(struct outfile *out, char *error, size_t error_bytes);

/* Drop what was written. A no-op on a closed one. */
void outfile_cancel(struct outfile *out);

#endif
