/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device memory through the host: in chunks, copies to pinned memory, collectives of
 * the host, and copies back, so that all three are busy at once. Any collective, type
 * and operation, any number of nodes, and buffers of which some are on the host. A
 * chunk of a vector in blocks is a part of every block.
 */
#include "gpu/paths.h"

#include <stdlib.h>

/* Chunks under way, and bytes of a chunk: large enough for copies at full speed and
 * collectives bound by bandwidth. */
enum { SLOTS = 4, SLOT_BYTES = 4 << 20 };

struct slot {
    char *in, *out; /* pinned */
    void *copied;   /* event: input is in "in" */
    void *stored;   /* event: the result has left "out" */
    dml_request *request;
    size_t *counts; /* [P] of the chunk */
};

/* Of a chunk; tests make it small. */
static size_t slot_bytes(const dml_ctx *ctx)
{
    const char *text = dml__ctx_env(ctx, "TEST_GPU_CHUNK");
    return text != NULL ? strtoul(text, NULL, 10) : SLOT_BYTES;
}

struct dml__stage {
    void *to_host, *to_device; /* streams */
    struct slot slots[SLOTS];
    size_t bytes; /* of "in" and of "out" */
};

/* ---- memory ------------------------------------------------------------------------
 */

/* After a failure MPI may still write into a slot: it is left to MPI then. */
static void free_slot(struct dml__gpu_comm *g, struct slot *slot, bool left)
{
    const struct dml__gpu_ops *ops = g->gpu->ops;
    if (slot->in != NULL && !left)
        ops->free_pinned(g->gpu, slot->in);
    if (slot->out != NULL && !left)
        ops->free_pinned(g->gpu, slot->out);
    if (slot->copied != NULL)
        ops->event_destroy(g->gpu, slot->copied);
    if (slot->stored != NULL)
        ops->event_destroy(g->gpu, slot->stored);
    dml__comm_release(g->host, slot->counts);
}

void dml__stage_free(struct dml__gpu_comm *g)
{
    struct dml__stage *s = g->stage;
    const struct dml__gpu_ops *ops = g->gpu->ops;
    if (s == NULL)
        return;
    bool left = dml__comm_check(g->host, "dml_comm_destroy") < 0;
    for (int i = 0; i < SLOTS; i++)
        if (s->slots[i].request != NULL)
            dml_wait(&s->slots[i].request); /* of a call that failed: at once */
    for (int i = 0; i < SLOTS; i++)
        free_slot(g, &s->slots[i], left);
    if (s->to_host != NULL)
        ops->stream_destroy(g->gpu, s->to_host);
    if (s->to_device != NULL)
        ops->stream_destroy(g->gpu, s->to_device);
    dml__free(s);
    g->stage = NULL;
}

static dml_status fill_slot(struct dml__gpu_comm *g, struct slot *slot, size_t bytes)
{
    const struct dml__gpu_ops *ops = g->gpu->ops;
    size_t nranks = (size_t)dml_comm_size(g->comm);
    void *in = NULL, *out = NULL;
    slot->counts = dml__alloc(g->gpu->ctx, nranks * sizeof *slot->counts);
    if (slot->counts == NULL)
        return dml__fail(g->gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory for a chunk");
    DML_TRY(ops->event_create(g->gpu, false, &slot->copied));
    DML_TRY(ops->event_create(g->gpu, false, &slot->stored));
    DML_TRY(ops->alloc_pinned(g->gpu, bytes, &in));
    slot->in = in;
    DML_TRY(ops->alloc_pinned(g->gpu, bytes, &out));
    slot->out = out;
    return DML_OK;
}

/* At first, and for chunks larger than before: one element of each block may be. */
static dml_status stage_of(struct dml__gpu_comm *g, size_t bytes)
{
    size_t usual = slot_bytes(g->gpu->ctx);
    bytes = bytes > usual ? bytes : usual;
    if (g->stage != NULL && g->stage->bytes >= bytes)
        return DML_OK;
    dml__stage_free(g);
    g->stage = dml__alloc(g->gpu->ctx, sizeof *g->stage);
    if (g->stage == NULL)
        return dml__fail(g->gpu->ctx, DML_ENOMEM, "dml_gpu",
                         "no memory for the stages");
    g->stage->bytes = bytes;
    DML_TRY(g->gpu->ops->stream_create(g->gpu, &g->stage->to_host));
    DML_TRY(g->gpu->ops->stream_create(g->gpu, &g->stage->to_device));
    for (int i = 0; i < SLOTS; i++)
        DML_TRY(fill_slot(g, &g->stage->slots[i], bytes));
    return DML_OK;
}

/* ---- chunks ------------------------------------------------------------------------
 */

/* Elements of chunk c of a range. */
static struct dml__range part(const struct dml__gpu_task *task, struct dml__range range,
                              size_t c)
{
    return dml__part(range, c * task->chunk, task->chunk);
}

/* Copies between the caller's memory and a slot's: plain host memory at once, all that
 * a stream may still write to behind what the caller queued, pinned memory too. */
static dml_status move(struct dml__gpu_comm *g, char *user, char *slot, size_t bytes,
                       bool in, void *stream)
{
    struct dml__gpu_place place;
    if (bytes == 0)
        return DML_OK;
    DML_TRY(g->gpu->ops->place(g->gpu, user, &place));
    char *to = in ? slot : user, *from = in ? user : slot;
    if (place.kind != DML_GPU_HOST)
        return g->gpu->ops->copy(g->gpu, to, from, bytes, stream);
    dml__copy(to, from, bytes);
    return DML_OK;
}

/* Chunk c of a vector between the caller's memory and a slot's, where its parts lie one
 * behind the other. blocks: 0 of a whole vector; else of all blocks. */
static dml_status move_vector(struct dml__gpu_task *task, size_t c, void *user,
                              char *slot, bool in, bool all_blocks, void *stream)
{
    const struct dml__call *call = &task->call;
    size_t bytes = call->elem_bytes;
    if (!all_blocks) {
        bool block = dml__traits(call->coll)->blocks;
        size_t own =
            block ? dml__block(call, dml_comm_rank(call->comm)).count : call->count;
        struct dml__range r = part(task, (struct dml__range){0, own}, c);
        return move(task->g, (char *)user + r.offset * bytes, slot, r.count * bytes, in,
                    stream);
    }
    for (int i = 0; i < dml_comm_size(call->comm); i++) {
        struct dml__range r = part(task, dml__block(call, i), c);
        DML_TRY(move(task->g, (char *)user + r.offset * bytes, slot, r.count * bytes,
                     in, stream));
        slot += r.count * bytes;
    }
    return DML_OK;
}

/* The same of a vector in pieces. */
static dml_status move_pieces(struct dml__gpu_task *task, size_t c, char *slot, bool in,
                              void *stream)
{
    const struct dml__call *call = &task->call;
    struct dml__range r = part(task, (struct dml__range){0, call->count}, c);
    struct dml__cursor cursor = {0};
    while (r.count > 0) {
        char *where = NULL;
        size_t n = dml__together(call, &cursor, r.offset, r.count, &where);
        DML_TRY(move(task->g, where, slot, n * call->elem_bytes, in, stream));
        slot += n * call->elem_bytes;
        r.offset += n;
        r.count -= n;
    }
    return DML_OK;
}

static dml_status copy_in(struct dml__gpu_task *task, size_t c)
{
    const struct dml__call *call = &task->call;
    const struct dml__traits *t = dml__traits(call->coll);
    struct dml__stage *s = task->g->stage;
    struct slot *slot = &s->slots[c % SLOTS];
    union {
        const void *given;
        void *taken; /* it is only read */
    } send = {.given = call->send};
    dml_status status = DML_OK;
    if (call->pieces != NULL)
        status = move_pieces(task, c, slot->in, true, s->to_host);
    else if (dml__gpu_sends(call) > 0)
        status = move_vector(task, c, send.taken, slot->in, true,
                             t->blocks && !t->gives_block, s->to_host);
    DML_TRY(status);
    return task->g->gpu->ops->event_record(task->g->gpu, slot->copied, s->to_host);
}

static dml_status copy_out(struct dml__gpu_task *task, size_t c)
{
    const struct dml__call *call = &task->call;
    const struct dml__traits *t = dml__traits(call->coll);
    struct dml__stage *s = task->g->stage;
    struct slot *slot = &s->slots[c % SLOTS];
    /* A broadcast is done in place, in the root's input. */
    char *from = call->coll == DML_COLL_BCAST ? slot->in : slot->out;
    dml_status status = DML_OK;
    if (call->pieces != NULL)
        status = move_pieces(task, c, from, false, s->to_device);
    else if (dml__gpu_receives(call) > 0)
        status = move_vector(task, c, call->recv, from, false,
                             t->blocks && !t->takes_block, s->to_device);
    DML_TRY(status);
    return task->g->gpu->ops->event_record(task->g->gpu, slot->stored, s->to_device);
}

/* ---- the host's collective ---------------------------------------------------------
 */

static dml_status start_blocks(struct dml__gpu_task *task, struct slot *slot, size_t c)
{
    const struct dml__call *call = &task->call;
    dml_comm *host = task->g->host;
    dml_request **request = &slot->request;
    dml_dtype type = call->dtype;
    for (int i = 0; i < dml_comm_size(host); i++)
        slot->counts[i] = part(task, dml__block(call, i), c).count;
    switch (call->coll) {
    case DML_COLL_REDUCE_SCATTER:
        return dml_ireduce_scatterv(slot->in, slot->out, slot->counts, type,
                                    task->host_op, host, request);
    case DML_COLL_ALLGATHER:
        return dml_iallgatherv(slot->in, slot->out, slot->counts, NULL, type, host,
                               request);
    case DML_COLL_GATHER:
        return dml_igatherv(slot->in, slot->out, slot->counts, NULL, type, call->root,
                            host, request);
    case DML_COLL_SCATTER:
        return dml_iscatterv(slot->in, slot->out, slot->counts, NULL, type, call->root,
                             host, request);
    default:
        return dml_ialltoall(slot->in, slot->out, slot->counts[0], type, host, request);
    }
}

static dml_status start_collective(struct dml__gpu_task *task, size_t c)
{
    const struct dml__call *call = &task->call;
    struct slot *slot = &task->g->stage->slots[c % SLOTS];
    dml_comm *host = task->g->host;
    size_t n = part(task, (struct dml__range){0, call->count}, c).count;
    switch (call->coll) {
    case DML_COLL_ALLREDUCE:
        return dml_iallreduce(slot->in, slot->out, n, call->dtype, task->host_op, host,
                              &slot->request);
    case DML_COLL_REDUCE:
        return dml_ireduce(slot->in, slot->out, n, call->dtype, task->host_op,
                           call->root, host, &slot->request);
    case DML_COLL_BCAST:
        return dml_ibcast(slot->in, n, call->dtype, call->root, host, &slot->request);
    default:
        return start_blocks(task, slot, c);
    }
}

/* ---- stages ------------------------------------------------------------------------
 */

/* The size of a chunk and their number, equal on all ranks. */
static dml_status cut(struct dml__gpu_task *task)
{
    const struct dml__call *call = &task->call;
    bool blocks = dml__traits(call->coll)->blocks;
    size_t width = blocks ? (size_t)dml_comm_size(call->comm) : 1;
    size_t length = blocks ? dml__block_max(call) : call->count;
    size_t one = width * call->elem_bytes; /* bytes of an element of each block */
    size_t usual = slot_bytes(dml_comm_ctx(call->comm));
    task->chunk = one < usual ? usual / one : 1;
    task->nchunks = length / task->chunk + (length % task->chunk != 0);
    return stage_of(task->g, one);
}

/* Moves every chunk on that can; DML_PENDING while any is under way. A slot's next
 * chunk begins when its last one is stored. */
static dml_status turn(struct dml__gpu_task *task)
{
    const struct dml__gpu *gpu = task->g->gpu;
    struct slot *slots = task->g->stage->slots;
    dml_status status = DML_OK;
    while (task->stored < task->reduced) {
        size_t c = task->stored;
        status = gpu->ops->event_query(gpu, slots[c % SLOTS].stored);
        if (status != DML_OK)
            break;
        task->stored++;
    }
    for (; status >= 0 && task->copied < task->nchunks &&
           task->copied < task->stored + SLOTS;
         task->copied++)
        DML_TRY(copy_in(task, task->copied));
    if (status < 0)
        return status;
    return task->stored == task->nchunks ? DML_OK : DML_PENDING;
}

/* Starts the collectives of chunks that are in host memory, in their order on all
 * ranks; copies the results of those that ended. */
static dml_status reduce(struct dml__gpu_task *task)
{
    const struct dml__gpu *gpu = task->g->gpu;
    struct slot *slots = task->g->stage->slots;
    while (task->started < task->copied) {
        size_t c = task->started;
        dml_status status = gpu->ops->event_query(gpu, slots[c % SLOTS].copied);
        if (status == DML_PENDING)
            break;
        DML_TRY(status);
        DML_TRY(start_collective(task, c));
        task->started++;
    }
    while (task->reduced < task->started) {
        size_t c = task->reduced;
        dml_status status = dml_test(&slots[c % SLOTS].request);
        if (status == DML_PENDING)
            break;
        DML_TRY(status);
        DML_TRY(copy_out(task, c));
        task->reduced++;
    }
    return DML_OK;
}

static dml_status advance(struct dml__gpu_task *task)
{
    DML_TRY(reduce(task));
    dml_status status = turn(task);
    if (status != DML_OK)
        return status;
    task->stage = NULL;
    return task->call.red.own_scale ? dml_op_destroy(task->host_op, task->g->host)
                                    : DML_OK;
}

dml_status dml__host_staged_begin(struct dml__gpu_task *task)
{
    DML_TRY(cut(task));
    task->stage = advance;
    task->host_op = task->call.op;
    if (task->call.red.own_scale) /* it is known by another number there */
        DML_TRY(dml_op_create_premul_sum(task->call.red.scale, task->g->host,
                                         &task->host_op));
    DML_TRY(dml__gpu_after_caller(task, task->g->stage->to_host));
    return task->g->gpu->ops->stream_wait(task->g->gpu, task->g->stage->to_device,
                                          task->g->begun);
}
