/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of dml-tune share: the command line, and the table it writes. */
#ifndef DML_TUNE_H
#define DML_TUNE_H

#include "dml/dml.h"

#include "../common/outfile.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TUNE_ALGORITHMS = 24, TUNE_ROWS = 32 };

struct tune_options {
    bool wanted[DML_NCOLLS];
    size_t max_bytes;
    double seconds;     /* for each pass of a collective */
    const char *output; /* NULL: standard output */
    bool gpu;           /* device memory */
    bool help, version;
};

/* One size. */
struct tune_row {
    size_t bytes;
    double seconds[TUNE_ALGORITHMS]; /* by number in the list; 0: not timed */
    const char *best, *second;       /* names, or NULL */
    double best_s, second_s;
    size_t best_number;
};

bool tune_options(struct tune_options *o, int argc, char **argv, char *error,
                  size_t error_bytes);
void tune_help(void);

/* Notes the time of algorithm "number"; 0 seconds: it cannot do this. */
void tune_row_add(struct tune_row *row, const char *name, double seconds,
                  size_t number);

/* Prefers the algorithm of the size before where it is hardly slower, so that noise
 * does not cut the table into small rules. */
void tune_row_steady(struct tune_row *row, const struct tune_row *before);

/* Where the table goes; error: one line. */
bool tune_open(struct outfile *out, const struct tune_options *o, char *error,
               size_t error_bytes);
bool tune_close(struct outfile *out, const struct tune_options *o, bool keep,
                char *error, size_t error_bytes);

void tune_head(FILE *out, int nranks, int nnodes);

/* The rules of one collective; of the one algorithm "only", or of all when NULL. */
void tune_write(FILE *out, dml_coll coll, int nranks, int nnodes,
                const struct tune_row *rows, size_t nrows, const char *only);

#endif
