/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collectives by NCCL. Every call is queued in the stream in the order of the program,
 * the same on all ranks; blocks of different sizes, gather, scatter and all-to-all are
 * groups of its calls. Its communicators do not block: what NCCL does in the background
 * is polled, so that no rank waits inside it without a time limit.
 */
#include "gpu/nccl.h"

#include "comm/progress.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

static const int types[DML_NDTYPES] = {
    [DML_F32] = DML__NCCL_F32,   [DML_F64] = DML__NCCL_F64, [DML_F16] = DML__NCCL_F16,
    [DML_BF16] = DML__NCCL_BF16, [DML_I8] = DML__NCCL_I8,   [DML_U8] = DML__NCCL_U8,
    [DML_I32] = DML__NCCL_I32,   [DML_I64] = DML__NCCL_I64, [DML_U64] = DML__NCCL_U64,
};

static const int ops[DML_NOPS] = {
    [DML_SUM] = DML__NCCL_SUM, [DML_PROD] = DML__NCCL_PROD, [DML_MIN] = DML__NCCL_MIN,
    [DML_MAX] = DML__NCCL_MAX, [DML_AVG] = DML__NCCL_AVG,
};

int dml__nccl_type(dml_dtype dtype)
{
    return types[dtype];
}

int dml__nccl_op(dml_op op)
{
    return (int)op < DML_NOPS ? ops[op] : DML__NCCL_SUM;
}

/* ---- what it can do ----------------------------------------------------------------
 */

static bool is_float(dml_dtype t)
{
    return t == DML_F32 || t == DML_F64 || t == DML_F16 || t == DML_BF16;
}

static const char *supports_op(const struct dml__call *call)
{
    bool wide = call->dtype == DML_F32 || call->dtype == DML_F64;
    if (is_float(call->dtype) && (call->op == DML_MIN || call->op == DML_MAX))
        return "NCCL may drop a NaN in min and max";
    if (!is_float(call->dtype) && call->op == DML_AVG)
        return "NCCL's averages of integers are rounded in another way";
    if ((int)call->op >= DML_NOPS && !wide)
        return "NCCL rounds the factors of this type";
    return NULL;
}

const char *dml__nccl_supports(struct dml__gpu_comm *g, const struct dml__call *call)
{
    if (!g->nccl_usable)
        return g->nccl_lack;
    if (g->twins[0] >= 0)
        return "two ranks have the same GPU, and NCCL takes one rank on each";
    if (call->captured && !g->nccl->threaded)
        return "NCCL starts with its first call, which cannot be captured; make the "
               "call once before";
    if (call->in_place &&
        (call->coll == DML_COLL_REDUCE_SCATTER || call->coll == DML_COLL_ALLTOALL))
        return "NCCL does it in place in another way, or not at all";
    return dml__reduces(call->coll) ? supports_op(call) : NULL;
}

/* ---- the communicator --------------------------------------------------------------
 */

/* Makes it on this rank; what fails is agreed upon by the caller. */
static dml_status init(struct dml__gpu_comm *g, struct dml__nccl_id id)
{
    struct dml__nccl_comm *n = g->nccl;
    struct dml__nccl_config config = {
        .size = sizeof config,
        .magic = DML__NCCL_MAGIC,
        .version = DML__NCCL_CONFIG_VERSION,
        .blocking = 0,
        .cga_cluster_size = DML__NCCL_UNDEFINED,
        .min_ctas = DML__NCCL_UNDEFINED,
        .max_ctas = DML__NCCL_UNDEFINED,
        .split_share = DML__NCCL_UNDEFINED,
    };
    int result = n->lib.init(&n->comm, dml_comm_size(g->comm), id, n->rank, &config);
    DML_TRY(dml__nccl_settle(n, "ncclCommInitRankConfig", result));
    for (int i = 0; i < DML__NCCL_MARKS; i++)
        DML_TRY(n->gpu->ops->event_create(n->gpu, false, &n->marker[i]));
    return dml__nccl_watch(n);
}

static dml_status share_id(struct dml__gpu_comm *g, struct dml__nccl_id *id)
{
    struct dml__nccl_comm *n = g->nccl;
    dml_status status = DML_OK;
    if (n->rank == 0)
        status = dml__nccl_check(n, "ncclGetUniqueId", n->lib.get_id(id));
    double failed = status < 0;
    DML_TRY(dml__comm_max(g->host, &failed, 1));
    if (failed > 0)
        return status < 0 ? status
                          : dml__fail(g->gpu->ctx, DML_ECOMM, "dml_nccl",
                                      "rank 0 cannot start NCCL; see its error");
    return dml_bcast(id, sizeof *id, DML_U8, 0, g->host);
}

dml_status dml__nccl_started(struct dml__gpu_comm *g)
{
    struct dml__nccl_id id;
    if (g->nccl->threaded)
        return DML_OK;
    memset(&id, 0, sizeof id);
    DML_TRY(share_id(g, &id));
    dml_status status = init(g, id);
    double failed = status < 0;
    dml_status agreed = dml__comm_max(g->host, &failed, 1);
    if (status == DML_OK && agreed == DML_OK && failed > 0)
        status = dml__fail(g->gpu->ctx, DML_ECOMM, "dml_nccl",
                           "another rank cannot start NCCL; see its error");
    return status < 0 ? status : agreed;
}

/* All ranks must have one version: a number of it, and the same negated, whose maxima
 * tell the newest and the oldest. */
dml_status dml__nccl_join(struct dml__gpu_comm *g)
{
    dml_ctx *ctx = g->gpu->ctx;
    struct dml__nccl_comm *n = dml__alloc(ctx, sizeof *n);
    double version[2] = {0, 0};
    snprintf(g->nccl_lack, sizeof g->nccl_lack, "NCCL cannot be used on another rank");
    if (n != NULL && dml__nccl_load(ctx, &n->lib, g->nccl_lack, sizeof g->nccl_lack))
        version[0] = n->lib.version;
    version[1] = -version[0];
    dml_status status = dml__comm_max(g->host, version, 2);
    double newest = version[0], oldest = -version[1];
    g->nccl_usable = status == DML_OK && oldest > 0 && oldest >= newest;
    if (!g->nccl_usable) {
        if (oldest > 0)
            snprintf(g->nccl_lack, sizeof g->nccl_lack,
                     "ranks have different versions of NCCL, from %.0f to %.0f", oldest,
                     newest);
        dml__free(n);
        return status;
    }
    n->gpu = g->gpu;
    n->owner = g->comm;
    n->rank = dml_comm_rank(g->comm);
    n->last.number = 1; /* of the next, as it has none yet */
    n->timeout_s = dml__ctx_timeout_s(ctx);
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->stop_or_work, NULL);
    g->nccl = n;
    return DML_OK;
}

/* Is a call, or a graph of some, under way? */
static bool works(struct dml__nccl_comm *n)
{
    bool pending = false;
    pthread_mutex_lock(&n->lock);
    for (int i = 0; n->comm != NULL && i < n->nmarks; i++)
        pending =
            pending || n->gpu->ops->event_query(n->gpu, n->marker[i]) == DML_PENDING;
    pthread_mutex_unlock(&n->lock);
    return pending;
}

/* Its calls may use memory that is to be forgotten: waits for them, while the thread
 * still watches that, unless something has failed. Not for the device: what other
 * communicators have queued may need peers that wait here. */
static void drain(struct dml__gpu_comm *g)
{
    struct dml__nccl_comm *n = g->nccl;
    if (dml__comm_check(g->comm, "dml_comm_destroy") < 0)
        return;
    while (works(n))
        if (!dml__progress_others(n->owner))
            sched_yield();
}

/* Ends the library's communicator: it waits for the other ranks, unless something has
 * failed. */
static void end(struct dml__gpu_comm *g)
{
    struct dml__nccl_comm *n = g->nccl;
    if (n->comm != NULL && dml__comm_check(g->comm, "dml_comm_destroy") < 0) {
        n->lib.abort(n->comm);
        n->comm = NULL;
    }
    dml__nccl_forget(n);
    if (n->comm == NULL)
        return;
    if (dml__nccl_settle(n, "ncclCommFinalize", n->lib.finalize(n->comm)) < 0)
        n->lib.abort(n->comm);
    else
        n->lib.destroy(n->comm);
}

void dml__nccl_free(struct dml__gpu_comm *g)
{
    struct dml__nccl_comm *n = g->nccl;
    if (n == NULL)
        return;
    drain(g);
    dml__nccl_unwatch(n);
    dml__graphs_end(n->gpu, n);
    dml__graphs_forget(n->gpu, n);
    end(g);
    for (int i = 0; i < DML__NCCL_MARKS; i++)
        if (n->marker[i] != NULL)
            n->gpu->ops->event_destroy(n->gpu, n->marker[i]);
    dml__nccl_free_copies(n);
    pthread_cond_destroy(&n->stop_or_work);
    pthread_mutex_destroy(&n->lock);
    dml__free(n);
    g->nccl = NULL;
}
