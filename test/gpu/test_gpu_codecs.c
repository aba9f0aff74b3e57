/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reducer with a codec whose gradients lie in device memory, against one of host
 * memory in reproducible mode: averages and states, bit for bit, over dense steps,
 * flushes, states saved and set, and numbers that are not finite.
 */
#include "dml/gpu.h"

#include "gpu_tensors.h"
#include "need_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NTENSORS = 8, STEPS = 8, LOSS = GPU_SIDES_LOSS, ROOM = 64000 };

static const size_t counts[NTENSORS] = {5000, 2, 1, 66, 30000, 7, 2048, 4095};
static const size_t rows[NTENSORS] = {50, DML_KEEP_DENSE, 1, 6, 100, 1, 32, 63};

/* Of the "empty" one tensor 2 has no elements. */
static const struct gpu_variant variants[] = {
    {.text = "together", .reproducible = true},
    {.text = "apart, queued",
     .reproducible = true,
     .queued = true,
     .own_stream = true,
     .apart = true},
    {.text = "unused, empty", .reproducible = true, .own_stream = true, .unused = true},
    {.text = "apart, unused, a loss on the host, queued",
     .reproducible = true,
     .queued = true,
     .apart = true,
     .host_loss = true,
     .unused = true},
};

static bool has_empty(const struct gpu_variant *v)
{
    return strstr(v->text, "empty") != NULL;
}

static const char *const codecs[] = {"onebit,force",
                                     "sign,force,start=2",
                                     "8bit,force",
                                     "topk:0.05,force",
                                     "powersgd:2,force",
                                     "f16,force",
                                     "bf16,force,start=1",
                                     "terngrad,force",
                                     "randomk:0.05,force",
                                     "dgc:0.05,force",
                                     "dgc:0.02,clip=3,warmup=6,start=2,force"};

struct run {
    struct gpu_sides s;
    const char *codec;
    dml_reducer *on_host, *on_device;
};

static dml_status make(struct run *r, const dml_tensor *tensors, dml_reducer **reducer)
{
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    opts.bucket_bytes = 20000;
    opts.first_bucket_bytes = 3000;
    opts.codec = r->codec;
    opts.rows = rows;
    return dml_reducer_create(tensors, NTENSORS, &opts, r->s.comm, reducer);
}

static void open_run(struct run *r, struct dml_test *t, const struct gpu_variant *v,
                     const char *codec)
{
    dml_tensor tensors[NTENSORS];
    *r = (struct run){.codec = codec};
    for (size_t i = 0; i < NTENSORS; i++)
        tensors[i] =
            (dml_tensor){NULL, has_empty(v) && i == 2 ? 0 : counts[i], DML_F32, "w"};
    gpu_sides_open(&r->s, t, v, tensors, NTENSORS, (size_t)ROOM * sizeof(float));
    dml_test_status(t, "create on the host", make(r, r->s.host, &r->on_host), DML_OK);
    dml_test_status(t, "create on the device", make(r, r->s.device, &r->on_device),
                    DML_OK);
}

static void close_run(struct run *r)
{
    dml_reducer_destroy(r->on_device);
    dml_reducer_destroy(r->on_host);
    gpu_sides_close(&r->s);
}

/* This rank's gradients, the same on both sides; "spoilt" in the middle of tensor 4 of
 * the last rank, unless it is 0. */
static void put_gradients(struct run *r, int step, float spoilt)
{
    const struct dml_test *t = r->s.t;
    for (size_t i = 0; i < NTENSORS; i++) {
        float *to = r->s.host[i].data;
        const uint64_t key = (uint64_t)(step * 100 + t->rank) * 100 + i;
        for (size_t k = 0; k < r->s.host[i].count; k++) {
            const float x = (float)(int32_t)dml_test_hash(t->seed, key, k) * 0x1p-31f;
            to[k] = x * x * x;
        }
        if (spoilt != 0 && i == 4 && t->rank == t->nranks - 1)
            to[r->s.host[i].count / 2] = spoilt;
        gpu_sides_put(&r->s, i);
    }
}

static void same_averages(struct run *r)
{
    for (size_t i = 0; i < NTENSORS; i++)
        if (!gpu_sides_same(&r->s, i))
            return;
}

static void *state_of(struct run *r, const dml_reducer *reducer, size_t *bytes)
{
    *bytes = dml_reducer_state_bytes(reducer);
    void *state = dml_test_alloc(*bytes);
    dml_test_status(r->s.t, "get_state", dml_reducer_get_state(reducer, state, *bytes),
                    DML_OK);
    return state;
}

/* Residuals, factors and limits are equal, and another reducer goes on with them. */
static void exchange_states(struct run *r, int step)
{
    size_t host_bytes = 0, device_bytes = 0;
    void *host = state_of(r, r->on_host, &host_bytes);
    void *device = state_of(r, r->on_device, &device_bytes);
    DML_CHECK(r->s.t, host_bytes == device_bytes, "%zu bytes of state, on the host %zu",
              device_bytes, host_bytes);
    if (host_bytes == device_bytes)
        dml_test_bytes(r->s.t, "state", device, host, host_bytes);
    if (step % 2 == 1) { /* in one of the host's, whose is the same */
        dml_reducer_destroy(r->on_device);
        r->on_device = NULL;
        dml_test_status(r->s.t, "create", make(r, r->s.device, &r->on_device), DML_OK);
        dml_test_status(r->s.t, "set_state",
                        dml_reducer_set_state(r->on_device, host, host_bytes), DML_OK);
    }
    free(device);
    free(host);
}

static void one_step(struct run *r, int step, float spoilt, dml_status want)
{
    dml_test_step(r->s.t, "%s, %s: step %d", r->codec, r->s.v->text, step);
    put_gradients(r, step, spoilt);
    dml_test_status(r->s.t, "finish on the device",
                    gpu_sides_step(&r->s, r->on_device, step), want);
    dml_test_status(r->s.t, "finish on the host",
                    gpu_sides_step(&r->s, r->on_host, step), want);
    if (want == DML_OK)
        same_averages(r);
}

static void goes_on(struct dml_test *t, const char *codec, const struct gpu_variant *v)
{
    struct run r;
    open_run(&r, t, v, codec);
    for (int step = 0; step < STEPS && t->failures == 0; step++) {
        if (step == 5) {
            dml_test_status(t, "flush", dml_reducer_flush(r.on_device), DML_OK);
            dml_test_status(t, "flush", dml_reducer_flush(r.on_host), DML_OK);
        }
        one_step(&r, step, 0, DML_OK);
        if (!has_empty(v)) /* which lies nowhere, and has a bucket of its own */
            exchange_states(&r, step);
    }
    dml_bucket_info info;
    size_t coded = 0;
    for (size_t i = 0; dml_reducer_get_bucket(r.on_device, i, &info) == DML_OK; i++)
        coded += info.steps > 0;
    DML_CHECK(t, coded > 2, "%zu buckets were compressed", coded);
    close_run(&r);
}

static void test_bits(struct dml_test *t)
{
    for (size_t c = 0; c < DML_TEST_COUNT(codecs); c++)
        for (size_t v = 0; v < DML_TEST_COUNT(variants); v++)
            goes_on(t, codecs[c], &variants[v]);
}

/* All ranks hear of it, what waited is forgotten, and the next steps are the host's. */
static void test_faults(struct dml_test *t)
{
    static const float spoilt[] = {NAN, INFINITY, 0x1p101f};
    for (size_t c = 0; c < DML_TEST_COUNT(codecs); c++) {
        struct run r;
        const bool momentum = strncmp(codecs[c], "dgc", 3) == 0;
        if (strstr(codecs[c], "clip=") != NULL)
            continue; /* what is large is clipped */
        dml_test_step(t, "%s", codecs[c]);
        open_run(&r, t, &variants[c % DML_TEST_COUNT(variants)], codecs[c]);
        /* What is unused is no fault. */
        struct gpu_variant used = *r.s.v;
        used.unused = false;
        r.s.v = &used;
        for (int step = 0; step < STEPS && t->failures == 0; step++) {
            /* dgc's momentum begins with the first gradient, which is sent whole. */
            const bool bad = step == 4 || step == 6 || (momentum && step == 0);
            one_step(&r, step, bad ? spoilt[((size_t)step + c) % 3] : 0,
                     bad ? DML_ENUMERIC : DML_OK);
        }
        close_run(&r);
    }
}

/* Without ",force" it is measured; all ranks choose alike, and get the same numbers. */
static void test_choice(struct dml_test *t)
{
    static const char *const texts[] = {"onebit", "topk:0.01", "powersgd:1",
                                        "terngrad"};
    for (size_t c = 0; c < DML_TEST_COUNT(texts); c++) {
        struct run r;
        uint64_t choices = 1;
        dml_bucket_info info;
        dml_reducer_stats stats;
        open_run(&r, t, &variants[c], texts[c]);
        for (int step = 0; step < 3; step++) {
            dml_test_step(t, "%s, measured: step %d", texts[c], step);
            put_gradients(&r, step, 0);
            dml_test_status(t, "finish", gpu_sides_step(&r.s, r.on_device, step),
                            DML_OK);
            for (size_t i = 0; i < NTENSORS; i++)
                if (!r.s.v->host_loss || i != LOSS)
                    dml_test_same_on_all(
                        t, "average",
                        gpu_memory_get(&r.s.memory, r.s.device[i].data,
                                       r.s.host[i].count * sizeof(float)),
                        r.s.host[i].count * sizeof(float));
        }
        size_t measured = 0;
        for (size_t i = 0; dml_reducer_get_bucket(r.on_device, i, &info) == DML_OK;
             i++) {
            choices = choices * 2 + info.compressed;
            measured += info.dense_s > 0;
            DML_CHECK(t,
                      info.dense_s == 0 || (info.encode_s > 0 && info.decode_s > 0 &&
                                            info.transfer_s >= 0),
                      "bucket %zu: encode %g s, transfer %g s, decode %g s", i,
                      info.encode_s, info.transfer_s, info.decode_s);
        }
        DML_CHECK(t, (measured > 0) == (t->nranks > 1), "%zu buckets were measured",
                  measured);
        dml_test_same_on_all(t, "choices", &choices, sizeof choices);
        dml_reducer_get_stats(r.on_device, &stats);
        DML_CHECK(t, (stats.trial_s > 0) == (t->nranks > 1), "trials took %g s",
                  stats.trial_s);
        close_run(&r);
    }
}

/* A step that would wait for the device is refused in a capture, before anything is
 * queued; the next one is as if nothing had been. */
static void test_captured(struct dml_test *t)
{
    static const struct gpu_variant v = {
        .text = "captured", .queued = true, .own_stream = true};
    struct run r;
    dml_gpu_graph graph = NULL;
    if (t->nranks > 1)
        return;
    open_run(&r, t, &v, "onebit,force");
    for (int step = 0; step < 2; step++)
        one_step(&r, step, 0, DML_OK);
    dml_test_status(t, "begin", dml_gpu_capture_begin(r.s.ctx, r.s.stream), DML_OK);
    dml_test_status(t, "begin", dml_reducer_begin(r.on_device, true), DML_EUNSUPPORTED);
    dml_test_status(t, "end", dml_gpu_capture_end(r.s.ctx, r.s.stream, &graph), DML_OK);
    dml_gpu_graph_free(r.s.ctx, graph);
    for (int step = 2; step < 4; step++)
        one_step(&r, step, 0, DML_OK);
    close_run(&r);
}

#define TOO_MANY ((size_t)1 << 32)

/* 2^32 elements or more in one bucket, of which only the beginning is there: nobody
 * looks at them. */
static void test_too_many(struct dml_test *t)
{
    static const struct {
        const char *codec;
        size_t n, counts[3], bucket_bytes;
        const char *text; /* NULL: it is made */
    } cases[] = {
        {"onebit", 3, {7, TOO_MANY, 1}, 4096, "gradient 1 (w1) of 4294967296"},
        {"topk:0.1", 3, {7, 4, TOO_MANY - 4}, 4096, "gradient 2 (w2)"},
        {"f16", 2, {TOO_MANY / 2, TOO_MANY / 2}, SIZE_MAX, "gradient 0 (w0)"},
        {"powersgd:1", 2, {9, TOO_MANY}, 4096, "gradient 1 (w1)"},
        {"f16", 1, {TOO_MANY - 1}, SIZE_MAX, NULL},
        {"none", 1, {TOO_MANY}, 4096, NULL},
    };
    static const size_t shapes[] = {3, 1 << 16};
    struct gpu_sides s;
    dml_tensor small = {NULL, 100, DML_F32, "w"};
    gpu_sides_open(&s, t, &variants[0], &small, 1, (size_t)ROOM * sizeof(float));
    for (size_t k = 0; k < DML_TEST_COUNT(cases); k++) {
        static const char *const names[] = {"w0", "w1", "w2"};
        dml_tensor tensors[3];
        dml_reducer *reducer = NULL;
        dml_reducer_opts opts;
        dml_error error;
        dml_test_step(t, "case %zu, %s", k, cases[k].codec);
        for (size_t i = 0; i < cases[k].n; i++)
            tensors[i] =
                (dml_tensor){s.device[0].data, cases[k].counts[i], DML_F32, names[i]};
        dml_reducer_opts_init(&opts);
        opts.bucket_bytes = cases[k].bucket_bytes;
        opts.codec = cases[k].codec;
        if (strncmp(cases[k].codec, "powersgd", 8) == 0)
            opts.rows = shapes;
        dml_status status =
            dml_reducer_create(tensors, cases[k].n, &opts, s.comm, &reducer);
        dml_test_status(t, "create", status,
                        cases[k].text != NULL ? DML_EUNSUPPORTED : DML_OK);
        dml_ctx_last_error(s.ctx, &error);
        DML_CHECK(t, cases[k].text == NULL || strstr(error.text, cases[k].text) != NULL,
                  "the text is \"%s\"", error.text);
        dml_reducer_destroy(reducer);
    }
    gpu_sides_close(&s);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"the host's bits", test_bits},
        {"faults", test_faults},
        {"choice", test_choice},
        {"captured", test_captured},
        {"too many elements", test_too_many},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
