/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One conversion: where records go to, or a plain output file.
 */
#ifndef RECORDS_CONVERT_H
#define RECORDS_CONVERT_H

#include "records.h"

#include <stdio.h>

struct conversion {
    struct app *app;
    dml_record_writer *writer; /* to records */
    uint64_t skipped;
    /* A record as it is being put together. */
    char *text;
    size_t bytes, room;
};

/* A file that gets its name when it is whole; "-" is standard output, and devices and
 * pipes are written in place. */
struct output {
    FILE *file;
    char *path;    /* NULL: standard output */
    char *partial; /* its name until then; NULL: written in place */
    bool sync;
    bool named, replaced; /* it has its name, which a file had before */
    int error;            /* errno of the first call that failed; 0: none */
};

/* Those that return an exit status have said why it is not good. With "sync" the disk
 * has the bytes before the file gets its name. */
int output_open(struct output *out, const char *path, bool sync);

/* A failure is kept for output_finish(). */
void output_write(struct output *out, const void *data, size_t bytes);
void output_rewind(struct output *out);

/* Write what is left and close the file; then give it its name. */
int output_finish(struct output *out);
int output_name(struct output *out);

/* Free, at any stage; not good: nothing is left that was not there before. */
void output_close(struct output *out, bool good);

/* Add to the record being put together; false: out of memory. */
bool add(struct conversion *c, const void *data, size_t bytes);

/* Append the record put together, and begin the next. */
dml_status append(struct conversion *c, uint64_t key, double weight);

/* From text files into records. */
int table_to_records(struct conversion *c);
int lines_to_records(struct conversion *c);
int svm_to_records(struct conversion *c);
int conll_to_records(struct conversion *c);

#endif
