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

struct variant {
    const char *text, *path;
    bool reproducible, queued, own_stream, mixed_types, apart, host_loss, unused;
};

struct run {
    struct dml_test *t;
    const struct variant *v;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_gpu_stream stream;
    dml_tensor host[NTENSORS], device[NTENSORS];
    struct gpu_memory memory;
    dml_reducer *on_host, *on_device;
};

static dml_reducer *make(struct run *r, const dml_tensor *tensors)
{
    dml_reducer *reducer = NULL;
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.bucket_bytes = 20000;
    opts.first_bucket_bytes = 3000;
    dml_test_status(r->t, "dml_reducer_create",
                    dml_reducer_create(tensors, NTENSORS, &opts, r->comm, &reducer),
                    DML_OK);
    return reducer;
}

static void open_run(struct run *r, struct dml_test *t, const struct variant *v)
{
    static const dml_dtype types[] = {DML_F32, DML_F64, DML_F16, DML_BF16};
    *r = (struct run){.t = t, .v = v};
    gpu_open_comm(t, v->reproducible, &r->ctx, &r->comm);
    if (v->own_stream)
        dml_test_status(t, "dml_gpu_stream_create",
                        dml_gpu_stream_create(r->ctx, &r->stream), DML_OK);
    dml_test_status(t, "dml_comm_set_stream",
                    dml_comm_set_stream(r->comm, r->stream, v->queued), DML_OK);
    if (v->path != NULL)
        dml_test_status(t, "dml_comm_set_algorithm",
                        dml_comm_set_algorithm(r->comm, DML_COLL_ALLREDUCE, v->path),
                        DML_OK);
    gpu_memory_open(&r->memory, t, r->ctx, r->stream, (size_t)100000 * 8);
    for (size_t i = 0; i < NTENSORS; i++) {
        const dml_dtype dtype = v->mixed_types ? types[i % 4] : DML_F32;
        const size_t bytes = counts[i] * dml_dtype_bytes(dtype);
        void *host = dml_test_alloc(bytes + 1);
        r->host[i] = (dml_tensor){host, counts[i], dtype, "w"};
        r->device[i] = r->host[i];
        r->device[i].data = v->host_loss && i == 1
                                ? dml_test_alloc(bytes)
                                : gpu_memory_take(&r->memory, bytes, v->apart ? 64 : 0);
    }
    r->on_device = make(r, r->device);
    if (v->reproducible)
        r->on_host = make(r, r->host);
}

static void close_run(struct run *r)
{
    dml_reducer_destroy(r->on_device);
    dml_reducer_destroy(r->on_host);
    for (size_t i = 0; i < NTENSORS; i++)
        free(r->host[i].data);
    if (r->v->host_loss)
        free(r->device[1].data);
    gpu_memory_close(&r->memory);
    dml_test_status(r->t, "dml_gpu_stream_destroy",
                    dml_gpu_stream_destroy(r->ctx, r->stream), DML_OK);
    dml_comm_destroy(r->comm);
    dml_ctx_destroy(r->ctx);
}

/* A gradient of a rank: whole numbers whose average is one, or any. */
static void fill(const struct run *r, size_t i, int step, int rank, double *to)
{
    const struct dml_test *t = r->t;
    const uint64_t key = (uint64_t)(step * 100 + rank) * 100 + i;
    for (size_t k = 0; k < counts[i]; k++) {
        const uint64_t h = dml_test_hash(t->seed, key, k);
        to[k] = r->v->reproducible ? (double)(h >> 11) * 0x1p-52 - 1
                                   : (double)(h % 8) * t->nranks;
    }
}

static bool is_unused(const struct run *r, size_t i, int step, int rank)
{
    return r->v->unused &&
           dml_test_hash(r->t->seed, (uint64_t)step * 64 + i, (uint64_t)rank) % 3 == 0;
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
            r->t, "dml_vec_convert",
            dml_vec_convert(r->ctx, to->data, to->dtype, narrow, DML_F32, to->count),
            DML_OK);
    free(narrow);
}

/* This rank's gradients, and what they must become where no host reducer says it. */
static void gradients(struct run *r, int step, double *values, double *sum)
{
    for (size_t i = 0; i < NTENSORS; i++) {
        const dml_tensor *h = &r->host[i];
        const size_t bytes = h->count * dml_dtype_bytes(h->dtype);
        fill(r, i, step, r->t->rank, values);
        set(r, h, values);
        if (r->v->host_loss && i == 1)
            memcpy(r->device[i].data, h->data, bytes);
        else
            gpu_memory_put(&r->memory, r->device[i].data, h->data, bytes);
        if (r->v->reproducible)
            continue;
        memset(sum, 0, counts[i] * sizeof *sum);
        for (int rank = 0; rank < r->t->nranks; rank++) {
            fill(r, i, step, rank, values);
            for (size_t k = 0; k < counts[i] && !is_unused(r, i, step, rank); k++)
                sum[k] += values[k] / r->t->nranks;
        }
        set(r, h, sum);
    }
}

static void step_of(struct run *r, dml_reducer *reducer, int step)
{
    struct dml_test *t = r->t;
    const size_t shift = (size_t)(step + t->rank);
    dml_test_status(t, "dml_reducer_begin", dml_reducer_begin(reducer, true), DML_OK);
    for (size_t k = 0; k < NTENSORS; k++) {
        const size_t i = step == 0 ? NTENSORS - 1 - k : (k + shift) % NTENSORS;
        if (!is_unused(r, i, step, t->rank))
            dml_test_status(t, "dml_reducer_ready", dml_reducer_ready(reducer, i),
                            DML_OK);
    }
    dml_test_status(t, "dml_reducer_finish", dml_reducer_finish(reducer), DML_OK);
}

static void compare(struct run *r)
{
    for (size_t i = 0; i < NTENSORS; i++) {
        const dml_tensor *h = &r->host[i];
        const size_t bytes = h->count * dml_dtype_bytes(h->dtype);
        const void *got = r->device[i].data;
        if (!(r->v->host_loss && i == 1))
            got = gpu_memory_get(&r->memory, got, bytes);
        dml_test_step(r->t, "%s: tensor %zu", r->v->text, i);
        dml_test_bytes(r->t, "average", got, h->data, bytes);
    }
}

static void run_variant(struct dml_test *t, const struct variant *v)
{
    struct run r;
    double *values = dml_test_alloc(70001 * sizeof *values);
    double *sum = dml_test_alloc(70001 * sizeof *sum);
    dml_test_step(t, "%s", v->text);
    open_run(&r, t, v);
    for (int step = 0; step < STEPS && t->failures == 0; step++) {
        gradients(&r, step, values, sum);
        step_of(&r, r.on_device, step);
        if (v->reproducible)
            step_of(&r, r.on_host, step);
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
    static const struct variant variants[] = {
        {.text = "by cost", .reproducible = true},
        {.text = "apart, queued",
         .reproducible = true,
         .queued = true,
         .own_stream = true,
         .apart = true},
        {.text = "all types, host_staged",
         .path = "host_staged",
         .reproducible = true,
         .mixed_types = true,
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
        run_variant(t, &variants[i]);
}

/* With NCCL, where the environment gives it. */
static void test_any_order(struct dml_test *t)
{
    static const struct variant variants[] = {
        {.text = "exact, queued", .queued = true, .own_stream = true},
        {.text = "exact, all types, apart, queued",
         .queued = true,
         .own_stream = true,
         .mixed_types = true,
         .apart = true},
        {.text = "exact, unused, not queued", .own_stream = true, .unused = true},
        {.text = "exact, unused, apart, a loss on the host",
         .queued = true,
         .apart = true,
         .host_loss = true,
         .unused = true},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(variants); i++)
        run_variant(t, &variants[i]);
}

/* Gradients of steps that only accumulate stay as they are. */
static void test_accumulate(struct dml_test *t)
{
    static const struct variant v = {.text = "accumulate"};
    struct run r;
    double *values = dml_test_alloc(70001 * sizeof *values);
    open_run(&r, t, &v);
    fill(&r, 3, 0, t->rank, values);
    set(&r, &r.host[3], values);
    gpu_memory_put(&r.memory, r.device[3].data, r.host[3].data, counts[3] * 4);
    dml_test_status(t, "begin", dml_reducer_begin(r.on_device, false), DML_OK);
    dml_test_status(t, "ready", dml_reducer_ready(r.on_device, 3), DML_OK);
    dml_test_status(t, "finish", dml_reducer_finish(r.on_device), DML_OK);
    dml_test_bytes(t, "gradient",
                   gpu_memory_get(&r.memory, r.device[3].data, counts[3] * 4),
                   r.host[3].data, counts[3] * 4);
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
