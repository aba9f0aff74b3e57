/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A model for the tests of compressed averages; see codec_model.h.
 */
#include "codec_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Matrices, vectors, an empty tensor, one element; more than one segment of top-k. */
static const struct {
    size_t rows, cols;
} shapes[MODEL_TENSORS] = {{64, 100}, {100, 1}, {7, 11},   {1, 0},   {33, 2100},
                           {1, 1},    {3, 3},   {128, 20}, {1, 500}, {2, 9000}};

void model_open(struct model *m, const struct model_plan *plan)
{
    const size_t gap = plan->packed ? 3 : 0;
    *m = (struct model){.plan = *plan};
    for (size_t i = 0; i < MODEL_TENSORS; i++)
        m->total += shapes[i].rows * shapes[i].cols + gap;
    m->memory = dml_test_alloc(m->total * sizeof *m->memory);
    memset(m->memory, 0, m->total * sizeof *m->memory);
    m->put = dml_test_alloc(3 * m->total * sizeof *m->put);
    m->got = m->put + m->total;
    m->size = m->got + m->total;
    memset(m->put, 0, 3 * m->total * sizeof *m->put);
    size_t at = 0;
    for (size_t i = 0; i < MODEL_TENSORS; i++) {
        size_t count = shapes[i].rows * shapes[i].cols;
        m->tensors[i] = (dml_tensor){m->memory + at, count, DML_F32, NULL};
        m->rows[i] = shapes[i].rows;
        at += count + gap;
    }
}

void model_close(struct model *m)
{
    free(m->memory);
    free(m->put);
}

dml_reducer *model_reducer(struct dml_test *t, struct model *m, const char *codec)
{
    dml_reducer *reducer = NULL;
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.codec = codec;
    opts.rows = m->plan.no_rows ? NULL : m->rows;
    opts.bucket_bytes = 100000;
    opts.first_bucket_bytes = 20000;
    dml_test_step(t, "create with %s", codec != NULL ? codec : "no codec");
    dml_test_status(
        t, "dml_reducer_create",
        dml_reducer_create(m->tensors, MODEL_TENSORS, &opts, t->comm, &reducer),
        DML_OK);
    return reducer;
}

float model_value(const struct dml_test *t, enum look look, int step, int rank,
                  size_t i)
{
    uint64_t hash = dml_test_hash(t->seed + (uint64_t)step, (uint64_t)rank, i);
    double x = (double)(hash >> 11) * 0x1p-52 - 1;
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

static bool is_ready(const struct model *m, int step, int rank, size_t tensor)
{
    return !m->plan.skip || ((int)tensor + step) % 3 != rank % 3;
}

void model_fill(const struct dml_test *t, struct model *m, enum look look, int step)
{
    for (size_t k = 0; k < MODEL_TENSORS; k++)
        for (size_t j = 0; j < m->tensors[k].count; j++) {
            size_t i = (size_t)((float *)m->tensors[k].data - m->memory) + j;
            m->memory[i] = model_value(t, look, step, t->rank, i);
            for (int r = 0; r < t->nranks; r++) {
                if (!is_ready(m, step, r, k))
                    continue;
                double x = (double)model_value(t, look, step, r, i);
                m->put[i] += x / t->nranks;
                m->size[i] += fabs(x);
            }
        }
}

void model_step(struct dml_test *t, struct model *m, dml_reducer *reducer,
                enum look look, int step)
{
    dml_test_step(t, "step %d", step);
    model_fill(t, m, look, step);
    dml_test_status(t, "begin", dml_reducer_begin(reducer, true), DML_OK);
    for (size_t i = MODEL_TENSORS; i-- > 0;)
        if (is_ready(m, step, t->rank, i))
            dml_test_status(t, "ready", dml_reducer_ready(reducer, i), DML_OK);
    dml_test_status(t, "finish", dml_reducer_finish(reducer), DML_OK);
    dml_test_same_on_all(t, "gradients", m->memory, m->total * sizeof *m->memory);
    for (size_t i = 0; i < m->total; i++)
        m->got[i] += (double)m->memory[i];
}

void model_compare(struct dml_test *t, const struct model *m, const char *codec,
                   enum look look, double tolerance)
{
    /* Blocks and factors share numbers, so small elements err like large ones. */
    double most = look == DENORMAL ? 0x1p-126 : 0, worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < m->total; i++)
        most = fmax(most, m->size[i]);
    for (size_t i = 0; i < m->total; i++) {
        double error = fabs(m->got[i] - m->put[i]);
        if (error > worst) {
            worst = error;
            where = i;
        }
    }
    worst = worst > 0 ? worst / most : 0;
    DML_CHECK(
        t, worst <= tolerance,
        "%s, gradients %d: element %zu: %.9g came out of %.9g put in: %.3g of the "
        "magnitudes, allowed %.3g",
        codec, (int)look, where, m->got[where], m->put[where], worst, tolerance);
}
