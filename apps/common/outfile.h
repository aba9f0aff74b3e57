/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are whole or absent: written beside their name, and renamed when complete.
 * Opening one before long work finds an unwritable path early.
 */
#ifndef APPS_OUTFILE_H
#define APPS_OUTFILE_H

#include "dml/dml.h"

#include <stdio.h>

struct outfile {
    FILE *file;    /* NULL when closed */
    char *path;    /* owned */
    char *partial; /* owned; the name while it is being written */
};

/* On failure "error" holds one line. */
dml_status outfile_open(struct outfile *out, const char *path, char *error,
                        size_t error_bytes);

/* Flush to the disk and rename. Closes in any case. */
dml_status outfile_commit(struct outfile *out, char *error, size_t error_bytes);

/* Drop what was written. A closed one is a no-op. */
void outfile_cancel(struct outfile *out);

#endif
