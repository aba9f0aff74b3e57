/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file that DML_TRACE names: all ranks of a host append whole lines to it.
 */
#ifndef DML__TRACE_FILE_H
#define DML__TRACE_FILE_H

#include "core/core.h"

struct dml__trace_file;

/* The context's file, opened at the first call; NULL when DML_TRACE is not set, or the
 * file cannot be had. speaks: this process reports failures, in one line. Threads: any.
 */
struct dml__trace_file *dml__trace_file(dml_ctx *ctx, bool speaks);

/* Append whole lines; after a failure nothing more is written. Threads: any. */
void dml__trace_append(struct dml__trace_file *file, const char *lines, size_t bytes);

/* A number of its own for each who asks: 1, 2, ... Threads: any. */
unsigned dml__trace_lane(struct dml__trace_file *file);

/* For the context's end. NULL is a no-op. */
void dml__trace_file_close(struct dml__trace_file *file);

#endif
