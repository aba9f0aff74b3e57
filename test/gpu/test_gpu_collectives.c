/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every collective on device memory by every path, over all types, operations and a
 * list of counts, against the serial reference of the host's suite
 * (test/mpi/coll_case.h): its buffers are copied to the device, the call is made there,
 * and what it left is copied back and compared whole, guard bytes and all. Also with
 * input or result on the host, with ranks that differ in that, and in pieces.
 */
#include "dml/gpu.h"

#include "coll_case.h"
#include "need_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum place { BOTH, INPUT_ONLY, RESULT_ONLY, BY_RANK, NPLACES };
static const char *const place_names[] = {"on the device", "from the device",
                                          "to the device", "of even ranks"};

static const char *const paths[] = {"host_staged", "ipc", "nccl", "auto"};
enum { NPATHS = 4 };

struct matrix {
    struct coll_env env;
    dml_coll coll;
    unsigned generated, calls[NPATHS], refused[NPATHS];
};

/* A copy of a host buffer on the device. */
struct twin {
    unsigned char *host;
    void *device; /* NULL: the call gets the host's */
    size_t bytes;
};

static void twin_open(struct dml_test *t, struct twin *w, unsigned char *host,
                      size_t bytes, bool device)
{
    *w = (struct twin){.host = host, .bytes = bytes};
    if (!device)
        return;
    dml_test_status(t, "dml_gpu_alloc", dml_gpu_alloc(t->ctx, bytes, &w->device),
                    DML_OK);
    dml_test_status(t, "copy in", dml_gpu_copy(t->ctx, w->device, host, bytes, NULL),
                    DML_OK);
}

/* Where the call finds a place of the host's buffer. */
static void *twin_at(const struct twin *w, const void *host)
{
    if (w->device == NULL || host == NULL || host == DML_IN_PLACE)
        return (void *)(uintptr_t)host;
    return (char *)w->device + ((const unsigned char *)host - w->host);
}

static void twin_close(struct dml_test *t, struct twin *w)
{
    if (w->device == NULL)
        return;
    dml_test_status(t, "copy out",
                    dml_gpu_copy(t->ctx, w->host, w->device, w->bytes, NULL), DML_OK);
    dml_test_status(t, "sync", dml_gpu_stream_sync(t->ctx, NULL), DML_OK);
    dml_test_status(t, "dml_gpu_free", dml_gpu_free(t->ctx, w->device), DML_OK);
}

static dml_status call_once(struct coll_plan *p, const struct coll_call *call,
                            enum place place)
{
    struct dml_test *t = p->env->t;
    const void *send = NULL;
    void *recv = NULL;
    dml_request *request = NULL;
    struct twin in, out;
    bool even = t->rank % 2 == 0;
    bool in_there = place == BOTH || place == INPUT_ONLY || (place == BY_RANK && even);
    bool out_there =
        place == BOTH || place == RESULT_ONLY || (place == BY_RANK && !even);
    coll_fill(p, call, &send, &recv);
    twin_open(t, &in, p->send, p->send_len * p->bytes + (size_t)3 * COLL_GUARD,
              in_there);
    twin_open(t, &out, p->recv, p->recv_len * p->bytes + (size_t)3 * COLL_GUARD,
              out_there);
    dml_test_status(t, "sync", dml_gpu_stream_sync(t->ctx, NULL), DML_OK);
    dml_status status = coll_call_dml(p, twin_at(&in, send), twin_at(&out, recv),
                                      call->async ? &request : NULL);
    if (status == DML_OK && call->async)
        status = dml_wait(&request);
    twin_close(t, &in);
    twin_close(t, &out);
    return status;
}

static void run_path(struct matrix *m, struct coll_plan *p, int path, enum place place)
{
    struct dml_test *t = m->env.t;
    unsigned k = m->generated;
    struct coll_call call = {.async = k & 1,
                             .in_place = k >> 1 & 1 && place == BOTH,
                             .misalign = k % 5 == 0 ? 1 : 0};
    dml_test_step(t, "%s%s by %s, %s %s, count %zu, root %d, %s, %s, +%u, %s",
                  dml_coll_name(m->coll), p->c.uneven ? "v" : "", paths[path],
                  dml_dtype_name(p->c.dtype), numbers_op_name(p->c.op), p->c.count,
                  p->c.root, call.async ? "non-blocking" : "blocking",
                  call.in_place ? "in place" : "not in place", call.misalign,
                  place_names[place]);
    dml_test_status(t, "dml_comm_set_algorithm",
                    dml_comm_set_algorithm(m->env.comm, m->coll, paths[path]), DML_OK);
    dml_status status = call_once(p, &call, place);
    if (status == DML_EUNSUPPORTED) {
        m->refused[path]++;
        return;
    }
    m->calls[path]++;
    if (dml_test_status(t, "call", status, DML_OK))
        coll_check(p, &call);
}

/* Only host_staged takes calls whose ranks, or buffers, differ; others see one buffer
 * on the device on every rank, or refuse alike. */
static void run_case(struct matrix *m, struct coll_case c)
{
    struct dml_test *t = m->env.t;
    if (m->generated++ % t->every != t->seed % t->every)
        return;
    c.coll = m->coll;
    c.seed = dml_test_hash(t->seed, m->coll, m->generated);
    c.root = coll_has_root(m->coll) ? (int)(c.seed % (unsigned)t->nranks) : 0;
    struct coll_plan plan;
    coll_plan_open(&plan, &m->env, &c);
    for (int path = 0; path < NPATHS; path++)
        run_path(m, &plan, path, BOTH);
    run_path(m, &plan, 0, (enum place)(1 + m->generated % (NPLACES - 1)));
    coll_plan_close(&plan);
}

static void run_count(struct matrix *m, size_t count, int stride)
{
    int nops = coll_reduces(m->coll) ? NUMBERS_NOPS : 1;
    int first = (int)(dml_test_random(m->env.t) % (unsigned)stride);
    for (int i = first; i < DML_NDTYPES * nops; i += stride) {
        struct coll_case c = {.dtype = (dml_dtype)(i % DML_NDTYPES),
                              .op = (dml_op)(i / DML_NDTYPES),
                              .count = count};
        run_case(m, c);
        c.uneven = coll_has_blocks(m->coll);
        c.gaps = c.uneven && m->coll != DML_COLL_REDUCE_SCATTER && i % 2 == 0;
        if (c.uneven)
            run_case(m, c);
    }
}

static bool must_run(const struct matrix *m, int path)
{
    int nnodes = coll_nodes(&m->env);
    return path == 0 || path == 3 || (path == 1 && nnodes == 1);
}

static void run_matrix(struct dml_test *t, dml_coll coll)
{
    struct matrix m = {.coll = coll};
    coll_env_open(&m.env, t, t->comm, t->mpi);
    run_count(&m, 0, 9);
    run_count(&m, 1, 1);
    run_count(&m, 17, 1);
    run_count(&m, 1000 + dml_test_random(t) % 2000, 2);
    run_count(&m, 20001 + dml_test_random(t) % 1000, 13);
    dml_comm_set_algorithm(t->comm, coll, "auto");
    for (int path = 0; path < NPATHS; path++) {
        DML_CHECK(t, m.calls[path] > 0 || !must_run(&m, path), "%s was never run",
                  paths[path]);
        if (t->rank == 0)
            printf("  %-14s %-12s %5u calls, %u refused\n", dml_coll_name(coll),
                   paths[path], m.calls[path], m.refused[path]);
    }
    coll_env_close(&m.env);
}

static void test_bind(struct dml_test *t)
{
    int count = 0, index = -1;
    dml_test_status(t, "dml_gpu_count", dml_gpu_count(t->ctx, &count), DML_OK);
    DML_CHECK(t, count > 0, "no device");
    dml_test_status(t, "dml_gpu_bind", dml_gpu_bind(t->comm, DML_GPU_NEAREST), DML_OK);
    dml_test_status(t, "dml_gpu_device", dml_gpu_device(t->ctx, &index), DML_OK);
    DML_CHECK(t, index >= 0 && index < count, "device %d of %d", index, count);
    dml_test_error(t, "another device", dml_gpu_bind(t->comm, count), DML_EINVAL);
}

#define COLLECTIVE(name, NAME)                  \
    static void test_##name(struct dml_test *t) \
    {                                           \
        run_matrix(t, DML_COLL_##NAME);         \
    }

COLLECTIVE(allreduce, ALLREDUCE)
COLLECTIVE(reduce_scatter, REDUCE_SCATTER)
COLLECTIVE(allgather, ALLGATHER)
COLLECTIVE(bcast, BCAST)
COLLECTIVE(reduce, REDUCE)
COLLECTIVE(gather, GATHER)
COLLECTIVE(scatter, SCATTER)
COLLECTIVE(alltoall, ALLTOALL)

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"bind", test_bind},
        {"allreduce", test_allreduce},
        {"reduce_scatter", test_reduce_scatter},
        {"allgather", test_allgather},
        {"bcast", test_bcast},
        {"reduce", test_reduce},
        {"gather", test_gather},
        {"scatter", test_scatter},
        {"alltoall", test_alltoall},
    };
    if (device_missing())
        return TEST_SKIPPED;
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
