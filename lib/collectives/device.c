/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The paths for device memory as algorithms: chosen, forced and named in tuning tables
 * as all others. What they do is lib/gpu's, which hangs it on the context.
 */
#include "collectives/device.h"

#include "collectives/select.h"

static const struct dml__device_paths *paths_of(const dml_comm *comm)
{
    const struct dml__device *device = dml__ctx_device(dml_comm_ctx(comm));
    return device != NULL ? device->paths : NULL;
}

bool dml__device_in_use(const dml_comm *comm)
{
    return paths_of(comm) != NULL;
}

/* Is a path asked for the host's memory, too? */
static bool stages_all(const struct dml__coll_state *state, dml_coll coll)
{
    const struct dml__alg *alg = state->forced[coll].alg[false];
    return alg != NULL && alg->path != DML__ON_HOST;
}

dml_status dml__device_locate(struct dml__call *call)
{
    const struct dml__device_paths *paths = paths_of(call->comm);
    if (paths == NULL)
        return DML_OK;
    const struct dml__coll_state *state = dml__coll_state(call->comm);
    if (state == NULL)
        return dml__last_status(call->comm);
    if (state->host_only)
        return DML_OK;
    DML_TRY(paths->locate(call));
    call->may_stage = true;
    call->any_place = stages_all(state, call->coll);
    return DML_OK;
}

dml_status dml__device_ready(const struct dml__call *call)
{
    bool needed = call->on_device || call->any_place;
    return needed ? paths_of(call->comm)->ready(call->comm) : DML_OK;
}

void *dml__device_take(dml_comm *comm, size_t bytes)
{
    return paths_of(comm)->take(comm, bytes);
}

void dml__device_give(dml_comm *comm, void *memory)
{
    if (memory != NULL)
        paths_of(comm)->give(comm, memory);
}

bool dml__device_waits(dml_comm *comm, bool on)
{
    return paths_of(comm)->wait(comm, on);
}

dml_status dml__device_host_only(dml_comm *comm)
{
    struct dml__coll_state *state = dml__coll_state(comm);
    if (state == NULL)
        return dml__last_status(comm);
    state->host_only = true;
    for (int c = 0; c < DML_NCOLLS; c++)
        state->forced[c] = (struct dml__forced){.by = NULL};
    return DML_OK;
}

/* ---- the algorithms ----------------------------------------------------------------
 */

static const char *supports(enum dml__path path, const struct dml__call *call)
{
    const struct dml__device_paths *paths = paths_of(call->comm);
    if (paths == NULL)
        return "no GPU is in use (dml_gpu_bind, DML_GPU)";
    bool any = path == DML__BY_HOST || call->total == 0;
    if (!call->may_stage || (!call->on_device && !any))
        return "the buffers are in host memory";
    return paths->supports(path, call);
}

static void build(enum dml__path path, const struct dml__call *call,
                  dml_request *request)
{
    paths_of(call->comm)->build(path, call, request);
}

#define PATH(name, number)                                                       \
    static const char *name##_supports(const struct dml__call *call)             \
    {                                                                            \
        return supports(number, call);                                           \
    }                                                                            \
    static void name##_build(const struct dml__call *call, dml_request *request) \
    {                                                                            \
        build(number, call, request);                                            \
    }

PATH(nccl, DML__BY_NCCL)
PATH(ipc, DML__BY_IPC)
PATH(host_staged, DML__BY_HOST)

bool dml__device_at_once(const struct dml__call *call, const struct dml__alg *alg,
                         bool requested, dml_status *status)
{
    return paths_of(call->comm)->at_once(alg->path, call, requested, status);
}

/* Costs are assumed, since only the order of the paths matters: where ranks have a GPU
 * each NCCL knows their links best; peers' memory is nearer than the host's; and one
 * rank alone needs no library to copy. */
static double nccl_cost_s(const struct dml__model *m, double bytes)
{
    return 12e-6 + 2 * bytes / (m->nranks > 1 ? 300e9 : 1500e9);
}

static double ipc_cost_s(const struct dml__model *m, double bytes)
{
    if (m->nranks == 1)
        return 6e-6 + 2 * bytes / 1500e9;
    return 26e-6 + 2 * m->node.alpha_s * m->nranks + 2 * m->nranks * bytes / 100e9;
}

static double host_staged_cost_s(const struct dml__model *m, double bytes)
{
    struct dml__link_cost link = dml__flat(m);
    double host_s = link.alpha_s + 2 * bytes * link.beta_s, copy_s = bytes / 30e9;
    return 40e-6 + (host_s > copy_s ? host_s : copy_s);
}

const struct dml__alg dml__alg_nccl = {
    .name = "nccl",
    .text = "device memory: NCCL, on the caller's stream",
    .path = DML__BY_NCCL,
    .takes_pieces = true, /* a group of calls */
    .supports = nccl_supports,
    .cost_s = nccl_cost_s,
    .build = nccl_build,
};

const struct dml__alg dml__alg_ipc = {
    .name = "ipc",
    .text = "device memory of one node, mapped by all its ranks: own kernels",
    .path = DML__BY_IPC,
    .rank_order = true,
    .supports = ipc_supports,
    .cost_s = ipc_cost_s,
    .build = ipc_build,
};

const struct dml__alg dml__alg_host_staged = {
    .name = "host_staged",
    .text = "device memory through the host: copies and host collectives in a pipeline",
    .path = DML__BY_HOST,
    .rank_order = true, /* the host's collectives see to it themselves */
    .takes_pieces = true,
    .supports = host_staged_supports,
    .cost_s = host_staged_cost_s,
    .build = host_staged_build,
};
