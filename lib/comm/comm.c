/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The communicator: its two private MPI communicators, where its ranks are, and the
 * pre-multiplied sums made for it.
 */
#include "comm/comm.h"

#include "comm/loss.h"
#include "comm/roll.h"
#include "comm/shm.h"
#include "comm/trace.h"

#include <math.h>
#include <string.h>

dml_status dml__mpi_fail(const dml_comm *comm, const char *where, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (dml__mpi_lost_peer(code))
        return dml__mates_lost(comm, where);
    MPI_Error_string(code, text, &length);
    return dml__fail_values(comm->ctx, DML_ECOMM, where, comm->rank, code, MPI_SUCCESS,
                            "MPI on rank %d says: %s", comm->rank, text);
}

static int find_tag_max(void)
{
    int *value = NULL, found = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &found);
    return found ? *value : 32767; /* what MPI promises */
}

/* Without half-made ones waiting for a rank that has ended. */
static dml_status discard(dml_comm *comm, dml_status status)
{
    if (status == DML_EPEER) {
        dml__mpi_give_up(comm);
        comm->broken = status;
    }
    dml_comm_destroy(comm);
    return status;
}

dml_status dml__comm_wrap(dml_ctx *ctx, dml_comm *comm, MPI_Comm owned,
                          const dml_comm *parent, dml_comm **out)
{
    MPI_Comm_set_name(owned, DML__MPI_NAME);
    int ok = comm != NULL, all_ok = 0;
    MPI_Allreduce(&ok, &all_ok, 1, MPI_INT, MPI_MIN, owned);
    if (!all_ok) { /* all ranks fail together, or some would wait for ever */
        dml__free(comm);
        MPI_Comm_free(&owned);
        return dml__fail(ctx, DML_ENOMEM, "dml_comm", "no memory for a communicator");
    }
    comm->ctx = ctx;
    comm->blocks = dml__waits_by_mpi(ctx);
    comm->coll = owned;
    comm->p2p = comm->node_mpi = MPI_COMM_NULL;
    MPI_Comm_set_errhandler(owned, MPI_ERRORS_RETURN);
    MPI_Comm_rank(owned, &comm->rank);
    MPI_Comm_size(owned, &comm->size);
    comm->tag_max = find_tag_max();
    int code = MPI_Comm_dup(owned, &comm->p2p);
    dml_status status = code == MPI_SUCCESS ? dml__comm_find_node(comm)
                                            : dml__mpi_fail(comm, "dml_comm", code);
    if (status == DML_OK && parent != NULL)
        status = dml__comm_take_tuning(comm, parent);
    int told[2] = {-status, dml__trace_wanted(ctx)}; /* by some rank */
    if (code == MPI_SUCCESS)
        MPI_Allreduce(MPI_IN_PLACE, told, 2, MPI_INT, MPI_MAX, owned);
    /* An error of another rank is told with its cause: it may not live to do so. */
    if (told[0] == 0)
        status = dml__roll_open(comm); /* the same on all ranks */
    else if (status == DML_OK)
        status = dml__fail(ctx, DML_ENOMEM, "dml_comm",
                           "another rank could not make its part of the "
                           "communicator: %s; see its error",
                           dml_status_str((dml_status)-told[0]));
    if (status != DML_OK)
        return discard(comm, status);
    if (parent == NULL) /* fails on all ranks or on none, unless memory runs out */
        status = dml__comm_read_tuning(comm);
    if (status != DML_OK)
        return discard(comm, status);
    dml__trace_open(comm, told[1] != 0);
    if (comm->rank == 0 && parent == NULL)
        dml__ctx_check_env(ctx);
    dml__progress_join(comm);
    *out = comm;
    return DML_OK;
}

dml_status dml_comm_from_mpi(dml_ctx *ctx, MPI_Comm mpi_comm, dml_comm **out)
{
    if (ctx == NULL || out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "ctx and comm must not be NULL");
    int initialized = 0, finalized = 0, inter = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    if (!initialized || finalized)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "MPI is not running; call this between MPI_Init and "
                         "MPI_Finalize");
    if (mpi_comm == MPI_COMM_NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "the communicator is MPI_COMM_NULL");
    MPI_Comm_test_inter(mpi_comm, &inter);
    if (inter)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "an inter-communicator; merge it with MPI_Intercomm_merge");
    DML_TRY(dml__launch_check(ctx, __func__));
    /* Without memory this rank comes all the same, and all fail together. */
    MPI_Comm here = MPI_COMM_NULL;
    dml_comm *comm = dml__alloc(ctx, sizeof *comm);
    MPI_Comm *owned = comm != NULL ? &comm->coll : &here;
    dml_status status = dml__comm_dup(ctx, mpi_comm, comm != NULL, owned);
    if (status == DML_OK)
        return dml__comm_wrap(ctx, comm, *owned, NULL, out);
    dml__left_to_mpi(comm);
    return status;
}

/* Splits the MPI communicator, when all ranks are here: that call would wait for ever.
 */
static dml_status split(dml_comm *comm, int color, int key, bool has_out,
                        MPI_Comm *owned)
{
    static const char where[] = "dml_comm_split";
    if (color < -1 || !has_out) {
        dml__fail_values(comm->ctx, DML_EINVAL, where, comm->rank, color, -1,
                         has_out ? "color is %d; use 0 or more, or -1 for none"
                                 : "out is NULL; color is %d",
                         color);
        dml__roll_refuse(comm, DML__SPLIT, 0);
        return DML_EINVAL;
    }
    double none = 0;
    DML_TRY(dml__comm_check(comm, where));
    DML_TRY(dml__comm_agree(comm, DML__SPLIT, &none, 1));
    int code =
        MPI_Comm_split(comm->coll, color == -1 ? MPI_UNDEFINED : color, key, owned);
    return code == MPI_SUCCESS ? DML_OK : dml__mpi_fail(comm, where, code);
}

dml_status dml_comm_split(dml_comm *comm, int color, int key, dml_comm **out)
{
    if (comm == NULL)
        return DML_EINVAL;
    MPI_Comm owned = MPI_COMM_NULL;
    dml__comm_enter(comm);
    dml_status status = split(comm, color, key, out != NULL, &owned);
    dml__comm_leave(comm);
    DML_TRY(status);
    if (owned == MPI_COMM_NULL) {
        *out = NULL;
        return DML_OK;
    }
    dml_comm *part = dml__alloc(comm->ctx, sizeof *part);
    return dml__comm_wrap(comm->ctx, part, owned, comm, out);
}

void dml_comm_destroy(dml_comm *comm)
{
    if (comm == NULL)
        return;
    if (comm->gpu != NULL)
        comm->gpu_destroy(comm->gpu);
    dml__progress_part(comm);
    dml__trace_close(comm);
    if (comm->coll_state_destroy != NULL)
        comm->coll_state_destroy(comm->coll_state);
    dml__sched_pool_free(comm);
    dml__free(comm->scales);
    dml__roll_close(comm);
    dml__segments_free(comm);
    dml__shm_free(comm->shm);
    dml__node_close(comm->node);
    dml__free(comm->node_of);
    dml__free(comm->tuning);
    /* After a failure messages may be on their way that nobody waits for. MPI would
     * give the context of a freed communicator to the next one, which would receive
     * them. */
    if (comm->broken == DML_OK) {
        if (comm->node_mpi != MPI_COMM_NULL)
            MPI_Comm_free(&comm->node_mpi);
        if (comm->p2p != MPI_COMM_NULL)
            MPI_Comm_free(&comm->p2p);
        MPI_Comm_free(&comm->coll);
    }
    dml__free(comm);
}

int dml_comm_rank(const dml_comm *comm)
{
    return comm->rank;
}

int dml_comm_size(const dml_comm *comm)
{
    return comm->size;
}

void dml_comm_node(const dml_comm *comm, int *node_rank, int *node_size)
{
    if (node_rank != NULL)
        *node_rank = comm->node_rank;
    if (node_size != NULL)
        *node_size = comm->node_size;
}

dml_ctx *dml_comm_ctx(const dml_comm *comm)
{
    return comm->ctx;
}

void dml_comm_get_stats(const dml_comm *comm, dml_comm_stats *stats)
{
    dml_comm *locked = (dml_comm *)(uintptr_t)comm; /* its lock is not what is const */
    dml__comm_enter(locked);
    *stats = comm->stats;
    dml__comm_leave(locked);
}

bool dml__comm_crowded(const dml_comm *comm)
{
    return comm->crowded;
}

const int *dml__comm_nodes(const dml_comm *comm, int *nnodes)
{
    if (nnodes != NULL)
        *nnodes = comm->nnodes;
    return comm->node_of;
}

struct dml__node *dml__comm_node(const dml_comm *comm)
{
    return comm->node_size == comm->size ? comm->node : NULL;
}

struct dml__coll_state *dml__comm_coll_state(const dml_comm *comm)
{
    return comm->coll_state;
}

void dml__comm_set_coll_state(dml_comm *comm, struct dml__coll_state *state,
                              void (*destroy)(struct dml__coll_state *))
{
    comm->coll_state = state;
    comm->coll_state_destroy = destroy;
}

void dml__comm_set_stats(dml_comm *comm, const dml_comm_stats *stats)
{
    comm->stats = *stats;
}

void *dml__comm_gpu(const dml_comm *comm)
{
    return comm->gpu;
}

void dml__comm_set_gpu(dml_comm *comm, void *gpu, void (*destroy)(void *))
{
    comm->gpu = gpu;
    comm->gpu_destroy = destroy;
}

const struct dml__coll_state *dml__comm_alone(const dml_comm *comm)
{
    bool plain = comm->size == 1 && comm->broken == DML_OK && comm->trace == NULL &&
                 dml__ctx_device(comm->ctx) == NULL;
    return plain ? comm->coll_state : NULL;
}

bool dml__comm_open_exchange(dml_comm *comm, const void *exchange)
{
    if (comm->exchange == NULL)
        comm->exchange = exchange;
    return comm->exchange == exchange;
}

void dml__comm_close_exchange(dml_comm *comm, const void *exchange)
{
    if (comm->exchange == exchange)
        comm->exchange = NULL;
}

uint64_t dml__comm_next_exchange(dml_comm *comm)
{
    return comm->nexchanges++;
}

void dml__comm_count_collective(dml_comm *comm)
{
    comm->stats.collectives++;
}

void dml__comm_count_bytes(dml_comm *comm, size_t sent, size_t received)
{
    comm->stats.bytes_sent += sent;
    comm->stats.bytes_received += received;
    comm->stats.messages_sent += sent > 0;
}

/* ---- pre-multiplied sums -----------------------------------------------------------
 */

dml_status dml_op_create_premul_sum(double scale, dml_comm *comm, dml_op *op)
{
    if (comm == NULL)
        return DML_EINVAL;
    if (op == NULL)
        return dml__fail(comm->ctx, DML_EINVAL, __func__, "op is NULL");
    if (!isfinite(scale))
        return dml__fail(comm->ctx, DML_EINVAL, __func__, "scale is not finite");
    size_t i = 0;
    while (i < comm->nscales && !isnan(comm->scales[i]))
        i++;
    if (i == comm->nscales) {
        double *larger =
            dml__alloc(comm->ctx, dml__mul(comm->nscales + 1, sizeof *larger));
        if (larger == NULL)
            return dml__fail(comm->ctx, DML_ENOMEM, __func__, "no memory");
        if (i > 0)
            memcpy(larger, comm->scales, i * sizeof *larger);
        dml__free(comm->scales);
        comm->scales = larger;
        comm->nscales++;
    }
    comm->scales[i] = scale;
    *op = (dml_op)(DML__OP_FIRST_USER + i);
    return DML_OK;
}

bool dml__comm_op_scale(const dml_comm *comm, dml_op op, double *scale)
{
    size_t i = (size_t)op - DML__OP_FIRST_USER;
    if ((int)op < DML__OP_FIRST_USER || i >= comm->nscales || isnan(comm->scales[i]))
        return false;
    *scale = comm->scales[i];
    return true;
}

dml_status dml_op_destroy(dml_op op, dml_comm *comm)
{
    double scale = 0;
    if (comm == NULL)
        return DML_EINVAL;
    if (!dml__comm_op_scale(comm, op, &scale))
        return dml__fail(comm->ctx, DML_EINVAL, __func__,
                         "operation %d was not made on this communicator", (int)op);
    comm->scales[(size_t)op - DML__OP_FIRST_USER] = NAN;
    return DML_OK;
}
