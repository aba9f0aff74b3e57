/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-gpu: all-reduces on device memory by every path, each beside its limit or
 * its rival in the same run, in turn: NCCL called directly, the rates at which a device
 * copies, and for the way through the host the slowest of its three stages. Vectors are
 * random, and each call has others than the last, over more than the caches hold.
 * Usage: mpirun -n P dml-perf-gpu [--max BYTES] [--json FILE]
 */
#include "dml/dml.h"
#include "dml/gpu.h"
#include "dml/mpi.h"

#include "gpu_raw.h"
#include "median.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCKS = 9, MAX_RUNS = 200, SEED = 20261122 };
static const double block_s = 5e-3;

struct bench {
    dml_ctx *ctx;
    dml_comm *comm;
    int rank, nranks;
    size_t max, pool;
    dml_gpu_stream stream;
    char *send, *recv;   /* device [pool] */
    char *in, *out;      /* pinned host [pool] */
    size_t *next;        /* where in the pools the next vector begins */
    struct gpu_raw *raw; /* NULL: NCCL cannot be called here */
    const char *path;
    json_t *rows;
};

static void need(const struct bench *b, const char *what, dml_status status)
{
    dml_error error = {.status = status};
    if (status == DML_OK)
        return;
    if (b->ctx != NULL)
        dml_ctx_last_error(b->ctx, &error);
    fprintf(stderr, "dml-perf-gpu: rank %d: %s: %s: %s\n", b->rank, what,
            dml_status_str(status), error.text);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what is timed -----------------------------------------------------------------
 */

typedef void work_fn(const struct bench *b, size_t bytes);

/* The place of the next vector in all pools, on all ranks alike. */
static size_t turn(const struct bench *b, size_t bytes)
{
    enum { APART = 512 };
    size_t at = *b->next + bytes <= b->pool ? *b->next : 0;
    *b->next = at + (bytes + APART - 1) / APART * APART;
    return at;
}

static void by_path(const struct bench *b, size_t bytes)
{
    size_t at = turn(b, bytes);
    need(b, "dml_allreduce",
         dml_allreduce(b->send + at, b->recv + at, bytes / 4, DML_F32, DML_SUM,
                       b->comm));
}

static void by_raw(const struct bench *b, size_t bytes)
{
    size_t at = turn(b, bytes);
    if (!gpu_raw_allreduce(b->raw, b->send + at, b->recv + at, bytes / 4, b->stream))
        need(b, "ncclAllReduce", DML_ECOMM);
}

static void copy(const struct bench *b, char *dst, const char *src, size_t bytes)
{
    size_t at = turn(b, bytes);
    need(b, "dml_gpu_copy", dml_gpu_copy(b->ctx, dst + at, src + at, bytes, b->stream));
}

static void on_device(const struct bench *b, size_t bytes)
{
    copy(b, b->recv, b->send, bytes);
}

static void to_host(const struct bench *b, size_t bytes)
{
    copy(b, b->in, b->send, bytes);
}

static void to_device(const struct bench *b, size_t bytes)
{
    copy(b, b->recv, b->out, bytes);
}

static void on_host(const struct bench *b, size_t bytes)
{
    size_t at = turn(b, bytes);
    need(b, "dml_allreduce",
         dml_allreduce(b->in + at, b->out + at, bytes / 4, DML_F32, DML_SUM, b->comm));
}

/* Seconds a run, of the slowest rank: by the device's clock between two marks of the
 * stream, in which everything is queued, or by the host's where that waits. */
static double time_block(const struct bench *b, work_fn *work, size_t bytes, int runs,
                         bool by_device)
{
    dml_gpu_event from = NULL, to = NULL;
    double s = 0, slowest = 0;
    need(b, "event", dml_gpu_event_create(b->ctx, true, &from));
    need(b, "event", dml_gpu_event_create(b->ctx, true, &to));
    need(b, "barrier", dml_barrier(b->comm));
    double begin_s = now_s();
    need(b, "record", dml_gpu_event_record(b->ctx, from, b->stream));
    for (int i = 0; i < runs; i++)
        work(b, bytes);
    need(b, "record", dml_gpu_event_record(b->ctx, to, b->stream));
    need(b, "sync", dml_gpu_stream_sync(b->ctx, b->stream));
    if (by_device)
        need(b, "elapsed", dml_gpu_event_elapsed(b->ctx, from, to, &s));
    else
        s = now_s() - begin_s;
    need(b, "destroy", dml_gpu_event_destroy(b->ctx, from));
    need(b, "destroy", dml_gpu_event_destroy(b->ctx, to));
    s /= runs;
    MPI_Allreduce(&s, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return slowest;
}

static int runs_for(const struct bench *b, work_fn *work, size_t bytes, bool by_device)
{
    time_block(b, work, bytes, 1, by_device); /* connections, memory */
    double once_s = time_block(b, work, bytes, 1, by_device);
    double runs = once_s > 0 ? block_s / once_s : MAX_RUNS;
    return runs > MAX_RUNS ? MAX_RUNS : runs < 1 ? 1 : (int)runs;
}

/* Medians of two kinds of work, block by block in turn; other may be NULL. */
static void compare(const struct bench *b, size_t bytes, work_fn *work, work_fn *other,
                    bool by_device, double median[2])
{
    double s[2][BLOCKS] = {{0}};
    work_fn *both[2] = {work, other};
    int runs[2] = {0};
    for (int k = 0; k < 2 && both[k] != NULL; k++)
        runs[k] = runs_for(b, both[k], bytes, by_device);
    for (int i = 0; i < BLOCKS; i++)
        for (int k = 0; k < 2 && both[k] != NULL; k++)
            s[k][i] = time_block(b, both[k], bytes, runs[k], by_device);
    for (int k = 0; k < 2; k++)
        median[k] = perf_median(s[k], BLOCKS);
}

/* ---- reports -----------------------------------------------------------------------
 */

static void row(struct bench *b, const char *what, size_t bytes, double s,
                const char *limit, double limit_s)
{
    if (b->rank != 0)
        return;
    printf("%-12s %11zu B %12.2f us %9.2f GB/s   %5.3f of %s\n", what, bytes, 1e6 * s,
           1e-9 * (double)bytes / s, limit_s / s, limit);
    fflush(stdout); /* what is known is told, whatever comes */
    json_array_append_new(
        b->rows, json_pack("{s:s, s:I, s:f, s:f, s:s, s:f}", "what", what, "bytes",
                           (json_int_t)bytes, "time_us", 1e6 * s, "limit_us",
                           1e6 * limit_s, "limit", limit, "ratio", limit_s / s));
}

static bool force(struct bench *b, const char *path)
{
    void *x = b->recv;
    b->path = path;
    need(b, path, dml_comm_set_algorithm(b->comm, DML_COLL_ALLREDUCE, path));
    return dml_allreduce(DML_IN_PLACE, x, 1, DML_F32, DML_SUM, b->comm) == DML_OK;
}

static void run_size(struct bench *b, size_t bytes)
{
    double two[2], device[2], down[2], up[2], host[2];
    compare(b, bytes, on_device, NULL, true, device);
    compare(b, bytes, to_host, to_device, true, down);
    up[0] = down[1];
    row(b, "copy", bytes, device[0], "itself", device[0]);
    row(b, "to host", bytes, down[0], "itself", down[0]);
    row(b, "to device", bytes, up[0], "itself", up[0]);
    if (b->raw != NULL && force(b, "nccl")) {
        compare(b, bytes, by_path, by_raw, true, two);
        row(b, "nccl", bytes, two[0], "NCCL itself", two[1]);
    }
    if (force(b, "ipc")) {
        compare(b, bytes, by_path, NULL, b->nranks == 1, two);
        /* An element is read and written once for each rank, of one device. */
        row(b, "ipc", bytes, two[0], "copies", b->nranks * device[0]);
    }
    need(b, "auto", dml_comm_set_algorithm(b->comm, DML_COLL_ALLREDUCE, "auto"));
    compare(b, bytes, on_host, NULL, false, host);
    double slowest = down[0] > up[0] ? down[0] : up[0];
    slowest = host[0] > slowest ? host[0] : slowest;
    if (force(b, "host_staged")) {
        compare(b, bytes, by_path, NULL, false, two);
        row(b, "host_staged", bytes, two[0], "its slowest stage", slowest);
    }
}

/* Random numbers of (-1, 1), other ones on each rank. */
static void randomise(const struct bench *b, char *to)
{
    uint64_t state = SEED + (uint64_t)b->rank;
    for (size_t i = 0; i + sizeof(float) <= b->pool; i += sizeof(float)) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        float x = (float)((double)(int64_t)state * 0x1p-63);
        memcpy(to + i, &x, sizeof x);
    }
}

/* The second of two vectors is never the first, and all are more than the cache. */
static void take_pools(struct bench *b)
{
    enum { CACHES = 3 };
    int device = -1;
    dml_gpu_info info;
    void *memory[4] = {NULL};
    need(b, "device", dml_gpu_device(b->ctx, &device));
    need(b, "device", dml_gpu_get_info(b->ctx, device, &info));
    b->pool = b->max + CACHES * info.l2_bytes;
    for (int i = 0; i < 4; i++)
        need(b, "memory",
             i < 2 ? dml_gpu_alloc(b->ctx, b->pool, &memory[i])
                   : dml_gpu_alloc_pinned(b->ctx, b->pool, &memory[i]));
    b->send = memory[0];
    b->recv = memory[1];
    b->in = memory[2];
    b->out = memory[3];
    randomise(b, b->in);
    memset(b->out, 0, b->pool);
    need(b, "copy", dml_gpu_copy(b->ctx, b->send, b->in, b->pool, b->stream));
    need(b, "copy", dml_gpu_copy(b->ctx, b->recv, b->in, b->pool, b->stream));
    need(b, "sync", dml_gpu_stream_sync(b->ctx, b->stream));
    if (b->rank == 0)
        printf("seed %d, pools of %zu MB, a cache of %zu MB\n", SEED, b->pool >> 20,
               info.l2_bytes >> 20);
}

static void open_bench(struct bench *b)
{
    need(b, "dml_ctx_create", dml_ctx_create(NULL, &b->ctx));
    need(b, "dml_comm_from_mpi", dml_comm_from_mpi(b->ctx, MPI_COMM_WORLD, &b->comm));
    need(b, "dml_gpu_bind", dml_gpu_bind(b->comm, DML_GPU_NEAREST));
    need(b, "stream", dml_gpu_stream_create(b->ctx, &b->stream));
    need(b, "dml_comm_set_stream", dml_comm_set_stream(b->comm, b->stream, true));
    take_pools(b);
    /* NCCL alone takes the first device that the process sees. */
    int device = -1, first = 0, all_first = 0;
    need(b, "device", dml_gpu_device(b->ctx, &device));
    first = device == 0;
    MPI_Allreduce(&first, &all_first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    bool apart = force(b, "nccl") && all_first;
    b->raw = apart ? gpu_raw_open(b->rank, b->nranks) : NULL;
    if (b->raw == NULL && b->rank == 0)
        printf("NCCL cannot be called directly here\n");
}

static void close_bench(struct bench *b)
{
    gpu_raw_close(b->raw);
    need(b, "free", dml_gpu_free(b->ctx, b->send));
    need(b, "free", dml_gpu_free(b->ctx, b->recv));
    need(b, "free", dml_gpu_free_pinned(b->ctx, b->in));
    need(b, "free", dml_gpu_free_pinned(b->ctx, b->out));
    dml_comm_destroy(b->comm);
    need(b, "stream", dml_gpu_stream_destroy(b->ctx, b->stream));
    dml_ctx_destroy(b->ctx);
}

int main(int argc, char **argv)
{
    size_t next = 0;
    struct bench b = {.max = (size_t)256 << 20, .next = &next};
    const char *file = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--max") == 0)
            b.max = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--json") == 0)
            file = argv[i + 1];
    }
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &b.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &b.nranks);
    b.rows = json_array();
    open_bench(&b);
    int failed = 0;
    for (size_t bytes = 4; bytes <= b.max; bytes *= 16) {
        run_size(&b, bytes);
        if (b.rank == 0 && file != NULL)
            failed |= json_dump_file(b.rows, file, JSON_INDENT(1)) != 0;
    }
    json_decref(b.rows);
    close_bench(&b);
    MPI_Finalize();
    return failed;
}
