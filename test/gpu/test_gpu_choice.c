/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which path a call on device memory takes: measured as for host memory, each kind on
 * its own, taken over by later communicators, and named by a tuning table. Rank 0's log
 * tells.
 */
#include "dml/gpu.h"
#include "dml/sync.h"

#include "dml_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 3000 };

struct told {
    dml_gpu_stream stream; /* of the communicator: copies are ordered with calls */
    int measured_host, measured_device;
    bool on_device;   /* what is called now: the way through the host chooses, too */
    char choice[512]; /* the last one */
    char forced[512]; /* lines of what is forced */
};

static void listen(void *user, dml_log_level level, const char *line)
{
    struct told *told = user;
    if (strncmp(line, "measured allreduce on devices", 29) == 0)
        told->measured_device++;
    else if (strncmp(line, "measured allreduce", 18) == 0)
        told->measured_host++;
    else if (strncmp(line, "allreduce of", 12) == 0 &&
             (strstr(line, "host_staged") != NULL) == told->on_device)
        snprintf(told->choice, sizeof told->choice, "%s", line);
    const size_t used = strlen(told->forced);
    if (strncmp(line, "allreduce by", 12) == 0)
        snprintf(told->forced + used, sizeof told->forced - used, "%s\n", line);
    (void)level;
}

static void open_ctx(struct dml_test *t, struct told *told, dml_ctx **ctx)
{
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = listen;
    opts.log_user = told;
    opts.log_level = DML_LOG_INFO;
    *told = (struct told){.choice = ""};
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(&opts, ctx), DML_OK);
}

static dml_comm *open_comm(struct dml_test *t, dml_ctx *ctx)
{
    dml_comm *comm = NULL;
    dml_test_status(t, "dml_comm_from_mpi", dml_comm_from_mpi(ctx, t->mpi, &comm),
                    DML_OK);
    return comm;
}

/* So many sums in a vector, and whether the last is right. */
static void call(struct dml_test *t, dml_ctx *ctx, dml_comm *comm, struct told *told,
                 bool on_device, int times)
{
    told->on_device = on_device;
    float host[N];
    void *x = host;
    if (on_device)
        dml_test_status(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, sizeof host, &x),
                        DML_OK);
    for (int i = 0; i < times; i++) {
        for (int k = 0; k < N; k++)
            host[k] = (float)(t->rank + k % 7);
        if (on_device)
            dml_gpu_copy(ctx, x, host, sizeof host, told->stream);
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(DML_IN_PLACE, x, N, DML_F32, DML_SUM, comm),
                        DML_OK);
    }
    if (on_device) {
        dml_gpu_copy(ctx, host, x, sizeof host, told->stream);
        dml_test_status(t, "sync", dml_gpu_stream_sync(ctx, told->stream), DML_OK);
        dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
    }
    float ranks = (float)(t->nranks * (t->nranks - 1) / 2);
    for (int k = 0; k < N; k += N - 1) {
        float wanted = ranks + (float)(t->nranks * (k % 7));
        DML_CHECK(t, host[k] == wanted, "element %d is %g, wanted %g", k,
                  (double)host[k], (double)wanted);
    }
}

static void check(struct dml_test *t, const struct told *told, int host, int device,
                  const char *choice)
{
    if (t->rank != 0)
        return;
    DML_CHECK(t, told->measured_host == host && told->measured_device == device,
              "measured %d and %d times, wanted %d and %d", told->measured_host,
              told->measured_device, host, device);
    /* A machine that is slow now has time for the links alone. */
    bool slow = strcmp(choice, ": measured:") == 0 &&
                strstr(told->choice, ": cost model: ") != NULL;
    DML_CHECK(t, slow || strstr(told->choice, choice) != NULL,
              "the choice \"%s\" is not \"%s\"", told->choice, choice);
}

static bool alone(struct dml_test *t)
{
    if (t->nranks == 1)
        dml_test_skip(t, "one rank measures nothing");
    return t->nranks == 1;
}

/* The third call measures; what the host's memory costs is another matter. */
static void test_measured(struct dml_test *t)
{
    struct told told;
    dml_ctx *ctx = NULL;
    if (alone(t))
        return;
    open_ctx(t, &told, &ctx);
    dml_comm *comm = open_comm(t, ctx), *later = NULL;
    call(t, ctx, comm, &told, true, 2);
    check(t, &told, 0, 0, "");
    call(t, ctx, comm, &told, true, 3);
    check(t, &told, 0, 1, ": measured:");
    call(t, ctx, comm, &told, false, 5);
    check(t, &told, 1, 1, ": measured:");
    later = open_comm(t, ctx);
    told.choice[0] = '\0';
    call(t, ctx, later, &told, true, 3);
    check(t, &told, 1, 1, ": measured:");
    told.choice[0] = '\0';
    call(t, ctx, later, &told, false, 3);
    check(t, &told, 1, 1, ": measured:");
    dml_comm_destroy(later);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* Calls that only queue are measured to their end, and queue again afterwards. */
static void test_queued(struct dml_test *t)
{
    struct told told;
    dml_ctx *ctx = NULL;
    dml_gpu_stream stream = NULL;
    if (alone(t))
        return;
    open_ctx(t, &told, &ctx);
    dml_comm *comm = open_comm(t, ctx);
    dml_test_status(t, "dml_gpu_bind", dml_gpu_bind(comm, DML_GPU_NEAREST), DML_OK);
    dml_test_status(t, "stream", dml_gpu_stream_create(ctx, &stream), DML_OK);
    dml_test_status(t, "dml_comm_set_stream", dml_comm_set_stream(comm, stream, true),
                    DML_OK);
    told.stream = stream;
    call(t, ctx, comm, &told, true, 5);
    check(t, &told, 0, 1, ": measured:");
    dml_comm_destroy(comm);
    dml_test_status(t, "stream", dml_gpu_stream_destroy(ctx, stream), DML_OK);
    dml_ctx_destroy(ctx);
}

/* A reducer's calls measure nothing: it does so when it is made, with the kind of
 * memory in which the gradients lie. */
static void reducer_of(struct dml_test *t, bool host, bool device)
{
    struct told told;
    dml_ctx *ctx = NULL;
    dml_reducer *r = NULL;
    static float values[N];
    void *x = NULL;
    open_ctx(t, &told, &ctx);
    dml_comm *comm = open_comm(t, ctx);
    dml_test_status(t, "dml_gpu_alloc", dml_gpu_alloc(ctx, sizeof values, &x), DML_OK);
    const dml_tensor grads[] = {{.data = values, .count = N, .dtype = DML_F32},
                                {.data = x, .count = N, .dtype = DML_F32}};
    dml_test_status(
        t, "dml_reducer_create",
        dml_reducer_create(&grads[!host], (size_t)host + device, NULL, comm, &r),
        DML_OK);
    check(t, &told, host, device, "");
    dml_reducer_destroy(r);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(ctx, x), DML_OK);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

static void test_reducer(struct dml_test *t)
{
    if (alone(t))
        return;
    reducer_of(t, true, false);
    reducer_of(t, false, true);
    reducer_of(t, true, true);
}

static void test_not_measured(struct dml_test *t)
{
    struct told told;
    dml_ctx *ctx = NULL;
    if (alone(t))
        return;
    setenv("DML_MEASURE", "0", 1);
    open_ctx(t, &told, &ctx);
    unsetenv("DML_MEASURE");
    dml_comm *comm = open_comm(t, ctx);
    call(t, ctx, comm, &told, true, 4);
    check(t, &told, 0, 0, ": cost model");
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* A rule for the other kind of memory is passed over. */
static void test_table(struct dml_test *t)
{
    struct told told;
    dml_ctx *ctx = NULL;
    char path[64];
    snprintf(path, sizeof path, "/tmp/dml-gpu-table-%ld", (long)getpid());
    FILE *file = fopen(path, "w");
    DML_CHECK(t, file != NULL, "cannot write %s", path);
    if (file == NULL)
        return;
    fputs("allreduce * * * ring\nallreduce * * * host_staged\n", file);
    fclose(file);
    setenv("DML_TUNING", path, 1);
    open_ctx(t, &told, &ctx);
    dml_comm *comm = open_comm(t, ctx);
    unsetenv("DML_TUNING");
    call(t, ctx, comm, &told, true, 4);
    check(t, &told, 0, 0, "by host_staged: /tmp/dml-gpu-table");
    if (t->nranks > 1) {
        call(t, ctx, comm, &told, false, 4);
        check(t, &told, 0, 0, "by ring: /tmp/dml-gpu-table");
    }
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    unlink(path);
}

/* What is forced holds for the kind of memory that it is for. */
static void test_forced(struct dml_test *t)
{
    static const struct {
        const char *names, *host, *device; /* NULL: the choice is free */
    } cases[] = {
        {"ring", "ring", NULL},
        {"ipc", NULL, "ipc"},
        {"direct,ipc", "direct", "ipc"},
        {"host_staged,ring", "ring", "host_staged"},
        {"host_staged", "host_staged", "host_staged"},
    };
    for (size_t i = 0; i < DML_TEST_COUNT(cases); i++) {
        struct told told;
        dml_ctx *ctx = NULL;
        dml_test_step(t, "DML_ALLREDUCE=%s", cases[i].names);
        setenv("DML_ALLREDUCE", cases[i].names, 1);
        open_ctx(t, &told, &ctx);
        dml_comm *comm = open_comm(t, ctx);
        unsetenv("DML_ALLREDUCE");
        for (int on_device = 0; on_device < 2; on_device++) {
            const char *name = on_device ? cases[i].device : cases[i].host;
            char line[64];
            snprintf(line, sizeof line, "allreduce by %s: forced by environment\n",
                     name != NULL ? name : "");
            told.forced[0] = '\0';
            call(t, ctx, comm, &told, on_device, 2);
            const char *found = strstr(told.forced, name != NULL ? line : "by ");
            /* Nor is the host's part of a way through the host forced. */
            DML_CHECK(t, t->rank > 0 || (found != NULL) == (name != NULL),
                      "on_device %d: told \"%s\"", on_device, told.forced);
        }
        dml_comm_destroy(comm);
        dml_ctx_destroy(ctx);
    }
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"measured", test_measured}, {"queued", test_queued},
        {"reducer", test_reducer},   {"not measured", test_not_measured},
        {"table", test_table},       {"forced", test_forced},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
