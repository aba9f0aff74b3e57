/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Devices beneath and around the collectives: memory, streams and events; buffers of
 * another device, and too much memory; lists, planned calls, and calls that only queue.
 */
#include "dml/gpu.h"
#include "dml/shard.h"
#include "dml/sync.h"

#include "dml_test.h"
#include "need_device.h"

#include <stdlib.h>
#include <string.h>

enum { N = 5000 };

static void ok(struct dml_test *t, const char *what, dml_status status)
{
    dml_test_status(t, what, status, DML_OK);
}

/* n floats on the device, each of the given value. */
static float *device_floats(struct dml_test *t, size_t n, float value)
{
    void *memory = NULL;
    float *host = dml_test_alloc(n * sizeof *host);
    for (size_t i = 0; i < n; i++)
        host[i] = value;
    ok(t, "dml_gpu_alloc", dml_gpu_alloc(t->ctx, n * sizeof *host, &memory));
    ok(t, "dml_gpu_copy", dml_gpu_copy(t->ctx, memory, host, n * sizeof *host, NULL));
    ok(t, "dml_gpu_stream_sync", dml_gpu_stream_sync(t->ctx, NULL));
    free(host);
    return memory;
}

static void check_floats(struct dml_test *t, const float *device, size_t n, float want)
{
    float *host = dml_test_alloc(n * sizeof *host);
    ok(t, "dml_gpu_copy", dml_gpu_copy(t->ctx, host, device, n * sizeof *host, NULL));
    ok(t, "dml_gpu_stream_sync", dml_gpu_stream_sync(t->ctx, NULL));
    for (size_t i = 0; i < n; i++)
        if (host[i] != want) {
            dml_test_fail(t, "element %zu is %g, wanted %g", i, (double)host[i],
                          (double)want);
            break;
        }
    free(host);
}

static float sum_of_ranks(const struct dml_test *t)
{
    return (float)(t->nranks * (t->nranks + 1) / 2);
}

static void test_info(struct dml_test *t)
{
    int count = 0;
    dml_gpu_info info;
    ok(t, "dml_gpu_count", dml_gpu_count(t->ctx, &count));
    for (int i = 0; i < count; i++) {
        ok(t, "dml_gpu_get_info", dml_gpu_get_info(t->ctx, i, &info));
        DML_CHECK(t, info.index == i && info.memory_bytes > 0 && info.name[0] != '\0',
                  "device %d has no name or memory", i);
    }
    dml_test_error(t, "device past the end", dml_gpu_get_info(t->ctx, count, &info),
                   DML_EINVAL);
    dml_test_error(t, "stream before a device",
                   dml_comm_set_stream(t->comm, NULL, false), DML_EINVAL);
    ok(t, "dml_gpu_bind", dml_gpu_bind(t->comm, DML_GPU_NEAREST));
    dml_test_error(t, "binding another", dml_gpu_bind(t->comm, count), DML_EINVAL);
}

static void check_kind(struct dml_test *t, const void *p, dml_gpu_memory want)
{
    dml_gpu_memory kind = DML_GPU_MANAGED;
    int device = -2, own = -1;
    ok(t, "dml_gpu_device", dml_gpu_device(t->ctx, &own));
    ok(t, "dml_gpu_query", dml_gpu_query(t->ctx, p, &kind, &device));
    DML_CHECK(t, kind == want, "memory is of kind %d, wanted %d", (int)kind, (int)want);
    DML_CHECK(t, device == (want == DML_GPU_DEVICE ? own : -1), "of device %d", device);
}

static void test_memory(struct dml_test *t)
{
    void *device = NULL, *pinned = NULL;
    char host[100], back[100];
    for (size_t i = 0; i < sizeof host; i++)
        host[i] = (char)(i * 7 + 1);
    ok(t, "dml_gpu_alloc", dml_gpu_alloc(t->ctx, 3 * sizeof host, &device));
    ok(t, "dml_gpu_alloc_pinned", dml_gpu_alloc_pinned(t->ctx, sizeof host, &pinned));
    check_kind(t, device, DML_GPU_DEVICE);
    check_kind(t, (char *)device + 3 * sizeof host - 1, DML_GPU_DEVICE);
    check_kind(t, pinned, DML_GPU_PINNED);
    check_kind(t, host, DML_GPU_HOST);
    char *middle = (char *)device + sizeof host;
    ok(t, "fill", dml_gpu_fill(t->ctx, device, 3, 3 * sizeof host, NULL));
    ok(t, "to the device", dml_gpu_copy(t->ctx, middle, host, sizeof host, NULL));
    ok(t, "on the device",
       dml_gpu_copy(t->ctx, device, middle + 1, sizeof host - 1, NULL));
    ok(t, "to pinned memory", dml_gpu_copy(t->ctx, pinned, device, sizeof host, NULL));
    ok(t, "sync", dml_gpu_stream_sync(t->ctx, NULL));
    memcpy(back, pinned, sizeof back);
    DML_CHECK(t, memcmp(back, host + 1, sizeof back - 1) == 0 && back[99] == 3,
              "the bytes differ");
    ok(t, "dml_gpu_free", dml_gpu_free(t->ctx, device));
    ok(t, "dml_gpu_free_pinned", dml_gpu_free_pinned(t->ctx, pinned));
    ok(t, "dml_gpu_free of NULL", dml_gpu_free(t->ctx, NULL));
    device = host;
    dml_test_error(t, "too much", dml_gpu_alloc(t->ctx, (size_t)1 << 46, &device),
                   DML_ENOMEM);
    DML_CHECK(t, device == host, "a failed call wrote its result");
}

/* Work in one stream waits for a mark in another. */
static void test_streams(struct dml_test *t)
{
    dml_gpu_stream first = NULL, second = NULL;
    dml_gpu_event begun = NULL, passed = NULL;
    float *a = device_floats(t, N, 1), *b = device_floats(t, N, 2);
    double s = -1;
    ok(t, "stream", dml_gpu_stream_create(t->ctx, &first));
    ok(t, "stream", dml_gpu_stream_create(t->ctx, &second));
    ok(t, "event", dml_gpu_event_create(t->ctx, true, &begun));
    ok(t, "event", dml_gpu_event_create(t->ctx, true, &passed));
    ok(t, "query of an event never recorded", dml_gpu_event_query(t->ctx, begun));
    ok(t, "record", dml_gpu_event_record(t->ctx, begun, first));
    ok(t, "fill", dml_gpu_fill(t->ctx, a, 0, N * sizeof *a, first));
    ok(t, "record", dml_gpu_event_record(t->ctx, passed, first));
    ok(t, "wait", dml_gpu_stream_wait(t->ctx, second, passed));
    ok(t, "copy", dml_gpu_copy(t->ctx, b, a, N * sizeof *a, second));
    ok(t, "sync", dml_gpu_stream_sync(t->ctx, second));
    ok(t, "query", dml_gpu_stream_query(t->ctx, second));
    ok(t, "event", dml_gpu_event_sync(t->ctx, passed));
    check_floats(t, b, N, 0);
    ok(t, "elapsed", dml_gpu_event_elapsed(t->ctx, begun, passed, &s));
    DML_CHECK(t, s >= 0 && s < 60, "%g s between two events", s);
    ok(t, "destroy", dml_gpu_event_destroy(t->ctx, begun));
    ok(t, "destroy", dml_gpu_event_destroy(t->ctx, passed));
    ok(t, "destroy", dml_gpu_stream_destroy(t->ctx, first));
    ok(t, "destroy", dml_gpu_stream_destroy(t->ctx, second));
    ok(t, "free", dml_gpu_free(t->ctx, a));
    ok(t, "free", dml_gpu_free(t->ctx, b));
}

/* The caller's stream fills the input; the result is read behind the call. */
static void test_queued(struct dml_test *t)
{
    dml_gpu_stream stream = NULL;
    dml_request *requests[3] = {NULL};
    float *x[3], *from = device_floats(t, N, (float)(t->rank + 1));
    ok(t, "stream", dml_gpu_stream_create(t->ctx, &stream));
    ok(t, "dml_comm_set_stream", dml_comm_set_stream(t->comm, stream, true));
    for (int i = 0; i < 3; i++)
        x[i] = device_floats(t, N, 99);
    for (int i = 0; i < 3; i++) {
        ok(t, "copy", dml_gpu_copy(t->ctx, x[i], from, N * sizeof *from, stream));
        ok(t, "dml_iallreduce",
           dml_iallreduce(DML_IN_PLACE, x[i], N, DML_F32, DML_SUM, t->comm,
                          &requests[i]));
    }
    ok(t, "dml_waitall", dml_waitall(3, requests));
    for (int i = 0; i < 3; i++)
        check_floats(t, x[i], N, sum_of_ranks(t));
    ok(t, "copy", dml_gpu_copy(t->ctx, x[0], from, N * sizeof *from, stream));
    ok(t, "dml_allreduce",
       dml_allreduce(DML_IN_PLACE, x[0], N, DML_F32, DML_SUM, t->comm));
    ok(t, "copy", dml_gpu_copy(t->ctx, x[1], x[0], N * sizeof *from, stream));
    ok(t, "sync", dml_gpu_stream_sync(t->ctx, stream));
    check_floats(t, x[1], N, sum_of_ranks(t));
    ok(t, "dml_comm_set_stream", dml_comm_set_stream(t->comm, NULL, false));
    for (int i = 0; i < 3; i++)
        ok(t, "free", dml_gpu_free(t->ctx, x[i]));
    ok(t, "free", dml_gpu_free(t->ctx, from));
    ok(t, "destroy", dml_gpu_stream_destroy(t->ctx, stream));
}

/* Copies that take a while. */
static void keep_busy(struct dml_test *t, dml_gpu_stream stream, char *memory)
{
    const size_t half = (size_t)16 << 20;
    for (int i = 0; i < 8; i++)
        ok(t, "copy", dml_gpu_copy(t->ctx, memory + half, memory, half, stream));
}

/* A call has the stream that was set when it was made, though it begins later, behind
 * another. */
static void test_stream_changed(struct dml_test *t)
{
    dml_gpu_stream stream = NULL;
    dml_request *requests[2] = {NULL};
    void *memory = NULL;
    float *x[2], *from = device_floats(t, N, (float)(t->rank + 1));
    ok(t, "alloc", dml_gpu_alloc(t->ctx, (size_t)32 << 20, &memory));
    ok(t, "stream", dml_gpu_stream_create(t->ctx, &stream));
    ok(t, "dml_comm_set_stream", dml_comm_set_stream(t->comm, stream, false));
    for (int i = 0; i < 2; i++)
        x[i] = device_floats(t, N, 99);
    for (int i = 0; i < 2; i++) {
        keep_busy(t, stream, memory);
        ok(t, "copy", dml_gpu_copy(t->ctx, x[i], from, N * sizeof *from, stream));
        ok(t, "dml_iallreduce",
           dml_iallreduce(DML_IN_PLACE, x[i], N, DML_F32, DML_SUM, t->comm,
                          &requests[i]));
    }
    ok(t, "dml_comm_set_stream", dml_comm_set_stream(t->comm, NULL, false));
    ok(t, "dml_waitall", dml_waitall(2, requests));
    ok(t, "sync", dml_gpu_stream_sync(t->ctx, stream));
    for (int i = 0; i < 2; i++) {
        check_floats(t, x[i], N, sum_of_ranks(t));
        ok(t, "free", dml_gpu_free(t->ctx, x[i]));
    }
    ok(t, "free", dml_gpu_free(t->ctx, from));
    ok(t, "free", dml_gpu_free(t->ctx, memory));
    ok(t, "destroy", dml_gpu_stream_destroy(t->ctx, stream));
}

/* Pinned memory that the stream has still to fill, from where it is sent. */
static void test_pinned(struct dml_test *t)
{
    dml_gpu_stream stream = NULL;
    void *memory = NULL, *pinned = NULL;
    float *y = device_floats(t, N, 0), *from = device_floats(t, N, (float)t->rank + 1);
    ok(t, "alloc", dml_gpu_alloc(t->ctx, (size_t)32 << 20, &memory));
    ok(t, "alloc", dml_gpu_alloc_pinned(t->ctx, N * sizeof *y, &pinned));
    memset(pinned, 0, N * sizeof *y);
    ok(t, "stream", dml_gpu_stream_create(t->ctx, &stream));
    ok(t, "dml_gpu_bind", dml_gpu_bind(t->comm, DML_GPU_NEAREST));
    ok(t, "dml_comm_set_stream", dml_comm_set_stream(t->comm, stream, false));
    ok(t, "dml_comm_set_algorithm",
       dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, "host_staged"));
    keep_busy(t, stream, memory);
    ok(t, "copy", dml_gpu_copy(t->ctx, pinned, from, N * sizeof *y, stream));
    ok(t, "dml_allreduce", dml_allreduce(pinned, y, N, DML_F32, DML_SUM, t->comm));
    check_floats(t, y, N, sum_of_ranks(t));
    ok(t, "dml_comm_set_algorithm",
       dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, "auto"));
    ok(t, "dml_comm_set_stream", dml_comm_set_stream(t->comm, NULL, false));
    ok(t, "destroy", dml_gpu_stream_destroy(t->ctx, stream));
    ok(t, "free", dml_gpu_free_pinned(t->ctx, pinned));
    ok(t, "free", dml_gpu_free(t->ctx, memory));
    ok(t, "free", dml_gpu_free(t->ctx, from));
    ok(t, "free", dml_gpu_free(t->ctx, y));
}

static void test_planned(struct dml_test *t)
{
    float *x = device_floats(t, N, 1), *y = device_floats(t, N, 0);
    dml_request *request = NULL;
    dml_coll_args args = {.size = sizeof args,
                          .coll = DML_COLL_ALLREDUCE,
                          .send = x,
                          .recv = y,
                          .count = N,
                          .dtype = DML_F32,
                          .op = DML_SUM};
    ok(t, "dml_coll_init", dml_coll_init(&args, t->comm, &request));
    for (int round = 0; round < 3; round++) {
        ok(t, "fill", dml_gpu_fill(t->ctx, y, 0, N * sizeof *y, NULL));
        ok(t, "dml_start", dml_start(request));
        ok(t, "dml_wait", dml_wait(&request));
        check_floats(t, y, N, (float)t->nranks);
    }
    ok(t, "dml_request_free", dml_request_free(&request));
    ok(t, "free", dml_gpu_free(t->ctx, x));
    ok(t, "free", dml_gpu_free(t->ctx, y));
}

/* Pieces on the device and on the host. */
static void test_list(struct dml_test *t)
{
    float *x = device_floats(t, N, (float)(t->rank + 1)), host[3];
    for (int i = 0; i < 3; i++)
        host[i] = (float)(t->rank + 1);
    dml_piece pieces[] = {{x, 7}, {host, 3}, {NULL, 0}, {x + 100, N - 100}};
    ok(t, "dml_allreduce_list",
       dml_allreduce_list(pieces, 4, DML_F32, DML_SUM, t->comm));
    check_floats(t, x, 7, sum_of_ranks(t));
    check_floats(t, x + 7, 93, (float)(t->rank + 1));
    check_floats(t, x + 100, N - 100, sum_of_ranks(t));
    for (int i = 0; i < 3; i++)
        DML_CHECK(t, host[i] == sum_of_ranks(t), "the host's piece: %g",
                  (double)host[i]);
    ok(t, "free", dml_gpu_free(t->ctx, x));
}

/* Where the last rank cannot map the others' memory, all take another path. */
static void test_no_peers(struct dml_test *t)
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    dml_error error;
    const char *kind = getenv("DML_GPU");
    if (t->nranks == 1 || kind == NULL || strncmp(kind, "fake", 4) != 0) {
        dml_test_skip(t, "there is one rank, or a device that is not fake");
        return;
    }
    if (t->rank == t->nranks - 1)
        setenv("DML_TEST_GPU_NO_IPC", "1", 1);
    ok(t, "dml_ctx_create", dml_ctx_create(NULL, &ctx));
    unsetenv("DML_TEST_GPU_NO_IPC");
    ok(t, "dml_comm_from_mpi", dml_comm_from_mpi(ctx, t->mpi, &comm));
    ok(t, "dml_gpu_bind", dml_gpu_bind(comm, DML_GPU_NEAREST));
    float *x = device_floats(t, N, (float)(t->rank + 1));
    ok(t, "dml_allreduce", dml_allreduce(DML_IN_PLACE, x, N, DML_F32, DML_SUM, comm));
    check_floats(t, x, N, sum_of_ranks(t));
    ok(t, "dml_comm_set_algorithm",
       dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "ipc"));
    dml_test_status(t, "dml_allreduce",
                    dml_allreduce(DML_IN_PLACE, x, N, DML_F32, DML_SUM, comm),
                    DML_EUNSUPPORTED);
    dml_ctx_last_error(ctx, &error);
    DML_CHECK(t, strstr(error.text, "cannot map") != NULL, "\"%s\" does not say why",
              error.text);
    ok(t, "free", dml_gpu_free(t->ctx, x));
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* A buffer of another device than the rank's. */
static void test_other_device(struct dml_test *t)
{
    int count = 0, own = 0;
    dml_ctx *ctx = NULL;
    dml_comm *alone = NULL;
    dml_error error;
    ok(t, "count", dml_gpu_count(t->ctx, &count));
    if (count < 2) {
        dml_test_skip(t, "there is one device");
        return;
    }
    ok(t, "device", dml_gpu_device(t->ctx, &own));
    ok(t, "dml_ctx_create", dml_ctx_create(NULL, &ctx));
    ok(t, "dml_comm_from_mpi", dml_comm_from_mpi(ctx, MPI_COMM_SELF, &alone));
    void *memory = NULL;
    int bound = -1;
    dml_status status = dml_gpu_bind(alone, 1 - own);
    if (status == DML_OK && dml_gpu_device(ctx, &bound) == DML_OK && bound != own) {
        ok(t, "alloc", dml_gpu_alloc(ctx, 400, &memory));
        dml_test_error(
            t, "dml_allreduce",
            dml_allreduce(DML_IN_PLACE, memory, 100, DML_F32, DML_SUM, t->comm),
            DML_EINVAL);
        dml_ctx_last_error(t->ctx, &error);
        DML_CHECK(t, strstr(error.text, "GPU") != NULL, "\"%s\" names no GPU",
                  error.text);
        ok(t, "free", dml_gpu_free(ctx, memory));
    }
    dml_comm_destroy(alone);
    dml_ctx_destroy(ctx);
}

static void nothing(const void *args, unsigned blocks)
{
    (void)args;
    (void)blocks;
}

/* Kernels that cannot be launched are refused, with their name. */
static void test_kernels(struct dml_test *t)
{
    static const dml_gpu_kernel bad[] = {
        {.name = "threadless", .threads = 0, .host = nothing},
        {.name = NULL, .threads = 32, .host = nothing},
        {.name = "codeless", .threads = 32},
    };
    dml_error error;
    int args = 0;
    for (size_t i = 0; i < DML_TEST_COUNT(bad); i++) {
        dml_status status =
            dml_gpu_launch(t->ctx, &bad[i], 1, &args, sizeof args, NULL);
        const bool cuda = i == 2 && status == DML_EUNSUPPORTED; /* no image */
        DML_CHECK(t, status == DML_EINVAL || cuda, "kernel %zu got %s", i,
                  dml_status_name(status));
        const char *name = bad[i].name != NULL ? bad[i].name : "without a name";
        dml_ctx_last_error(t->ctx, &error);
        DML_CHECK(t, strstr(error.text, name) != NULL, "\"%s\" does not name it",
                  error.text);
    }
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"devices", test_info},
        {"memory", test_memory},
        {"streams and events", test_streams},
        {"queued calls", test_queued},
        {"another stream meanwhile", test_stream_changed},
        {"pinned memory", test_pinned},
        {"planned calls", test_planned},
        {"lists", test_list},
        {"peers out of reach", test_no_peers},
        {"another device", test_other_device},
        {"kernels", test_kernels},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
