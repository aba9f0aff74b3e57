/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device memory that all ranks of a node map, also of several ranks on one GPU: ranks
 * tell each other where their buffers are, each does its part of the work by kernels on
 * all of them, and nobody goes before all have done theirs. An all-reduce thus reads
 * and writes every element once for each rank, in one kernel, and adds in rank order.
 *
 * Kernels never wait for other processes: on a GPU that they share in time slices, that
 * could last for ever. The host waits instead.
 */
#include "gpu/paths.h"

#include <string.h>

enum { MAPPED = 64 };

/* Where a buffer is, for peers. A handle alone may be that of memory which is gone. */
struct place {
    struct dml__gpu_ipc handle;
    uint64_t id;          /* of the allocation in its process; 0: there is none */
    uint64_t base, bytes; /* where it lies there */
    uint64_t offset;
};

/* What a rank tells the others about a call. */
struct told {
    struct place send, recv;
    double scale;
    uint64_t ok; /* its buffers can be mapped */
};

struct mapping {
    int rank; /* whose memory it is */
    struct place place;
    void *base; /* NULL: free */
    uint64_t used;
};

struct dml__ipc_peers {
    struct told own;
    struct told *all;     /* [P] */
    dml_request *request; /* of the call under way, on the host's communicator */
    struct mapping mappings[MAPPED];
    uint64_t uses, before; /* before: the uses before this call's */
    void *scratch;         /* results that would overwrite what peers still read */
    size_t scratch_bytes;
};

static dml_status peers_of(struct dml__gpu_comm *g)
{
    size_t nranks = (size_t)dml_comm_size(g->comm);
    if (g->peers != NULL)
        return DML_OK;
    g->peers = dml__alloc(g->gpu->ctx, sizeof *g->peers);
    if (g->peers != NULL)
        g->peers->all = dml__alloc(g->gpu->ctx, nranks * sizeof *g->peers->all);
    if (g->peers != NULL && g->peers->all != NULL)
        return DML_OK;
    return dml__fail(g->gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory for the peers");
}

void dml__ipc_free(struct dml__gpu_comm *g)
{
    struct dml__ipc_peers *p = g->peers;
    if (p == NULL)
        return;
    if (p->request != NULL)
        dml_wait(&p->request); /* of a call that failed: at once */
    for (int i = 0; i < MAPPED; i++)
        if (p->mappings[i].base != NULL)
            g->gpu->ops->ipc_close(g->gpu, p->mappings[i].base);
    if (p->scratch != NULL)
        g->gpu->ops->free(g->gpu, p->scratch);
    dml__comm_release(g->host, p->all); /* MPI may still write into both */
    dml__comm_release(g->host, p);
}

/* ---- where buffers are -------------------------------------------------------------
 */

/* How peers find n elements at p; false where they cannot. */
static bool describe(const struct dml__gpu *gpu, const void *p, size_t n,
                     struct place *out)
{
    struct dml__gpu_place place;
    struct dml__gpu quiet = dml__gpu_quiet(gpu);
    if (n == 0)
        return true;
    if (gpu->ops->place(&quiet, p, &place) < 0 || place.kind != DML_GPU_DEVICE ||
        place.base == NULL)
        return false;
    out->id = place.id;
    out->base = (uint64_t)(uintptr_t)place.base;
    out->bytes = place.bytes;
    out->offset = (uint64_t)((const char *)p - (const char *)place.base);
    return gpu->ops->ipc_get(&quiet, place.base, &out->handle) == DML_OK;
}

static void describe_call(struct dml__gpu_comm *g, const struct dml__call *call)
{
    struct told *own = &g->peers->own;
    memset(own, 0, sizeof *own);
    own->scale = call->red.scale;
    own->ok = describe(g->gpu, call->send, dml__gpu_sends(call), &own->send) &&
              describe(g->gpu, call->recv, dml__gpu_receives(call), &own->recv);
}

static dml_status unmap(struct dml__gpu_comm *g, struct mapping *m)
{
    void *base = m->base;
    m->base = NULL;
    m->used = 0;
    return base != NULL ? g->gpu->ops->ipc_close(g->gpu, base) : DML_OK;
}

static bool overlap(const struct place *a, const struct place *b)
{
    return a->base < b->base + b->bytes && b->base < a->base + a->bytes;
}

/* The mapping of an allocation, or a free one with base NULL: the one not used for
 * longest makes room. Mappings of memory that has been freed since, for the new one
 * lies there, are given up: they would keep it from its owner. */
static dml_status find_mapping(struct dml__gpu_comm *g, int rank,
                               const struct place *place, struct mapping **found)
{
    struct dml__ipc_peers *p = g->peers;
    struct mapping *oldest = &p->mappings[0];
    *found = NULL;
    for (int i = 0; i < MAPPED; i++) {
        struct mapping *m = &p->mappings[i];
        bool owners = m->base != NULL && m->rank == rank;
        if (owners && m->place.id == place->id)
            *found = m;
        else if (owners && overlap(&m->place, place))
            DML_TRY(unmap(g, m));
        if (m->used < oldest->used)
            oldest = m;
    }
    if (*found != NULL)
        return DML_OK;
    *found = oldest;
    return unmap(g, oldest);
}

/* CUDA refuses to map memory where any mapping is left of what lay there before, and
 * small allocations lie in one piece of memory with others. So what this call does not
 * use is given up, and it is tried again. */
static dml_status open_memory(struct dml__gpu_comm *g, int rank,
                              const struct place *place, void **base)
{
    struct dml__ipc_peers *p = g->peers;
    const struct dml__gpu quiet = dml__gpu_quiet(g->gpu);
    if (quiet.ops->ipc_open(&quiet, &place->handle, base) == DML_OK)
        return DML_OK;
    for (int i = 0; i < MAPPED; i++)
        if (p->mappings[i].rank == rank && p->mappings[i].used <= p->before)
            DML_TRY(unmap(g, &p->mappings[i]));
    return g->gpu->ops->ipc_open(g->gpu, &place->handle, base);
}

/* Where a peer's buffer is here; NULL where it has none. What was mapped stays, since
 * peers use the same buffers again and again. */
static dml_status map(struct dml__gpu_comm *g, int rank, const struct place *place,
                      char **at)
{
    struct mapping *m;
    *at = NULL;
    if (place->id == 0)
        return DML_OK;
    DML_TRY(find_mapping(g, rank, place, &m));
    if (m->base == NULL)
        DML_TRY(open_memory(g, rank, place, &m->base));
    m->rank = rank;
    m->place = *place;
    m->used = ++g->peers->uses;
    *at = (char *)m->base + place->offset;
    return DML_OK;
}

static dml_status map_all(struct dml__gpu_comm *g, const struct dml__call *call,
                          struct dml__ipc_view *view)
{
    const struct told *all = g->peers->all;
    int rank = dml_comm_rank(g->comm);
    g->peers->before = g->peers->uses;
    for (int i = 0; i < dml_comm_size(g->comm); i++) {
        char *send, *recv;
        view->scale[i] = all[i].scale;
        view->send[i] = call->send;
        view->recv[i] = call->recv;
        if (i == rank)
            continue;
        DML_TRY(map(g, i, &all[i].send, &send));
        DML_TRY(map(g, i, &all[i].recv, &recv));
        view->send[i] = send;
        view->recv[i] = recv;
    }
    return DML_OK;
}

/* ---- stages ------------------------------------------------------------------------
 */

static dml__gpu_stage wait_input, map_peers, wait_work, wait_peers, wait_end;

static dml_status end(struct dml__gpu_task *task)
{
    task->stage = NULL;
    return DML_OK;
}

static dml_status begin_alone(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    DML_TRY(dml__gpu_after_caller(task, g->work));
    DML_TRY(dml__ipc_alone(g, &task->call, g->work));
    task->stage = wait_end;
    return g->gpu->ops->event_record(g->gpu, g->done, g->work);
}

dml_status dml__ipc_begin(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    if (dml_comm_size(g->comm) == 1)
        return begin_alone(task);
    DML_TRY(peers_of(g));
    task->stage = wait_input;
    return g->gpu->ops->event_record(g->gpu, g->begun, task->stream);
}

static dml_status wait_input(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    dml_status status = g->gpu->ops->event_query(g->gpu, g->begun);
    if (status != DML_OK)
        return status;
    describe_call(g, &task->call);
    task->stage = map_peers;
    return dml_iallgather(&g->peers->own, g->peers->all, sizeof g->peers->own, DML_U8,
                          g->host, &g->peers->request);
}

/* Results of these go where peers read input. */
static bool needs_scratch(const struct dml__call *call)
{
    return call->in_place &&
           (call->coll == DML_COLL_REDUCE_SCATTER || call->coll == DML_COLL_ALLTOALL);
}

static dml_status take_scratch(struct dml__gpu_comm *g, size_t bytes)
{
    struct dml__ipc_peers *p = g->peers;
    if (p->scratch_bytes >= bytes)
        return DML_OK;
    if (p->scratch != NULL)
        DML_TRY(g->gpu->ops->free(g->gpu, p->scratch));
    p->scratch = NULL;
    p->scratch_bytes = 0;
    DML_TRY(g->gpu->ops->alloc(g->gpu, bytes, &p->scratch));
    p->scratch_bytes = bytes;
    return DML_OK;
}

static dml_status map_peers(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    struct dml__ipc_view view;
    uint64_t ok = 1;
    dml_status status = dml_test(&g->peers->request);
    if (status != DML_OK)
        return status;
    for (int i = 0; i < dml_comm_size(g->comm); i++)
        ok = ok && g->peers->all[i].ok;
    if (!ok) { /* the same on all ranks: some buffer is not the device's */
        task->stage = dml__host_staged_begin;
        return DML_OK;
    }
    DML_TRY(map_all(g, &task->call, &view));
    task->used_scratch = needs_scratch(&task->call);
    if (task->used_scratch) {
        size_t bytes = dml__gpu_receives(&task->call) * task->call.elem_bytes;
        DML_TRY(take_scratch(g, bytes));
        view.recv[dml_comm_rank(g->comm)] = g->peers->scratch;
    }
    DML_TRY(dml__ipc_work(g, &task->call, &view, g->work));
    task->stage = wait_work;
    return g->gpu->ops->event_record(g->gpu, g->done, g->work);
}

static dml_status wait_work(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    dml_status status = g->gpu->ops->event_query(g->gpu, g->done);
    if (status != DML_OK)
        return status;
    task->stage = wait_peers;
    return dml_ibarrier(g->host, &g->peers->request);
}

static dml_status wait_peers(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    dml_status status = dml_test(&g->peers->request);
    if (status != DML_OK || !task->used_scratch)
        return status == DML_OK ? end(task) : status;
    size_t bytes = dml__gpu_receives(&task->call) * task->call.elem_bytes;
    if (bytes == 0)
        return end(task);
    DML_TRY(
        g->gpu->ops->copy(g->gpu, task->call.recv, g->peers->scratch, bytes, g->work));
    task->stage = wait_end;
    return g->gpu->ops->event_record(g->gpu, g->done, g->work);
}

static dml_status wait_end(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    dml_status status = g->gpu->ops->event_query(g->gpu, g->done);
    return status == DML_OK ? end(task) : status;
}
