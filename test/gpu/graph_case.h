/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tests of captured work share: a communicator with a queued stream and memory,
 * and captures of that stream.
 */
#ifndef GRAPH_CASE_H
#define GRAPH_CASE_H

#include "gpu_tensors.h"

struct graph_case {
    struct dml_test *t;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_gpu_stream stream;
    struct gpu_memory memory;
};

void graph_open(struct graph_case *b, struct dml_test *t, bool reproducible,
                size_t bytes);
void graph_close(struct graph_case *b);

/* A capture, and its end. */
void graph_begin(struct graph_case *b);
dml_gpu_graph graph_end(struct graph_case *b);

/* A call got the status that it should, and a line that has the text in it. */
void graph_failed(struct graph_case *b, const char *what, dml_status got,
                  dml_status want, const char *text);

#endif
