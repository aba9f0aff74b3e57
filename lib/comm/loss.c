/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an MPI library with ULFM says of ranks that have ended (loss.h), and the
 * communicator of those that are left (Bland et al., Post-failure recovery of MPI
 * communication capability, IJHPCA 2013).
 */
#include "comm/loss.h"

#include "comm/roll.h"

#ifdef DML__ULFM

#include <mpi-ext.h>

bool dml__mpi_goes_on(void)
{
    int *value = NULL, found = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPIX_FT, &value, &found);
    return found && *value;
}

bool dml__mpi_lost_peer(int code)
{
    int class = MPI_SUCCESS;
    if (code != MPI_SUCCESS)
        MPI_Error_class(code, &class);
    return class == MPIX_ERR_PROC_FAILED || class == MPIX_ERR_PROC_FAILED_PENDING ||
           class == MPIX_ERR_REVOKED;
}

static void free_group(MPI_Group *group)
{
    if (*group != MPI_GROUP_NULL && *group != MPI_GROUP_EMPTY)
        MPI_Group_free(group);
}

/* The rank of a group's first process in the communicator; -1: it has none there. */
static int first_rank(const dml_comm *comm, MPI_Group group)
{
    MPI_Group all = MPI_GROUP_NULL, both = MPI_GROUP_EMPTY;
    int zero = 0, n = 0, rank = -1;
    MPI_Comm_group(comm->coll, &all);
    MPI_Group_intersection(all, group, &both); /* in the order of the first */
    MPI_Group_size(both, &n);
    if (n > 0)
        MPI_Group_translate_ranks(both, 1, &zero, all, &rank);
    free_group(&both);
    free_group(&all);
    return rank;
}

int dml__mpi_lost_rank(const dml_comm *comm)
{
    MPI_Group lost = MPI_GROUP_EMPTY;
    if (MPIX_Comm_get_failed(comm->coll, &lost) != MPI_SUCCESS)
        return -1;
    int rank = first_rank(comm, lost);
    free_group(&lost);
    return rank;
}

bool dml__mpi_given_up(const dml_comm *comm)
{
    int given_up = 0;
    return MPIX_Comm_is_revoked(comm->coll, &given_up) == MPI_SUCCESS && given_up;
}

void dml__mpi_give_up(const dml_comm *comm)
{
    const MPI_Comm all[] = {comm->coll, comm->p2p, comm->node_mpi,
                            comm->roll != NULL ? comm->roll->notes : MPI_COMM_NULL};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i] != MPI_COMM_NULL)
            MPIX_Comm_revoke(all[i]);
}

/* ---- the ranks that are left -------------------------------------------------------
 */

/* Ends a communicator that cannot be used any more. */
static void end(dml_comm *comm)
{
    dml__comm_enter(comm);
    dml__mpi_give_up(comm);
    if (comm->broken == DML_OK) {
        dml__fail(comm->ctx, DML_EPEER, "dml_comm_shrink",
                  "a rank has ended, and the others go on without this communicator");
        dml__comm_break(comm, DML_EPEER);
    }
    dml__comm_abandon(comm, comm->broken);
    dml__comm_leave(comm);
}

/* The same of all in the context that hold a rank of "comm" which is not in "left". */
static void end_others(dml_comm *comm, MPI_Comm left)
{
    MPI_Group before = MPI_GROUP_NULL, after = MPI_GROUP_NULL, lost = MPI_GROUP_EMPTY;
    MPI_Comm_group(comm->coll, &before);
    MPI_Comm_group(left, &after);
    MPI_Group_difference(before, after, &lost);
    struct dml__progress *p = comm->lock.progress;
    dml__list_lock(p);
    for (dml_comm *other = p->comms; other != NULL; other = other->lock.next)
        if (other != comm && first_rank(other, lost) >= 0)
            end(other);
    dml__list_unlock(p);
    free_group(&lost);
    free_group(&after);
    free_group(&before);
}

dml_status dml_comm_shrink(dml_comm *comm, dml_comm **out)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (out == NULL)
        return dml__fail(comm->ctx, DML_EINVAL, __func__, "out is NULL");
    if (!dml__mpi_goes_on())
        return dml__fail(comm->ctx, DML_EUNSUPPORTED, __func__,
                         "MPI was started to end with the first rank that does: start "
                         "the job by mpirun --with-ft ulfm");
    end(comm);
    MPI_Comm left = MPI_COMM_NULL;
    int code = MPIX_Comm_shrink(comm->coll, &left), made = 0;
    if (code != MPI_SUCCESS)
        return dml__mpi_fail(comm, __func__, code);
    end_others(comm, left);
    dml_comm *made_comm = NULL;
    dml_status status = dml__comm_wrap(
        comm->ctx, dml__alloc(comm->ctx, sizeof *made_comm), left, comm, &made_comm);
    /* Another rank may have ended on the way: all that are left know of it, or none.
     * MPI says that the old communicator has lost ranks, and agrees all the same. */
    made = status == DML_OK;
    (void)MPIX_Comm_agree(comm->coll, &made);
    if (made) {
        *out = made_comm;
        return DML_OK;
    }
    if (status == DML_OK) {
        end(made_comm);
        dml_comm_destroy(made_comm);
        status = dml__fail(comm->ctx, DML_EPEER, __func__,
                           "another rank has ended meanwhile; call it again");
    }
    return status;
}

#else

bool dml__mpi_goes_on(void)
{
    return false;
}

bool dml__mpi_lost_peer(int code)
{
    (void)code;
    return false;
}

int dml__mpi_lost_rank(const dml_comm *comm)
{
    (void)comm;
    return -1;
}

bool dml__mpi_given_up(const dml_comm *comm)
{
    (void)comm;
    return false;
}

void dml__mpi_give_up(const dml_comm *comm)
{
    (void)comm;
}

dml_status dml_comm_shrink(dml_comm *comm, dml_comm **out)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (out == NULL)
        return dml__fail(comm->ctx, DML_EINVAL, __func__, "out is NULL");
    return dml__fail(comm->ctx, DML_EUNSUPPORTED, __func__,
                     "this MPI library cannot go on without a rank; that needs ULFM "
                     "(mpi-ext.h with MPIX_Comm_shrink, as in Open MPI 5)");
}

#endif

bool dml_comm_can_shrink(void)
{
    return dml__mpi_goes_on();
}
