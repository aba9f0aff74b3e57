/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registering memory with NCCL, which then needs no copies into buffers of its own
 * where the links allow that: a block of dml_gpu_alloc() at the first call that uses
 * it, until it is freed or the communicator ends. NCCL refuses none of these calls for
 * want of a registration, so one that fails is left.
 */
#include "gpu/memory.h"
#include "gpu/nccl.h"

/* A communicator's handle of a block. Lock of the memory held. */
static struct dml__gpu_known *find(const struct dml__gpu_block *b,
                                   const struct dml__nccl_comm *n)
{
    struct dml__gpu_known *k = b->known;
    while (k != NULL && k->nccl != n)
        k = k->next;
    return k;
}

static void make_known(struct dml__nccl_comm *n, struct dml__gpu_block *b)
{
    struct dml__gpu_known *k = dml__alloc(n->gpu->ctx, sizeof *k);
    if (k == NULL)
        return;
    pthread_mutex_lock(&n->lock);
    int result = n->comm != NULL
                     ? n->lib.do_register(n->comm, b->base, b->bytes, &k->handle)
                     : DML__NCCL_SUCCESS;
    pthread_mutex_unlock(&n->lock);
    if (result != DML__NCCL_SUCCESS) {
        k->handle = NULL;
        dml__log(n->gpu->ctx, DML_LOG_INFO, "NCCL does not register %zu bytes: %s",
                 b->bytes, n->lib.error_text(result));
    }
    k->nccl = n;
    k->next = b->known;
    b->known = k;
}

static void know(struct dml__nccl_comm *n, const void *p, void *stream)
{
    struct dml__gpu_block *b = dml__gpu_block_of(n->gpu->memory, p);
    bool captured = false;
    if (b == NULL || find(b, n) != NULL)
        return;
    /* A call in a graph comes after one that was not, or does without. */
    if (n->gpu->ops->stream_captured(n->gpu, stream, &captured) == DML_OK && !captured)
        make_known(n, b);
}

void dml__nccl_know(struct dml__nccl_comm *n, const struct dml__call *call,
                    void *stream)
{
    struct dml__gpu_memory *m = n->gpu->memory;
    pthread_mutex_lock(&m->lock);
    if (m->nblocks > 0 && call->pieces == NULL) {
        know(n, call->send, stream);
        know(n, call->recv, stream);
    }
    for (size_t i = 0; m->nblocks > 0 && call->pieces != NULL && i < call->npieces; i++)
        know(n, call->pieces[i].data, stream);
    pthread_mutex_unlock(&m->lock);
}

static void end_known(struct dml__gpu_known *k)
{
    struct dml__nccl_comm *n = k->nccl;
    pthread_mutex_lock(&n->lock);
    if (k->handle != NULL && n->comm != NULL) /* an abort ends registrations */
        n->lib.deregister(n->comm, k->handle);
    pthread_mutex_unlock(&n->lock);
    dml__free(k);
}

void dml__nccl_forget_block(struct dml__gpu_block *b)
{
    while (b->known != NULL) {
        struct dml__gpu_known *k = b->known;
        b->known = k->next;
        end_known(k);
    }
}

void dml__nccl_forget(struct dml__nccl_comm *n)
{
    struct dml__gpu_memory *m = n->gpu->memory;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->nblocks; i++) {
        struct dml__gpu_known **link = &m->blocks[i].known;
        while (*link != NULL && (*link)->nccl != n)
            link = &(*link)->next;
        struct dml__gpu_known *k = *link;
        if (k == NULL)
            continue;
        *link = k->next;
        end_known(k);
    }
    pthread_mutex_unlock(&m->lock);
}
