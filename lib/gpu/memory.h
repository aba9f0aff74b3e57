/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of dml_gpu_alloc(): where it is, which allocator it is from, and which
 * communicators of NCCL have registered it. NCCL must forget memory before that is
 * freed, so only what the library frees itself is ever registered.
 */
#ifndef DML__GPU_MEMORY_H
#define DML__GPU_MEMORY_H

#include "gpu/gpu.h"
#include "gpu/nccl_abi.h"

#include <pthread.h>

struct dml__nccl_comm; /* nccl.h */

/* That a communicator of NCCL knows a block; handle NULL: it does not want to. */
struct dml__gpu_known {
    struct dml__gpu_known *next;
    struct dml__nccl_comm *nccl;
    void *handle;
};

struct dml__gpu_block {
    char *base;
    size_t bytes;
    bool by_nccl; /* its allocator */
    struct dml__gpu_known *known;
};

/* Of a context's device. Nobody who holds the lock waits for another one: a call of
 * NCCL under way, which has its communicator's, may begin one of another communicator,
 * which looks its buffers up here. */
struct dml__gpu_memory {
    pthread_mutex_t lock;
    pthread_cond_t left;           /* a block was taken back from a communicator */
    struct dml__gpu_block *blocks; /* [nblocks] by address */
    size_t nblocks, room;
    struct dml__nccl lib;
    bool by_nccl; /* what comes now is NCCL's: lib is there */
};

dml_status dml__gpu_memory_open(struct dml__gpu *gpu);
void dml__gpu_memory_close(struct dml__gpu *gpu);

/* From now on blocks are NCCL's. */
void dml__gpu_memory_by_nccl(const struct dml__gpu *gpu, const struct dml__nccl *lib);

dml_status dml__gpu_memory_alloc(const struct dml__gpu *gpu, size_t bytes,
                                 void **memory);
/* Also of memory that is from elsewhere. */
dml_status dml__gpu_memory_free(const struct dml__gpu *gpu, void *memory);

/* The block in which an address lies, or NULL. Lock held. */
struct dml__gpu_block *dml__gpu_block_of(const struct dml__gpu_memory *m,
                                         const void *p);

#endif
