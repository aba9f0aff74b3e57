/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One collective as calls of NCCL, queued in a stream; and the stages of those that
 * have a request.
 */
#include "comm/wait.h"
#include "gpu/nccl.h"

/* A call as NCCL wants it. */
struct queued {
    const struct dml__call *call;
    const struct dml__nccl *lib;
    void *comm, *stream;
    int type, op;
};

static const char *in_at(const struct queued *q, size_t elem)
{
    return dml__in(q->call, elem);
}

static char *out_at(const struct queued *q, size_t elem)
{
    return dml__at(q->call, elem);
}

static int send_to(const struct queued *q, const void *from, size_t n, int peer)
{
    return n > 0 ? q->lib->send(from, n, q->type, peer, q->comm, q->stream) : 0;
}

static int recv_from(const struct queued *q, void *to, size_t n, int peer)
{
    return n > 0 ? q->lib->recv(to, n, q->type, peer, q->comm, q->stream) : 0;
}

/* The first failure of a group's calls. */
static int worse(int result, int next)
{
    return result != DML__NCCL_SUCCESS && result != DML__NCCL_IN_PROGRESS ? result
                                                                          : next;
}

static int gather(const struct queued *q)
{
    const struct dml__call *call = q->call;
    int rank = dml_comm_rank(call->comm), result = 0;
    struct dml__range own = dml__block(call, rank);
    if (!(call->in_place && rank == call->root))
        result = worse(result, send_to(q, call->send, own.count, call->root));
    for (int i = 0; rank == call->root && i < dml_comm_size(call->comm); i++) {
        struct dml__range b = dml__block(call, i);
        if (!(call->in_place && i == rank))
            result = worse(result, recv_from(q, out_at(q, b.offset), b.count, i));
    }
    return result;
}

static int scatter(const struct queued *q)
{
    const struct dml__call *call = q->call;
    int rank = dml_comm_rank(call->comm), result = 0;
    bool skip = call->in_place && rank == call->root;
    struct dml__range own = dml__block(call, rank);
    for (int i = 0; rank == call->root && i < dml_comm_size(call->comm); i++) {
        struct dml__range b = dml__block(call, i);
        if (!(skip && i == rank))
            result = worse(result, send_to(q, in_at(q, b.offset), b.count, i));
    }
    return skip ? result
                : worse(result, recv_from(q, call->recv, own.count, call->root));
}

static int alltoall(const struct queued *q)
{
    int result = 0;
    for (int i = 0; i < dml_comm_size(q->call->comm); i++) {
        struct dml__range b = dml__block(q->call, i);
        result = worse(result, send_to(q, in_at(q, b.offset), b.count, i));
        result = worse(result, recv_from(q, out_at(q, b.offset), b.count, i));
    }
    return result;
}

/* Blocks of different sizes: one call for each. */
static int each_block(const struct queued *q)
{
    const struct dml__call *call = q->call;
    bool gathers = call->coll == DML_COLL_ALLGATHER;
    int result = 0;
    for (int i = 0; i < dml_comm_size(call->comm); i++) {
        struct dml__range b = dml__block(call, i);
        if (b.count == 0)
            continue;
        int next = gathers ? q->lib->broadcast(call->send, out_at(q, b.offset), b.count,
                                               q->type, i, q->comm, q->stream)
                           : q->lib->reduce(in_at(q, b.offset), call->recv, b.count,
                                            q->type, q->op, i, q->comm, q->stream);
        result = worse(result, next);
    }
    return result;
}

static int each_piece(const struct queued *q)
{
    int result = 0;
    for (size_t i = 0; i < q->call->npieces; i++) {
        const dml_piece *p = &q->call->pieces[i];
        if (p->count > 0)
            result =
                worse(result, q->lib->all_reduce(p->data, p->data, p->count, q->type,
                                                 q->op, q->comm, q->stream));
    }
    return result;
}

static int grouped(const struct queued *q)
{
    switch (q->call->coll) {
    case DML_COLL_GATHER:
        return gather(q);
    case DML_COLL_SCATTER:
        return scatter(q);
    case DML_COLL_ALLTOALL:
        return alltoall(q);
    case DML_COLL_ALLREDUCE:
        return each_piece(q);
    default:
        return each_block(q);
    }
}

static int single(const struct queued *q)
{
    const struct dml__call *c = q->call;
    const struct dml__nccl *lib = q->lib;
    switch (c->coll) {
    case DML_COLL_ALLREDUCE:
        return lib->all_reduce(c->send, c->recv, c->count, q->type, q->op, q->comm,
                               q->stream);
    case DML_COLL_REDUCE:
        return lib->reduce(c->send, c->recv, c->count, q->type, q->op, c->root, q->comm,
                           q->stream);
    case DML_COLL_BCAST:
        return lib->broadcast(c->send, c->recv, c->count, q->type, c->root, q->comm,
                              q->stream);
    case DML_COLL_ALLGATHER:
        return lib->all_gather(c->send, c->recv, c->count, q->type, q->comm, q->stream);
    default:
        return lib->reduce_scatter(c->send, c->recv, c->count, q->type, q->op, q->comm,
                                   q->stream);
    }
}

static bool is_single(const struct dml__call *call)
{
    return call->counts == NULL && call->pieces == NULL &&
           call->coll != DML_COLL_GATHER && call->coll != DML_COLL_SCATTER &&
           call->coll != DML_COLL_ALLTOALL;
}

static int queue_calls(const struct queued *q)
{
    if (is_single(q->call))
        return single(q);
    int result = q->lib->group_start();
    if (result != DML__NCCL_SUCCESS)
        return result;
    result = grouped(q);
    return worse(result, q->lib->group_end());
}

/* The factor of a pre-multiplied sum is part of NCCL's operation, which lives until its
 * last call is queued. */
static dml_status queue_scaled(struct dml__nccl_comm *n, struct queued *q)
{
    double wide = q->call->red.scale;
    float narrow = (float)wide;
    void *scalar = q->call->dtype == DML_F64 ? (void *)&wide : (void *)&narrow;
    int made =
        n->lib.make_premul(&q->op, scalar, q->type, DML__NCCL_SCALAR_ON_HOST, q->comm);
    DML_TRY(dml__nccl_settle(n, "ncclRedOpCreatePreMulSum", made));
    dml_status status = dml__nccl_settle(n, "NCCL", queue_calls(q));
    n->lib.free_op(q->op, q->comm);
    return status;
}

static dml_status queue(struct dml__gpu_comm *g, const struct dml__call *call,
                        void *stream)
{
    struct dml__nccl_comm *n = g->nccl;
    struct queued q = {.call = call,
                       .lib = &n->lib,
                       .comm = n->comm,
                       .stream = stream,
                       .type = dml__nccl_type(call->dtype)};
    if (call->total == 0)
        return DML_OK;
    if (dml__reduces(call->coll) && call->red.own_scale) {
        DML_TRY(queue_scaled(n, &q));
    } else {
        q.op = dml__nccl_op(call->op);
        DML_TRY(dml__nccl_settle(n, dml_coll_name(call->coll), queue_calls(&q)));
    }
    return dml__nccl_note(n, call, stream);
}

/* Queues it; the thread that watches keeps off meanwhile. */
static dml_status queue_locked(struct dml__gpu_comm *g, const struct dml__call *call,
                               void *stream)
{
    struct dml__nccl_comm *n = g->nccl;
    DML_TRY(dml__nccl_started(g));
    dml__nccl_know(n, call, stream);
    pthread_mutex_lock(&n->lock);
    dml_status status = n->comm != NULL ? queue(g, call, stream) : DML_ECOMM;
    pthread_mutex_unlock(&n->lock);
    DML_TRY(dml__nccl_state(n, call->where));
    return status;
}

static dml_status queue_aligned(struct dml__gpu_comm *g, const struct dml__call *call,
                                void *stream)
{
    struct dml__nccl_aligned aligned;
    dml_status status = dml__nccl_align(g->nccl, call, stream, &aligned);
    if (status == DML_OK)
        status = queue_locked(g, &aligned.call, stream);
    if (status == DML_OK)
        status = dml__nccl_copy_back(g->nccl, call, stream, &aligned);
    dml__free(aligned.pieces);
    return status;
}

static dml_status queue_any(struct dml__gpu_comm *g, const struct dml__call *call,
                            void *stream)
{
    if (call->mixed) /* of a root, which alone can tell (paths.c) */
        return dml__fail(g->gpu->ctx, DML_EINVAL, call->where,
                         "one buffer is device memory and one is not; force "
                         "host_staged for that");
    return dml__nccl_misaligned(call) ? queue_aligned(g, call, stream)
                                      : queue_locked(g, call, stream);
}

/* Has what an event stands behind ended? Then well: an abort ends it, too. */
static dml_status ended(struct dml__gpu_comm *g, void *event, const char *where)
{
    dml_status status = g->gpu->ops->event_query(g->gpu, event);
    if (status >= 0)
        DML_TRY(dml__nccl_state(g->nccl, where));
    return status;
}

dml_status dml__nccl_run(struct dml__gpu_comm *g, const struct dml__call *call)
{
    struct dml__idle idle = {0};
    dml_status status = DML_PENDING;
    DML_TRY(queue_any(g, call, g->stream));
    if (dml__gpu_queues(g))
        return DML_OK;
    DML_TRY(g->gpu->ops->event_record(g->gpu, g->done, g->stream));
    while (status == DML_PENDING) {
        status = ended(g, g->done, call->where);
        if (status == DML_PENDING)
            status = dml__idle(g->comm, &idle);
    }
    dml__idle_end(g->comm, &idle);
    return status;
}

/* ---- calls with a request ----------------------------------------------------------
 */

dml_status dml__nccl_begin(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    DML_TRY(dml__gpu_event_take(g->gpu, &task->event));
    DML_TRY(queue_any(g, &task->call, task->stream));
    task->stage = NULL;
    return g->gpu->ops->event_record(g->gpu, task->event, task->stream);
}

dml_status dml__nccl_wait(struct dml__gpu_task *task)
{
    struct dml__gpu_comm *g = task->g;
    dml_status status = ended(g, task->begun->event, task->call.where);
    if (status == DML_PENDING)
        return status;
    task->stage = NULL;
    dml__gpu_event_give(g->gpu, task->begun->event);
    return status;
}
