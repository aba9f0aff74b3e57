/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Gradient averaging (lib/sync) against a serial average, step after step, for several
 * sets of tensors, bucket sizes and orders of readiness.
 *
 * Gradients are pure functions of (seed, step, rank, tensor, index), so every rank can
 * compute what all the others put in.
 */
#include "numbers.h"
#include "reducer_misuse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A model: tensors that lie one after the other, or each for itself. */
struct model {
    size_t n;
    dml_tensor *tensors;   /* [n] */
    unsigned char *memory; /* of all tensors when contiguous, else NULL */
};

/* How a training run goes; all ranks have the same. */
struct plan {
    size_t ntensors, max_count;
    bool mixed_types; /* f32, f64, f16, bf16 in turn; else f32 */
    bool contiguous;
    bool shuffled; /* another order of readiness on each rank and step */
    bool unused;   /* some tensors are not ready on some ranks */
    size_t bucket_bytes, first_bucket_bytes; /* 0: defaults */
    int steps;
};

static const dml_dtype float_types[] = {DML_F32, DML_F64, DML_F16, DML_BF16};

static size_t count_of(const struct dml_test *t, const struct plan *plan, size_t tensor)
{
    uint64_t h = dml_test_hash(t->seed, 31, tensor);
    return h % 7 == 0 ? 0 : (size_t)(h >> 8) % (plan->max_count + 1);
}

static void model_open(struct model *m, const struct dml_test *t,
                       const struct plan *plan)
{
    *m = (struct model){.n = plan->ntensors};
    m->tensors = dml_test_alloc(m->n * sizeof *m->tensors);
    if (plan->contiguous)
        m->memory = dml_test_alloc(m->n * (plan->max_count + 1) * 8);
    size_t at = 0;
    for (size_t i = 0; i < m->n; i++) {
        dml_dtype dtype = plan->mixed_types ? float_types[i % 4] : DML_F32;
        size_t element = dml_dtype_bytes(dtype), count = count_of(t, plan, i);
        at = (at + element - 1) / element * element;
        m->tensors[i] = (dml_tensor){
            .data = plan->contiguous ? m->memory + at : dml_test_alloc(count * element),
            .count = count,
            .dtype = dtype,
        };
        at += count * element;
    }
}

static void model_close(struct model *m)
{
    for (size_t i = 0; i < m->n && m->memory == NULL; i++)
        free(m->tensors[i].data);
    free(m->memory);
    free(m->tensors);
}

static uint64_t seed_of(const struct dml_test *t, int step, size_t tensor)
{
    return dml_test_hash(t->seed, (uint64_t)step + 1000, tensor);
}

/* Rank 0 uses every tensor but those that nobody uses. */
static bool is_used(const struct dml_test *t, const struct plan *plan, int step,
                    size_t tensor, int rank)
{
    if (!plan->unused)
        return true;
    uint64_t h = seed_of(t, step, tensor);
    return h % 11 != 0 && (h >> 8) % (uint64_t)(rank + 1) == 0;
}

/* The order in which this rank's gradients become ready: last to first, or any. */
static void ready_order(const struct dml_test *t, const struct plan *plan, int step,
                        size_t *order)
{
    size_t n = plan->ntensors;
    for (size_t i = 0; i < n; i++)
        order[i] = n - 1 - i;
    for (size_t i = n; plan->shuffled && i > 1; i--) {
        size_t j = dml_test_hash(t->seed + (uint64_t)step, (uint64_t)t->rank, i) % i;
        size_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

static void check_tensor(struct dml_test *t, const struct plan *plan, int step,
                         size_t index, const dml_tensor *x)
{
    size_t bytes = dml_dtype_bytes(x->dtype);
    unsigned char *inputs = dml_test_alloc(x->count * bytes);
    long double *total = dml_test_alloc(2 * x->count * sizeof *total);
    long double *magnitude = total + x->count;
    memset(total, 0, 2 * x->count * sizeof *total);
    for (int r = 0; r < t->nranks; r++) {
        if (!is_used(t, plan, step, index, r))
            continue;
        numbers_fill(inputs, 0, x->count, x->dtype, DML_AVG, seed_of(t, step, index),
                     r);
        for (size_t i = 0; i < x->count; i++) {
            long double v = numbers_value(x->dtype, inputs + i * bytes);
            total[i] += v;
            magnitude[i] += fabsl(v);
        }
    }
    /* As in numbers.h; the half unit of a 16-bit result is at most 2^-11 or 2^-8 of
     * it, or half of f16's smallest denormal. */
    long double u = x->dtype == DML_F64 ? 0x1p-53L : 0x1p-24L;
    long double half = x->dtype == DML_F16    ? 0x1p-11L
                       : x->dtype == DML_BF16 ? 0x1p-8L
                                              : u;
    const unsigned char *got = x->data;
    for (size_t i = 0; i < x->count; i++) {
        long double want = total[i] / t->nranks;
        long double error = t->nranks * u * magnitude[i] / t->nranks;
        long double bound = 1.01L * (error + half * (fabsl(want) + error)) +
                            (x->dtype == DML_F16 ? 0x1p-25L : 0);
        long double value = numbers_value(x->dtype, got + i * bytes);
        if (fabsl(value - want) <= bound)
            continue;
        dml_test_fail(t, "tensor %zu (%s), index %zu: got %.9Lg, wanted %.9Lg +- %.3Lg",
                      index, dml_dtype_name(x->dtype), i, value, want, bound);
        break;
    }
    free(inputs);
    free(total);
}

static void one_step(struct dml_test *t, const struct plan *plan, struct model *m,
                     dml_reducer *reducer, int step)
{
    size_t *order = dml_test_alloc(plan->ntensors * sizeof *order);
    ready_order(t, plan, step, order);
    dml_test_step(t, "step %d: begin", step);
    dml_test_status(t, "dml_reducer_begin", dml_reducer_begin(reducer, true), DML_OK);
    for (size_t k = 0; k < m->n; k++) {
        size_t i = order[k];
        dml_tensor *x = &m->tensors[i];
        numbers_fill(x->data, 0, x->count, x->dtype, DML_AVG, seed_of(t, step, i),
                     t->rank);
        dml_test_step(t, "step %d: tensor %zu of %zu ready", step, i, m->n);
        if (is_used(t, plan, step, i, t->rank))
            dml_test_status(t, "dml_reducer_ready", dml_reducer_ready(reducer, i),
                            DML_OK);
    }
    dml_test_step(t, "step %d: finish", step);
    dml_test_status(t, "dml_reducer_finish", dml_reducer_finish(reducer), DML_OK);
    uint64_t digest = 0;
    for (size_t i = 0; i < m->n; i++) {
        check_tensor(t, plan, step, i, &m->tensors[i]);
        digest =
            dml_test_digest(digest, m->tensors[i].data,
                            m->tensors[i].count * dml_dtype_bytes(m->tensors[i].dtype));
    }
    dml_test_same_on_all(t, "gradients", &digest, sizeof digest);
    free(order);
}

/* A run of steps; returns a digest of the last gradients. */
static uint64_t run_plan(struct dml_test *t, const struct plan *plan)
{
    struct model m;
    model_open(&m, t, plan);
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    if (plan->bucket_bytes > 0)
        opts.bucket_bytes = plan->bucket_bytes;
    if (plan->first_bucket_bytes > 0)
        opts.first_bucket_bytes = plan->first_bucket_bytes;
    dml_reducer *reducer = NULL;
    dml_test_step(t, "dml_reducer_create");
    uint64_t digest = 0;
    if (!dml_test_status(t, "dml_reducer_create",
                         dml_reducer_create(m.tensors, m.n, &opts, t->comm, &reducer),
                         DML_OK))
        goto out;
    for (int step = 0; step < plan->steps; step++)
        one_step(t, plan, &m, reducer, step);
    dml_reducer_stats stats;
    dml_reducer_get_stats(reducer, &stats);
    DML_CHECK(t, stats.steps == (uint64_t)plan->steps, "%llu steps counted",
              (unsigned long long)stats.steps);
    uint64_t bytes = 0;
    for (size_t i = 0; i < m.n; i++)
        bytes += m.tensors[i].count * dml_dtype_bytes(m.tensors[i].dtype);
    DML_CHECK(t, stats.bytes == bytes, "%llu bytes counted, wanted %llu",
              (unsigned long long)stats.bytes, (unsigned long long)bytes);
    for (size_t i = 0; i < m.n; i++)
        digest =
            dml_test_digest(digest, m.tensors[i].data,
                            m.tensors[i].count * dml_dtype_bytes(m.tensors[i].dtype));
out:
    dml_reducer_destroy(reducer);
    model_close(&m);
    return digest;
}

/* ---- cases -------------------------------------------------------------------------
 */

static void test_sizes(struct dml_test *t)
{
    static const size_t bucket_bytes[] = {1, 64, 4096, 0, (size_t)1 << 40};
    for (size_t b = 0; b < DML_TEST_COUNT(bucket_bytes); b++)
        for (int mixed = 0; mixed < 2; mixed++)
            run_plan(t, &(struct plan){.ntensors = 23,
                                       .max_count = 900,
                                       .mixed_types = mixed,
                                       .contiguous = b % 2,
                                       .bucket_bytes = bucket_bytes[b],
                                       .first_bucket_bytes = bucket_bytes[b],
                                       .steps = 3});
}

static void test_ready_order(struct dml_test *t)
{
    for (int mixed = 0; mixed < 2; mixed++)
        run_plan(t, &(struct plan){.ntensors = 40,
                                   .max_count = 300,
                                   .mixed_types = mixed,
                                   .shuffled = true,
                                   .contiguous = true,
                                   .bucket_bytes = 3000,
                                   .first_bucket_bytes = 500,
                                   .steps = 5});
}

static void test_unused(struct dml_test *t)
{
    for (int shuffled = 0; shuffled < 2; shuffled++)
        run_plan(t, &(struct plan){.ntensors = 30,
                                   .max_count = 200,
                                   .mixed_types = true,
                                   .unused = true,
                                   .shuffled = shuffled,
                                   .contiguous = shuffled,
                                   .bucket_bytes = 2000,
                                   .steps = 5});
}

static void test_many_tensors(struct dml_test *t)
{
    run_plan(t, &(struct plan){.ntensors = 1000, .max_count = 64, .steps = 3});
}

static void test_no_tensors(struct dml_test *t)
{
    run_plan(t, &(struct plan){.ntensors = 0, .steps = 2});
    run_plan(t, &(struct plan){.ntensors = 5, .max_count = 0, .steps = 2});
}

/* Two runs give the same bits. Scattered tensors lie in their buckets in another order,
 * which may change the order of additions, so they are held to the bounds only. */
static void test_contiguous(struct dml_test *t)
{
    struct plan plan = {.ntensors = 20,
                        .max_count = 500,
                        .contiguous = true,
                        .bucket_bytes = 8000,
                        .steps = 3};
    uint64_t contiguous = run_plan(t, &plan);
    uint64_t again = run_plan(t, &plan);
    plan.contiguous = false;
    uint64_t scattered = run_plan(t, &plan);
    uint64_t scattered_again = run_plan(t, &plan);
    DML_CHECK(t, contiguous == again, "two runs give different bits");
    DML_CHECK(t, scattered == scattered_again,
              "two runs with scattered tensors give different bits");
}

/* Two local steps, then one that reduces: the sum of all three is averaged. */
static void test_accumulation(struct dml_test *t)
{
    enum { N = 600 };
    float grads[2][N / 2];
    dml_tensor tensors[2] = {{grads[0], N / 2, DML_F32, "first"},
                             {grads[1], N / 2, DML_F32, "second"}};
    memset(grads, 0, sizeof grads);
    dml_reducer *reducer = NULL;
    dml_test_status(t, "dml_reducer_create",
                    dml_reducer_create(tensors, 2, NULL, t->comm, &reducer), DML_OK);
    for (int step = 0; step < 3; step++) {
        dml_test_step(t, "step %d of 3", step);
        dml_test_status(t, "dml_reducer_begin", dml_reducer_begin(reducer, step == 2),
                        DML_OK);
        for (size_t k = 2; k-- > 0;) {
            for (int i = 0; i < N / 2; i++)
                grads[k][i] += (float)(t->rank + step * 10 + i);
            dml_test_status(t, "dml_reducer_ready", dml_reducer_ready(reducer, k),
                            DML_OK);
        }
        dml_test_status(t, "dml_reducer_finish", dml_reducer_finish(reducer), DML_OK);
        for (int i = 0; i < N / 2; i++) {
            double local = t->rank * (step + 1) + i * (step + 1) + (step == 1 ? 10 : 0);
            double mean = 3 * (t->nranks - 1) / 2.0 + 30 + i * 3;
            double want = step < 2 ? local : mean;
            DML_CHECK(t, fabs(grads[1][i] - want) <= 1e-6 * want,
                      "index %d: got %.9g, wanted %.9g", i, (double)grads[1][i], want);
        }
    }
    dml_reducer_stats stats;
    dml_reducer_get_stats(reducer, &stats);
    DML_CHECK(t, stats.steps == 1, "%llu steps that reduced, wanted 1",
              (unsigned long long)stats.steps);
    dml_reducer_destroy(reducer);
}

static void test_two_reducers(struct dml_test *t)
{
    float a[100], b[70];
    dml_tensor first = {a, 100, DML_F32, "a"}, second = {b, 70, DML_F32, NULL};
    dml_reducer *ra = NULL, *rb = NULL;
    dml_test_status(t, "dml_reducer_create",
                    dml_reducer_create(&first, 1, NULL, t->comm, &ra), DML_OK);
    dml_test_status(t, "dml_reducer_create",
                    dml_reducer_create(&second, 1, NULL, t->comm, &rb), DML_OK);
    for (int step = 0; step < 4; step++) {
        for (int i = 0; i < 100; i++)
            a[i] = (float)(t->rank + i);
        for (int i = 0; i < 70; i++)
            b[i] = (float)(2 * t->rank + i);
        dml_test_step(t, "two open steps, round %d", step);
        dml_test_status(t, "begin a", dml_reducer_begin(ra, true), DML_OK);
        dml_test_status(t, "begin b", dml_reducer_begin(rb, true), DML_OK);
        dml_test_status(t, "ready a", dml_reducer_ready(ra, 0), DML_OK);
        dml_test_status(t, "ready b", dml_reducer_ready(rb, 0), DML_OK);
        dml_test_status(t, "finish b", dml_reducer_finish(rb), DML_OK);
        dml_test_status(t, "finish a", dml_reducer_finish(ra), DML_OK);
        double mean = (t->nranks - 1) / 2.0;
        DML_CHECK(t, fabs(a[99] - (mean + 99)) < 1e-4, "a: got %g, wanted %g",
                  (double)a[99], mean + 99);
        DML_CHECK(t, fabs(b[69] - (2 * mean + 69)) < 1e-4, "b: got %g, wanted %g",
                  (double)b[69], 2 * mean + 69);
    }
    dml_reducer_destroy(ra);
    dml_reducer_destroy(rb);
}

/* ---- broadcast of parameters -------------------------------------------------------
 */

static void test_bcast(struct dml_test *t)
{
    struct plan plan = {.ntensors = 29, .max_count = 400, .mixed_types = true};
    for (int root = 0; root < t->nranks; root++) {
        struct model m;
        plan.contiguous = root % 2;
        model_open(&m, t, &plan);
        for (size_t i = 0; i < m.n; i++)
            numbers_fill(m.tensors[i].data, 0, m.tensors[i].count, m.tensors[i].dtype,
                         DML_SUM, seed_of(t, 0, i), t->rank);
        dml_test_step(t, "dml_sync_bcast from root %d", root);
        dml_test_status(t, "dml_sync_bcast",
                        dml_sync_bcast(m.tensors, m.n, root, t->comm), DML_OK);
        for (size_t i = 0; i < m.n; i++) {
            size_t bytes = m.tensors[i].count * dml_dtype_bytes(m.tensors[i].dtype);
            unsigned char *want = dml_test_alloc(bytes);
            numbers_fill(want, 0, m.tensors[i].count, m.tensors[i].dtype, DML_SUM,
                         seed_of(t, 0, i), root);
            dml_test_bytes(t, "tensor", m.tensors[i].data, want, bytes);
            free(want);
        }
        model_close(&m);
    }
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"bucket sizes and types", test_sizes},
        {"order of readiness", test_ready_order},
        {"unused parameters", test_unused},
        {"1000 tensors", test_many_tensors},
        {"no tensors, empty tensors", test_no_tensors},
        {"contiguous and scattered", test_contiguous},
        {"accumulation", test_accumulation},
        {"two reducers", test_two_reducers},
        {"ranks that disagree", test_reducer_mismatch},
        {"misuse", test_reducer_misuse},
        {"broadcast of parameters", test_bcast},
        {"misuse of the broadcast", test_sync_bcast_misuse},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
