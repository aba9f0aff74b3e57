/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each algorithm really costs on this node: a few runs at ten sizes, within a time
 * limit. The slowest rank counts, so every rank keeps the same numbers and makes the
 * same choices, also the choice of what to leave out: sizes and algorithms for which
 * the time would not suffice, and large sizes for those that fell behind.
 */
#include "collectives/device.h"
#include "collectives/select.h"

#include <stdlib.h>

/* Of so many timed blocks the second fastest is kept: what else runs on the machine
 * spoils some, and one may be lucky. */
enum { BLOCKS = 5, KEPT = 1 };

/* A block lasts about so long; it is one call where that is longer. */
static const double block_s = 150e-6;

struct timing {
    dml_comm *comm;
    dml_coll coll;
    bool on_device;
    struct dml__tuned *tuned;
    double begin_s, limit_s;
    double elapsed_s; /* of the slowest rank, when last agreed */
    double best_s;    /* of the algorithms timed at this size so far, or 0 */
    void *send, *recv;
    void *shared_send, *shared_recv; /* memory of dml_alloc, or NULL */
    bool known[DML__NALGS];          /* timed before: left alone */
    bool done[DML__NPOINTS];         /* sizes that were gone through */
};

/* A call with "bytes" in all, f32 sums, on the given buffers. */
static struct dml__call sample_call(const struct timing *t, double bytes)
{
    size_t nranks = (size_t)dml_comm_size(t->comm);
    size_t total = (size_t)bytes / sizeof(float);
    bool blocks = dml__traits(t->coll)->blocks;
    size_t count = blocks ? (total + nranks - 1) / nranks : total;
    struct dml__call call = {
        .coll = t->coll,
        .send = t->send,
        .recv = t->recv,
        .count = count,
        .total = blocks ? count * nranks : count,
        .dtype = DML_F32,
        .op = DML_SUM,
        .elem_bytes = sizeof(float),
        .on_device = t->on_device,
        .may_stage = t->on_device,
        .comm = t->comm,
        .where = "dml_measure",
    };
    if (dml__reduces(t->coll))
        dml__reduction_init(&call);
    return call;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest of all ranks' "s", and how much time has passed; negative: failed. */
static double agree(struct timing *t, double s)
{
    double told[2] = {s, dml__now_s() - t->begin_s};
    if (dml__comm_max(t->comm, told, 2) < 0)
        return -1;
    t->elapsed_s = told[1];
    return told[0];
}

/* Seconds a call of this rank, over a block of "runs"; negative when one failed. */
static double one_block(const struct dml__call *call, const struct dml__alg *alg,
                        int runs)
{
    double begin_s = dml__now_s();
    for (int i = 0; i < runs; i++)
        if (dml__run(call, alg, NULL) < 0)
            return -1;
    return (dml__now_s() - begin_s) / runs;
}

/* Seconds of one run, of the slowest rank; negative when it failed. "guess_s" is
 * the same on all ranks. */
static double time_one(struct timing *t, const struct dml__call *call,
                       const struct dml__alg *alg, double guess_s)
{
    double s[BLOCKS];
    double first_s = one_block(call, alg, 1); /* finds memory, makes connections */
    if (first_s < 0 || (first_s = agree(t, first_s)) < 0)
        return -1;
    /* The guess may be far too low where processors are short, the first call is too
     * high a measure. */
    guess_s = first_s / 4 > guess_s ? first_s / 4 : guess_s;
    double wanted = block_s / guess_s;
    int runs = wanted > 30 ? 30 : wanted < 1 ? 1 : (int)wanted;
    if (t->elapsed_s + 2 * runs * guess_s > t->limit_s)
        return first_s;
    for (int b = 0; b < BLOCKS; b++) {
        if ((s[b] = one_block(call, alg, runs)) < 0)
            return -1;
        if (b != 1)
            continue;
        /* What is far behind needs no exact figure. */
        double once_s = agree(t, s[0] < s[1] ? s[0] : s[1]);
        double more_s = (BLOCKS - 2) * once_s * runs;
        bool behind = t->best_s > 0 && once_s > 2 * t->best_s;
        if (once_s < 0 || behind || t->elapsed_s + more_s > t->limit_s)
            return once_s;
    }
    qsort(s, BLOCKS, sizeof s[0], by_value);
    return agree(t, s[KEPT]);
}

/* Shortest time of any algorithm at a point, or 0. */
static double best_at(const struct timing *t, int point)
{
    double best_s = 0;
    for (int alg = 0; alg < DML__NALGS; alg++) {
        double s = t->tuned->seconds[t->coll][alg][point];
        if (s > 0 && (best_s <= 0 || s < best_s))
            best_s = s;
    }
    return best_s;
}

/* Guessed seconds of one call, no less than what it may take: from the next smaller
 * size; 0 when it was left out there, or when it is bound by bandwidth already and half
 * as fast as the best, so that it need not be timed. */
static double guess(const struct timing *t, size_t index, int point)
{
    const struct dml__alg *alg = dml__algs(t->coll)[index];
    const double *s = t->tuned->seconds[t->coll][index];
    double formula_s = dml__formula_s(t->comm, t->tuned, alg, dml__point_bytes(point));
    int below = dml__timed_below(s, point - 1);
    for (int i = point - 1; i > below && i >= 0; i--)
        if (t->done[i])
            return 0; /* left out there */
    if (below < 0)
        return formula_s;
    int further = dml__timed_below(s, below - 1);
    double growth = dml__point_bytes(below) / dml__point_bytes(further);
    if (further >= 0 && s[below] > growth / 2 * s[further] &&
        s[below] > 2 * best_at(t, below))
        return 0;
    double bytes_s = s[below] * dml__point_bytes(point) / dml__point_bytes(below);
    return s[below] + formula_s < bytes_s ? s[below] + formula_s : bytes_s;
}

/* All algorithms at one size; false when a run failed. */
static bool time_point(struct timing *t, int point)
{
    const struct dml__alg *const *algs = dml__algs(t->coll);
    t->best_s = best_at(t, point);
    for (size_t i = 0; algs[i] != NULL; i++) {
        struct dml__call call = sample_call(t, dml__point_bytes(point));
        bool shared = algs[i] == &dml__alg_shared;
        if (t->known[i] || dml__refusal(algs[i], &call) != NULL ||
            (shared && t->shared_send == NULL))
            continue;
        if (shared) { /* what it does with other memory is the others' work */
            call.send = t->shared_send;
            call.recv = t->shared_recv;
        }
        double guess_s = guess(t, i, point);
        if (guess_s <= 0 || t->elapsed_s + 3 * guess_s > t->limit_s)
            continue;
        double s = time_one(t, &call, algs[i], guess_s);
        if (s < 0)
            return false;
        t->tuned->seconds[t->coll][i][point] = s;
        t->best_s = best_at(t, point);
    }
    t->done[point] = true;
    return true;
}

/* Far apart first, so that a size near any is known when time runs out. */
static const int point_order[DML__NPOINTS] = {0, 6, 3, 8, 5, 9, 7, 4, 2, 1};

/* Buffers for all that is timed with "bytes" in all; false on all ranks alike. */
static bool take_buffers(struct timing *t, double bytes)
{
    dml_ctx *ctx = dml_comm_ctx(t->comm);
    size_t room = (size_t)bytes + (size_t)dml_comm_size(t->comm) * sizeof(float);
    t->send = t->on_device ? dml__device_take(t->comm, room) : dml__alloc(ctx, room);
    t->recv = t->on_device ? dml__device_take(t->comm, room) : dml__alloc(ctx, room);
    double missing = t->send == NULL || t->recv == NULL;
    if (!t->on_device &&
        dml__comm_has_symmetric(t->comm) && /* both fail on all ranks or on none */
        dml_alloc(t->comm, room, &t->shared_send) == DML_OK)
        dml_alloc(t->comm, room, &t->shared_recv);
    if (t->shared_recv == NULL) {
        dml_free(t->comm, t->shared_send);
        t->shared_send = NULL;
    }
    return dml__comm_max(t->comm, &missing, 1) == DML_OK && missing == 0;
}

static void give_buffers(struct timing *t)
{
    if (t->on_device) {
        dml__device_give(t->comm, t->recv);
        dml__device_give(t->comm, t->send);
        return;
    }
    dml_free(t->comm, t->shared_recv);
    dml_free(t->comm, t->shared_send);
    dml__comm_release(t->comm, t->send);
    dml__comm_release(t->comm, t->recv);
}

dml_status dml__warm_paths(dml_comm *comm, dml_coll coll)
{
    struct timing t = {.comm = comm, .coll = coll, .on_device = true};
    const struct dml__alg *const *algs = dml__algs(coll);
    bool good = take_buffers(&t, dml__point_bytes(0));
    for (size_t i = 0; good && algs[i] != NULL; i++) {
        struct dml__call call = sample_call(&t, dml__point_bytes(0));
        if (dml__refusal(algs[i], &call) == NULL)
            good = one_block(&call, algs[i], 1) >= 0;
    }
    give_buffers(&t);
    return dml__comm_check(comm, "dml_measure");
}

dml_status dml__time_algorithms(dml_comm *comm, dml_coll coll, bool on_device,
                                double limit_s, struct dml__tuned *tuned)
{
    struct timing t = {.comm = comm,
                       .coll = coll,
                       .on_device = on_device,
                       .tuned = tuned,
                       .begin_s = dml__now_s(),
                       .limit_s = limit_s};
    dml_status status = DML_OK;
    for (int i = 0; i < DML__NALGS; i++)
        t.known[i] = dml__timed_below(tuned->seconds[coll][i], DML__NPOINTS - 1) >= 0;
    bool good = take_buffers(&t, dml__point_bytes(DML__NPOINTS - 1));
    int npoints = coll == DML_COLL_BARRIER ? 1 : DML__NPOINTS;
    for (int i = 0; good && status == DML_OK && i < npoints; i++)
        if (!time_point(&t, point_order[i]))
            status = dml__comm_failure(comm);
    give_buffers(&t);
    return status == DML_OK ? dml__comm_check(comm, "dml_measure") : status;
}
