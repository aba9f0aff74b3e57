/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Can the ranks of a node map each other's device memory? GPUs that do not reach each
 * other, and containers, may not let them: tried once, so that calls go another way
 * instead of failing.
 */
#include "gpu/launch.h"
#include "gpu/paths.h"

struct offer {
    struct dml__gpu_ipc handle;
    uint64_t made;
};

/* Maps the memory of every peer, and takes it back; false where some cannot be. */
static bool map_once(const struct dml__gpu_comm *g, const struct dml__gpu *quiet,
                     const struct offer *all)
{
    bool mapped = true;
    for (int i = 0; i < dml_comm_size(g->comm) && mapped; i++) {
        void *base = NULL;
        if (i != dml_comm_rank(g->comm))
            mapped = all[i].made != 0 &&
                     quiet->ops->ipc_open(quiet, &all[i].handle, &base) == DML_OK &&
                     quiet->ops->ipc_close(quiet, base) == DML_OK;
    }
    return mapped;
}

static dml_status try_peers(struct dml__gpu_comm *g, void *memory, struct offer *all)
{
    struct dml__gpu quiet = dml__gpu_quiet(g->gpu);
    struct offer own = {.made = 0};
    own.made = quiet.ops->ipc_get(&quiet, memory, &own.handle) == DML_OK;
    DML_TRY(dml_allgather(&own, all, sizeof own, DML_U8, g->host));
    double lacking = !map_once(g, &quiet, all);
    DML_TRY(dml__comm_max(g->host, &lacking, 1));
    if (lacking > 0)
        g->ipc_lack = "a rank cannot map the GPU memory of another";
    return DML_OK;
}

/* Before a capture, in which nothing can be loaded. */
static dml_status load_kernels(const struct dml__gpu *gpu)
{
    struct dml__gpu quiet = dml__gpu_quiet(gpu);
    DML_TRY(dml__gpu_enter(&quiet));
    dml_status status = dml__gpu_reduce_load(&quiet);
    dml__gpu_leave(&quiet);
    return status;
}

dml_status dml__ipc_join(struct dml__gpu_comm *g)
{
    const struct dml__gpu *gpu = g->gpu;
    int nranks = dml_comm_size(g->comm);
    void *memory = NULL;
    const dml_status loaded = load_kernels(gpu);
    double unable[] = {loaded == DML_EUNSUPPORTED, loaded < 0};
    DML_TRY(dml__comm_max(g->host, unable, 2));
    if (unable[1] > 0) {
        g->ipc_lack = unable[0] > 0
                          ? "libdml was not built for a rank's GPU (-Dgpu_archs)"
                          : "a rank's GPU cannot load the reduction kernels";
        return DML_OK;
    }
    if (nranks == 1 || nranks > DML__GPU_FAN || !g->one_node)
        return DML_OK;
    struct offer *all = dml__alloc(gpu->ctx, (size_t)nranks * sizeof *all);
    bool entered = dml__gpu_enter(gpu) == DML_OK;
    double lacking = all == NULL || !entered || gpu->ops->alloc(gpu, 1, &memory) < 0;
    dml_status status = dml__comm_max(g->host, &lacking, 1);
    if (status == DML_OK && lacking > 0)
        status = dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu_bind",
                           "no memory here or elsewhere");
    if (status == DML_OK)
        status = try_peers(g, memory, all);
    if (memory != NULL)
        gpu->ops->free(gpu, memory);
    if (entered)
        dml__gpu_leave(gpu);
    dml__comm_release(g->host, all);
    return status;
}
