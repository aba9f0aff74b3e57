/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Progress and waiting: the progress thread moves what was started while the caller
 * never enters libdml, beside calls, on several communicators, while communicators and
 * contexts come and go; requests that are started again and again; and a rank that
 * waits long leaves its processor alone.
 */
#include "numbers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void sleep_s(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)(1e9 * (seconds - (double)t.tv_sec));
    nanosleep(&t, NULL);
}

/* Counts warnings. */
static void count_line(void *user, dml_log_level level, const char *line)
{
    (void)line;
    if (level == DML_LOG_WARN)
        ++*(int *)user;
}

static dml_ctx *open_ctx(struct dml_test *t, dml_progress_mode mode, int *warnings)
{
    dml_ctx *ctx = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.progress = mode;
    opts.log = count_line;
    opts.log_user = warnings;
    dml_test_status(t, "dml_ctx_create", dml_ctx_create(&opts, &ctx), DML_OK);
    return ctx;
}

static dml_comm *open_comm(struct dml_test *t, dml_ctx *ctx)
{
    dml_comm *comm = NULL;
    dml_test_status(t, "dml_comm_from_mpi", dml_comm_from_mpi(ctx, t->mpi, &comm),
                    DML_OK);
    return comm;
}

/* A vector of ones, and what becomes of it. */
struct vectors {
    float *send, *recv;
    size_t count;
};

static struct vectors make_vectors(size_t count)
{
    struct vectors v = {dml_test_alloc(count * sizeof(float)),
                        dml_test_alloc(count * sizeof(float)), count};
    for (size_t i = 0; i < count; i++)
        v.send[i] = (float)(i % 7 + 1);
    memset(v.recv, 0, count * sizeof(float));
    return v;
}

static void check_sum(struct dml_test *t, const struct vectors *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->recv[i] != (float)t->nranks * (float)(i % 7 + 1)) {
            dml_test_fail(t, "element %zu is %g", i, (double)v->recv[i]);
            break;
        }
    memset(v->recv, 0, v->count * sizeof(float));
}

static void free_vectors(struct vectors *v)
{
    free(v->send);
    free(v->recv);
}

static uint64_t bytes_received(const dml_comm *comm)
{
    dml_comm_stats stats;
    dml_comm_get_stats(comm, &stats);
    return stats.bytes_received;
}

/* ---- progress without calls --------------------------------------------------------
 */

/* Starts an all-reduce on all ranks, and looks without progressing whether as many
 * bytes arrive as in a blocking one. Returns whether they do within the time. */
static bool arrives_alone(struct dml_test *t, dml_comm *comm, const char *algorithm,
                          size_t count, double patience_s)
{
    struct vectors v = make_vectors(count);
    dml_test_step(t, "%s of %zu elements", algorithm, count);
    dml_status status = dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, algorithm);
    dml_test_status(t, "dml_comm_set_algorithm", status, DML_OK);
    uint64_t before = bytes_received(comm);
    status = dml_allreduce(v.send, v.recv, count, DML_F32, DML_SUM, comm);
    uint64_t expected = bytes_received(comm) - before;
    bool arrived = true;
    if (status != DML_EUNSUPPORTED) {
        dml_test_status(t, "dml_allreduce", status, DML_OK);
        check_sum(t, &v);
        dml_request *request = NULL;
        MPI_Barrier(t->mpi);
        sleep_s(t->rank == t->nranks - 1 ? 0.02
                                         : 0); /* the others cannot end at once */
        before = bytes_received(comm);
        dml_test_status(
            t, "dml_iallreduce",
            dml_iallreduce(v.send, v.recv, count, DML_F32, DML_SUM, comm, &request),
            DML_OK);
        double end_s = now_s() + patience_s;
        while (bytes_received(comm) - before < expected && now_s() < end_s)
            sleep_s(0.001);
        arrived = bytes_received(comm) - before >= expected;
        MPI_Barrier(t->mpi); /* nobody ends by his own calls what others wait for */
        dml_test_status(t, "dml_wait", dml_wait(&request), DML_OK);
        check_sum(t, &v);
    }
    free_vectors(&v);
    return arrived;
}

static const char *const algorithms[] = {
    "ring", "recursive_doubling", "direct", "staged", "flat", "shared"};

static void run_alone(struct dml_test *t, dml_progress_mode mode)
{
    int warnings = 0;
    dml_ctx *ctx = open_ctx(t, mode, &warnings);
    dml_comm *comm = open_comm(t, ctx);
    for (size_t i = 0; i < DML_TEST_COUNT(algorithms); i++) {
        bool small = arrives_alone(t, comm, algorithms[i], 1, 10);
        bool large = arrives_alone(t, comm, algorithms[i], 700001, 10);
        DML_CHECK(t, small && large, "%s stood still", algorithms[i]);
    }
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    DML_CHECK(t, warnings == 0, "%d warnings", warnings);
}

static void test_alone(struct dml_test *t)
{
    run_alone(t, DML_PROGRESS_THREAD);
    run_alone(t, DML_PROGRESS_PATIENT);
}

/* The test above can fail: without the thread it does. */
static void test_not_alone(struct dml_test *t)
{
    if (t->nranks == 1) {
        dml_test_skip(t, "needs a second rank");
        return;
    }
    int warnings = 0, arrived = 0, everywhere = 0;
    dml_ctx *ctx = open_ctx(t, DML_PROGRESS_POLL, &warnings);
    dml_comm *comm = open_comm(t, ctx);
    arrived = arrives_alone(t, comm, "ring", 700001, 0.1);
    MPI_Allreduce(&arrived, &everywhere, 1, MPI_INT, MPI_MIN, t->mpi);
    DML_CHECK(t, !everywhere, "a ring went round that nobody polled");
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* ---- several communicators ---------------------------------------------------------
 */

/* Requests on three communicators, completed in an order that differs between ranks:
 * without the thread this could hang. */
static void test_any_order(struct dml_test *t)
{
    enum { NCOMMS = 3, ROUNDS = 20 };
    int warnings = 0;
    dml_ctx *ctx = open_ctx(t, DML_PROGRESS_THREAD, &warnings);
    dml_comm *comms[NCOMMS];
    struct vectors v[NCOMMS];
    for (int i = 0; i < NCOMMS; i++) {
        comms[i] = open_comm(t, ctx);
        v[i] = make_vectors(i == 0 ? 3 : 40000u * (unsigned)i);
    }
    for (int round = 0; round < ROUNDS; round++) {
        dml_request *requests[NCOMMS] = {NULL};
        uint64_t h = dml_test_random(t);
        dml_test_step(t, "round %d", round);
        for (int k = 0; k < NCOMMS; k++) {
            int i = (k + (int)(h % NCOMMS)) % NCOMMS;
            dml_test_status(t, "dml_iallreduce",
                            dml_iallreduce(v[i].send, v[i].recv, v[i].count, DML_F32,
                                           DML_SUM, comms[i], &requests[i]),
                            DML_OK);
        }
        if (h >> 8 & 1)
            sleep_s(1e-4 * (double)(h >> 9 & 15));
        for (int k = 0; k < NCOMMS; k++) {
            int i = (k + t->rank) % NCOMMS;
            dml_test_status(t, "dml_wait", dml_wait(&requests[i]), DML_OK);
            check_sum(t, &v[i]);
        }
    }
    for (int i = 0; i < NCOMMS; i++) {
        dml_comm_destroy(comms[i]);
        free_vectors(&v[i]);
    }
    dml_ctx_destroy(ctx);
}

/* Communicators come and go while the thread works for another one. */
static void test_come_and_go(struct dml_test *t)
{
    int warnings = 0;
    for (int round = 0; round < 4; round++) {
        dml_ctx *ctx = open_ctx(t, DML_PROGRESS_THREAD, &warnings);
        dml_comm *lasting = open_comm(t, ctx);
        struct vectors v = make_vectors(100000), w = make_vectors(1000);
        for (int i = 0; i < 5; i++) {
            dml_comm *passing = NULL;
            dml_request *requests[2] = {NULL, NULL};
            dml_test_step(t, "context %d, communicator %d", round, i);
            dml_iallreduce(v.send, v.recv, v.count, DML_F32, DML_SUM, lasting,
                           &requests[0]);
            /* Its own making needs calls of MPI on the lasting one: it waits for it. */
            dml_test_status(t, "dml_comm_split",
                            dml_comm_split(lasting, 0, t->rank, &passing), DML_OK);
            dml_iallreduce(v.send, v.recv, v.count, DML_F32, DML_SUM, lasting,
                           &requests[1]);
            dml_test_status(
                t, "dml_allreduce",
                dml_allreduce(w.send, w.recv, w.count, DML_F32, DML_SUM, passing),
                DML_OK);
            check_sum(t, &w);
            dml_comm_destroy(passing);
            dml_test_status(t, "dml_waitall", dml_waitall(2, requests), DML_OK);
            check_sum(t, &v);
        }
        dml_comm_destroy(lasting);
        dml_ctx_destroy(ctx);
        free_vectors(&v);
        free_vectors(&w);
    }
}

/* Messages, small collectives and a computing loop beside the thread. */
static void test_beside_calls(struct dml_test *t)
{
    if (t->nranks == 1) {
        dml_test_skip(t, "needs a second rank");
        return;
    }
    int warnings = 0, level = 0;
    MPI_Query_thread(&level);
    dml_ctx *ctx = open_ctx(t, DML_PROGRESS_THREAD, &warnings);
    dml_comm *comm = open_comm(t, ctx);
    struct vectors v = make_vectors(50000);
    int next = (t->rank + 1) % t->nranks, last = (t->rank + t->nranks - 1) % t->nranks;
    for (int round = 0; round < 30; round++) {
        int out = t->rank + round, in = -1;
        dml_request *requests[3] = {NULL, NULL, NULL};
        dml_test_step(t, "round %d", round);
        dml_iallreduce(v.send, v.recv, v.count, DML_F32, DML_SUM, comm, &requests[0]);
        dml_irecv(&in, 1, DML_I32, last, 1, comm, &requests[1]);
        dml_isend(&out, 1, DML_I32, next, 1, comm, &requests[2]);
        if (round % 3 == 0)
            sleep_s(0.002);
        else if (round % 3 == 1)
            while (dml_test(&requests[1]) == DML_PENDING)
                dml_progress(comm);
        dml_test_status(t, "dml_barrier", dml_barrier(comm), DML_OK);
        dml_test_status(t, "dml_waitall", dml_waitall(3, requests), DML_OK);
        DML_CHECK(t, in == last + round, "got %d, wanted %d", in, last + round);
        check_sum(t, &v);
    }
    DML_CHECK(t, (warnings > 0) == (level < MPI_THREAD_MULTIPLE),
              "%d warnings at thread level %d of MPI", warnings, level);
    free_vectors(&v);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* ---- waiting -----------------------------------------------------------------------
 */

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* One rank is late by half a second; the others' processor time is that of sleepers,
 * not of ranks that spin or yield. How little it is perf and doc/results.md say. */
static void wait_idly(struct dml_test *t, dml_progress_mode mode, const char *algorithm)
{
    int warnings = 0;
    dml_ctx *ctx = open_ctx(t, mode, &warnings);
    dml_comm *comm = open_comm(t, ctx);
    struct vectors v = make_vectors(10);
    dml_test_step(t, "%s, progress by %s", algorithm,
                  mode == DML_PROGRESS_THREAD ? "thread" : "polling");
    dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, algorithm);
    dml_status status = dml_allreduce(v.send, v.recv, v.count, DML_F32, DML_SUM, comm);
    if (status == DML_OK) {
        dml_comm_stats before, after;
        double waited_s = 0, used_s = 0, counted_s = 0;
        bool late = t->rank == t->nranks - 1;
        int over = 1; /* on some rank: then once more, a loaded machine disturbs */
        for (int attempt = 0; over && attempt < 3; attempt++) {
            MPI_Barrier(t->mpi);
            dml_comm_get_stats(comm, &before);
            sleep_s(late ? 0.5 : 0);
            double begin_s = now_s(), begin_cpu_s = cpu_s();
            dml_allreduce(v.send, v.recv, v.count, DML_F32, DML_SUM, comm);
            waited_s = now_s() - begin_s;
            used_s = cpu_s() - begin_cpu_s;
            dml_comm_get_stats(comm, &after);
            counted_s = after.wait_s - before.wait_s;
            over = used_s >= 0.05 * waited_s + 0.004 ||
                   (!late && counted_s <= waited_s - 2e-3);
            MPI_Allreduce(MPI_IN_PLACE, &over, 1, MPI_INT, MPI_MAX, t->mpi);
        }
        DML_CHECK(t, used_s < 0.05 * waited_s + 0.004,
                  "%.1f ms of processor time in a wait of %.1f ms", 1e3 * used_s,
                  1e3 * waited_s);
        /* The late rank's call is short, and may be no wait but want of a processor. */
        DML_CHECK(t,
                  counted_s < waited_s + 1e-5 && (late || counted_s > waited_s - 2e-3),
                  "waited %.6f s, counted %.6f s", waited_s, counted_s);
        check_sum(t, &v);
    }
    free_vectors(&v);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

static void test_idle(struct dml_test *t)
{
    for (size_t i = 0; i < DML_TEST_COUNT(algorithms); i++)
        wait_idly(t, i % 2 == 0 ? DML_PROGRESS_POLL : DML_PROGRESS_THREAD,
                  algorithms[i]);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"progress without calls", test_alone},
        {"no progress without thread", test_not_alone},
        {"waits in any order", test_any_order},
        {"communicators come and go", test_come_and_go},
        {"thread beside calls", test_beside_calls},
        {"idle wait", test_idle},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
