/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups of ranks with shared memory, by MPI's shared windows: the library's symmetric
 * memory is for its collectives and hands out no pointer to the memory of others.
 */
#include "group.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Ranks of the groups with lower numbers. Collective over leaders. */
static dml_status ranks_before(const struct group *group, int *before)
{
    size_t ngroups = (size_t)dml_comm_size(group->leaders);
    int32_t mine = group->nranks;
    int32_t *each = calloc(ngroups, sizeof *each);
    if (!each) /* others may wait: DML_ECOMM ends them, too */
        return job_fail(group->job, DML_ECOMM, "out of memory");
    dml_status status = dml_allgather(&mine, each, 1, DML_I32, group->leaders);
    for (int g = 0; g < dml_comm_rank(group->leaders); g++)
        *before += each[g];
    free(each);
    return job_note(group->job, status);
}

dml_status group_open(struct group *group, struct job *job, int most)
{
    *group = (struct group){
        .job = job, .comm = MPI_COMM_NULL, .window = MPI_WIN_NULL, .ngroups = 1};
    int rank = 0;
    MPI_Comm node = MPI_COMM_NULL;
    if (MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                            &node) != MPI_SUCCESS)
        return job_fail(job, DML_ECOMM, "MPI cannot tell the ranks of a node");
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &group->on_node);
    MPI_Comm_split(node, most > 0 ? rank / most : 0, rank, &group->comm);
    MPI_Comm_free(&node);
    MPI_Comm_rank(group->comm, &group->rank);
    MPI_Comm_size(group->comm, &group->nranks);
    dml_status status =
        job_note(job, dml_comm_split(job->comm, group->rank == 0 ? 0 : -1, job->rank,
                                     &group->leaders));
    if (status != DML_OK)
        return status;
    int numbers[3] = {0, 1, 0};
    if (group->leaders) {
        numbers[0] = dml_comm_rank(group->leaders);
        numbers[1] = dml_comm_size(group->leaders);
        status = ranks_before(group, &numbers[2]);
    }
    status = job_agree(job, status);
    if (status == DML_OK)
        status = group_tell(group, numbers, sizeof numbers);
    group->number = numbers[0];
    group->ngroups = numbers[1];
    group->first = numbers[2];
    return status;
}

void group_close(struct group *group)
{
    dml_comm_destroy(group->leaders);
    if (group->window != MPI_WIN_NULL)
        MPI_Win_free(&group->window);
    if (group->comm != MPI_COMM_NULL)
        MPI_Comm_free(&group->comm);
    *group = (struct group){.comm = MPI_COMM_NULL, .window = MPI_WIN_NULL};
}

dml_status group_share(struct group *group, size_t bytes)
{
    MPI_Aint size = 0;
    int unit = 1;
    void *mine = NULL;
    MPI_Comm_set_errhandler(group->comm, MPI_ERRORS_RETURN);
    if (MPI_Win_allocate_shared(group->rank == 0 ? (MPI_Aint)bytes : 0, 1,
                                MPI_INFO_NULL, group->comm, &mine,
                                &group->window) != MPI_SUCCESS)
        /* The others of the group may wait in MPI for what this rank lacks: they cannot
         * be told, and the job ends. */
        return job_fail(group->job, DML_ECOMM,
                        "no %zu KiB of shared memory for the table; make /dev/shm "
                        "larger",
                        (bytes >> 10) + 1);
    MPI_Win_shared_query(group->window, 0, &size, &unit, &group->memory);
    if (group->rank == 0)
        memset(group->memory, 0, bytes);
    group_wait(group);
    return DML_OK;
}

dml_status group_tell(struct group *group, void *bytes, size_t count)
{
    char *at = bytes;
    while (count > 0) {
        size_t part = count < INT_MAX ? count : INT_MAX;
        if (MPI_Bcast(at, (int)part, MPI_BYTE, 0, group->comm) != MPI_SUCCESS)
            return job_fail(group->job, DML_ECOMM, "MPI_Bcast failed in a node");
        at += part;
        count -= part;
    }
    return DML_OK;
}

void group_wait(const struct group *group)
{
    /* Shared memory is synchronised on both sides of the barrier. */
    atomic_thread_fence(memory_order_seq_cst);
    MPI_Barrier(group->comm);
    atomic_thread_fence(memory_order_seq_cst);
}
