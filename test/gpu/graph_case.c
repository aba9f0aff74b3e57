/* SPDX-License-Identifier: BSD-3-Clause */
/* Captures for tests; see graph_case.h. */
#include "graph_case.h"

#include <string.h>

void graph_open(struct graph_case *b, struct dml_test *t, bool reproducible,
                size_t bytes)
{
    *b = (struct graph_case){.t = t};
    gpu_open_comm(t, reproducible, &b->ctx, &b->comm);
    dml_test_status(t, "stream", dml_gpu_stream_create(b->ctx, &b->stream), DML_OK);
    dml_test_status(t, "dml_comm_set_stream",
                    dml_comm_set_stream(b->comm, b->stream, true), DML_OK);
    gpu_memory_open(&b->memory, t, b->ctx, b->stream, bytes);
}

void graph_close(struct graph_case *b)
{
    gpu_memory_close(&b->memory);
    dml_comm_destroy(b->comm);
    dml_test_status(b->t, "stream", dml_gpu_stream_destroy(b->ctx, b->stream), DML_OK);
    dml_ctx_destroy(b->ctx);
}

void graph_begin(struct graph_case *b)
{
    dml_test_status(b->t, "dml_gpu_capture_begin",
                    dml_gpu_capture_begin(b->ctx, b->stream), DML_OK);
}

dml_gpu_graph graph_end(struct graph_case *b)
{
    dml_gpu_graph graph = NULL;
    dml_test_status(b->t, "dml_gpu_capture_end",
                    dml_gpu_capture_end(b->ctx, b->stream, &graph), DML_OK);
    return graph;
}

void graph_failed(struct graph_case *b, const char *what, dml_status got,
                  dml_status want, const char *text)
{
    dml_error error;
    dml_test_status(b->t, what, got, want);
    dml_ctx_last_error(b->ctx, &error);
    DML_CHECK(b->t, strstr(error.text, text) != NULL, "%s: \"%s\" does not say \"%s\"",
              what, error.text, text);
}
