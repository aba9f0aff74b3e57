/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compressed averages of lib/sync, codec by codec, on real ranks: after every step all
 * replicas hold the same bits, and after a flush nothing that any rank put in is
 * missing, however odd the gradients are.
 */
#include "codec_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What rounding may take, relative to the largest sum of magnitudes that went into an
 * element: a few units of f32. */
static const struct {
    const char *text;
    double tolerance; /* negative: right in the mean only */
    bool exact;       /* sums of small whole numbers on a power of two of ranks */
} codecs[] = {
    {"f16,force", 1e-6, false},
    {"bf16,force", 1e-6, false},
    {"8bit,force", 1e-6, false},
    {"onebit,force", 1e-6, false},
    {"sign,force", 1e-6, false},
    {"terngrad,force", -1, false},
    {"topk:0.01,force", 1e-6, true},
    {"topk:1,force", 1e-6, true},
    {"randomk:0.05,force", 1e-6, true},
    {"powersgd:2,force", 1e-6, false},
    {"powersgd:4,force", 1e-6, false},
    {"dgc:0.02,momentum=0,force", 1e-6, true},
    {"topk:0.01,start=3,force", 1e-6, true},
    {"none", 1e-6, true},
};

/* With --every N each N-th run, at random. */
static void run(struct dml_test *t, const char *codec, const struct model_plan *plan,
                double tolerance)
{
    struct model m;
    if (dml_test_random(t) % t->every != 0)
        return;
    model_open(&m, plan);
    dml_reducer *reducer = model_reducer(t, &m, codec);
    for (int step = 0; step < plan->steps && reducer != NULL; step++)
        model_step(t, &m, reducer, plan->look, step);
    if (reducer != NULL) {
        dml_test_status(t, "flush", dml_reducer_flush(reducer), DML_OK);
        model_step(t, &m, reducer, ZERO, plan->steps);
        if (tolerance >= 0)
            model_compare(t, &m, codec, plan->look, tolerance);
    }
    dml_reducer_destroy(reducer);
    model_close(&m);
}

/* Tensors side by side, and each for itself, which are packed. */
static void test_nothing_lost(struct dml_test *t)
{
    for (size_t k = 0; k < DML_TEST_COUNT(codecs); k++)
        for (int packed = 0; packed < 2; packed++)
            run(t, codecs[k].text,
                &(struct model_plan){.look = NORMAL, .steps = 5, .packed = packed},
                codecs[k].tolerance);
}

static void test_odd_gradients(struct dml_test *t)
{
    static const enum look looks[] = {ZERO, CONSTANT, DENORMAL, INTEGERS, ONE_RANK};
    const bool power_of_two = (t->nranks & (t->nranks - 1)) == 0;
    for (size_t k = 0; k < DML_TEST_COUNT(codecs); k++)
        for (size_t l = 0; l < DML_TEST_COUNT(looks); l++) {
            bool exact = codecs[k].exact && looks[l] == INTEGERS && power_of_two;
            run(t, codecs[k].text, &(struct model_plan){.look = looks[l], .steps = 3},
                exact ? 0 : codecs[k].tolerance);
        }
}

/* Without shapes everything is one vector after the other. */
static void test_without_rows(struct dml_test *t)
{
    for (size_t k = 0; k < DML_TEST_COUNT(codecs); k++)
        if (strncmp(codecs[k].text, "powersgd", 8) != 0)
            run(t, codecs[k].text,
                &(struct model_plan){.look = NORMAL, .steps = 4, .no_rows = true},
                codecs[k].tolerance);
}

/* Every step's average is the plain one where the codec can say everything. */
static void test_lossless(struct dml_test *t)
{
    static const char *const texts[] = {"topk:1,force", "randomk:1,force",
                                        "dgc:1,momentum=0,force"};
    for (size_t k = 0; k < DML_TEST_COUNT(texts); k++) {
        struct model coded, plain;
        struct model_plan plan = {.look = NORMAL};
        model_open(&coded, &plan);
        model_open(&plain, &plan);
        dml_reducer *rc = model_reducer(t, &coded, texts[k]);
        dml_reducer *rp = model_reducer(t, &plain, NULL);
        for (int step = 0; step < 4 && rc != NULL && rp != NULL; step++) {
            model_step(t, &coded, rc, NORMAL, step);
            model_step(t, &plain, rp, NORMAL, step);
            for (size_t i = 0; i < plain.total; i++)
                DML_CHECK(t, fabsf(coded.memory[i] - plain.memory[i]) <= 4e-7f,
                          "%s, step %d, element %zu: %.9g instead of %.9g", texts[k],
                          step, i, (double)coded.memory[i], (double)plain.memory[i]);
        }
        dml_reducer_destroy(rc);
        dml_reducer_destroy(rp);
        model_close(&coded);
        model_close(&plain);
    }
}

/* TernGrad: the mean of many steps of the same gradients is their mean. Seed fixed by
 * the text; five standard deviations of the two stages' noise. */
static void test_unbiased(struct dml_test *t)
{
    enum { STEPS = 300, COUNT = 3000 };
    float *g = dml_test_alloc(COUNT * sizeof *g);
    double *sum = dml_test_alloc(2 * COUNT * sizeof *sum), *mean = sum + COUNT;
    size_t rows = 3;
    memset(sum, 0, 2 * COUNT * sizeof *sum);
    dml_tensor tensor = {g, COUNT, DML_F32, "g"};
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.codec = "terngrad:0,seed=4,force";
    opts.rows = &rows;
    dml_reducer *r = NULL;
    dml_test_status(t, "create", dml_reducer_create(&tensor, 1, &opts, t->comm, &r),
                    DML_OK);
    for (int rank = 0; rank < t->nranks; rank++)
        for (size_t i = 0; i < COUNT; i++)
            mean[i] += (double)model_value(t, NORMAL, 0, rank, i) / t->nranks;
    for (int step = 0; step <= STEPS && r != NULL; step++) {
        for (size_t i = 0; i < COUNT; i++)
            g[i] = model_value(t, NORMAL, 0, t->rank, i);
        dml_test_step(t, "step %d", step);
        dml_reducer_begin(r, true);
        dml_reducer_ready(r, 0);
        dml_test_status(t, "finish", dml_reducer_finish(r), DML_OK);
        for (size_t i = 0; i < COUNT && step > 0; i++)
            sum[i] += (double)g[i] / STEPS;
    }
    /* Values are below 1: a stage's variance is at most 1/4 (of the mean's, over the
     * ranks, less), and its scale at most 1. */
    double bound = 5 * sqrt(0.5 / STEPS);
    for (size_t i = 0; i < COUNT; i++)
        DML_CHECK(t, fabs(sum[i] - mean[i]) <= bound,
                  "element %zu: %.4f in the mean, wanted %.4f +- %.4f", i, sum[i],
                  mean[i], bound);
    dml_reducer_destroy(r);
    free(sum);
    free(g);
}

/* TernGrad cuts what is beyond 2.5 deviations, but once: the one element of a block
 * comes out as 2.5 / sqrt(1024) of it, which both stages can say exactly. */
static void test_clipped_once(struct dml_test *t)
{
    enum { COUNT = 3 * 1024 };
    float *g = dml_test_alloc(COUNT * sizeof *g);
    dml_tensor tensor = {g, COUNT, DML_F32, "g"};
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.codec = "terngrad,force";
    dml_reducer *r = NULL;
    dml_test_status(t, "create", dml_reducer_create(&tensor, 1, &opts, t->comm, &r),
                    DML_OK);
    for (int step = 0; step < 3 && r != NULL; step++) {
        for (int i = 0; i < COUNT; i++)
            g[i] = i % 1024 == 77 ? 4 : 0;
        dml_test_step(t, "step %d", step);
        dml_reducer_begin(r, true);
        dml_reducer_ready(r, 0);
        dml_test_status(t, "finish", dml_reducer_finish(r), DML_OK);
        for (int i = 0; i < COUNT && step > 0; i++) {
            double want = i % 1024 == 77 ? 4 * 2.5 / 32 : 0;
            DML_CHECK(t, fabs((double)g[i] - want) < 1e-3, "element %d: %g, wanted %g",
                      i, (double)g[i], want);
        }
    }
    dml_reducer_destroy(r);
    free(g);
}

/* In dense steps dgc is momentum SGD: what comes out is the plain velocity. */
static void test_momentum(struct dml_test *t)
{
    enum { STEPS = 5 };
    struct model m;
    struct model_plan plan = {.look = NORMAL};
    model_open(&m, &plan);
    double *u = dml_test_alloc(m.total * sizeof *u);
    memset(u, 0, m.total * sizeof *u);
    dml_reducer *r = model_reducer(t, &m, "dgc:0.01,momentum=0.75,start=5,force");
    for (int step = 0; step < STEPS && r != NULL; step++) {
        memset(m.put, 0, m.total * sizeof *m.put);
        model_step(t, &m, r, NORMAL, step);
        for (size_t i = 0; i < m.total; i++) {
            u[i] = 0.75 * u[i] + m.put[i];
            DML_CHECK(t, fabs((double)m.memory[i] - u[i]) < 2e-6,
                      "step %d, element %zu: velocity %.9g, wanted %.9g", step, i,
                      (double)m.memory[i], u[i]);
        }
    }
    dml_reducer_destroy(r);
    free(u);
    model_close(&m);
}

/* Gradients that never become ready, others on each rank and step. */
static void test_unused(struct dml_test *t)
{
    for (size_t k = 0; k < DML_TEST_COUNT(codecs); k++)
        run(t, codecs[k].text,
            &(struct model_plan){
                .look = NORMAL, .steps = 5, .skip = true, .packed = k % 2},
            codecs[k].tolerance);
}

static const struct dml_test_case cases[] = {
    {"nothing is lost", test_nothing_lost},
    {"odd gradients", test_odd_gradients},
    {"without shapes", test_without_rows},
    {"lossless limits", test_lossless},
    {"unbiased", test_unbiased},
    {"clipped once", test_clipped_once},
    {"momentum in dense steps", test_momentum},
    {"unused gradients", test_unused},
    {"choice and forced choice", test_choice},
    {"bytes", test_codec_bytes},
    {"warm-up", test_codec_warmup},
    {"faults", test_codec_faults},
    {"misuse", test_codec_misuse},
    {"memory", test_codec_memory},
};

int main(int argc, char **argv)
{
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
