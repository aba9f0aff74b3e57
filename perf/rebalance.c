/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-rebalance: steps of real work over ranks, and records that move between them
 * by measured speed. perf/rebalance slows one rank down from outside while it runs.
 *
 * First a line {"pids": [...]}; then one object a step: the slowest rank's seconds, the
 * throughput as a part of the sum of the speeds of that step, the records of each rank
 * and how many moved after it; at last whether every record is still there once.
 *
 * Usage: mpirun -n 2 dml-perf-rebalance [STEPS [RECORDS-PER-RANK [MICROSECONDS]]]
 */
#include "dml/dml.h"
#include "dml/mpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_BYTES = 256, MAX_RANKS = 256, ROUNDS = 64 };

struct work {
    unsigned char *records; /* [room][RECORD_BYTES], each begins with its number */
    size_t count, room;
};

static int rank, nranks;

static void stop(const char *what)
{
    fprintf(stderr, "dml-perf-rebalance: rank %d: %s failed\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void need(dml_status status, const char *what)
{
    if (status < 0)
        stop(what);
}

static dml_status take(void *user, int source, const void *record, size_t bytes)
{
    struct work *w = user;
    (void)source;
    if (w->count == w->room)
        return DML_ENOMEM;
    memcpy(w->records + w->count++ * RECORD_BYTES, record, bytes);
    return DML_OK;
}

/* One record's work: hashes of it, as many as rounds say. */
static uint64_t process(const unsigned char *record, long rounds)
{
    uint64_t hash = 0;
    for (long i = 0; i < rounds; i++)
        hash = dml_hash_bytes(record, RECORD_BYTES, hash);
    return hash;
}

/* Rounds that take so long on an idle processor: the fastest of some tries. */
static long calibrate(double seconds)
{
    unsigned char record[RECORD_BYTES] = {1};
    double best_s = 1;
    volatile uint64_t keep = 0;
    for (int i = 0; i < 200; i++) {
        double begin_s = MPI_Wtime();
        keep += process(record, ROUNDS);
        double s = MPI_Wtime() - begin_s;
        best_s = s < best_s ? s : best_s;
    }
    long rounds = (long)(seconds / best_s * ROUNDS) + 1;
    MPI_Bcast(&rounds, 1, MPI_LONG, 0, MPI_COMM_WORLD);
    return rounds;
}

static void migrate(struct work *w, const dml_move *moves, size_t n, dml_exchange *x)
{
    for (size_t i = 0; i < n; i++)
        for (uint64_t k = 0; (int)moves[i].from == rank && k < moves[i].units; k++)
            need(dml_exchange_push(x, (int)moves[i].to,
                                   w->records + --w->count * RECORD_BYTES,
                                   RECORD_BYTES),
                 "dml_exchange_push");
    need(dml_exchange_finish(x), "dml_exchange_finish");
}

static void print_step(int step, const double *figures, const dml_move *moves, size_t n)
{
    double slowest = 0, speeds = 0, all = 0;
    uint64_t moved = 0;
    for (int p = 0; p < nranks; p++) {
        double s = figures[2 * p], count = figures[2 * p + 1];
        slowest = s > slowest ? s : slowest;
        speeds += s > 0 ? count / s : 0;
        all += count;
    }
    for (size_t i = 0; i < n; i++)
        moved += moves[i].units;
    printf("{\"step\": %d, \"seconds\": %.6f, \"efficiency\": %.4f, \"moved\": %llu, "
           "\"records\": [",
           step, slowest, all / slowest / speeds, (unsigned long long)moved);
    for (int p = 0; p < nranks; p++)
        printf("%s%.0f", p > 0 ? ", " : "", figures[2 * p + 1]);
    printf("]}\n");
    fflush(stdout);
}

static void run(struct work *w, int steps, long rounds, dml_comm *comm)
{
    uint64_t units[MAX_RANKS];
    dml_move moves[MAX_RANKS];
    dml_rebalance *r = NULL;
    dml_exchange *x = NULL;
    dml_exchange_opts opts;
    volatile uint64_t keep = 0;
    dml_exchange_opts_init(&opts);
    opts.record_bytes = RECORD_BYTES;
    for (int p = 0; p < nranks; p++)
        units[p] = w->count;
    need(dml_rebalance_create(dml_comm_ctx(comm), (size_t)nranks, units, NULL, &r),
         "dml_rebalance_create");
    need(dml_exchange_create(&opts, take, w, comm, &x), "dml_exchange_create");
    for (int step = 0; step < steps; step++) {
        double own[2] = {0, (double)w->count}, all[2 * MAX_RANKS];
        size_t n = 0;
        need(dml_barrier(comm), "dml_barrier");
        double begin_s = MPI_Wtime();
        for (size_t i = 0; i < w->count; i++)
            keep += process(w->records + i * RECORD_BYTES, rounds);
        own[0] = MPI_Wtime() - begin_s;
        need(dml_rebalance_agree(r, own[0], comm, moves, &n), "dml_rebalance_agree");
        migrate(w, moves, n, x);
        MPI_Gather(own, 2, MPI_DOUBLE, all, 2, MPI_DOUBLE, 0, MPI_COMM_WORLD);
        if (rank == 0)
            print_step(step, all, moves, n);
    }
    dml_exchange_destroy(x);
    dml_rebalance_destroy(r);
}

/* Number, sum and sum of squares of the records' numbers, over all ranks. */
static bool all_there(const struct work *w, uint64_t total)
{
    uint64_t sums[3] = {w->count, 0, 0}, wanted[3] = {total, 0, 0};
    for (size_t i = 0; i < w->count; i++) {
        uint64_t id;
        memcpy(&id, w->records + i * RECORD_BYTES, sizeof id);
        sums[1] += id;
        sums[2] += id * id;
    }
    for (uint64_t id = 0; id < total; id++) {
        wanted[1] += id;
        wanted[2] += id * id;
    }
    MPI_Allreduce(MPI_IN_PLACE, sums, 3, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    return memcmp(sums, wanted, sizeof sums) == 0;
}

int main(int argc, char **argv)
{
    int provided, steps = argc > 1 ? atoi(argv[1]) : 40;
    size_t per_rank = argc > 2 ? strtoull(argv[2], NULL, 10) : 1500;
    double unit_s = 1e-6 * (argc > 3 ? atof(argv[3]) : 40);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    need(dml_ctx_create(NULL, &ctx), "dml_ctx_create");
    need(dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm), "dml_comm_from_mpi");
    rank = dml_comm_rank(comm);
    nranks = dml_comm_size(comm);
    if (nranks > MAX_RANKS)
        stop("running on more than 256 ranks");
    struct work w = {.count = per_rank, .room = per_rank * (size_t)nranks};
    w.records = calloc(w.room, RECORD_BYTES);
    if (w.records == NULL)
        stop("allocating memory");
    for (size_t i = 0; i < per_rank; i++) {
        uint64_t id = (uint64_t)rank * per_rank + i;
        memcpy(w.records + i * RECORD_BYTES, &id, sizeof id);
    }
    int pid = (int)getpid(), pids[MAX_RANKS];
    MPI_Gather(&pid, 1, MPI_INT, pids, 1, MPI_INT, 0, MPI_COMM_WORLD);
    for (int p = 0; rank == 0 && p < nranks; p++)
        printf("%s%d%s", p > 0 ? ", " : "{\"pids\": [", pids[p],
               p + 1 == nranks ? "]}\n" : "");
    fflush(stdout);
    run(&w, steps, calibrate(unit_s), comm);
    bool good = all_there(&w, (uint64_t)per_rank * (uint64_t)nranks);
    if (rank == 0)
        printf("{\"all_there\": %s}\n", good ? "true" : "false");
    free(w.records);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    MPI_Finalize();
    return good ? 0 : 1;
}
