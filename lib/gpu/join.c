/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A communicator meets devices: its ranks find out where each one's is, and make what
 * the paths need. Also the choice of the device, by which ranks of a node get different
 * ones while there are.
 */
#include "gpu/memory.h"
#include "gpu/nccl.h"
#include "gpu/paths.h"

#include <string.h>

/* What ranks tell each other. */
struct facts {
    uint64_t device; /* hash of its PCI address */
    int node;
    int pad;
};

static uint64_t hash_text(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

static void find_twins(struct dml__gpu_comm *g, const struct facts *all, int nranks)
{
    g->twins[0] = g->twins[1] = -1;
    for (int a = 0; a < nranks; a++)
        for (int b = a + 1; b < nranks; b++)
            if (all[a].device == all[b].device && all[a].node == all[b].node) {
                g->twins[0] = a;
                g->twins[1] = b;
                return;
            }
}

static dml_status exchange_facts(struct dml__gpu_comm *g)
{
    int nnodes = 0, nranks = dml_comm_size(g->comm);
    dml_gpu_info info;
    const int *nodes = dml__comm_nodes(g->comm, &nnodes);
    struct facts own = {.node = nodes[dml_comm_rank(g->comm)]};
    struct facts *all = dml__alloc(g->gpu->ctx, (size_t)nranks * sizeof *all);
    double lacking = all == NULL;
    if (g->gpu->ops->info(g->gpu->ctx, g->gpu->index, &info) == DML_OK)
        own.device = hash_text(info.pci);
    else
        lacking = 1;
    dml_status status = dml__comm_max(g->host, &lacking, 1);
    if (status == DML_OK && lacking > 0)
        status = dml__fail(g->gpu->ctx, DML_ENOMEM, "dml_gpu_bind",
                           "a rank lacks memory, or its driver does not answer");
    if (status == DML_OK)
        status = dml_allgather(&own, all, sizeof own, DML_U8, g->host);
    if (status == DML_OK) {
        g->one_node = nnodes == 1;
        find_twins(g, all, nranks);
    }
    dml__free(all);
    return status;
}

static dml_status make_streams(struct dml__gpu_comm *g)
{
    const struct dml__gpu_ops *ops = g->gpu->ops;
    DML_TRY(ops->stream_create(g->gpu, &g->work));
    DML_TRY(ops->event_create(g->gpu, false, &g->begun));
    return ops->event_create(g->gpu, false, &g->done);
}

static void leave_gpu(void *state)
{
    struct dml__gpu_comm *g = state;
    const struct dml__gpu_ops *ops = g->gpu->ops;
    bool entered = dml__gpu_enter(g->gpu) == DML_OK;
    dml_status failed = dml__comm_check(g->comm, "dml_comm_destroy");
    if (g->host != NULL && failed < 0) /* nobody is waited for; others may not know */
        dml__comm_break(g->host, failed);
    dml__nccl_free(g);
    dml__stage_free(g);
    dml__ipc_free(g);
    if (entered) {
        if (g->work != NULL)
            ops->stream_destroy(g->gpu, g->work);
        if (g->begun != NULL)
            ops->event_destroy(g->gpu, g->begun);
        if (g->done != NULL)
            ops->event_destroy(g->gpu, g->done);
        dml__gpu_leave(g->gpu);
    }
    dml_comm_destroy(g->host);
    dml__free(g);
}

/* This rank's part. */
static dml_status set_up(struct dml__gpu_comm *g)
{
    DML_TRY(dml__device_host_only(g->host));
    DML_TRY(dml__gpu_enter(g->gpu));
    dml_status status = make_streams(g);
    dml__gpu_leave(g->gpu);
    return status;
}

/* NCCL's own memory is the one that it uses best, but no process can map another's:
 * taken where ranks could not anyway, or where $DML_GPU_MEMORY says so. */
static void choose_memory(struct dml__gpu_comm *g)
{
    const char *wish = dml__ctx_env(g->gpu->ctx, "GPU_MEMORY");
    int nranks = dml_comm_size(g->comm);
    bool mapped = g->one_node && nranks <= DML__GPU_FAN && g->ipc_lack == NULL;
    if (wish != NULL && strcmp(wish, "auto") != 0)
        mapped = strcmp(wish, "driver") == 0;
    if (g->nccl_usable && g->twins[0] < 0 && nranks > 1 && !mapped)
        dml__gpu_memory_by_nccl(g->gpu, &g->nccl->lib);
}

dml_status dml__gpu_join(dml_comm *comm)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    struct dml__gpu_comm *g = dml__alloc(ctx, sizeof *g);
    double lacking = g == NULL;
    dml_status status = dml__comm_max(comm, &lacking, 1);
    if (status == DML_OK && lacking > 0)
        status =
            dml__fail(ctx, DML_ENOMEM, "dml_gpu_bind", "no memory here or elsewhere");
    if (status < 0) {
        dml__free(g);
        return status;
    }
    g->gpu = dml__gpu_opened(ctx);
    g->gpu->used = true;
    g->comm = comm;
    status = dml_comm_split(comm, 0, dml_comm_rank(comm), &g->host);
    if (status < 0) {
        dml__free(g);
        return status;
    }
    status = set_up(g);
    lacking = status < 0;
    dml_status agreed = dml__comm_max(g->host, &lacking, 1);
    if (status == DML_OK && agreed == DML_OK && lacking > 0)
        status = dml__fail(ctx, DML_EUNSUPPORTED, "dml_gpu_bind",
                           "another rank cannot use its GPU; see its error");
    if (agreed < 0)
        status = agreed;
    if (status == DML_OK)
        status = exchange_facts(g);
    if (status == DML_OK)
        status = dml__ipc_join(g);
    if (status == DML_OK)
        status = dml__nccl_join(g);
    if (status == DML_OK)
        choose_memory(g);
    if (status < 0)
        leave_gpu(g);
    else
        dml__comm_set_gpu(comm, g, leave_gpu);
    return status;
}

/* ---- the choice of a device --------------------------------------------------------
 */

/* Device of each rank of a node in turn: the one with the fewest ranks, of those the
 * first that is near. */
static int share_out(const uint64_t *near, const int *nodes, int rank, int count)
{
    int load[64] = {0}, mine = 0;
    for (int r = 0; r <= rank; r++) {
        if (nodes[r] != nodes[rank])
            continue;
        mine = 0;
        for (int i = 1; i < count && i < 64; i++) {
            bool nearer = (near[r] >> i & 1) > (near[r] >> mine & 1);
            if (load[i] < load[mine] || (load[i] == load[mine] && nearer))
                mine = i;
        }
        load[mine]++;
    }
    return mine;
}

static dml_status nearest(dml_comm *comm, const struct dml__gpu_ops *ops, int count,
                          int *index)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    size_t nranks = (size_t)dml_comm_size(comm);
    uint64_t *near = dml__alloc(ctx, nranks * sizeof *near);
    uint64_t own = ops != NULL && count > 0 ? dml__gpu_near(ctx, ops, count) : 0;
    double lacking = near == NULL;
    dml_status status = dml__comm_max(comm, &lacking, 1);
    if (status == DML_OK && lacking > 0)
        status = dml__fail(ctx, DML_ENOMEM, "dml_gpu_bind", "no memory");
    if (status == DML_OK)
        status = dml_allgather(&own, near, sizeof own, DML_U8, comm);
    if (status == DML_OK)
        *index =
            share_out(near, dml__comm_nodes(comm, NULL), dml_comm_rank(comm), count);
    dml__free(near);
    return status;
}

/* Opens it for the context, on this rank. */
static dml_status open_one(dml_ctx *ctx, const struct dml__gpu_ops *ops, int index,
                           int count)
{
    struct dml__gpu *gpu = dml__gpu_opened(ctx);
    if (index < 0 || index >= count)
        return dml__fail(ctx, DML_EINVAL, "dml_gpu_bind",
                         "GPU %d is none of the %d that this process sees", index,
                         count);
    if (gpu == NULL)
        return dml__gpu_open(ctx, ops, index, &gpu);
    return gpu->index == index ? DML_OK : dml__gpu_change(gpu, index);
}

static dml_status bind(dml_comm *comm, int index)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    const struct dml__gpu_ops *ops = dml__gpu_driver(ctx, "dml_gpu_bind");
    const struct dml__gpu *gpu = dml__gpu_opened(ctx);
    int count = 0, chosen = index;
    dml_status status = ops != NULL ? ops->count(ctx, &count) : DML_EUNSUPPORTED;
    if (index == DML_GPU_NEAREST)
        DML_TRY(nearest(comm, ops, count, &chosen));
    if (index == DML_GPU_NEAREST && gpu != NULL)
        chosen = gpu->index;
    if (status == DML_OK)
        status = open_one(ctx, ops, chosen, count);
    double worst = status < 0;
    DML_TRY(dml__comm_max(comm, &worst, 1));
    if (status < 0)
        return status;
    if (worst > 0)
        return dml__fail(ctx, DML_EUNSUPPORTED, "dml_gpu_bind",
                         "another rank has no GPU; see its error");
    return dml__comm_gpu(comm) != NULL ? DML_OK : dml__gpu_join(comm);
}

dml_status dml_gpu_bind(dml_comm *comm, int index)
{
    if (comm == NULL)
        return DML_EINVAL;
    DML_TRY(dml__comm_check(comm, __func__));
    dml__comm_enter(comm);
    dml_status status = bind(comm, index);
    dml__comm_leave(comm);
    return status;
}

dml_status dml_comm_set_stream(dml_comm *comm, dml_gpu_stream stream, bool queued)
{
    if (comm == NULL)
        return DML_EINVAL;
    struct dml__gpu_comm *g = dml__comm_gpu(comm);
    if (g == NULL)
        return dml__fail(dml_comm_ctx(comm), DML_EINVAL, __func__,
                         "the communicator has no device yet; call dml_gpu_bind first");
    dml__comm_enter(comm);
    g->stream = stream;
    g->queued = queued;
    dml__comm_leave(comm);
    return DML_OK;
}

dml_status dml_comm_async_error(dml_comm *comm)
{
    if (comm == NULL)
        return DML_EINVAL;
    const struct dml__gpu_comm *g = dml__comm_gpu(comm);
    return g != NULL && g->nccl != NULL ? dml__nccl_judge(g->nccl, __func__)
                                        : dml__comm_check(comm, __func__);
}
