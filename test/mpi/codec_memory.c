/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compressed averages when memory runs out: every allocation fails once, on all ranks,
 * and each time the call says so, or goes on without it and is right.
 */
#include "codec_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3, ROWS = 64, COLS = 96, COUNT = ROWS * COLS, MOST = 400 };

/* Buckets of one tensor each: two matrices, which are compressed, and a vector. */
static dml_status three_steps(dml_comm *comm, const char *codec, bool *right)
{
    static float g[N][COUNT];
    static const size_t rows[N] = {ROWS, 1, ROWS};
    dml_tensor tensors[N];
    dml_reducer *reducer = NULL;
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.codec = codec;
    opts.rows = rows;
    opts.bucket_bytes = opts.first_bucket_bytes = 1;
    for (int i = 0; i < N; i++)
        tensors[i] = (dml_tensor){g[i], COUNT, DML_F32, NULL};
    dml_status status = dml_reducer_create(tensors, N, &opts, comm, &reducer);
    for (int step = 0; step < 3 && status == DML_OK; step++) {
        const float value = (float)(1 + 4 * step);
        for (int i = 0; i < N * COUNT; i++)
            g[i / COUNT][i % COUNT] = value;
        status = dml_reducer_begin(reducer, true);
        for (size_t i = N; i-- > 0;) { /* the others are ready after an error too */
            dml_status launched = dml_reducer_ready(reducer, i);
            status = status == DML_OK ? launched : status;
        }
        dml_status finished = dml_reducer_finish(reducer);
        status = status == DML_OK ? finished : status;
        for (int i = 0; i < COUNT && status == DML_OK; i++)
            *right = *right && fabsf(g[1][i] - value) < 1e-6f && isfinite(g[0][i]);
        /* After a failure there is the gradient or (of equal numbers 1-bit SGD loses
         * nothing) its average, which is the same, but not what lay in its codes. */
        for (int i = 0; i < N * COUNT && strncmp(codec, "onebit", 6) == 0; i++)
            *right = *right && fabsf(g[i / COUNT][i % COUNT] - value) < 1e-5f;
    }
    dml_reducer_destroy(reducer);
    return status;
}

/* The n-th allocation fails. True when all went well all the same. */
static bool fail_allocation(struct dml_test *t, int n, const char *codec)
{
    char text[16];
    snprintf(text, sizeof text, "%d", n);
    setenv("DML_TEST_ALLOC_FAIL", text, 1);
    setenv("DML_MEASURE", "0", 1);
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    bool right = true;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log_level = DML_LOG_ERROR;
    dml_status status = dml_ctx_create(&opts, &ctx);
    unsetenv("DML_TEST_ALLOC_FAIL");
    unsetenv("DML_MEASURE");
    if (status == DML_OK)
        status = dml_comm_from_mpi(ctx, t->mpi, &comm);
    if (status == DML_OK)
        status = three_steps(comm, codec, &right);
    DML_CHECK(t, right, "%s, allocation %d: wrong averages", codec, n);
    DML_CHECK(t, status == DML_OK || status == DML_ENOMEM, "%s, allocation %d: %s",
              codec, n, dml_status_name(status));
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    return status == DML_OK;
}

void test_codec_memory(struct dml_test *t)
{
    static const char *const codecs[] = {
        "onebit,force",      "terngrad,force",  "topk:0.1", "dgc:0.1,momentum=0,force",
        "randomk:0.1,force", "powersgd:1,force"};
    for (size_t k = 0; k < DML_TEST_COUNT(codecs); k++) {
        /* Some allocations can be done without: only several in a row end it. */
        int failed = 0, in_a_row = 0;
        /* Every try makes a communicator, which many ranks take long for. */
        bool few = t->nranks > 3 || t->every > 1;
        if (few && (size_t)t->nranks % DML_TEST_COUNT(codecs) != k)
            continue;
        for (int n = 1; n < MOST && in_a_row < 10; n++) {
            dml_test_step(t, "%s: allocation %d", codecs[k], n);
            in_a_row = fail_allocation(t, n, codecs[k]) ? in_a_row + 1 : 0;
            failed += in_a_row == 0;
        }
        DML_CHECK(t, failed > 15 && in_a_row == 10, "%s: %d allocations failed",
                  codecs[k], failed);
    }
}
