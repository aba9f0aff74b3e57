/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of dml-perf. */
#ifndef DML_PERF_OPTIONS_H
#define DML_PERF_OPTIONS_H

#include "dml/dml.h"

#include <stdbool.h>
#include <stddef.h>

struct perf_options {
    dml_coll coll;
    size_t min_bytes, max_bytes;
    size_t factor; /* between two sizes */
    dml_dtype dtype;
    dml_op op;
    const char *algorithm; /* a name of the table, or "auto" */
    const char *buffers;   /* "plain", or "symmetric": of dml_alloc */
    bool symmetric;
    bool in_place;
    bool reproducible; /* measure libdml in reproducible mode, too */
    bool async;        /* i-variants of both */
    bool peer;         /* measure MPI's own beside */
    bool best;         /* and each of Open MPI's algorithms, forced */
    bool sweep;        /* every algorithm, on 2, 3, ... of the ranks */
    bool tensors;      /* the reducer against a call for each tensor */
    double budget_s;   /* about so long for a size; 0: by iterations */
    size_t iters;      /* per size; 0: by size */
    const char *json;  /* file, or NULL */
    bool help;
};

/* Read the command line. False: error[] says in one line what is wrong with it. */
bool perf_options_parse(struct perf_options *o, int argc, char **argv, char *error,
                        size_t error_bytes);

void perf_options_help(void);

#endif
