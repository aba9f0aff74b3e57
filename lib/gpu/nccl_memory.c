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

/* A block that the communicator does not know, as it is now; false: there is none. */
static bool look_up(struct dml__nccl_comm *n, const void *p, struct dml__gpu_block *out)
{
    struct dml__gpu_memory *m = n->gpu->memory;
    pthread_mutex_lock(&m->lock);
    const struct dml__gpu_block *b = dml__gpu_block_of(m, p);
    bool unknown = b != NULL && find(b, n) == NULL;
    if (unknown)
        *out = *b;
    pthread_mutex_unlock(&m->lock);
    return unknown;
}

static void do_register(struct dml__nccl_comm *n, const struct dml__gpu_block *b,
                        void **handle)
{
    pthread_mutex_lock(&n->lock);
    int result = n->comm != NULL
                     ? n->lib.do_register(n->comm, b->base, b->bytes, handle)
                     : DML__NCCL_SUCCESS;
    pthread_mutex_unlock(&n->lock);
    if (result == DML__NCCL_SUCCESS)
        return;
    *handle = NULL;
    dml__log(n->gpu->ctx, DML_LOG_INFO, "NCCL does not register %zu bytes: %s",
             b->bytes, n->lib.error_text(result));
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

/* The table may have moved meanwhile, and the block may be gone. */
static void insert(struct dml__nccl_comm *n, const void *base, struct dml__gpu_known *k)
{
    struct dml__gpu_memory *m = n->gpu->memory;
    pthread_mutex_lock(&m->lock);
    struct dml__gpu_block *b = dml__gpu_block_of(m, base);
    if (b != NULL) {
        k->next = b->known;
        b->known = k;
    }
    pthread_mutex_unlock(&m->lock);
    if (b == NULL)
        end_known(k);
}

static void know(struct dml__nccl_comm *n, const void *p, void *stream)
{
    struct dml__gpu_block b;
    bool captured = false;
    if (!look_up(n, p, &b))
        return;
    /* A call in a graph comes after one that was not, or does without. */
    if (n->gpu->ops->stream_captured(n->gpu, stream, &captured) < 0 || captured)
        return;
    struct dml__gpu_known *k = dml__alloc(n->gpu->ctx, sizeof *k);
    if (k == NULL)
        return;
    k->nccl = n;
    do_register(n, &b, &k->handle);
    insert(n, b.base, k);
}

void dml__nccl_know(struct dml__nccl_comm *n, const struct dml__call *call,
                    void *stream)
{
    if (call->pieces == NULL) {
        know(n, call->send, stream);
        know(n, call->recv, stream);
    }
    for (size_t i = 0; call->pieces != NULL && i < call->npieces; i++)
        know(n, call->pieces[i].data, stream);
}

void dml__nccl_leave(const struct dml__gpu_block *b)
{
    for (const struct dml__gpu_known *k = b->known; k != NULL; k = k->next)
        k->nccl->leaving++;
}

void dml__nccl_forget_block(const struct dml__gpu *gpu, struct dml__gpu_block *b)
{
    struct dml__gpu_memory *m = gpu->memory;
    while (b->known != NULL) {
        struct dml__gpu_known *k = b->known;
        struct dml__nccl_comm *n = k->nccl;
        b->known = k->next;
        end_known(k);
        pthread_mutex_lock(&m->lock);
        n->leaving--;
        pthread_cond_broadcast(&m->left);
        pthread_mutex_unlock(&m->lock);
    }
}

/* What a block has of a communicator, taken out; NULL: nothing. */
static struct dml__gpu_known *unlink_known(struct dml__gpu_block *b,
                                           const struct dml__nccl_comm *n)
{
    struct dml__gpu_known **link = &b->known;
    while (*link != NULL && (*link)->nccl != n)
        link = &(*link)->next;
    struct dml__gpu_known *k = *link;
    if (k != NULL)
        *link = k->next;
    return k;
}

void dml__nccl_forget(struct dml__nccl_comm *n)
{
    struct dml__gpu_memory *m = n->gpu->memory;
    struct dml__gpu_known *all = NULL;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->nblocks; i++) {
        struct dml__gpu_known *k = unlink_known(&m->blocks[i], n);
        if (k == NULL)
            continue;
        k->next = all;
        all = k;
    }
    while (n->leaving > 0) /* another thread frees one */
        pthread_cond_wait(&m->left, &m->lock);
    pthread_mutex_unlock(&m->lock);
    while (all != NULL) {
        struct dml__gpu_known *k = all;
        all = k->next;
        end_known(k);
    }
}
