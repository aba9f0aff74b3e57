/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where things lie: another device for a context, buffers on the host for some ranks
 * and on the device for others, and memory that peers have mapped and that is freed
 * since.
 */
#include "dml/gpu.h"

#include "dml_test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ok(struct dml_test *t, const char *what, dml_status status)
{
    dml_test_status(t, what, status, DML_OK);
}

static void quiet(void *user, dml_log_level level, const char *line)
{
    (void)user, (void)level, (void)line;
}

static dml_comm *open_comm(struct dml_test *t, MPI_Comm mpi, dml_ctx **ctx)
{
    dml_comm *comm = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = quiet;
    ok(t, "dml_ctx_create", dml_ctx_create(&opts, ctx));
    ok(t, "dml_comm_from_mpi", dml_comm_from_mpi(*ctx, mpi, &comm));
    return comm;
}

/* The call failed as it should, and its text says this. */
static void failed(struct dml_test *t, const dml_ctx *ctx, const char *what,
                   dml_status got, dml_status want, const char *text)
{
    dml_error error;
    dml_test_status(t, what, got, want);
    dml_ctx_last_error(ctx, &error);
    DML_CHECK(t, error.status == want && strstr(error.text, text) != NULL,
              "%s: \"%s\" does not say \"%s\"", what, error.text, text);
}

static void close_comm(dml_comm *comm, dml_ctx *ctx)
{
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* ---- another device ----------------------------------------------------------------
 */

static void check_device(struct dml_test *t, dml_ctx *ctx, int wanted)
{
    int device = -1;
    ok(t, "dml_gpu_device", dml_gpu_device(ctx, &device));
    DML_CHECK(t, device == wanted, "the device is %d, wanted %d", device, wanted);
}

/* A device that the context took by itself is changed until something uses it. */
static void test_bind(struct dml_test *t)
{
    dml_ctx *ctx = NULL;
    void *memory = NULL;
    dml_gpu_memory kind;
    int own = -1, of = -1;
    dml_comm *comm = open_comm(t, MPI_COMM_SELF, &ctx);
    ok(t, "dml_gpu_device", dml_gpu_device(ctx, &own));
    ok(t, "dml_gpu_bind", dml_gpu_bind(comm, 1 - own));
    check_device(t, ctx, 1 - own);
    ok(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, 400, &memory));
    ok(t, "dml_gpu_query", dml_gpu_query(ctx, memory, &kind, &of));
    DML_CHECK(t, of == 1 - own, "memory is of device %d", of);
    failed(t, ctx, "another", dml_gpu_bind(comm, own), DML_EINVAL, "has used GPU");
    check_device(t, ctx, 1 - own);
    ok(t, "dml_gpu_bind", dml_gpu_bind(comm, 1 - own));
    ok(t, "dml_gpu_free", dml_gpu_free(ctx, memory));
    close_comm(comm, ctx);

    comm = open_comm(t, MPI_COMM_SELF, &ctx);
    ok(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, 400, &memory));
    failed(t, ctx, "another", dml_gpu_bind(comm, 1 - own), DML_EINVAL, "has used GPU");
    check_device(t, ctx, own);
    ok(t, "dml_gpu_free", dml_gpu_free(ctx, memory));
    failed(t, ctx, "none", dml_gpu_bind(comm, 99), DML_EINVAL, "99 is none");
    close_comm(comm, ctx);
}

/* ---- on some ranks the host --------------------------------------------------------
 */

enum { N = 5000 };

/* One call in which the last rank's buffer is on the host, or the others' are. */
static void mixed(struct dml_test *t, bool last_on_host, int calls_before)
{
    dml_ctx *ctx = NULL;
    void *x = NULL;
    static float host[N]; /* MPI may write into it still after the mismatch */
    dml_comm *comm = open_comm(t, t->mpi, &ctx);
    ok(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, N * sizeof *host, &x));
    ok(t, "dml_gpu_fill", dml_gpu_fill(ctx, x, 0, N * sizeof *host, NULL));
    for (int i = 0; i < calls_before; i++) /* of both kinds */
        ok(t, "dml_allreduce",
           dml_allreduce(DML_IN_PLACE, i % 2 == 0 ? x : host, N, DML_F32, DML_SUM,
                         comm));
    bool on_host = (t->rank == t->nranks - 1) == last_on_host;
    dml_status status =
        dml_allreduce(DML_IN_PLACE, on_host ? host : x, N, DML_F32, DML_SUM, comm);
    failed(t, ctx, "dml_allreduce", status, DML_EMISMATCH, "device memory");
    ok(t, "dml_gpu_free", dml_gpu_free(ctx, x));
    close_comm(comm, ctx);
    MPI_Barrier(t->mpi);
}

/* By a table: a blocking call of MPI's own could only be ended with its process. */
static void test_mixed(struct dml_test *t)
{
    char path[64];
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank agrees");
        return;
    }
    snprintf(path, sizeof path, "/tmp/dml-gpu-places-%ld", (long)getpid());
    FILE *table = fopen(path, "w");
    DML_CHECK(t, table != NULL, "cannot write %s", path);
    if (table != NULL) {
        fputs("allreduce * * * ring\n", table);
        fclose(table);
    }
    setenv("DML_TUNING", path, 1);
    for (int before = 0; before < 8; before += before == 0 ? 1 : 6) {
        dml_test_step(t, "%d calls before", before);
        mixed(t, true, before);
        mixed(t, false, before);
    }
    unsetenv("DML_TUNING");
    unlink(path);
}

/* Where all ranks force the way through the host they need not agree. */
static void test_forced(struct dml_test *t)
{
    dml_ctx *ctx = NULL;
    void *x = NULL;
    float *host = dml_test_alloc(N * sizeof *host);
    dml_comm *comm = open_comm(t, t->mpi, &ctx);
    for (int i = 0; i < N; i++)
        host[i] = (float)(t->rank + 1);
    ok(t, "dml_comm_set_algorithm",
       dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "host_staged"));
    ok(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, N * sizeof *host, &x));
    ok(t, "dml_gpu_copy", dml_gpu_copy(ctx, x, host, N * sizeof *host, NULL));
    ok(t, "dml_gpu_stream_sync", dml_gpu_stream_sync(ctx, NULL));
    void *mine = t->rank == 0 ? (void *)host : x;
    ok(t, "dml_allreduce",
       dml_allreduce(DML_IN_PLACE, mine, N, DML_F32, DML_SUM, comm));
    /* What was called so far does not make some ranks measure before the others. */
    float one[] = {1};
    ok(t, "dml_comm_set_algorithm",
       dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "auto"));
    for (int i = 0; i < 3; i++)
        ok(t, "dml_allreduce",
           dml_allreduce(DML_IN_PLACE, one, 1, DML_F32, DML_SUM, comm));
    if (t->rank > 0)
        ok(t, "dml_gpu_copy", dml_gpu_copy(ctx, host, x, N * sizeof *host, NULL));
    ok(t, "dml_gpu_stream_sync", dml_gpu_stream_sync(ctx, NULL));
    for (int i = 0; i < N; i++)
        if (host[i] != (float)(t->nranks * (t->nranks + 1) / 2)) {
            dml_test_fail(t, "element %d is %g", i, (double)host[i]);
            break;
        }
    free(host);
    ok(t, "dml_gpu_free", dml_gpu_free(ctx, x));
    close_comm(comm, ctx);
}

/* ---- memory that was freed ---------------------------------------------------------
 */

/* Allocations of the fake device that this process has open. */
static int open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    int n = 0;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char path[300], target[256] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        if (readlink(path, target, sizeof target - 1) > 0)
            n += strstr(target, "dml-fake-gpu") != NULL;
    }
    if (folder != NULL)
        closedir(folder);
    return n;
}

/* Memory at the same address, with the same handle, is another each time: what peers
 * have mapped is the old one, and would be kept by that. */
static void test_freed(struct dml_test *t)
{
    enum { ROUNDS = 12 };
    dml_ctx *ctx = NULL;
    void *x = NULL, *first = NULL;
    float host[64];
    int before = 0, again = 0;
    dml_comm *comm = open_comm(t, t->mpi, &ctx);
    ok(t, "dml_gpu_bind", dml_gpu_bind(comm, DML_GPU_NEAREST));
    ok(t, "dml_comm_set_algorithm",
       dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "ipc"));
    before = open_files();
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = sizeof host / sizeof *host;
        for (size_t i = 0; i < n; i++)
            host[i] = (float)(round + t->rank);
        ok(t, "alloc", dml_gpu_alloc(ctx, sizeof host, &x));
        first = round == 0 ? x : first;
        again += round > 0 && x == first;
        ok(t, "copy", dml_gpu_copy(ctx, x, host, sizeof host, NULL));
        ok(t, "dml_allreduce",
           dml_allreduce(DML_IN_PLACE, x, n, DML_F32, DML_SUM, comm));
        ok(t, "copy", dml_gpu_copy(ctx, host, x, sizeof host, NULL));
        ok(t, "sync", dml_gpu_stream_sync(ctx, NULL));
        float wanted = (float)(t->nranks * round + t->nranks * (t->nranks - 1) / 2);
        DML_CHECK(t, host[0] == wanted && host[63] == wanted, "round %d: %g, wanted %g",
                  round, (double)host[0], (double)wanted);
        ok(t, "free", dml_gpu_free(ctx, x));
    }
    DML_CHECK(t, again > ROUNDS / 2, "only %d allocations lay where the first did",
              again);
    int kept = open_files() - before;
    DML_CHECK(t, kept <= t->nranks - 1, "%d mappings of freed memory are kept", kept);
    close_comm(comm, ctx);
}

/* Where a driver refuses a mapping while old ones are kept, these are given up. */
static void test_refused(struct dml_test *t)
{
    enum { VECTORS = 5, ROUNDS = 11 };
    dml_ctx *ctx = NULL;
    void *x[VECTORS];
    float host[64] = {0};
    setenv("DML_TEST_GPU_OPENED", "2", 1);
    dml_comm *comm = open_comm(t, t->mpi, &ctx);
    unsetenv("DML_TEST_GPU_OPENED");
    ok(t, "dml_gpu_bind", dml_gpu_bind(comm, DML_GPU_NEAREST));
    ok(t, "dml_comm_set_algorithm",
       dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "ipc"));
    for (int i = 0; i < VECTORS; i++)
        ok(t, "alloc", dml_gpu_alloc(ctx, sizeof host, &x[i]));
    for (int round = 0; round < ROUNDS; round++) {
        void *from = x[round % VECTORS], *to = x[(round + 2) % VECTORS];
        for (size_t i = 0; i < DML_TEST_COUNT(host); i++)
            host[i] = (float)(round + t->rank);
        ok(t, "copy", dml_gpu_copy(ctx, from, host, sizeof host, NULL));
        ok(t, "dml_allreduce",
           dml_allreduce(from, to, DML_TEST_COUNT(host), DML_F32, DML_SUM, comm));
        ok(t, "copy", dml_gpu_copy(ctx, host, to, sizeof host, NULL));
        ok(t, "sync", dml_gpu_stream_sync(ctx, NULL));
        float wanted = (float)(t->nranks * round + t->nranks * (t->nranks - 1) / 2);
        DML_CHECK(t, host[0] == wanted && host[63] == wanted, "round %d: %g, wanted %g",
                  round, (double)host[0], (double)wanted);
    }
    for (int i = 0; i < VECTORS; i++)
        ok(t, "free", dml_gpu_free(ctx, x[i]));
    close_comm(comm, ctx);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"another device", test_bind},
        {"host and device", test_mixed},
        {"through the host by force", test_forced},
        {"freed memory", test_freed},
        {"refused mappings", test_refused},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
