/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-simulate: simulated seconds of collectives, one line each; run by sweep.py under
 * smpirun.
 *
 * A call begins on all ranks at the same simulated moment, as after no barrier, and
 * lasts until the last rank has left it. Sums take no simulated time.
 */
#include "dml/dml.h"
#include "dml/mpi.h"

#include <math.h>
#include <simgrid/actor.h>
#include <simgrid/engine.h>
#include <smpi/smpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: smpirun ... dml-simulate COLLECTIVE/ALGORITHM/BYTES[/BLOCKS]...\n"
    "Prints for each: collective, algorithm, ranks, hosts, bytes, blocks, simulated\n"
    "seconds, wrong elements or \"-\" where the vectors are too large to be real.\n"
    "BYTES are those of the whole vector of f32. With BLOCKS all but the first ranks'\n"
    "blocks of a reduce_scatter or allgather are empty: all steps, fewer messages.\n";

/* Results are real, and checked, up to this many bytes of all ranks together; beyond,
 * the ranks' vectors lie in the same few pages, and the sums mean nothing. */
static const double real_bytes = 1 << 30;

struct call {
    dml_coll coll;
    char algorithm[32];
    size_t total;            /* elements of the whole vector */
    size_t block;            /* a rank's, of a reduce_scatter or all-gather */
    int blocks;              /* that are not empty */
    size_t *counts, *displs; /* [P] of the blocks */
    float *send, *recv;
    bool real;
};

static bool parse(const char *item, int nranks, struct call *call)
{
    char name[32];
    double bytes;
    *call = (struct call){.coll = DML_COLL_ALLREDUCE, .blocks = nranks};
    if (sscanf(item, "%31[^/]/%31[^/]/%lf/%d", name, call->algorithm, &bytes,
               &call->blocks) < 3 ||
        bytes < 0 || call->blocks < 0 || call->blocks > nranks)
        return false;
    while ((int)call->coll < DML_NCOLLS && strcmp(dml_coll_name(call->coll), name) != 0)
        call->coll++;
    call->block = (size_t)bytes / sizeof(float) / (size_t)nranks;
    call->total = (size_t)bytes / sizeof(float);
    if (call->coll == DML_COLL_REDUCE_SCATTER || call->coll == DML_COLL_ALLGATHER)
        call->total = call->block * (size_t)call->blocks;
    call->real = 2.0 * bytes * nranks <= real_bytes;
    return (int)call->coll < DML_NCOLLS;
}

/* What rank r contributes at place i of the whole vector: sums of it are exact. */
static float term(int r, size_t i)
{
    return (float)(r % 4 + (int)(i % 3));
}

static void fill(struct call *call, int rank)
{
    bool gathers = call->coll == DML_COLL_ALLGATHER;
    size_t first = gathers ? (size_t)rank * call->block : 0;
    size_t n = !gathers ? call->total : rank < call->blocks ? call->block : 0;
    for (size_t i = 0; i < n; i++)
        call->send[i] = term(rank, first + i);
    if (call->coll == DML_COLL_BCAST)
        for (size_t i = 0; i < call->total; i++)
            call->recv[i] = rank == 0 ? term(0, i) : 0;
}

/* Elements of the result that are not what they should be. */
static int count_wrong(const struct call *call, int rank, int nranks)
{
    bool scatters = call->coll == DML_COLL_REDUCE_SCATTER;
    size_t first = scatters ? (size_t)rank * call->block : 0;
    size_t n = !scatters ? call->total : rank < call->blocks ? call->block : 0;
    int wrong = 0, weights = 0;
    if (call->coll == DML_COLL_BARRIER || (call->coll == DML_COLL_REDUCE && rank != 0))
        return 0;
    for (int r = 0; r < nranks; r++)
        weights += r % 4;
    for (size_t i = 0; i < n; i++) {
        size_t at = first + i;
        float expected = (float)weights + (float)nranks * (float)(at % 3);
        if (call->coll == DML_COLL_ALLGATHER)
            expected = term((int)(at / call->block), at);
        else if (call->coll == DML_COLL_BCAST)
            expected = term(0, at);
        wrong += call->recv[i] != expected;
    }
    return wrong;
}

static dml_status run(const struct call *call, dml_comm *comm)
{
    switch (call->coll) {
    case DML_COLL_ALLREDUCE:
        return dml_allreduce(call->send, call->recv, call->total, DML_F32, DML_SUM,
                             comm);
    case DML_COLL_REDUCE_SCATTER:
        return dml_reduce_scatterv(call->send, call->recv, call->counts, DML_F32,
                                   DML_SUM, comm);
    case DML_COLL_ALLGATHER:
        return dml_allgatherv(call->send, call->recv, call->counts, call->displs,
                              DML_F32, comm);
    case DML_COLL_BCAST:
        return dml_bcast(call->recv, call->total, DML_F32, 0, comm);
    case DML_COLL_REDUCE:
        return dml_reduce(call->send, call->recv, call->total, DML_F32, DML_SUM, 0,
                          comm);
    case DML_COLL_BARRIER:
        return dml_barrier(comm);
    default:
        return DML_EUNSUPPORTED;
    }
}

/* Returns on all ranks at the same simulated moment, and says which. */
static double begin_together(void)
{
    double now_s = simgrid_get_clock(), begin_s;
    MPI_Allreduce(&now_s, &begin_s, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    begin_s += 1; /* when the slowest rank has long left MPI */
    sg_actor_sleep_until(begin_s);
    return begin_s;
}

/* Times one call: simulated seconds, and elements that were wrong on any rank. */
static dml_status time_call(struct call *call, dml_comm *comm, double *seconds,
                            int *wrong)
{
    int rank = dml_comm_rank(comm), nranks = dml_comm_size(comm);
    if (call->real)
        fill(call, rank);
    double begin_s = begin_together();
    dml_status status = run(call, comm);
    double mine_s = simgrid_get_clock() - begin_s;
    MPI_Allreduce(&mine_s, seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    int found = call->real && status == DML_OK ? count_wrong(call, rank, nranks) : 0;
    MPI_Allreduce(&found, wrong, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return status;
}

/* Simulates one call and prints its line. */
static bool simulate(const char *item, dml_comm *comm)
{
    int rank = dml_comm_rank(comm), nranks = dml_comm_size(comm), here, wrong = 0;
    struct call call;
    double seconds = 0;
    char verdict[16] = "-";
    if (!parse(item, nranks, &call)) {
        fprintf(stderr, "dml-simulate: %s: not COLLECTIVE/ALGORITHM/BYTES[/BLOCKS]\n",
                item);
        return false;
    }
    size_t bytes = (call.total + 1) * sizeof(float); /* of nothing there is no vector */
    call.counts = malloc(2 * (size_t)nranks * sizeof *call.counts);
    call.displs = call.counts + nranks;
    for (int i = 0; i < nranks; i++) {
        call.counts[i] = i < call.blocks ? call.block : 0;
        call.displs[i] = i < call.blocks ? (size_t)i * call.block : call.total;
    }
    call.send = call.real ? malloc(bytes) : SMPI_SHARED_MALLOC(bytes);
    call.recv = call.real ? malloc(bytes) : SMPI_SHARED_MALLOC(bytes);
    dml_status status = dml_comm_set_algorithm(comm, call.coll, call.algorithm);
    if (status == DML_OK)
        status = time_call(&call, comm, &seconds, &wrong);
    free(call.counts);
    if (call.real) {
        free(call.send);
        free(call.recv);
        snprintf(verdict, sizeof verdict, "%d", wrong);
    } else {
        SMPI_SHARED_FREE(call.send);
        SMPI_SHARED_FREE(call.recv);
    }
    if (status != DML_OK) {
        dml_error error;
        dml_ctx_last_error(dml_comm_ctx(comm), &error);
        fprintf(stderr, "dml-simulate: %s: %s\n", item, error.text);
        return false;
    }
    dml_comm_node(comm, NULL, &here);
    if (rank == 0)
        printf("%s %s %d %d %zu %d %.9g %s\n", dml_coll_name(call.coll), call.algorithm,
               nranks, nranks / here, call.total * sizeof(float), call.blocks, seconds,
               verdict);
    return wrong == 0;
}

int main(int argc, char **argv)
{
    dml_ctx *ctx = NULL;
    dml_comm *comm = NULL;
    bool good = argc > 1;
    MPI_Init(&argc, &argv);
    if (!good)
        fputs(usage, stderr);
    else
        good = dml_ctx_create(NULL, &ctx) == DML_OK &&
               dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &comm) == DML_OK;
    for (int i = 1; i < argc && good; i++)
        good = simulate(argv[i], comm);
    dml_comm_destroy(comm);
    dml_ctx_destroy(ctx);
    MPI_Finalize();
    return good ? 0 : 1;
}
