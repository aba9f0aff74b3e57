/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table that lib/collectives calls for device memory: where buffers lie, what a
 * path can do, and how it is begun.
 */
#include "gpu/paths.h"

#include "gpu/tensors.h"

#include <stdio.h>
#include <string.h>

/* ---- where buffers lie -------------------------------------------------------------
 */

/* Memory that no kernel can read: host memory, but pinned one. */
static dml_status is_plain(const struct dml__gpu *gpu, const void *p, bool *plain)
{
    struct dml__gpu_place place = {.kind = DML_GPU_HOST};
    DML_TRY(gpu->ops->place(gpu, p, &place));
    *plain = place.kind == DML_GPU_HOST;
    return DML_OK;
}

static dml_status locate_pieces(const struct dml__gpu *gpu, struct dml__call *call)
{
    bool here = false, there = false, yes = false;
    for (size_t i = 0; i < call->npieces; i++) {
        DML_TRY(dml__gpu_holds(gpu, call->pieces[i].data, &yes));
        if (call->pieces[i].count == 0)
            continue;
        there = there || yes;
        here = here || !yes;
    }
    call->on_device = there;
    for (size_t i = 0; here && there && i < call->npieces && !call->mixed; i++)
        if (call->pieces[i].count > 0)
            DML_TRY(is_plain(gpu, call->pieces[i].data, &call->mixed));
    return DML_OK;
}

static dml_status look(const struct dml__gpu *gpu, struct dml__call *call)
{
    bool send = false, recv = false;
    if (call->pieces != NULL)
        return locate_pieces(gpu, call);
    DML_TRY(dml__gpu_holds(gpu, call->send, &send));
    if (call->recv != call->send)
        DML_TRY(dml__gpu_holds(gpu, call->recv, &recv));
    call->on_device = send || recv;
    if (send == recv || call->recv == call->send || dml__gpu_sends(call) == 0 ||
        dml__gpu_receives(call) == 0)
        return DML_OK;
    return is_plain(gpu, send ? call->recv : call->send, &call->mixed);
}

static dml_status locate(struct dml__call *call)
{
    const struct dml__gpu *gpu = dml__gpu_opened(dml_comm_ctx(call->comm));
    const struct dml__gpu_comm *g = dml__comm_gpu(call->comm);
    if (call->coll == DML_COLL_BARRIER || call->total == 0)
        return DML_OK;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = look(gpu, call);
    if (status == DML_OK && call->on_device && g != NULL)
        status = gpu->ops->stream_captured(gpu, g->stream, &call->captured);
    dml__gpu_leave(gpu);
    return status;
}

static bool at_root(const struct dml__call *call)
{
    return dml_comm_rank(call->comm) == call->root;
}

size_t dml__gpu_sends(const struct dml__call *call)
{
    const struct dml__traits *t = dml__traits(call->coll);
    if (t->from_root && !at_root(call))
        return 0;
    if (!t->blocks)
        return call->count;
    return t->gives_block ? dml__block(call, dml_comm_rank(call->comm)).count
                          : call->total;
}

size_t dml__gpu_receives(const struct dml__call *call)
{
    const struct dml__traits *t = dml__traits(call->coll);
    bool root = at_root(call);
    if (call->coll == DML_COLL_BCAST)
        return root ? 0 : call->count;
    if (call->coll == DML_COLL_SCATTER && root && call->in_place)
        return 0;
    if (t->rooted && !t->from_root && !root)
        return 0;
    if (!t->blocks)
        return call->count;
    return t->takes_block ? dml__block(call, dml_comm_rank(call->comm)).count
                          : call->total;
}

/* ---- paths -------------------------------------------------------------------------
 */

/* One buffer on the device and one on the host: ipc goes by the host then, but for one
 * rank alone, which asks nobody. Of a root only that rank itself knows. */
static bool takes_mixed(enum dml__path path, const struct dml__call *call)
{
    const bool alone = dml_comm_size(call->comm) == 1;
    return !alone && (path == DML__BY_IPC || dml__traits(call->coll)->rooted);
}

static const char *supports(enum dml__path path, const struct dml__call *call)
{
    struct dml__gpu_comm *g = dml__comm_gpu(call->comm);
    if (call->captured && path != DML__BY_NCCL && dml_comm_size(call->comm) > 1 &&
        dml__refusal(&dml__alg_nccl, call) == NULL)
        return "the stream is captured, and of the paths only nccl can be";
    if (path == DML__BY_HOST)
        return NULL;
    if (call->mixed && !takes_mixed(path, call))
        return "a buffer is in host memory";
    if (path == DML__BY_NCCL)
        return dml__nccl_supports(g, call);
    if (call->pieces != NULL)
        return "it takes vectors in one piece";
    if (!g->one_node)
        return "the ranks are on several nodes";
    if (dml_comm_size(call->comm) > DML__GPU_FAN)
        return "there are over 16 ranks";
    return g->ipc_lack;
}

struct dml__gpu_task *dml__gpu_task_new(const struct dml__call *call,
                                        dml__gpu_stage *first, dml_request *request)
{
    size_t nranks = (size_t)dml_comm_size(call->comm);
    size_t numbers = call->counts != NULL ? 2 * nranks : 0;
    struct dml__gpu_task *task =
        dml__sched_scratch(request, sizeof *task + numbers * sizeof task->numbers[0]);
    if (task == NULL)
        return NULL;
    memset(task, 0, sizeof *task);
    task->g = dml__comm_gpu(call->comm);
    task->call = *call;
    task->stream = task->g->stream;
    task->stage = first;
    if (call->pieces != NULL)
        task->call.pieces = dml__sched_pieces(request, call);
    if (numbers > 0) {
        memcpy(task->numbers, call->counts, nranks * sizeof task->numbers[0]);
        memcpy(task->numbers + nranks, call->offsets, nranks * sizeof task->numbers[0]);
        task->call.counts = task->numbers;
        task->call.offsets = task->numbers + nranks;
    }
    return task;
}

dml_status dml__gpu_advance(void *state)
{
    struct dml__gpu_task *task = state;
    const struct dml__gpu *gpu = task->g->gpu;
    dml_status status = DML_OK;
    int mode = DML__GPU_RELAXED; /* the progress thread's, beside a capture */
    DML_TRY(dml__gpu_enter(gpu));
    gpu->ops->capture_mode(gpu, &mode);
    while (status == DML_OK && task->stage != NULL)
        status = task->stage(task);
    gpu->ops->capture_mode(gpu, &mode);
    dml__gpu_leave(gpu);
    return status;
}

dml_status dml__gpu_after_caller(struct dml__gpu_task *task, void *stream)
{
    struct dml__gpu_comm *g = task->g;
    const struct dml__gpu_ops *ops = g->gpu->ops;
    DML_TRY(ops->event_record(g->gpu, g->begun, task->stream));
    return ops->stream_wait(g->gpu, stream, g->begun);
}

/* One rank's own work, or NCCL's: queued, and waited for unless the caller does. */
static dml_status queue(struct dml__gpu_comm *g, enum dml__path path,
                        const struct dml__call *call)
{
    if (path == DML__BY_NCCL)
        return dml__nccl_run(g, call);
    DML_TRY(dml__ipc_alone(g, call, g->stream));
    return dml__gpu_queues(g) ? DML_OK : g->gpu->ops->stream_sync(g->gpu, g->stream);
}

/* What waits on the host cannot be kept in a graph. Nothing has begun: it is refused,
 * on all ranks that capture. */
static dml_status refuse_capture(const struct dml__call *call, const char *why,
                                 const char *next)
{
    return dml__fail(dml_comm_ctx(call->comm), DML_EUNSUPPORTED, call->where,
                     "%s %s; %s", dml_coll_name(call->coll), why, next);
}

static dml_status may_capture(const struct dml__gpu_comm *g, enum dml__path path,
                              const struct dml__call *call, bool requested)
{
    const bool alone = path == DML__BY_IPC && dml_comm_size(call->comm) == 1;
    const char *nccls = dml__refusal(&dml__alg_nccl, call); /* NULL: ours is forced */
    char next[160] = "use nccl, or leave it out";
    if (nccls != NULL)
        snprintf(next, sizeof next, "and nccl cannot do it: %s", nccls);
    if (path == DML__BY_HOST || (path == DML__BY_IPC && !alone))
        return refuse_capture(call,
                              path == DML__BY_IPC
                                  ? "by ipc cannot be captured in a graph: it needs "
                                    "the host meanwhile"
                                  : "by host_staged cannot be captured in a graph: it "
                                    "needs the host meanwhile",
                              next);
    if (path == DML__BY_NCCL && dml__nccl_misaligned(call))
        return refuse_capture(call,
                              "cannot be captured in a graph: an address is no "
                              "multiple of the element's size",
                              "give it another");
    if (requested && !g->lent)
        return refuse_capture(call, "with a request cannot be captured in a graph",
                              "make the call that blocks");
    if (!dml__gpu_queues(g))
        return refuse_capture(call,
                              "cannot be captured in a graph: blocking calls wait for "
                              "their result",
                              "let them queue (dml_comm_set_stream)");
    return DML_OK;
}

static bool at_once(enum dml__path path, const struct dml__call *call, bool requested,
                    dml_status *status)
{
    struct dml__gpu_comm *g = dml__comm_gpu(call->comm);
    const bool alone = path == DML__BY_IPC && dml_comm_size(call->comm) == 1;
    if (call->captured && (*status = may_capture(g, path, call, requested)) < 0)
        return true;
    if (path != DML__BY_NCCL && !alone)
        return false;
    if (requested && !(g->lent && dml__gpu_queues(g)))
        return false;
    *status = dml__gpu_enter(g->gpu);
    if (*status < 0)
        return true;
    *status = queue(g, path, call);
    dml__gpu_leave(g->gpu);
    if (*status < 0)
        dml__comm_break(call->comm, *status);
    return true;
}

static void build(enum dml__path path, const struct dml__call *call,
                  dml_request *request)
{
    dml__gpu_stage *first = path == DML__BY_NCCL  ? dml__nccl_begin
                            : path == DML__BY_IPC ? dml__ipc_begin
                                                  : dml__host_staged_begin;
    struct dml__gpu_task *task = dml__gpu_task_new(call, first, request);
    if (task == NULL)
        return; /* the request knows */
    int begun = dml__sched_task(request, dml__gpu_advance, task, sizeof *task,
                                DML__NO_STEP, DML__NO_STEP);
    if (path != DML__BY_NCCL)
        return;
    /* Later calls are queued behind this one while its end is waited for. */
    struct dml__gpu_task *wait = dml__gpu_task_new(call, dml__nccl_wait, request);
    if (wait == NULL)
        return;
    wait->begun = task;
    dml__sched_device_task(request, dml__gpu_advance, wait, sizeof *wait, begun,
                           DML__NO_STEP);
}

static dml_status ready(dml_comm *comm)
{
    return dml__comm_gpu(comm) != NULL ? DML_OK : dml__gpu_join(comm);
}

static void *take(dml_comm *comm, size_t bytes)
{
    const struct dml__gpu quiet = dml__gpu_quiet(dml__gpu_opened(dml_comm_ctx(comm)));
    void *memory = NULL;
    if (dml__gpu_enter(&quiet) < 0)
        return NULL;
    if (dml__gpu_get_zeroed(&quiet, bytes, &memory) < 0) {
        dml__gpu_release(&quiet, memory);
        memory = NULL;
    }
    quiet.ops->stream_sync(&quiet, NULL);
    dml__gpu_leave(&quiet);
    return memory;
}

static void give(dml_comm *comm, void *memory)
{
    const struct dml__gpu *gpu = dml__gpu_opened(dml_comm_ctx(comm));
    if (dml__gpu_enter(gpu) < 0)
        return;
    dml__gpu_release(gpu, memory);
    dml__gpu_leave(gpu);
}

static bool set_waiting(dml_comm *comm, bool on)
{
    struct dml__gpu_comm *g = dml__comm_gpu(comm);
    bool captured = false;
    if (on && dml__gpu_enter(g->gpu) == DML_OK) {
        g->gpu->ops->stream_captured(g->gpu, g->stream, &captured);
        dml__gpu_leave(g->gpu);
    }
    g->waits = on;
    return !captured;
}

const struct dml__device_paths dml__gpu_paths = {
    .locate = locate,
    .ready = ready,
    .supports = supports,
    .at_once = at_once,
    .take = take,
    .give = give,
    .wait = set_waiting,
    .build = build,
};
