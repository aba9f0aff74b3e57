/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory and registrations of the library that does as NCCL, and their numbers for
 * tests. No process can map another's memory of NCCL.
 */
#include "fake_nccl.h"

#include <pthread.h>
#include <stdlib.h>

static dml_ctx *memory_ctx;
static int nblocks;

EXPORT int fake_nccl_blocks(void);
EXPORT int fake_nccl_blocks(void)
{
    return nblocks;
}

EXPORT int ncclMemAlloc(void **memory, size_t bytes);
EXPORT int ncclMemAlloc(void **memory, size_t bytes)
{
    setenv("DML_TEST_GPU_NO_IPC", "1", 1);
    if (memory_ctx == NULL && dml_ctx_create(NULL, &memory_ctx) != DML_OK)
        return FAILED;
    unsetenv("DML_TEST_GPU_NO_IPC");
    if (dml_gpu_alloc(memory_ctx, bytes, memory) != DML_OK)
        return FAILED;
    nblocks++;
    return DML__NCCL_SUCCESS;
}

EXPORT int ncclMemFree(void *memory);
EXPORT int ncclMemFree(void *memory)
{
    if (memory_ctx == NULL || dml_gpu_free(memory_ctx, memory) != DML_OK)
        return FAILED;
    if (--nblocks == 0) {
        dml_ctx_destroy(memory_ctx);
        memory_ctx = NULL;
    }
    return DML__NCCL_SUCCESS;
}

/* What is registered, until it is taken back or its communicator is aborted. */
struct registration {
    struct registration *next;
    void *comm, *memory;
};

static struct registration *registrations;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

EXPORT int ncclCommRegister(void *comm, void *memory, size_t bytes, void **handle);
EXPORT int ncclCommRegister(void *comm, void *memory, size_t bytes, void **handle)
{
    struct registration *made = bytes > 0 ? malloc(sizeof *made) : NULL;
    if (made == NULL)
        return FAILED;
    pthread_mutex_lock(&lock);
    *made = (struct registration){registrations, comm, memory};
    registrations = made;
    pthread_mutex_unlock(&lock);
    *handle = made;
    return DML__NCCL_SUCCESS;
}

/* Ends one registration of a communicator, or all (handle NULL). */
static bool forget(const void *comm, const struct registration *handle)
{
    struct registration **link = &registrations, *r;
    bool found = false;
    pthread_mutex_lock(&lock);
    while ((r = *link) != NULL) {
        if (r->comm != comm || (handle != NULL && r != handle)) {
            link = &r->next;
            continue;
        }
        *link = r->next;
        free(r);
        found = true;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void fake_nccl_forget(const void *comm)
{
    forget(comm, NULL);
}

/* What is registered must still be there, and in use no more. */
EXPORT int ncclCommDeregister(void *comm, void *handle);
EXPORT int ncclCommDeregister(void *comm, void *handle)
{
    const struct registration *r = handle;
    dml_gpu_memory kind = DML_GPU_HOST;
    int device = -1;
    struct fake_comm *c = comm;
    if (dml_gpu_query(c->ctx, r->memory, &kind, &device) != DML_OK ||
        kind != DML_GPU_DEVICE || atomic_load(&c->hanging) || !forget(c, r))
        abort();
    return DML__NCCL_SUCCESS;
}

EXPORT int fake_nccl_registered(void);
EXPORT int fake_nccl_registered(void)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    for (const struct registration *r = registrations; r != NULL; r = r->next)
        n++;
    pthread_mutex_unlock(&lock);
    return n;
}
