/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The layer on CUDA's driver (cuda.c) with a library that stands in for the driver
 * (fake_cuda.c): every call is found and made with a current context, all device code
 * loads, and all is given back.
 */
#include "dml/compress.h"
#include "dml/gpu.h"
#include "dml/optim.h"

#include "dml_test.h"

#include <dlfcn.h>
#include <string.h>

enum { N = 3000 };

static int count(struct dml_test *t, const char *name)
{
    int (*function)(void) = NULL;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    void *symbol = library != NULL ? dlsym(library, name) : NULL;
    memcpy(&function, &symbol, sizeof function);
    const int n = function != NULL ? function() : -1;
    DML_CHECK(t, n >= 0, "there is no %s: is it the stand-in?", name);
    if (library != NULL)
        dlclose(library);
    return n;
}

static void ok(struct dml_test *t, const char *what, dml_status status)
{
    dml_test_status(t, what, status, DML_OK);
}

static void check_kind(struct dml_test *t, dml_ctx *ctx, const void *p,
                       dml_gpu_memory wanted)
{
    dml_gpu_memory kind = DML_GPU_MANAGED;
    int device = -2;
    ok(t, "query", dml_gpu_query(ctx, p, &kind, &device));
    DML_CHECK(t, kind == wanted && device == (wanted == DML_GPU_DEVICE ? 0 : -1),
              "memory of kind %d on device %d, wanted %d", (int)kind, device,
              (int)wanted);
}

static void use_memory(struct dml_test *t, dml_ctx *ctx)
{
    void *x = NULL, *pinned = NULL;
    char host[100] = "from the host", back[100] = "";
    dml_gpu_info info;
    ok(t, "info", dml_gpu_get_info(ctx, 0, &info));
    DML_CHECK(t, info.major == 9 && strcmp(info.pci, "0000:01:00.0") == 0,
              "device %d.%d at %s", info.major, info.minor, info.pci);
    ok(t, "alloc", dml_gpu_alloc(ctx, sizeof host, &x));
    ok(t, "alloc", dml_gpu_alloc_pinned(ctx, sizeof host, &pinned));
    check_kind(t, ctx, (char *)x + 99, DML_GPU_DEVICE);
    check_kind(t, ctx, pinned, DML_GPU_PINNED);
    check_kind(t, ctx, host, DML_GPU_HOST);
    ok(t, "fill", dml_gpu_fill(ctx, x, 1, sizeof host, NULL));
    ok(t, "copy", dml_gpu_copy(ctx, x, host, 14, NULL));
    ok(t, "copy", dml_gpu_copy(ctx, pinned, x, sizeof host, NULL));
    ok(t, "copy", dml_gpu_copy(ctx, back, pinned, sizeof host, NULL));
    DML_CHECK(t, strcmp(back, host) == 0 && back[99] == 1, "\"%s\" came back", back);
    void *none = NULL;
    dml_test_status(t, "too much", dml_gpu_alloc(ctx, (size_t)1 << 40, &none),
                    DML_ENOMEM);
    ok(t, "free", dml_gpu_free(ctx, x));
    ok(t, "free", dml_gpu_free_pinned(ctx, pinned));
}

static void use_streams(struct dml_test *t, dml_ctx *ctx)
{
    dml_gpu_stream stream = NULL;
    dml_gpu_event events[2] = {NULL};
    dml_gpu_graph graph = NULL;
    double seconds = 0;
    ok(t, "stream", dml_gpu_stream_create(ctx, &stream));
    for (int i = 0; i < 2; i++) {
        ok(t, "event", dml_gpu_event_create(ctx, true, &events[i]));
        ok(t, "record", dml_gpu_event_record(ctx, events[i], stream));
        ok(t, "event", dml_gpu_event_query(ctx, events[i]));
        ok(t, "event", dml_gpu_event_sync(ctx, events[i]));
        ok(t, "wait", dml_gpu_stream_wait(ctx, stream, events[i]));
    }
    ok(t, "elapsed", dml_gpu_event_elapsed(ctx, events[0], events[1], &seconds));
    DML_CHECK(t, seconds > 0.9e-3 && seconds < 1.1e-3, "%g s for 1 ms", seconds);
    ok(t, "query", dml_gpu_stream_query(ctx, stream));
    ok(t, "capture", dml_gpu_capture_begin(ctx, stream));
    DML_CHECK(t, dml_gpu_stream_sync(ctx, stream) < 0,
              "a captured stream is waited for");
    ok(t, "capture", dml_gpu_capture_end(ctx, stream, &graph));
    ok(t, "launch", dml_gpu_graph_launch(ctx, graph, stream));
    ok(t, "sync", dml_gpu_stream_sync(ctx, stream));
    ok(t, "graph", dml_gpu_graph_free(ctx, graph));
    for (int i = 0; i < 2; i++)
        ok(t, "event", dml_gpu_event_destroy(ctx, events[i]));
    ok(t, "stream", dml_gpu_stream_destroy(ctx, stream));
}

/* Kernels of every codec and of the optimizers are there, in files that load. */
static void use_kernels(struct dml_test *t, dml_ctx *ctx)
{
    static const char *const specs[] = {
        "f16",      "bf16",     "8bit",           "onebit",      "sign",
        "terngrad", "topk:0.1", "dgc:0.1,clip=1", "randomk:0.1", "powersgd:2"};
    void *x = NULL, *code = NULL;
    ok(t, "alloc", dml_gpu_alloc(ctx, N * sizeof(float), &x));
    ok(t, "alloc", dml_gpu_alloc(ctx, 4 * N * sizeof(float), &code));
    ok(t, "fill", dml_gpu_fill(ctx, x, 0, N * sizeof(float), NULL));
    for (size_t i = 0; i < DML_TEST_COUNT(specs); i++) {
        dml_codec *codec = NULL;
        dml_test_step(t, "%s", specs[i]);
        ok(t, "codec", dml_codec_create(ctx, specs[i], N, 30, 1, &codec));
        ok(t, "encode", dml_codec_encode(codec, x, code));
        ok(t, "decode", dml_codec_decode(codec, code, 1, true, x));
        ok(t, "wait", dml_codec_wait(codec));
        dml_codec_destroy(codec);
    }
    dml_optim *optim = NULL;
    const dml_param param = {
        .param = x, .grad = x, .count = N, .dtype = DML_F32, .grad_dtype = DML_F32};
    ok(t, "optimizer", dml_optim_create(ctx, DML_OPTIM_LAMB, &param, 1, NULL, &optim));
    ok(t, "step", dml_optim_step(optim, 0.1));
    dml_optim_destroy(optim);
    ok(t, "free", dml_gpu_free(ctx, x));
    ok(t, "free", dml_gpu_free(ctx, code));
}

/* The reduction kernels load with the communicator. */
static void use_collectives(struct dml_test *t, dml_ctx *ctx)
{
    dml_comm *comm = NULL;
    void *x = NULL, *y = NULL;
    const int before = count(t, "fake_cuda_launches");
    ok(t, "comm", dml_comm_from_mpi(ctx, t->mpi, &comm));
    ok(t, "bind", dml_gpu_bind(comm, DML_GPU_NEAREST));
    ok(t, "alloc", dml_gpu_alloc(ctx, N, &x));
    ok(t, "alloc", dml_gpu_alloc(ctx, N, &y));
    ok(t, "allreduce", dml_allreduce(x, y, N, DML_I8, DML_SUM, comm));
    DML_CHECK(t, t->nranks > 1 || count(t, "fake_cuda_launches") == before + 1,
              "no kernel was launched");
    ok(t, "free", dml_gpu_free(ctx, x));
    ok(t, "free", dml_gpu_free(ctx, y));
    dml_comm_destroy(comm);
}

static void test_all(struct dml_test *t)
{
    enum { IMAGES = 8 };
    const int before = count(t, "fake_cuda_live"),
              loaded = count(t, "fake_cuda_modules");
    dml_ctx *ctx = NULL;
    ok(t, "dml_ctx_create", dml_ctx_create(NULL, &ctx));
    use_memory(t, ctx);
    use_streams(t, ctx);
    use_kernels(t, ctx);
    use_collectives(t, ctx);
    dml_ctx_destroy(ctx);
    DML_CHECK(t, count(t, "fake_cuda_modules") - loaded == IMAGES,
              "%d files of device code were loaded, not %d",
              count(t, "fake_cuda_modules") - loaded, IMAGES);
    DML_CHECK(t, count(t, "fake_cuda_live") == before, "%d things were not given back",
              count(t, "fake_cuda_live") - before);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {{"all calls", test_all}};
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
