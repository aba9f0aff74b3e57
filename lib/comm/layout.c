/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the ranks of a communicator are: which share a node, and what they share there.
 */
#include "comm/comm_internal.h"
#include "comm/shm.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Maps what the node's ranks share. DML_SHM=0 goes without. */
static dml_status open_node(dml_comm *comm)
{
    const char *wish = dml__ctx_env(comm->ctx, "SHM");
    size_t bytes = dml__mul(2 * (size_t)comm->node_size, sizeof(int));
    int *numbers = dml__alloc(comm->ctx, bytes), any = 0;
    enum { WILLING, REFUSED, NO_MEMORY } mine = WILLING;
    if (comm->node_size == 1 || (wish != NULL && strcmp(wish, "0") == 0))
        mine = REFUSED;
    else if (numbers == NULL)
        mine = NO_MEMORY;
    int told = (int)mine;
    MPI_Allreduce(&told, &any, 1, MPI_INT, MPI_MAX, comm->node_mpi);
    if (any != WILLING) {
        dml__free(numbers);
        return any == REFUSED ? DML_OK
                              : dml__fail(comm->ctx, DML_ENOMEM, "dml_comm",
                                          "no memory for the node's ranks");
    }
    int *here = numbers, *rank_of = numbers + comm->node_size;
    MPI_Group whole = MPI_GROUP_NULL, part = MPI_GROUP_NULL;
    for (int i = 0; i < comm->node_size; i++)
        here[i] = i;
    MPI_Comm_group(comm->coll, &whole);
    MPI_Comm_group(comm->node_mpi, &part);
    MPI_Group_translate_ranks(part, comm->node_size, here, whole, rank_of);
    MPI_Group_free(&whole);
    MPI_Group_free(&part);
    dml_status status = dml__node_open(comm->ctx, comm->node_mpi, rank_of, &comm->node);
    dml__free(numbers);
    if (status < 0 || comm->node == NULL)
        return status;
    comm->shm = dml__shm_new(comm->ctx, comm->node, comm->size);
    return comm->shm != NULL
               ? DML_OK
               : dml__fail(comm->ctx, DML_ENOMEM, "dml_comm",
                           "no memory for channels to %d ranks", comm->node_size);
}

/* The node that DML_NODES pretends this process to be on, or 0. It names ranks of
 * MPI_COMM_WORLD, so that parts of a communicator agree with the whole. */
static int pretended_node(const dml_ctx *ctx)
{
    const char *wish = dml__ctx_env(ctx, "NODES");
    if (wish == NULL)
        return 0;
    int rank = 0, size = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (strchr(wish, ',') == NULL) {
        long n = strtol(wish, NULL, 10);
        return n > 1 ? (int)((long)rank * n / size) : 0;
    }
    const char *entry = wish; /* the list is gone round again where it is too short */
    for (int i = 0; i < rank; i++) {
        const char *comma = strchr(entry, ',');
        entry = comma != NULL ? comma + 1 : wish;
    }
    return (int)strtol(entry, NULL, 10);
}

/* Numbers the nodes, and tells every rank the others'. */
static dml_status number_nodes(dml_comm *comm)
{
    /* A node is known by its lowest rank, until the nodes are numbered. */
    int lowest = comm->rank;
    MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT, MPI_MIN, comm->node_mpi);
    comm->node_of = dml__alloc(comm->ctx, dml__mul((size_t)comm->size, sizeof(int)));
    int ok = comm->node_of != NULL, all_ok = 0;
    MPI_Allreduce(&ok, &all_ok, 1, MPI_INT, MPI_MIN, comm->coll);
    if (!all_ok)
        return dml__fail(comm->ctx, DML_ENOMEM, "dml_comm",
                         "no memory for the nodes of %d ranks", comm->size);
    MPI_Allgather(&lowest, 1, MPI_INT, comm->node_of, 1, MPI_INT, comm->coll);
    for (int i = 0; i < comm->size; i++)
        comm->node_of[i] =
            comm->node_of[i] == i ? comm->nnodes++ : comm->node_of[comm->node_of[i]];
    return DML_OK;
}

/* Finds the ranks that share this node's memory, and whether they outnumber the
 * processors that they may run on. */
dml_status dml__comm_find_node(dml_comm *comm)
{
    MPI_Comm whole = MPI_COMM_NULL;
    int code = MPI_Comm_split_type(comm->coll, MPI_COMM_TYPE_SHARED, comm->rank,
                                   MPI_INFO_NULL, &whole);
    if (code != MPI_SUCCESS)
        return dml__mpi_fail(comm, "dml_comm", code);
    /* Launchers often bind each rank to a core of its own: the union of all masks
     * counts what the node's ranks have together. */
    cpu_set_t own;
    if (sched_getaffinity(0, sizeof own, &own) != 0)
        memset(&own, 0xff, sizeof own); /* more processors than the mask has bits */
    MPI_Allreduce(&own, &comm->node_cpus, (int)sizeof own, MPI_BYTE, MPI_BOR, whole);
    int sharing = 0;
    MPI_Comm_size(whole, &sharing);
    comm->machine = comm->rank;
    MPI_Allreduce(MPI_IN_PLACE, &comm->machine, 1, MPI_INT, MPI_MIN, whole);
    comm->crowded = sharing > CPU_COUNT(&comm->node_cpus);
    code =
        MPI_Comm_split(whole, pretended_node(comm->ctx), comm->rank, &comm->node_mpi);
    MPI_Comm_free(&whole);
    if (code != MPI_SUCCESS)
        return dml__mpi_fail(comm, "dml_comm", code);
    MPI_Comm_rank(comm->node_mpi, &comm->node_rank);
    MPI_Comm_size(comm->node_mpi, &comm->node_size);
    DML_TRY(number_nodes(comm));
    return open_node(comm);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

uint64_t dml__comm_members(const dml_comm *comm)
{
    enum { PIECE = 64 };
    int here[PIECE], there[PIECE]; /* ranks of the communicator and of the world */
    MPI_Group part = MPI_GROUP_NULL, world = MPI_GROUP_NULL;
    uint64_t hash = mix(1, (uint64_t)comm->size);
    MPI_Comm_group(comm->coll, &part);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    for (int first = 0; first < comm->size && hash != 0; first += PIECE) {
        int n = comm->size - first < PIECE ? comm->size - first : PIECE;
        for (int i = 0; i < n; i++)
            here[i] = first + i;
        MPI_Group_translate_ranks(part, n, here, world, there);
        for (int i = 0; i < n && hash != 0; i++) {
            hash =
                mix(mix(hash, (uint64_t)there[i]), (uint64_t)comm->node_of[first + i]);
            if (there[i] == MPI_UNDEFINED)
                hash = 0;
        }
    }
    MPI_Group_free(&part);
    MPI_Group_free(&world);
    return hash;
}
