/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A job for the tests over simulated hosts: all-reduces of one size by one algorithm,
 * one after the other, as often as asked for. Each rank says where it is before the
 * first.
 *
 * Usage: allreduce_calls ALGORITHM BYTES CALLS
 * Exit status 77 where there is no such algorithm. A call that fails or is wrong ends
 * the rank at once, and so the job, without a message to hosts that may be lost.
 */
#include "dml/dml.h"
#include "dml/mpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int complain(dml_ctx *ctx, int rank, const char *what)
{
    dml_error error;
    dml_ctx_last_error(ctx, &error);
    fprintf(stderr, "allreduce_calls: rank %d: %s: %s\n", rank, what, error.text);
    return 1;
}

/* Ranks add 1, 2, 3, ...: small integers, so any order gives the same sum. */
static int call_all(dml_ctx *ctx, dml_comm *comm, float *vector, size_t count,
                    long calls)
{
    int rank = dml_comm_rank(comm), nranks = dml_comm_size(comm);
    float sum = 0.5f * (float)nranks * (float)(nranks + 1);
    for (long k = 0; k < calls; k++) {
        for (size_t i = 0; i < count; i++)
            vector[i] = (float)(rank + 1);
        if (dml_allreduce(DML_IN_PLACE, vector, count, DML_F32, DML_SUM, comm) < 0)
            return complain(ctx, rank, "dml_allreduce");
        for (size_t i = 0; i < count; i++)
            if (vector[i] != sum) {
                fprintf(stderr, "allreduce_calls: rank %d: element %zu is %g, not %g\n",
                        rank, i, (double)vector[i], (double)sum);
                return 1;
            }
    }
    return 0;
}

static int run(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: allreduce_calls ALGORITHM BYTES CALLS\n");
        return 2;
    }
    size_t count = strtoul(argv[2], NULL, 10) / sizeof(float);
    float *vector = malloc((count + 1) * sizeof *vector);
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    int status = 1;
    if (vector == NULL || dml_ctx_create(NULL, &ctx) != DML_OK)
        goto out;
    if (dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm) != DML_OK) {
        status = complain(ctx, -1, "dml_comm_from_mpi");
        goto out;
    }
    if (dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, argv[1]) != DML_OK) {
        status = 77;
        goto out;
    }
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    printf("rank %d is process %ld on %s\n", dml_comm_rank(comm), (long)getpid(), host);
    fflush(stdout);
    status = call_all(ctx, comm, vector, count, strtol(argv[3], NULL, 10));
out:
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    free(vector);
    return status;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int status = run(argc, argv);
    if (status != 0 && status != 77)
        _exit(status);
    MPI_Finalize();
    return status;
}
