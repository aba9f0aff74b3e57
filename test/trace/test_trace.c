/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What trace.py reads a trace of: blocking collectives, overlapping ones, messages, two
 * communicators, more events than a buffer holds, and one rank that comes late. Each
 * rank prints what dml_comm_get_stats says, "stats RANK LANE SENT RECEIVED", and last
 * how many operations it made. Usage: test_trace ALLREDUCES
 */
#include <dml/dml.h>
#include <dml/mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COUNT = 5000, OVERLAPPING = 3 };

static int rank, nranks, wrong;

static void check(dml_status status)
{
    wrong += status != DML_OK;
}

static void print_stats(const dml_comm *comm, int lane)
{
    dml_comm_stats stats;
    dml_comm_get_stats(comm, &stats);
    printf("stats %d %d %llu %llu\n", rank, lane, (unsigned long long)stats.bytes_sent,
           (unsigned long long)stats.bytes_received);
}

/* Returns the operations made. */
static int work(dml_comm *comm, float *x, float *y, int many)
{
    int last = dml_comm_size(comm) - 1, self = dml_comm_rank(comm), made = 0;
    for (int i = 0; i < many; i++, made++) {
        x[0] = y[0] = 1;
        check(dml_allreduce(x, y, 1, DML_F32, DML_SUM, comm));
        wrong += y[0] != (float)(last + 1);
    }
    check(dml_bcast(x, COUNT, DML_F32, last, comm));
    check(dml_allgather(x, y, COUNT / 20, DML_F32, comm));
    dml_request *requests[OVERLAPPING];
    for (int i = 0; i < OVERLAPPING; i++)
        check(dml_iallreduce(DML_IN_PLACE, y + i * 1000, 1000, DML_F32, DML_MAX, comm,
                             &requests[i]));
    check(dml_waitall(OVERLAPPING, requests));
    if (last > 0 && self == 0)
        check(dml_send(x, COUNT, DML_F32, last, 3, comm));
    if (last > 0 && self == last)
        check(dml_recv(y, COUNT, DML_F32, 0, 3, comm));
    struct timespec late = {.tv_nsec = 60000000};
    if (self == last)
        nanosleep(&late, NULL);
    check(dml_barrier(comm));
    return made + 2 + OVERLAPPING + 1;
}

int main(int argc, char **argv)
{
    int level = 0, many = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1;
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL, *part = NULL;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &nranks);
    check(dml_ctx_create(NULL, &ctx));
    check(dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm));
    if (comm == NULL || dml_comm_split(comm, rank % 2, -rank, &part) != DML_OK)
        MPI_Abort(MPI_COMM_WORLD, 1);
    float *x = calloc(COUNT, sizeof *x), *y = calloc(COUNT, sizeof *y);
    if (x == NULL || y == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    int made = work(comm, x, y, many) + work(part, x, y, 5);
    print_stats(comm, 1);
    print_stats(part, 2);
    printf("made %d %d\n", rank, made);
    dml_comm_destroy(part);
    /* Until the launcher has passed the parts' tables on, from whichever rank. */
    struct timespec pause = {.tv_nsec = 100000000};
    MPI_Barrier(MPI_COMM_WORLD);
    nanosleep(&pause, NULL);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    free(x);
    free(y);
    MPI_Finalize();
    return wrong > 0;
}
