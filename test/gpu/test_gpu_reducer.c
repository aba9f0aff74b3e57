/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reducer of gradients in device memory. Gradients are written by copies in the
 * caller's stream, of which nobody waits for the end; averages are read by copies that
 * stand behind dml_reducer_finish() there. In reproducible mode they have the bits that
 * a reducer of host memory gives; elsewhere the numbers are chosen so that every order
 * of addition does.
 */
#include "dml/gpu.h"

#include "gpu_tensors.h"
#include "need_device.h"

#include <stdlib.h>
#include <string.h>

enum { NTENSORS = 11, STEPS = 5 };

static const size_t counts[NTENSORS] = {5000, 1, 0, 33, 70001, 7, 2048, 0, 4095, 1, 3};

struct run {
    struct gpu_sides s;
    dml_reducer *on_host, *on_device;
};

static dml_reducer *make(struct run *r, const dml_tensor *tensors)
{
    dml_reducer *reducer = NULL;
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.bucket_bytes = 20000;
    opts.first_bucket_bytes = 3000;
    dml_test_status(r->s.t, "dml_reducer_create",
                    dml_reducer_create(tensors, NTENSORS, &opts, r->s.comm, &reducer),
                    DML_OK);
    return reducer;
}

static void open_run(struct run *r, struct dml_test *t, const struct gpu_variant *v,
                     bool mixed_types)
{
    static const dml_dtype types[] = {DML_F32, DML_F64, DML_F16, DML_BF16};
    dml_tensor tensors[NTENSORS];
    *r = (struct run){0};
    for (size_t i = 0; i < NTENSORS; i++)
        tensors[i] =
            (dml_tensor){NULL, counts[i], mixed_types ? types[i % 4] : DML_F32, "w"};
    gpu_sides_open(&r->s, t, v, tensors, NTENSORS, (size_t)100000 * 8);
    r->on_device = make(r, r->s.device);
    if (v->reproducible)
        r->on_host = make(r, r->s.host);
}

static void close_run(struct run *r)
{
    dml_reducer_destroy(r->on_device);
    dml_reducer_destroy(r->on_host);
    gpu_sides_close(&r->s);
}

/* A gradient of a rank: whole numbers whose average is one, or any. */
static void fill(const struct run *r, size_t i, int step, int rank, double *to)
{
    const struct dml_test *t = r->s.t;
    const uint64_t key = (uint64_t)(step * 100 + rank) * 100 + i;
    for (size_t k = 0; k < counts[i]; k++) {
        const uint64_t h = dml_test_hash(t->seed, key, k);
        to[k] = r->s.v->reproducible ? (double)(h >> 11) * 0x1p-52 - 1
                                     : (double)(h % 8) * t->nranks;
    }
}

static void set(const struct run *r, const dml_tensor *to, const double *from)
{
    float *narrow = dml_test_alloc(to->count * sizeof *narrow + 1);
    for (size_t k = 0; k < to->count; k++)
        narrow[k] = (float)from[k];
    if (to->dtype == DML_F64)
        memcpy(to->data, from, to->count * sizeof *from);
    else if (to->dtype == DML_F32)
        memcpy(to->data, narrow, to->count * sizeof *narrow);
    else
        dml_test_status(
            r->s.t, "dml_vec_convert",
            dml_vec_convert(r->s.ctx, to->data, to->dtype, narrow, DML_F32, to->count),
            DML_OK);
    free(narrow);
}

/* This rank's gradients, and what they must become where no host reducer says it. */
static void gradients(struct run *r, int step, double *values, double *sum)
{
    for (size_t i = 0; i < NTENSORS; i++) {
        const dml_tensor *h = &r->s.host[i];
        fill(r, i, step, r->s.t->rank, values);
        set(r, h, values);
        gpu_sides_put(&r->s, i);
        if (r->s.v->reproducible)
            continue;
        memset(sum, 0, counts[i] * sizeof *sum);
        for (int rank = 0; rank < r->s.t->nranks; rank++) {
            fill(r, i, step, rank, values);
            for (size_t k = 0; k < counts[i] && !gpu_sides_unused(&r->s, i, step, rank);
                 k++)
                sum[k] += values[k] / r->s.t->nranks;
        }
        set(r, h, sum);
    }
}

static void compare(struct run *r)
{
    for (size_t i = 0; i < NTENSORS; i++) {
        dml_test_step(r->s.t, "%s: tensor %zu", r->s.v->text, i);
        gpu_sides_same(&r->s, i);
    }
}

static void run_variant(struct dml_test *t, const struct gpu_variant *v,
                        bool mixed_types)
{
    struct run r;
    double *values = dml_test_alloc(70001 * sizeof *values);
    double *sum = dml_test_alloc(70001 * sizeof *sum);
    dml_test_step(t, "%s", v->text);
    open_run(&r, t, v, mixed_types);
    for (int step = 0; step < STEPS && t->failures == 0; step++) {
        gradients(&r, step, values, sum);
        dml_test_status(t, "finish", gpu_sides_step(&r.s, r.on_device, step), DML_OK);
        if (v->reproducible)
            dml_test_status(t, "finish", gpu_sides_step(&r.s, r.on_host, step), DML_OK);
        compare(&r);
    }
    dml_reducer_stats stats;
    dml_reducer_get_stats(r.on_device, &stats);
    DML_CHECK(t, !v->apart || stats.packed_buckets > 0, "%s: %zu buckets are packed",
              v->text, stats.packed_buckets);
    close_run(&r);
    free(sum);
    free(values);
}

static void test_reproducible(struct dml_test *t)
{
    static const struct gpu_variant variants[] = {
        {.text = "by cost", .reproducible = true},
        {.text = "apart, queued",
         .reproducible = true,
         .queued = true,
         .own_stream = true,
         .apart = true},
        {.text = "all types, host_staged",
         .path = "host_staged",
         .reproducible = true,
         .apart = true},
        {.text = "unused", .reproducible = true, .own_stream = true, .unused = true},
        {.text = "unused, apart, a loss on the host, queued",
         .reproducible = true,
         .queued = true,
         .apart = true,
         .host_loss = true,
         .unused = true},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(variants); i++)
        run_variant(t, &variants[i], strstr(variants[i].text, "all types") != NULL);
}

/* With NCCL, where the environment gives it. */
static void test_any_order(struct dml_test *t)
{
    static const struct gpu_variant variants[] = {
        {.text = "exact, queued", .queued = true, .own_stream = true},
        {.text = "exact, all types, apart, queued",
         .queued = true,
         .own_stream = true,
         .apart = true},
        {.text = "exact, unused, not queued", .own_stream = true, .unused = true},
        {.text = "exact, unused, apart, a loss on the host",
         .queued = true,
         .apart = true,
         .host_loss = true,
         .unused = true},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(variants); i++)
        run_variant(t, &variants[i], strstr(variants[i].text, "all types") != NULL);
}

/* Gradients of steps that only accumulate stay as they are. */
static void test_accumulate(struct dml_test *t)
{
    static const struct gpu_variant v = {.text = "accumulate"};
    struct run r;
    double *values = dml_test_alloc(70001 * sizeof *values);
    open_run(&r, t, &v, false);
    fill(&r, 3, 0, t->rank, values);
    set(&r, &r.s.host[3], values);
    gpu_memory_put(&r.s.memory, r.s.device[3].data, r.s.host[3].data, counts[3] * 4);
    dml_test_status(t, "begin", dml_reducer_begin(r.on_device, false), DML_OK);
    dml_test_status(t, "ready", dml_reducer_ready(r.on_device, 3), DML_OK);
    dml_test_status(t, "finish", dml_reducer_finish(r.on_device), DML_OK);
    dml_test_bytes(t, "gradient",
                   gpu_memory_get(&r.s.memory, r.s.device[3].data, counts[3] * 4),
                   r.s.host[3].data, counts[3] * 4);
    close_run(&r);
    free(values);
}

static void test_misuse(struct dml_test *t)
{
    struct gpu_memory memory;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_reducer *reducer = NULL;
    float host[8];
    gpu_open_comm(t, false, &ctx, &comm);
    gpu_memory_open(&memory, t, ctx, NULL, 4096);
    dml_tensor tensor = {gpu_memory_take(&memory, 32, 0), 8, DML_F32, "w"};
    if (t->rank == 0)
        tensor.data = host;
    dml_test_status(t, "host and device",
                    dml_reducer_create(&tensor, 1, NULL, comm, &reducer),
                    t->nranks > 1 ? DML_EMISMATCH : DML_OK);
    dml_reducer_destroy(reducer);
    gpu_memory_close(&memory);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"the host's bits", test_reproducible},
        {"any path", test_any_order},
        {"accumulation", test_accumulate},
        {"misuse", test_misuse},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
