/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sharded training in device memory against the same in host memory: the same bits of
 * parameters and state, step after step. In reproducible mode, and on one and two ranks
 * without it, where NCCL adds as the host does.
 */
#include "dml/gpu.h"

#include "gpu_tensors.h"
#include "need_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NTENSORS = 7, STEPS = 6, LONGEST = 9001 };

static const size_t counts[NTENSORS] = {5000, 1, 0, 1033, LONGEST, 33, 2048};

struct variant {
    const char *text;
    dml_optim_rule rule;
    dml_dtype dtype;
    double clip_norm, loss_scale;
    bool reproducible, queued, apart, unused;
    int fault_step;   /* a gradient is infinite then; -1: never */
    bool one_element; /* only one tensor of one: some ranks have nothing */
};

/* One side: host or device. */
struct side {
    dml_param params[NTENSORS];
    dml_sharded *sharded;
};

struct run {
    struct dml_test *t;
    const struct variant *v;
    dml_ctx *ctx;
    dml_comm *comm;
    dml_gpu_stream stream;
    struct gpu_memory memory;
    struct side host, device;
};

static size_t count_of(const struct variant *v, size_t i)
{
    return v->one_element ? i == 3 : counts[i];
}

static void open_side(struct run *r, struct side *s)
{
    const struct variant *v = r->v;
    dml_optim_opts optim;
    dml_sharded_opts opts;
    dml_optim_opts_init(&optim, v->rule);
    dml_sharded_opts_init(&opts);
    optim.clip_norm = v->clip_norm;
    optim.loss_scale = v->loss_scale;
    opts.bucket_bytes = 20000;
    opts.first_bucket_bytes = 3000;
    dml_test_status(r->t, "dml_gpu_stream_sync", dml_gpu_stream_sync(r->ctx, r->stream),
                    DML_OK);
    dml_test_status(r->t, "dml_sharded_create",
                    dml_sharded_create(v->rule, s->params, NTENSORS, &optim, &opts,
                                       r->comm, &s->sharded),
                    DML_OK);
}

static void *host_memory(size_t bytes)
{
    char *p = dml_test_alloc(bytes + 1);
    memset(p, 0, bytes + 1);
    return p;
}

static void put(const struct run *r, void *to, dml_dtype dtype, const float *from,
                size_t n)
{
    if (dtype == DML_F32)
        memcpy(to, from, n * sizeof *from);
    else
        (void)dml_vec_convert(r->ctx, to, dtype, from, DML_F32, n);
}

static float noise(const struct run *r, uint64_t a, uint64_t b)
{
    return (float)((double)(dml_test_hash(r->t->seed, a, b) >> 11) * 0x1p-52 - 1);
}

static void open_tensor(struct run *r, size_t i, float *values)
{
    const struct variant *v = r->v;
    const size_t n = count_of(v, i), bytes = n * dml_dtype_bytes(v->dtype);
    dml_param *h = &r->host.params[i], *d = &r->device.params[i];
    for (size_t k = 0; k < n; k++)
        values[k] = noise(r, 7 + i, k);
    *h = (dml_param){.param = host_memory(bytes),
                     .grad = host_memory(bytes),
                     .count = n,
                     .dtype = v->dtype,
                     .grad_dtype = v->dtype,
                     .flags = i == 5 ? dml_param_flags(1) : 0,
                     .name = "w"};
    put(r, h->param, v->dtype, values, n);
    *d = *h;
    d->param = gpu_memory_take(&r->memory, bytes, v->apart ? 64 : 8);
    gpu_memory_put(&r->memory, d->param, h->param, bytes);
}

static void open_run(struct run *r, struct dml_test *t, const struct variant *v,
                     float *values)
{
    *r = (struct run){.t = t, .v = v};
    gpu_open_comm(t, v->reproducible, &r->ctx, &r->comm);
    dml_test_status(t, "stream", dml_gpu_stream_create(r->ctx, &r->stream), DML_OK);
    dml_test_status(t, "dml_comm_set_stream",
                    dml_comm_set_stream(r->comm, r->stream, v->queued), DML_OK);
    gpu_memory_open(&r->memory, t, r->ctx, r->stream, (size_t)50000 * 8);
    for (size_t i = 0; i < NTENSORS; i++)
        open_tensor(r, i, values);
    for (size_t i = 0; i < NTENSORS; i++)
        r->device.params[i].grad =
            gpu_memory_take(&r->memory, count_of(v, i) * dml_dtype_bytes(v->dtype),
                            v->apart ? 64
                            : i == 0 ? 8
                                     : 0);
    open_side(r, &r->host);
    open_side(r, &r->device);
}

static void close_run(struct run *r)
{
    dml_sharded_destroy(r->device.sharded);
    dml_sharded_destroy(r->host.sharded);
    for (size_t i = 0; i < NTENSORS; i++) {
        free(r->host.params[i].param);
        free((void *)(uintptr_t)r->host.params[i].grad);
    }
    gpu_memory_close(&r->memory);
    dml_test_status(r->t, "stream", dml_gpu_stream_destroy(r->ctx, r->stream), DML_OK);
    dml_comm_destroy(r->comm);
    dml_ctx_destroy(r->ctx);
}

static bool is_unused(const struct run *r, size_t i, int step)
{
    return r->v->unused &&
           dml_test_hash(r->t->seed, (uint64_t)step * 64 + i, (uint64_t)r->t->rank) %
                   3 ==
               0;
}

static void gradients(struct run *r, int step, float *values)
{
    const struct variant *v = r->v;
    const float scale = v->loss_scale > 0 ? (float)v->loss_scale : 1;
    for (size_t i = 0; i < NTENSORS; i++) {
        const size_t n = count_of(v, i), bytes = n * dml_dtype_bytes(v->dtype);
        void *host = (void *)(uintptr_t)r->host.params[i].grad;
        const uint64_t key = (uint64_t)(step * 100 + r->t->rank) * 100 + i;
        for (size_t k = 0; k < n; k++)
            values[k] = 0.1f * scale * noise(r, key, k);
        if (step == v->fault_step && r->t->rank == r->t->nranks - 1 && i == 3)
            values[0] = INFINITY;
        put(r, host, v->dtype, values, n);
        gpu_memory_put(&r->memory, (void *)(uintptr_t)r->device.params[i].grad, host,
                       bytes);
    }
}

/* want_step, want_begin: what step, and the begin after it, must return. */
static void step_of(struct run *r, struct side *s, int step, dml_status want_begin,
                    dml_status want_step)
{
    struct dml_test *t = r->t;
    if (want_begin != DML_OK)
        dml_test_status(t, "late", dml_sharded_begin(s->sharded), want_begin);
    dml_test_status(t, "dml_sharded_begin", dml_sharded_begin(s->sharded), DML_OK);
    for (size_t k = 0; k < NTENSORS; k++) {
        const size_t i = (NTENSORS - 1 - k + (size_t)(step + t->rank)) % NTENSORS;
        if (!is_unused(r, i, step))
            dml_test_status(t, "dml_sharded_ready", dml_sharded_ready(s->sharded, i),
                            DML_OK);
    }
    dml_test_status(t, "dml_sharded_step",
                    dml_sharded_step(s->sharded, 0.01 * (1 + step)), want_step);
    for (size_t i = 0; i < NTENSORS && step % 2 == 0; i++)
        dml_test_status(t, "dml_sharded_wait", dml_sharded_wait(s->sharded, i), DML_OK);
    dml_test_status(t, "dml_sharded_wait_all", dml_sharded_wait_all(s->sharded),
                    DML_OK);
}

static void compare(struct run *r, int step)
{
    for (size_t i = 0; i < NTENSORS; i++) {
        const dml_param *h = &r->host.params[i];
        const size_t bytes = h->count * dml_dtype_bytes(h->dtype);
        dml_test_step(r->t, "%s: tensor %zu after step %d", r->v->text, i, step);
        dml_test_bytes(r->t, "parameter",
                       gpu_memory_get(&r->memory, r->device.params[i].param, bytes),
                       h->param, bytes);
    }
}

/* All slots, gathered to the last rank; and back from there into the device. */
static void compare_state(struct run *r)
{
    const int root = r->t->nranks - 1;
    float *a = dml_test_alloc(LONGEST * sizeof *a),
          *b = dml_test_alloc(LONGEST * sizeof *b);
    const size_t nslots = dml_optim_nslots(dml_sharded_optim(r->host.sharded));
    for (size_t i = 0; i < NTENSORS; i++)
        for (size_t k = 0; k < nslots; k++) {
            dml_sharded *d = r->device.sharded;
            dml_test_status(r->t, "gather of the host's",
                            dml_sharded_slot_gather(r->host.sharded, i, k, a, root),
                            DML_OK);
            dml_test_status(r->t, "gather of the device's",
                            dml_sharded_slot_gather(d, i, k, b, root), DML_OK);
            if (r->t->rank == root)
                dml_test_bytes(r->t, "slot", b, a, r->host.params[i].count * sizeof *a);
            dml_test_status(r->t, "scatter", dml_sharded_slot_scatter(d, i, k, b, root),
                            DML_OK);
        }
    free(b);
    free(a);
}

static void run_variant(struct dml_test *t, const struct variant *v)
{
    struct run r;
    float *values = dml_test_alloc(LONGEST * sizeof *values);
    dml_test_step(t, "%s", v->text);
    open_run(&r, t, v, values);
    for (int step = 0; step < STEPS && t->failures == 0; step++) {
        const bool fault = step == v->fault_step && v->loss_scale == 0;
        const bool after =
            step == v->fault_step + 1 && v->fault_step >= 0 && v->loss_scale == 0;
        gradients(&r, step, values);
        step_of(&r, &r.host, step, DML_OK, fault ? DML_ENUMERIC : DML_OK);
        step_of(&r, &r.device, step, after && v->queued ? DML_ENUMERIC : DML_OK,
                fault && !v->queued ? DML_ENUMERIC : DML_OK);
        compare(&r, step);
        if (step == STEPS / 2)
            compare_state(&r);
    }
    close_run(&r);
    free(values);
}

static void test_reproducible(struct dml_test *t)
{
    static const struct variant variants[] = {
        {.text = "adam", .rule = DML_OPTIM_ADAM, .fault_step = -1},
        {.text = "sgd, apart, queued",
         .rule = DML_OPTIM_SGD,
         .apart = true,
         .queued = true,
         .fault_step = -1},
        {.text = "lamb, bf16, unused",
         .rule = DML_OPTIM_LAMB,
         .dtype = DML_BF16,
         .apart = true,
         .unused = true,
         .fault_step = -1},
        {.text = "lars, unused",
         .rule = DML_OPTIM_LARS,
         .unused = true,
         .fault_step = -1},
        {.text = "adamw, f16, clipped, scaled",
         .rule = DML_OPTIM_ADAMW,
         .dtype = DML_F16,
         .clip_norm = 1,
         .loss_scale = 64,
         .fault_step = 2},
        {.text = "sgd, scaled, queued",
         .rule = DML_OPTIM_SGD,
         .loss_scale = 64,
         .queued = true,
         .apart = true,
         .fault_step = 2},
        {.text = "a fault", .rule = DML_OPTIM_ADAM, .fault_step = 2},
        {.text = "a fault, queued",
         .rule = DML_OPTIM_ADAM,
         .queued = true,
         .fault_step = 3},
        {.text = "one element",
         .rule = DML_OPTIM_ADAM,
         .clip_norm = 1,
         .one_element = true,
         .fault_step = -1},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(variants); i++) {
        struct variant v = variants[i];
        v.reproducible = true;
        if (v.dtype != DML_F16 && v.dtype != DML_BF16)
            v.dtype = DML_F32;
        run_variant(t, &v);
    }
}

/* By NCCL, where the environment gives it. */
static void test_any_path(struct dml_test *t)
{
    static const struct variant variants[] = {
        {.text = "lamb, not reproducible, queued",
         .rule = DML_OPTIM_LAMB,
         .dtype = DML_F32,
         .queued = true,
         .clip_norm = 1,
         .fault_step = 2},
        {
            .text = "adam, not reproducible, apart, queued",
            .rule = DML_OPTIM_ADAM,
            .dtype = DML_F32,
            .queued = true,
            .apart = true,
            .unused = true,
            .fault_step = -1,
        },
        {.text = "adam, not reproducible, apart",
         .rule = DML_OPTIM_ADAM,
         .dtype = DML_F32,
         .apart = true,
         .fault_step = 3},
    };
    if (t->nranks > 2) {
        dml_test_skip(t, "orders of addition differ from three ranks on");
        return;
    }
    for (size_t i = 0; i < DML_TEST_COUNT(variants); i++)
        run_variant(t, &variants[i]);
}

static void test_misuse(struct dml_test *t)
{
    struct gpu_memory memory;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_sharded *sharded = NULL;
    float host[2][8] = {{0}};
    gpu_open_comm(t, false, &ctx, &comm);
    gpu_memory_open(&memory, t, ctx, NULL, 4096);
    dml_param param = {.param = gpu_memory_take(&memory, 32, 8),
                       .grad = host[0],
                       .count = 8,
                       .dtype = DML_F32,
                       .grad_dtype = DML_F32,
                       .name = "w"};
    dml_test_status(
        t, "gradient on the host",
        dml_sharded_create(DML_OPTIM_SGD, &param, 1, NULL, NULL, comm, &sharded),
        DML_EINVAL);
    if (t->rank == 0)
        param.param = host[1];
    else
        param.grad = gpu_memory_take(&memory, 32, 8);
    dml_test_status(
        t, "ranks differ",
        dml_sharded_create(DML_OPTIM_SGD, &param, 1, NULL, NULL, comm, &sharded),
        t->nranks > 1 ? DML_EMISMATCH : DML_OK);
    dml_sharded_destroy(sharded);
    gpu_memory_close(&memory);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"the host's bits", test_reproducible},
        {"any path", test_any_path},
        {"misuse", test_misuse},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
