/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tests with the library of fake_nccl.c share.
 */
#ifndef NCCL_CASE_H
#define NCCL_CASE_H

#include "dml/gpu.h"

#include "dml_test.h"

/* A communicator of all ranks whose context sees the environment as it is now. */
dml_comm *nccl_open_comm(struct dml_test *t, dml_ctx **ctx);

/* 400 bytes of zeros. */
void *nccl_open_vector(struct dml_test *t, dml_ctx *ctx);

/* A communicator of which one call hangs for 1.8 s, in a stream of its own. */
dml_comm *nccl_open_hanging(struct dml_test *t, const char *hangs, bool queued,
                            dml_gpu_stream *stream, dml_ctx **ctx);
void nccl_close_hanging(struct dml_test *t, dml_gpu_stream stream, dml_comm *comm,
                        dml_ctx *ctx, void *x);

/* A count that the library keeps. */
int nccl_count(struct dml_test *t, const char *name);

void nccl_pause(double seconds);

#endif
