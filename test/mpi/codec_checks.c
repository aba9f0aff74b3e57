/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compressed averages: what the reducer chooses and says, bytes on the wire, numbers
 * that are not finite, and misuse.
 */
#include "codec_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- choice ------------------------------------------------------------------------
 */

static void steps_of(struct dml_test *t, struct model *m, dml_reducer *r, int n)
{
    for (int step = 0; step < n; step++)
        model_step(t, m, r, NORMAL, step);
}

/* Whatever was chosen, all ranks chose it, and the query is in itself consistent. */
static void look_at_buckets(struct dml_test *t, const dml_reducer *r, bool forced)
{
    dml_bucket_info info;
    uint64_t choices = 0;
    size_t n = 0;
    for (; dml_reducer_get_bucket(r, n, &info) == DML_OK; n++) {
        choices = choices * 2 + info.compressed;
        DML_CHECK(t, info.why != NULL && info.why[0] != '\0', "bucket %zu: no reason",
                  n);
        DML_CHECK(t, !info.compressed || info.code_bytes < info.dense_bytes || forced,
                  "bucket %zu: compressed to %zu of %zu bytes", n, info.code_bytes,
                  info.dense_bytes);
        if (forced || t->nranks == 1)
            continue;
        double coded_s = info.encode_s + info.transfer_s + info.decode_s;
        DML_CHECK(t,
                  info.encode_s >= 0 && info.transfer_s >= -1e-12 && info.decode_s >= 0,
                  "bucket %zu: %g + %g + %g s", n, info.encode_s, info.transfer_s,
                  info.decode_s);
        DML_CHECK(t, !info.compressed || coded_s < info.dense_s,
                  "bucket %zu: compressed for %g s, plain %g s", n, coded_s,
                  info.dense_s);
    }
    DML_CHECK(t, n > 3, "%zu buckets", n);
    dml_reducer_stats stats;
    dml_reducer_get_stats(r, &stats);
    DML_CHECK(t, (stats.trial_s > 0) == (!forced && t->nranks > 1),
              "trials took %g s, forced: %d", stats.trial_s, forced);
    dml_test_same_on_all(t, "choices", &choices, sizeof choices);
}

/* With steps enough for a second measurement. */
void test_choice(struct dml_test *t)
{
    static const char *const texts[] = {"onebit",     "topk:0.01", "bf16",
                                        "powersgd:1", "terngrad",  "topk:0.01,force"};
    struct model m;
    struct model_plan plan = {.look = NORMAL};
    for (size_t k = 0; k < DML_TEST_COUNT(texts); k++) {
        model_open(&m, &plan);
        dml_reducer *r = model_reducer(t, &m, texts[k]);
        dml_bucket_info info;
        if (r == NULL)
            return;
        dml_test_status(t, "query", dml_reducer_get_bucket(r, 0, &info), DML_OK);
        DML_CHECK(t, !info.compressed, "compressed before anything was measured");
        steps_of(t, &m, r, k == 0 ? 66 : 3);
        look_at_buckets(t, r, strstr(texts[k], "force") != NULL);
        dml_test_status(t, "flush", dml_reducer_flush(r), DML_OK);
        model_step(t, &m, r, ZERO, 100);
        if (k != 4)
            model_compare(t, &m, texts[k], NORMAL, 1e-6);
        dml_reducer_destroy(r);
        model_close(&m);
    }
}

/* ---- bytes -------------------------------------------------------------------------
 */

/* One matrix of 512 x 256, so that all sizes can be told. */
enum { ROWS = 512, COLS = 256, COUNT = ROWS * COLS, BLOCKS = COUNT / 1024 };

static size_t share(size_t block_bytes, int nranks)
{
    size_t each = (BLOCKS + (size_t)nranks - 1) / (size_t)nranks;
    return 2 * each * block_bytes * (size_t)(nranks - 1);
}

static void check_bytes(struct dml_test *t, const char *codec, size_t code, size_t wire)
{
    float *g = dml_test_alloc(COUNT * sizeof *g);
    size_t rows = ROWS;
    dml_tensor tensor = {g, COUNT, DML_F32, "g"};
    dml_reducer_opts opts;
    dml_bucket_info info;
    dml_reducer_opts_init(&opts);
    opts.codec = codec;
    opts.rows = &rows;
    dml_reducer *r = NULL;
    dml_test_status(t, codec, dml_reducer_create(&tensor, 1, &opts, t->comm, &r),
                    DML_OK);
    for (int step = 0; step < 3 && r != NULL; step++) {
        for (size_t i = 0; i < COUNT; i++)
            g[i] = model_value(t, NORMAL, step, t->rank, i);
        dml_reducer_begin(r, true);
        dml_reducer_ready(r, 0);
        dml_test_status(t, "finish", dml_reducer_finish(r), DML_OK);
    }
    dml_test_status(t, "query", dml_reducer_get_bucket(r, 0, &info), DML_OK);
    DML_CHECK(t, info.compressed && info.steps == 2, "%s: %llu compressed steps", codec,
              (unsigned long long)info.steps);
    DML_CHECK(t, info.dense_bytes == 4 * COUNT, "%zu dense bytes", info.dense_bytes);
    DML_CHECK(t, info.code_bytes == code, "%s: %zu bytes of code, wanted %zu", codec,
              info.code_bytes, code);
    DML_CHECK(t, info.wire_bytes == wire, "%s: %zu bytes sent, wanted %zu", codec,
              info.wire_bytes, wire);
    dml_reducer_destroy(r);
    free(g);
}

void test_codec_bytes(struct dml_test *t)
{
    const size_t p = (size_t)t->nranks, k = (COUNT + 99) / 100;
    const size_t sparse = 2 * 4 + 4 * k + 2 * (k + k % 2);
    check_bytes(t, "f16,force", 2 * COUNT, share(2048, t->nranks));
    check_bytes(t, "8bit,force", BLOCKS * 1032, share(1032, t->nranks));
    check_bytes(t, "onebit,force", BLOCKS * 136, share(136, t->nranks));
    check_bytes(t, "sign,force", BLOCKS * 132, share(132, t->nranks));
    check_bytes(t, "terngrad,force", BLOCKS * 260,
                share(260, t->nranks) + 2 * (4 * BLOCKS / p) * (p - 1));
    check_bytes(t, "topk:0.01,force", sparse, sparse * (p - 1));
    check_bytes(t, "randomk:0.01,force", 4 * k, 2 * (4 * k / p) * (p - 1));
    check_bytes(t, "powersgd:2,force", 2 * 4 * (ROWS + COLS),
                2 * (2 * 4 * (ROWS + COLS) / p) * (p - 1));
}

/* dgc's warm-up goes by the reducer's steps, dense ones too, whether it compresses or
 * not: in fifths from ratio^(1/5) down to the ratio. */
void test_codec_warmup(struct dml_test *t)
{
    enum { N = 70000, WARMUP = 10, STEPS = 12 };
    static const char *const texts[] = {"dgc:0.001,warmup=10,start=3,force",
                                        "dgc:0.001,warmup=10"};
    float *g = dml_test_alloc(N * sizeof *g);
    dml_tensor tensor = {g, N, DML_F32, "g"};
    for (size_t k = 0; k < DML_TEST_COUNT(texts); k++) {
        dml_reducer_opts opts;
        dml_reducer *r = NULL;
        dml_reducer_opts_init(&opts);
        opts.codec = texts[k];
        dml_test_status(t, texts[k], dml_reducer_create(&tensor, 1, &opts, t->comm, &r),
                        DML_OK);
        for (int step = 0; step < STEPS && r != NULL; step++) {
            dml_bucket_info info;
            for (size_t i = 0; i < N; i++)
                g[i] = model_value(t, NORMAL, step, t->rank, i);
            dml_test_step(t, "%s, step %d", texts[k], step);
            dml_reducer_begin(r, true);
            dml_reducer_ready(r, 0);
            dml_test_status(t, "finish", dml_reducer_finish(r), DML_OK);
            dml_test_status(t, "query", dml_reducer_get_bucket(r, 0, &info), DML_OK);
            double fifths = step < WARMUP ? step * 5 / WARMUP + 1 : 5;
            size_t slots = (size_t)ceil(pow(0.001, fifths / 5) * N);
            size_t bytes = 2 * 4 + 4 * slots + 2 * (slots + slots % 2);
            DML_CHECK(t, step == 0 || info.code_bytes == bytes,
                      "%zu bytes of code, wanted %zu", info.code_bytes, bytes);
        }
        dml_reducer_destroy(r);
    }
    free(g);
}

/* ---- numbers that are not finite ---------------------------------------------------
 */

static const char *const fault_codecs[] = {
    "f16,force",      "8bit,force",       "onebit,force",  "sign,force",
    "terngrad,force", "topk:0.1,force",   "dgc:0.1,force", "randomk:0.1,force",
    "bf16,force",     "powersgd:2,force", "dgc:0.1",       "dgc:0.1,start=9,force"};

/* The error names tensor, rank and step on all ranks, and the next step works. dgc
 * keeps momentum in dense steps too, from the first one on. */
void test_codec_faults(struct dml_test *t)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p101f};
    struct model_plan plan = {.look = NORMAL};
    for (size_t k = 0; k < DML_TEST_COUNT(fault_codecs); k++) {
        struct model m;
        model_open(&m, &plan);
        m.tensors[4].name = "conv2.weight";
        dml_reducer *r = model_reducer(t, &m, fault_codecs[k]);
        const int culprit = (int)(k % (size_t)t->nranks);
        for (int step = 0; step < 5 && r != NULL; step++) {
            const bool keeps = strncmp(fault_codecs[k], "dgc", 3) == 0;
            const bool faulty = step == 2 || step == 3 || (step == 0 && keeps);
            dml_test_step(t, "%s, step %d", fault_codecs[k], step);
            model_fill(t, &m, NORMAL, step);
            float *g = m.tensors[4].data;
            if (faulty && t->rank >= culprit)
                g[1000 + t->rank] = bad[k % 4];
            dml_test_status(t, "begin", dml_reducer_begin(r, true), DML_OK);
            for (size_t i = MODEL_TENSORS; i-- > 0;)
                dml_reducer_ready(r, i);
            dml_test_status(t, "finish", dml_reducer_finish(r),
                            faulty ? DML_ENUMERIC : DML_OK);
            dml_error error;
            dml_ctx_last_error(t->ctx, &error);
            char want[64];
            snprintf(want, sizeof want, "(conv2.weight) of rank %d in step %d", culprit,
                     step + 1);
            DML_CHECK(t, !faulty || strstr(error.text, want) != NULL,
                      "%s: \"%s\" does not say \"%s\"", fault_codecs[k], error.text,
                      want);
            for (size_t i = 0; step == 4 && i < m.total; i++)
                DML_CHECK(t, isfinite(m.memory[i]), "%s: element %zu is not finite",
                          fault_codecs[k], i);
        }
        dml_test_same_on_all(t, "gradients", m.memory, m.total * sizeof *m.memory);
        dml_reducer_destroy(r);
        model_close(&m);
    }
}

/* ---- misuse ------------------------------------------------------------------------
 */

static void refused(struct dml_test *t, const char *codec, const size_t *rows,
                    dml_dtype dtype, dml_status want)
{
    static double data[12];
    dml_tensor tensors[2] = {{data, 6, dtype, "a"}, {data + 6, 6, dtype, "b"}};
    dml_reducer_opts opts;
    dml_reducer *r = NULL;
    dml_reducer_opts_init(&opts);
    opts.codec = codec;
    opts.rows = rows;
    dml_test_step(t, "refuses %s", codec != NULL ? codec : "no codec");
    dml_test_error(t, "dml_reducer_create",
                   dml_reducer_create(tensors, 2, &opts, t->comm, &r), want);
}

void test_codec_misuse(struct dml_test *t)
{
    static const size_t right[] = {2, DML_KEEP_DENSE}, odd[] = {2, 4}, none[] = {0, 1};
    refused(t, "topk", NULL, DML_F32, DML_EINVAL);
    refused(t, "zip", NULL, DML_F32, DML_EINVAL);
    refused(t, "powersgd:2", NULL, DML_F32, DML_EINVAL);
    refused(t, "onebit", odd, DML_F32, DML_EINVAL);
    refused(t, "onebit", none, DML_F32, DML_EINVAL);
    refused(t, "dgc:0.1", NULL, DML_BF16, DML_EINVAL);
    if (t->nranks > 1) {
        refused(t, t->rank == 0 ? "onebit" : "sign", right, DML_F32, DML_EMISMATCH);
        refused(t, t->rank == 0 ? "topk:0.1" : "topk:0.2", NULL, DML_F32,
                DML_EMISMATCH);
        refused(t, t->rank == 0 ? "onebit" : NULL, NULL, DML_F32, DML_EMISMATCH);
        refused(t, "onebit", t->rank == 0 ? right : NULL, DML_F32, DML_EMISMATCH);
    }
    float g[4] = {0};
    dml_tensor tensor = {g, 4, DML_F32, "g"};
    dml_reducer *r = NULL;
    dml_bucket_info info;
    dml_test_status(t, "create", dml_reducer_create(&tensor, 1, NULL, t->comm, &r),
                    DML_OK);
    dml_test_status(t, "flush of nothing", dml_reducer_flush(r), DML_OK);
    dml_test_error(t, "no such bucket", dml_reducer_get_bucket(r, 1, &info),
                   DML_EINVAL);
    dml_test_status(t, "begin", dml_reducer_begin(r, true), DML_OK);
    dml_test_error(t, "flush in a step", dml_reducer_flush(r), DML_EINVAL);
    dml_test_status(t, "finish", dml_reducer_finish(r), DML_OK);
    dml_test_status(t, "flush of nobody", dml_reducer_flush(NULL), DML_EINVAL);
    dml_reducer_destroy(r);
}
