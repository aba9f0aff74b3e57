/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two halves of dml-perf-codec share.
 */
#ifndef PERF_CODEC_H
#define PERF_CODEC_H

#include "dml/dml.h"
#include "dml/mpi.h"

enum { CODEC_MOST_TIMES = 99 };

struct codec_options {
    MPI_Comm mpi;
    dml_ctx *ctx;
    dml_comm *comm;
    int rank, nranks, repeats;
    size_t count;       /* elements of the gradient */
    size_t rows;        /* of it as a matrix */
    const char *codecs; /* texts with blanks in between; NULL: all */
    bool fastest;       /* minima instead of medians, of the local speeds */
    bool optimizer;     /* a reduction's time is that of a step with SGD's update */
    const char *json;   /* file of one object a line, or NULL */
    double *sink;       /* [1] results that nobody needs, so that they are computed */
};

/* Copies the list's next text, and returns its length; 0: there is none. */
size_t codec_next(const char **list, char text[DML_CODEC_TEXT_MAX]);

/* Made-up gradients: many small numbers, few large ones. */
void codec_fill(float *values, size_t count, uint32_t seed);
/* Ends the job with the context's last error unless the status is DML_OK. */
void codec_need(const struct codec_options *o, const char *what, dml_status status);
void *codec_alloc(size_t bytes);

/* On one rank: speed of encoding and decoding beside that of memory. */
void codec_local(const struct codec_options *o);
/* On all: a gradient through the reducer, plain and with each codec in turn. */
void codec_reduce(const struct codec_options *o);

#endif
