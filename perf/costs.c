/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-costs: what libdml takes while it does nothing for the program. Waiting: the
 * last rank comes S seconds late to an all-reduce, and the others' processor time is
 * given as a part of their wait, for each way to wait. The trace: a small all-reduce
 * with and without DML_TRACE, in turns.
 *
 * Usage: mpirun -n 2 dml-perf-costs [S]
 */
#include "dml/dml.h"
#include "dml/mpi.h"

#include "median.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 3, BLOCKS = 15, CALLS = 3000, COUNT = 16384 };

static int rank, nranks;
static float in[COUNT], out[COUNT];

/* A way to wait. */
struct way {
    const char *name, *algorithm, *shm;
};

static void stop(const char *what)
{
    fprintf(stderr, "dml-perf-costs: rank %d: %s failed\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static double processor_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void sleep_s(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)(1e9 * (seconds - (double)t.tv_sec));
    nanosleep(&t, NULL);
}

/* A context with one variable more, and its communicator. */
static dml_comm *open_comm(const char *variable, const char *value,
                           const char *algorithm)
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    if (variable != NULL)
        setenv(variable, value, 1);
    if (dml_ctx_create(NULL, &ctx) != DML_OK ||
        dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm) != DML_OK ||
        dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, algorithm) != DML_OK)
        stop("opening a communicator");
    if (variable != NULL)
        unsetenv(variable);
    return comm;
}

static void close_comm(dml_comm *comm)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
}

/* Per cent of a processor that a rank in vain waiting takes: the mean over the waiting
 * ranks, the least of some tries. */
static void measure_wait(const struct way *way, double late_s)
{
    dml_comm *comm =
        open_comm(way->shm != NULL ? "DML_SHM" : NULL, way->shm, way->algorithm);
    double least = 0;
    for (int i = 0; i < TRIES; i++) {
        double part = 0, sum = 0;
        if (dml_allreduce(in, out, COUNT, DML_F32, DML_SUM, comm) != DML_OK)
            stop("dml_allreduce");
        MPI_Barrier(MPI_COMM_WORLD);
        double begin_s = MPI_Wtime(), busy_s = processor_s();
        if (rank == nranks - 1)
            sleep_s(late_s);
        if (dml_allreduce(in, out, COUNT, DML_F32, DML_SUM, comm) != DML_OK)
            stop("dml_allreduce");
        if (rank < nranks - 1)
            part = 100 * (processor_s() - busy_s) / (MPI_Wtime() - begin_s);
        MPI_Allreduce(&part, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        sum /= nranks - 1;
        least = i == 0 || sum < least ? sum : least;
    }
    if (rank == 0)
        printf("%-40s %6.1f %%\n", way->name, least);
    close_comm(comm);
}

/* Nanoseconds of a 4-byte all-reduce. */
static double one_block(dml_comm *comm)
{
    MPI_Barrier(MPI_COMM_WORLD);
    double begin_s = MPI_Wtime();
    for (int i = 0; i < CALLS; i++)
        if (dml_allreduce(in, out, 1, DML_F32, DML_SUM, comm) != DML_OK)
            stop("dml_allreduce");
    return 1e9 * (MPI_Wtime() - begin_s) / CALLS;
}

static void measure_trace(void)
{
    char path[] = "/tmp/dml-perf-costs-XXXXXX";
    double ns[2][BLOCKS];
    int file = mkstemp(path);
    if (file < 0)
        stop("mkstemp");
    dml_comm *off = open_comm(NULL, NULL, "flat");
    dml_comm *on = open_comm("DML_TRACE", path, "flat");
    for (int b = -1; b < BLOCKS; b++) { /* the first warms up */
        double plain_ns = one_block(off), traced_ns = one_block(on);
        if (b >= 0) {
            ns[0][b] = plain_ns;
            ns[1][b] = traced_ns;
        }
    }
    close_comm(on);
    close_comm(off);
    close(file);
    unlink(path);
    if (rank == 0)
        printf(
            "4-byte all-reduce, flat: %.0f ns, with DML_TRACE %.0f ns (medians of %d "
            "blocks of %d calls)\n",
            perf_median(ns[0], BLOCKS), perf_median(ns[1], BLOCKS), BLOCKS, CALLS);
}

int main(int argc, char **argv)
{
    static const struct way ways[] = {
        {"shared memory, flat", "flat", NULL},
        {"shared memory, ring", "ring", NULL},
        {"messages of MPI, ring", "ring", "0"},
        {"the MPI library's own (mpi)", "mpi", NULL},
    };
    double late_s = argc > 1 ? strtod(argv[1], NULL) : 2;
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &nranks);
    if (nranks < 2 || late_s <= 0) {
        if (rank == 0)
            fprintf(stderr, "usage: mpirun -n 2 dml-perf-costs [SECONDS]\n");
        MPI_Finalize();
        return 2;
    }
    if (rank == 0)
        printf("processor time of ranks that wait %g s for another, least of %d:\n",
               late_s, TRIES);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        measure_wait(&ways[i], late_s);
    measure_trace();
    MPI_Finalize();
    return 0;
}
