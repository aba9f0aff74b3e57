/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reductions by NCCL of vectors that begin between two elements' addresses. Its kernels
 * read whole elements, which a device can do at multiples of their size only: they get
 * copies that lie there, made and given back in the stream. (What only moves goes by
 * bytes in NCCL.)
 */
#include "gpu/nccl.h"

/* Memory for copies. What is too small is kept: to free it would be to wait for calls
 * that need other ranks. */
struct dml__nccl_copies {
    struct dml__nccl_copies *next;
    void *memory;
    size_t bytes;
};

static bool is_misaligned(const struct dml__call *call, const void *p)
{
    return (uintptr_t)p % call->elem_bytes != 0;
}

bool dml__nccl_misaligned(const struct dml__call *call)
{
    bool misaligned = false;
    if (!dml__reduces(call->coll))
        return false;
    for (size_t i = 0; call->pieces != NULL && i < call->npieces; i++)
        misaligned = misaligned || (call->pieces[i].count > 0 &&
                                    is_misaligned(call, call->pieces[i].data));
    if (call->pieces != NULL)
        return misaligned;
    return (dml__gpu_sends(call) > 0 && is_misaligned(call, call->send)) ||
           (dml__gpu_receives(call) > 0 && is_misaligned(call, call->recv));
}

/* ---- memory ------------------------------------------------------------------------
 */

/* Bytes of n elements, up to where the next vector may begin. */
static size_t room(const struct dml__call *call, size_t n)
{
    return (n * call->elem_bytes + 15) / 16 * 16;
}

static size_t room_of_all(const struct dml__call *call)
{
    size_t bytes = 0;
    for (size_t i = 0; call->pieces != NULL && i < call->npieces; i++)
        bytes += room(call, call->pieces[i].count);
    return call->pieces != NULL
               ? bytes
               : room(call, dml__gpu_sends(call)) + room(call, dml__gpu_receives(call));
}

static dml_status get_more(struct dml__nccl_comm *n, size_t bytes)
{
    const struct dml__gpu *gpu = n->gpu;
    const size_t before = n->copies != NULL ? n->copies->bytes : 0;
    struct dml__nccl_copies *more = dml__alloc(gpu->ctx, sizeof *more);
    if (more == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_nccl", "no memory for a copy");
    more->bytes = bytes > 2 * before ? bytes : 2 * before;
    more->next = n->copies;
    dml_status status = gpu->ops->alloc(gpu, more->bytes, &more->memory);
    if (status == DML_OK)
        n->copies = more;
    else
        dml__free(more);
    return status;
}

/* The memory, for a stream that waits until the call before is done with it. */
static dml_status take(struct dml__nccl_comm *n, size_t bytes, void *stream, char **at)
{
    if (n->copies == NULL || n->copies->bytes < bytes)
        DML_TRY(get_more(n, bytes));
    if (n->copied == NULL)
        DML_TRY(n->gpu->ops->event_create(n->gpu, false, &n->copied));
    *at = n->copies->memory;
    return n->gpu->ops->stream_wait(n->gpu, stream, n->copied);
}

void dml__nccl_free_copies(struct dml__nccl_comm *n)
{
    while (n->copies != NULL) {
        struct dml__nccl_copies *first = n->copies;
        n->copies = first->next;
        n->gpu->ops->free(n->gpu, first->memory);
        dml__free(first);
    }
    if (n->copied != NULL)
        n->gpu->ops->event_destroy(n->gpu, n->copied);
}

/* ---- copies ------------------------------------------------------------------------
 */

static dml_status move(const struct dml__nccl_comm *n, const struct dml__call *call,
                       void *to, const void *from, size_t count, void *stream)
{
    return count > 0
               ? n->gpu->ops->copy(n->gpu, to, from, count * call->elem_bytes, stream)
               : DML_OK;
}

static dml_status align_pieces(const struct dml__nccl_comm *n,
                               const struct dml__call *call, char *at, void *stream,
                               struct dml__nccl_aligned *out)
{
    out->pieces = dml__alloc(n->gpu->ctx, call->npieces * sizeof *out->pieces);
    if (out->pieces == NULL)
        return dml__fail(n->gpu->ctx, DML_ENOMEM, "dml_nccl", "no memory for pieces");
    out->call.pieces = out->pieces;
    for (size_t i = 0; i < call->npieces; i++) {
        const dml_piece *piece = &call->pieces[i];
        out->pieces[i] = (dml_piece){at, piece->count};
        DML_TRY(move(n, call, at, piece->data, piece->count, stream));
        at += room(call, piece->count);
    }
    return DML_OK;
}

dml_status dml__nccl_align(struct dml__nccl_comm *n, const struct dml__call *call,
                           void *stream, struct dml__nccl_aligned *out)
{
    const size_t sends = dml__gpu_sends(call);
    char *at = NULL;
    *out = (struct dml__nccl_aligned){.call = *call};
    DML_TRY(take(n, room_of_all(call), stream, &at));
    if (call->pieces != NULL)
        return align_pieces(n, call, at, stream, out);
    out->call.send = at;
    out->call.recv = at + room(call, sends);
    return move(n, call, at, call->send, sends, stream);
}

dml_status dml__nccl_copy_back(struct dml__nccl_comm *n, const struct dml__call *call,
                               void *stream, const struct dml__nccl_aligned *from)
{
    for (size_t i = 0; call->pieces != NULL && i < call->npieces; i++)
        DML_TRY(move(n, call, call->pieces[i].data, from->pieces[i].data,
                     call->pieces[i].count, stream));
    if (call->pieces == NULL)
        DML_TRY(move(n, call, call->recv, from->call.recv, dml__gpu_receives(call),
                     stream));
    return n->gpu->ops->event_record(n->gpu, n->copied, stream);
}
