/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An MPI program without libdml: MPI_Allreduce beside PMPI_Allreduce, block by block in
 * one run. With libdml-mpi.so preloaded the first is libdml's and the second MPI's own;
 * without it they are the same. Results are compared.
 * Usage: dml-perf-mpi [iallreduce]   the same of MPI_Iallreduce and MPI_Wait
 */
#include "median.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 15, NWHO = 2 };

static void blocking(int who, float *in, float *out, int count)
{
    if (who == 0)
        MPI_Allreduce(in, out, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    else
        PMPI_Allreduce(in, out, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

static void started(int who, float *in, float *out, int count)
{
    MPI_Request request = MPI_REQUEST_NULL;
    if (who == 0) {
        MPI_Iallreduce(in, out, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
    } else {
        PMPI_Iallreduce(in, out, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request);
        PMPI_Wait(&request, MPI_STATUS_IGNORE);
    }
}

typedef void call_fn(int who, float *in, float *out, int count);

/* Seconds a call, on the slowest rank, of a block on buffers that were just written. */
static double block(call_fn *call, int who, float *in, float *out, int count, int calls)
{
    double slowest = 0;
    for (int i = 0; i < count; i++)
        in[i] = (float)((i + who) % 100);
    PMPI_Barrier(MPI_COMM_WORLD);
    double begin = MPI_Wtime();
    for (int k = 0; k < calls; k++)
        call(who, in, out, count);
    double own = (MPI_Wtime() - begin) / calls;
    PMPI_Allreduce(&own, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return slowest;
}

/* Elements that are not what the sum must be. */
static int wrong(const float *out, int count, int who, int nranks)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        n += out[i] != (float)((i + who) % 100 * nranks);
    return n;
}

int main(int argc, char **argv)
{
    static const int counts[] = {1, 1024, 16384, 262144, 1048576, 4194304};
    int rank = 0, nranks = 0, bad = 0, all_bad = 0;
    bool starts = argc > 1 && strcmp(argv[1], "iallreduce") == 0;
    if (argc > 1 && !starts) {
        fprintf(stderr, "usage: dml-perf-mpi [iallreduce]\n");
        return 2;
    }
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &nranks);
    size_t most = sizeof(float) * (size_t)counts[sizeof counts / sizeof counts[0] - 1];
    float *in = malloc(most), *out = malloc(most);
    if (in == NULL || out == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    if (rank == 0)
        printf("# %s, %d ranks, medians of %d blocks each, in turn\n"
               "%12s %12s %12s %8s\n",
               starts ? "iallreduce" : "allreduce", nranks, BLOCKS, "bytes",
               "MPI_ (us)", "PMPI_ (us)", "ratio");
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int calls = counts[c] <= 16384 ? 64 : counts[c] <= 262144 ? 8 : 2;
        double s[NWHO][BLOCKS];
        for (int b = -1; b < BLOCKS; b++) /* -1: to warm up */
            for (int k = 0; k < NWHO; k++) {
                int who = (b & 1) != 0 ? k : 1 - k;
                s[who][b < 0 ? 0 : b] =
                    block(starts ? started : blocking, who, in, out, counts[c], calls);
                bad += wrong(out, counts[c], who, nranks);
            }
        double mpi_s = perf_median(s[0], BLOCKS), pmpi_s = perf_median(s[1], BLOCKS);
        if (rank == 0)
            printf("%12zu %12.2f %12.2f %8.2f\n", sizeof(float) * (size_t)counts[c],
                   1e6 * mpi_s, 1e6 * pmpi_s, pmpi_s / mpi_s);
    }
    PMPI_Allreduce(&bad, &all_bad, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0)
        printf("# %d elements wrong\n", all_bad);
    free(in);
    free(out);
    MPI_Finalize();
    return all_bad > 0;
}
