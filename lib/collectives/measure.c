/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each algorithm really costs here: a few runs at ten sizes, once per communicator
 * and collective, in a fraction of a second. The slowest rank counts, so every rank
 * keeps the same numbers and makes the same choices.
 */
#include "collectives/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Used until a collective is measured, and for algorithms that could not be: a network
 * or shared memory of an ordinary cluster node. */
static const struct dml__model unmeasured = {
    .node = {.alpha_s = 1e-6, .beta_s = 1 / 5e9},
    .net = {.alpha_s = 2e-5, .beta_s = 1 / 1e9},
    .gamma_s = 1 / 10e9,
};

/* Larger sizes are left out once a collective has taken this long. */
static const double enough_s = 0.25;

enum { BLOCKS = 5 }; /* the median of so many timed blocks is kept */

double dml__point_bytes(int i)
{
    return ldexp(16, 2 * i);
}

double dml__predict_s(const dml_comm *comm, dml_coll coll, size_t alg, double bytes)
{
    const struct dml__coll_state *state = dml__comm_coll_state(comm);
    const double *t = state->seconds[coll][alg];
    int last = DML__NPOINTS - 1;
    while (last > 0 && t[last] <= 0)
        last--;
    if (t[0] <= 0) {
        struct dml__model model = unmeasured;
        model.nranks = dml_comm_size(comm);
        dml__comm_nodes(comm, &model.nnodes);
        return dml__algs(coll)[alg]->cost_s(&model, bytes);
    }
    if (bytes <= dml__point_bytes(0))
        return t[0];
    if (bytes >= dml__point_bytes(last))
        return t[last] * bytes / dml__point_bytes(last);
    int i = 0;
    while (dml__point_bytes(i + 1) < bytes)
        i++;
    double x = log(bytes / dml__point_bytes(i)) / log(4.0);
    return t[i] * pow(t[i + 1] / t[i], x);
}

bool dml__was_timed(const struct dml__coll_state *state, dml_coll coll)
{
    for (int alg = 0; alg < DML__NALGS; alg++)
        if (state->seconds[coll][alg][0] > 0)
            return true;
    return false;
}

/* A call with "bytes" in all, f32 sums, on the given buffers. */
static struct dml__call sample_call(dml_comm *comm, dml_coll coll, double bytes,
                                    void *send, void *recv)
{
    size_t nranks = (size_t)dml_comm_size(comm), total = (size_t)bytes / sizeof(float);
    bool whole =
        coll == DML_COLL_ALLREDUCE || coll == DML_COLL_BCAST || coll == DML_COLL_REDUCE;
    size_t count = whole ? total : (total + nranks - 1) / nranks;
    struct dml__call call = {
        .coll = coll,
        .send = send,
        .recv = recv,
        .count = count,
        .total = whole ? count : count * nranks,
        .dtype = DML_F32,
        .op = DML_SUM,
        .elem_bytes = sizeof(float),
        .comm = comm,
        .where = "dml_measure",
    };
    if (dml__reduces(coll))
        dml__reduction_init(&call);
    return call;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one run, of the slowest rank; negative when it failed. */
static double time_one(const struct dml__call *call, const struct dml__alg *alg)
{
    double first_s = dml__now_s(), block_s[BLOCKS];
    if (dml__run(call, alg, NULL) < 0)
        return -1;
    first_s = dml__now_s() - first_s;
    if (dml__comm_max(call->comm, &first_s, 1) < 0)
        return -1;
    double runs_wanted = 300e-6 / first_s;
    int runs = runs_wanted > 50 ? 50 : runs_wanted < 1 ? 1 : (int)runs_wanted;
    for (int b = 0; b < BLOCKS; b++) {
        double begin_s = dml__now_s();
        for (int i = 0; i < runs; i++)
            if (dml__run(call, alg, NULL) < 0)
                return -1;
        block_s[b] = (dml__now_s() - begin_s) / runs;
    }
    qsort(block_s, BLOCKS, sizeof block_s[0], by_value);
    double median_s = block_s[BLOCKS / 2];
    return dml__comm_max(call->comm, &median_s, 1) < 0 ? -1 : median_s;
}

/* All algorithms at one size; false when a run failed. */
static bool measure_point(struct dml__coll_state *state, struct dml__call *call,
                          int point)
{
    const struct dml__alg *const *algs = dml__algs(call->coll);
    for (size_t i = 0; algs[i] != NULL; i++) {
        if (dml__refusal(algs[i], call) != NULL)
            continue;
        double s = time_one(call, algs[i]);
        if (s < 0)
            return false;
        state->seconds[call->coll][i][point] = s;
    }
    return true;
}

dml_status dml__coll_measure(dml_comm *comm, dml_coll coll)
{
    struct dml__coll_state *state = dml__coll_state(comm);
    dml_ctx *ctx = dml_comm_ctx(comm);
    if (state == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory");
    if (state->settled[coll] || state->forced[coll] != NULL || dml_comm_size(comm) == 1)
        return DML_OK;
    dml_comm_stats before;
    dml_comm_get_stats(comm, &before);
    size_t slack = (size_t)dml_comm_size(comm) * sizeof(float);
    size_t bytes = (size_t)dml__point_bytes(DML__NPOINTS - 1) + slack;
    void *send = dml__alloc(ctx, bytes), *recv = dml__alloc(ctx, bytes);
    double missing = send == NULL || recv == NULL;
    dml_status status = dml__comm_max(comm, &missing, 1);
    double begin_s = dml__now_s(), elapsed_s = 0;
    for (int point = 0; status == DML_OK && missing == 0 && point < DML__NPOINTS;
         point++) {
        struct dml__call call =
            sample_call(comm, coll, dml__point_bytes(point), send, recv);
        if (!measure_point(state, &call, point))
            status = DML_ECOMM;
        elapsed_s = dml__now_s() - begin_s;
        if (status == DML_OK)
            status = dml__comm_max(comm, &elapsed_s, 1);
        if (elapsed_s > enough_s || coll == DML_COLL_BARRIER)
            break;
    }
    state->settled[coll] = status == DML_OK;
    dml__comm_set_stats(comm, &before); /* the caller did not ask for this traffic */
    if (dml_comm_rank(comm) == 0)
        dml__log(ctx, DML_LOG_INFO, "measured %s in %.0f ms", dml_coll_name(coll),
                 1e3 * elapsed_s);
    dml__free(send);
    dml__free(recv);
    return status;
}
