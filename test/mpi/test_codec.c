/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compressed averages of lib/sync, codec by codec, on real ranks: after every step all
 * replicas hold the same bits, and after a flush nothing that any rank put in is
 * missing, however odd the gradients are.
 *
 * Gradients are pure functions of (seed, step, rank, tensor, index).
 */
#include "dml_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Matrices, vectors, an empty tensor, one element; more than one segment of top-k. */
static const struct shape {
    size_t rows, cols;
} shapes[] = {{64, 100}, {100, 1}, {7, 11},   {1, 0},   {33, 2100},
              {1, 1},    {3, 3},   {128, 20}, {1, 500}, {2, 40000}};
enum { NSHAPES = sizeof shapes / sizeof *shapes };

/* What gradients look like. */
enum look { NORMAL, ZERO, CONSTANT, DENORMAL, INTEGERS, ONE_RANK };

struct model {
    dml_tensor tensors[NSHAPES];
    size_t rows[NSHAPES], total;
    float *memory; /* all tensors, one after the other */
    double *put,
        *got;     /* [total] sums over the steps of the means, and of the averages */
    double *size; /* [total] sums of magnitudes, for the bounds */
};

static float value_of(const struct dml_test *t, enum look look, int step, int rank,
                      size_t i)
{
    double x =
        (double)(dml_test_hash(t->seed + (uint64_t)step, (uint64_t)rank, i) >> 11) *
            0x1p-52 -
        1;
    switch (look) {
    case ZERO:
        return 0;
    case CONSTANT:
        return 0.37f;
    case DENORMAL:
        return (float)(x * 0x1p-130);
    case INTEGERS:
        return (float)floor(x * 9);
    case ONE_RANK:
        return rank == 0 ? (float)x : 0;
    default:
        return (float)(x * x * x);
    }
}

static void model_open(struct model *m)
{
    *m = (struct model){0};
    for (size_t i = 0; i < NSHAPES; i++)
        m->total += shapes[i].rows * shapes[i].cols;
    m->memory = dml_test_alloc(m->total * sizeof *m->memory);
    m->put = dml_test_alloc(3 * m->total * sizeof *m->put);
    m->got = m->put + m->total;
    m->size = m->got + m->total;
    memset(m->put, 0, 3 * m->total * sizeof *m->put);
    size_t at = 0;
    for (size_t i = 0; i < NSHAPES; i++) {
        size_t count = shapes[i].rows * shapes[i].cols;
        m->tensors[i] = (dml_tensor){m->memory + at, count, DML_F32, NULL};
        m->rows[i] = shapes[i].rows;
        at += count;
    }
}

static void model_close(struct model *m)
{
    free(m->memory);
    free(m->put);
}

/* One step; gradients are zeros when "look" is ZERO. */
static void step_once(struct dml_test *t, struct model *m, dml_reducer *reducer,
                      enum look look, int step)
{
    dml_test_step(t, "step %d", step);
    for (size_t i = 0; i < m->total; i++) {
        m->memory[i] = value_of(t, look, step, t->rank, i);
        for (int r = 0; r < t->nranks; r++) {
            float x = value_of(t, look, step, r, i);
            m->put[i] += (double)x / t->nranks;
            m->size[i] += fabs((double)x);
        }
    }
    dml_test_status(t, "begin", dml_reducer_begin(reducer, true), DML_OK);
    for (size_t i = NSHAPES; i-- > 0;)
        dml_test_status(t, "ready", dml_reducer_ready(reducer, i), DML_OK);
    dml_test_status(t, "finish", dml_reducer_finish(reducer), DML_OK);
    dml_test_same_on_all(t, "gradients", m->memory, m->total * sizeof *m->memory);
    for (size_t i = 0; i < m->total; i++)
        m->got[i] += (double)m->memory[i];
}

static void run(struct dml_test *t, const char *codec, enum look look, int steps,
                double tolerance)
{
    struct model m;
    model_open(&m);
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.codec = codec;
    opts.rows = m.rows;
    opts.bucket_bytes = 100000;
    opts.first_bucket_bytes = 20000;
    dml_reducer *reducer = NULL;
    dml_test_step(t, "%s: create", codec);
    if (!dml_test_status(
            t, codec, dml_reducer_create(m.tensors, NSHAPES, &opts, t->comm, &reducer),
            DML_OK))
        goto out;
    for (int step = 0; step < steps; step++)
        step_once(t, &m, reducer, look, step);
    dml_test_status(t, "flush", dml_reducer_flush(reducer), DML_OK);
    step_once(t, &m, reducer, ZERO, steps);
    double worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < m.total && tolerance >= 0; i++) {
        double error = fabs(m.got[i] - m.put[i]) / (m.size[i] + 1e-3 + 0x1p-126);
        if (look == DENORMAL)
            error = fabs(m.got[i] - m.put[i]) / 0x1p-126;
        if (error > worst) {
            worst = error;
            where = i;
        }
    }
    DML_CHECK(
        t, worst <= tolerance || tolerance < 0,
        "%s, gradients %d: element %zu: %.9g came out of %.9g put in: %.3g of the "
        "magnitudes, allowed %.3g",
        codec, (int)look, where, m.got[where], m.put[where], worst, tolerance);
out:
    dml_reducer_destroy(reducer);
    model_close(&m);
}

/* What rounding may take, relative to the sum of the magnitudes that went in: a few
 * units of f32 for each of the steps; for casts half a unit of the 16-bit average. */
static const struct {
    const char *codec;
    double tolerance; /* negative: right in the mean only */
} codecs[] = {
    {"f16,force", 3e-3},
    {"bf16,force", 2e-2},
    {"8bit,force", 2e-5},
    {"onebit,force", 2e-5},
    {"sign,force", 2e-5},
    {"terngrad,force", -1},
    {"topk:0.01,force", 2e-6},
    {"topk:1,force", 2e-6},
    {"randomk:0.05,force", 2e-6},
    {"powersgd:2,force", 2e-5},
    {"powersgd:4,force", 2e-5},
    {"dgc:0.02,momentum=0,force", 2e-6},
    {"none", 2e-6},
};

static void test_nothing_lost(struct dml_test *t)
{
    for (size_t k = 0; k < DML_TEST_COUNT(codecs); k++)
        run(t, codecs[k].codec, NORMAL, 7, codecs[k].tolerance);
}

static const struct dml_test_case cases[] = {
    {"nothing_lost", test_nothing_lost},
};

int main(int argc, char **argv)
{
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
