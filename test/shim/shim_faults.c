/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one rank alone cannot do, or does otherwise, is an error on all, and nobody
 * waits: a rank whose type MPI refuses to pack, a rank without memory, a rank with
 * another count.
 */
#include "shim_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BYTES = 64 << 20, ROOM = 16 << 20 };

/* A communicator that returns errors, on which libdml works already. */
static MPI_Comm prepared(MPI_Comm comm)
{
    MPI_Comm mine = MPI_COMM_NULL;
    MPI_Comm_dup(comm, &mine);
    MPI_Comm_set_errhandler(mine, MPI_ERRORS_RETURN);
    MPI_Barrier(mine);
    return mine;
}

/* Every second int of n. */
static MPI_Datatype gaps(int n)
{
    MPI_Datatype type = MPI_DATATYPE_NULL;
    MPI_Type_vector(n, 1, 2, MPI_INT, &type);
    return type;
}

/* After a failure on one rank no call on the communicator succeeds everywhere. */
static void still_fails(MPI_Comm mine)
{
    int x = 1, y = 0;
    int code = MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, mine);
    shim_check(code != MPI_SUCCESS, "a call after the failure succeeds");
}

static void unpackable(MPI_Comm comm, bool gathers)
{
    int rank = 0, size = 0, code = MPI_SUCCESS;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    int *out = shim_alloc(20 * sizeof *out);
    int *in = shim_alloc(10 * (size_t)size * sizeof *in);
    MPI_Comm mine = prepared(comm);
    MPI_Datatype type = gaps(10); /* not committed: MPI does not take it */
    if (rank > 0)
        MPI_Type_commit(&type);
    if (gathers)
        code = MPI_Allgather(out, 1, type, in, 10, MPI_INT, mine);
    else
        code = MPI_Bcast(out, 1, type, 0, mine);
    shim_check(code != MPI_SUCCESS, "%s of a type that is not committed succeeds",
               gathers ? "allgather" : "bcast");
    still_fails(mine);
    MPI_Comm_free(&mine);
    MPI_Type_free(&type);
    free(out);
    free(in);
}

/* Leaves the process little more memory than it has. */
static void limit_memory(struct rlimit *before)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        MPI_Abort(MPI_COMM_WORLD, 2);
    fclose(file);
    getrlimit(RLIMIT_AS, before);
    struct rlimit tight = {pages * 4096 + ROOM, before->rlim_max};
    setrlimit(RLIMIT_AS, &tight);
}

/* The last rank alone needs memory for a copy, and finds none. */
static void poor(MPI_Comm comm)
{
    int rank = 0, size = 0, code = MPI_SUCCESS;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    bool mine_fails = rank == size - 1;
    char *data = shim_alloc(mine_fails ? 2 * (size_t)BYTES : BYTES);
    MPI_Comm mine = prepared(comm);
    MPI_Datatype type = gaps(BYTES / (int)sizeof(int));
    MPI_Type_commit(&type);
    if (mine_fails) {
        struct rlimit before;
        limit_memory(&before);
        code = MPI_Bcast(data, 1, type, 0, mine);
        setrlimit(RLIMIT_AS, &before);
        shim_check(code == MPI_ERR_NO_MEM, "bcast without memory: code %d", code);
    } else {
        code = MPI_Bcast(data, BYTES, MPI_BYTE, 0, mine);
        shim_check(code != MPI_SUCCESS, "bcast to a rank without memory succeeds");
    }
    still_fails(mine);
    MPI_Comm_free(&mine);
    MPI_Type_free(&type);
    free(data);
}

/* MPI_Wait says what was found after the start, by the handler that MPI takes for
 * requests of this kind. */
static void disagree(MPI_Comm comm)
{
    int rank = 0, in[2] = {0}, out[2] = {0};
    MPI_Errhandler before = MPI_ERRHANDLER_NULL;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Comm mine = prepared(comm);
    PMPI_Comm_rank(comm, &rank);
    MPI_Comm_get_errhandler(MPI_COMM_WORLD, &before);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    int code =
        MPI_Iallreduce(in, out, rank == 0 ? 1 : 2, MPI_INT, MPI_SUM, mine, &request);
    if (code == MPI_SUCCESS)
        code = MPI_Wait(&request, MPI_STATUS_IGNORE);
    shim_check(code != MPI_SUCCESS, "a sum of different counts succeeds");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, before);
    MPI_Errhandler_free(&before);
    MPI_Comm_free(&mine);
}

/* MPI's own calls would hang: only where libdml is known to run. */
void test_faults(MPI_Comm comm)
{
    int size = 0;
    const char *preloaded = getenv("LD_PRELOAD");
    PMPI_Comm_size(comm, &size);
    if (size == 1 || preloaded == NULL || strstr(preloaded, "libdml-mpi") == NULL)
        return;
    unpackable(comm, false);
    unpackable(comm, true);
    poor(comm);
    disagree(comm);
}
