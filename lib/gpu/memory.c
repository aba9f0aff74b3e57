/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of dml_gpu_alloc(), see memory.h: a table of blocks in the order of their
 * addresses, since every call of the NCCL path looks its buffers up.
 */
#include "gpu/memory.h"

#include "gpu/nccl.h"

#include <string.h>

dml_status dml__gpu_memory_open(struct dml__gpu *gpu)
{
    gpu->memory = dml__alloc(gpu->ctx, sizeof *gpu->memory);
    if (gpu->memory == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory");
    pthread_mutex_init(&gpu->memory->lock, NULL);
    pthread_cond_init(&gpu->memory->left, NULL);
    return DML_OK;
}

void dml__gpu_memory_close(struct dml__gpu *gpu)
{
    struct dml__gpu_memory *m = gpu->memory;
    pthread_cond_destroy(&m->left);
    pthread_mutex_destroy(&m->lock);
    dml__free(m->blocks);
    dml__free(m);
    gpu->memory = NULL;
}

void dml__gpu_memory_by_nccl(const struct dml__gpu *gpu, const struct dml__nccl *lib)
{
    struct dml__gpu_memory *m = gpu->memory;
    pthread_mutex_lock(&m->lock);
    m->lib = *lib;
    m->by_nccl = true;
    pthread_mutex_unlock(&m->lock);
}

/* How many blocks begin at or below an address. */
static size_t blocks_to(const struct dml__gpu_memory *m, const void *p)
{
    size_t low = 0, high = m->nblocks;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uintptr_t)m->blocks[middle].base <= (uintptr_t)p)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct dml__gpu_block *dml__gpu_block_of(const struct dml__gpu_memory *m, const void *p)
{
    size_t n = blocks_to(m, p);
    struct dml__gpu_block *b = n > 0 ? &m->blocks[n - 1] : NULL;
    bool inside = b != NULL && (uintptr_t)p - (uintptr_t)b->base < b->bytes;
    return inside ? b : NULL;
}

static bool make_room(const struct dml__gpu *gpu)
{
    struct dml__gpu_memory *m = gpu->memory;
    if (m->nblocks < m->room)
        return true;
    size_t room = m->room > 0 ? 2 * m->room : 64;
    struct dml__gpu_block *more =
        dml__alloc(gpu->ctx, dml__mul(room, sizeof *m->blocks));
    if (more == NULL)
        return false;
    if (m->nblocks > 0)
        memcpy(more, m->blocks, m->nblocks * sizeof *more);
    dml__free(m->blocks);
    m->blocks = more;
    m->room = room;
    return true;
}

static bool add(const struct dml__gpu *gpu, const struct dml__gpu_block *block)
{
    struct dml__gpu_memory *m = gpu->memory;
    pthread_mutex_lock(&m->lock);
    bool added = make_room(gpu);
    if (added) {
        size_t at = blocks_to(m, block->base);
        memmove(&m->blocks[at + 1], &m->blocks[at],
                (m->nblocks - at) * sizeof *m->blocks);
        m->blocks[at] = *block;
        m->nblocks++;
    }
    pthread_mutex_unlock(&m->lock);
    return added;
}

/* Takes the block that begins at an address out of the table; false: there is none. */
static bool take(const struct dml__gpu *gpu, const void *memory,
                 struct dml__gpu_block *taken)
{
    struct dml__gpu_memory *m = gpu->memory;
    pthread_mutex_lock(&m->lock);
    struct dml__gpu_block *b = dml__gpu_block_of(m, memory);
    bool found = b != NULL && b->base == memory;
    if (found) {
        *taken = *b;
        dml__nccl_leave(taken);
        m->nblocks--;
        memmove(b, b + 1, (size_t)(&m->blocks[m->nblocks] - b) * sizeof *b);
    }
    pthread_mutex_unlock(&m->lock);
    return found;
}

static dml_status release(const struct dml__gpu *gpu, const struct dml__gpu_block *b)
{
    if (!b->by_nccl)
        return gpu->ops->free(gpu, b->base);
    return gpu->memory->lib.mem_free(b->base) == DML__NCCL_SUCCESS
               ? DML_OK
               : dml__fail(gpu->ctx, DML_ECOMM, "dml_gpu_free", "ncclMemFree fails");
}

dml_status dml__gpu_memory_alloc(const struct dml__gpu *gpu, size_t bytes,
                                 void **memory)
{
    struct dml__gpu_memory *m = gpu->memory;
    void *base = NULL;
    pthread_mutex_lock(&m->lock);
    bool by_nccl = m->by_nccl;
    pthread_mutex_unlock(&m->lock);
    bytes = bytes > 0 ? bytes : 1;
    if (by_nccl)
        by_nccl = m->lib.mem_alloc(&base, bytes) == DML__NCCL_SUCCESS;
    if (!by_nccl) /* the driver's error says how much is left */
        DML_TRY(gpu->ops->alloc(gpu, bytes, &base));
    struct dml__gpu_block block = {.base = base, .bytes = bytes, .by_nccl = by_nccl};
    if (!add(gpu, &block)) {
        release(gpu, &block);
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu_alloc", "no memory");
    }
    *memory = base;
    return DML_OK;
}

dml_status dml__gpu_memory_free(const struct dml__gpu *gpu, void *memory)
{
    struct dml__gpu_block block;
    if (!take(gpu, memory, &block))
        return gpu->ops->free(gpu, memory);
    dml_status status = DML_OK;
    if (block.known != NULL || block.by_nccl) /* the driver's free waits by itself */
        status = gpu->ops->sync(gpu);
    dml__nccl_forget_block(gpu, &block);
    dml_status released = release(gpu, &block);
    return status < 0 ? status : released;
}
