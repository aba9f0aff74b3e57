/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A library with the functions of CUDA's driver that libdml calls, in host memory: for
 * cuda.c's own calls, which the fake device does without. It holds callers to what the
 * driver asks: a current context, modules that are fat binaries and hold the function,
 * no unsafe call in a capture. Kernels do nothing. fake_cuda_live() tells what has not
 * been given back.
 */
#include "fake_cuda.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 4096 };

static const size_t memory_bytes = (size_t)1 << 30;

struct block {
    char *base;
    size_t bytes;
    unsigned type;
    unsigned long long id;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block blocks[BLOCKS];
static unsigned long long nids;
static char context[1];

atomic_int fake_cuda_held;
_Thread_local int fake_cuda_depth;

EXPORT int fake_cuda_live(void);
EXPORT int fake_cuda_live(void)
{
    return atomic_load(&fake_cuda_held) + fake_cuda_depth;
}

/* ---- devices -----------------------------------------------------------------------
 */

EXPORT CUresult cuInit(unsigned flags)
{
    return flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuDriverGetVersion(int *version)
{
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuGetErrorName(CUresult code, const char **name)
{
    *name = code == CUDA_SUCCESS ? "CUDA_SUCCESS" : "CUDA_ERROR";
    return CUDA_SUCCESS;
}

EXPORT CUresult cuGetErrorString(CUresult code, const char **text)
{
    *text = code == CUDA_SUCCESS ? "no error" : "the stand-in refuses it";
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int *count)
{
    *count = 1;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGet(CUdevice *device, int index)
{
    *device = index;
    return index == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult cuDeviceGetName(char *name, int room, CUdevice device)
{
    strncpy(name, "stand-in", (size_t)room);
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult cuDeviceTotalMem(size_t *bytes, CUdevice device)
{
    *bytes = memory_bytes;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute what,
                                     CUdevice device)
{
    *value = what == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? 9 : 4;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult cuDeviceGetPCIBusId(char *text, int room, CUdevice device)
{
    strncpy(text, "0000:01:00.0", (size_t)room);
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice device)
{
    *out = (CUcontext)(void *)context;
    atomic_fetch_add(&fake_cuda_held, 1);
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    atomic_fetch_sub(&fake_cuda_held, 1);
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult cuCtxPushCurrent(CUcontext given)
{
    fake_cuda_depth++;
    return given == (CUcontext)(void *)context ? CUDA_SUCCESS
                                               : CUDA_ERROR_INVALID_CONTEXT;
}

EXPORT CUresult cuCtxPopCurrent(CUcontext *out)
{
    NEED_CONTEXT;
    fake_cuda_depth--;
    *out = (CUcontext)(void *)context;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetCurrent(CUcontext *out)
{
    *out = fake_cuda_depth > 0 ? (CUcontext)(void *)context : NULL;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxGetDevice(CUdevice *device)
{
    NEED_CONTEXT;
    *device = 0;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuCtxSynchronize(void)
{
    UNSAFE;
    return CUDA_SUCCESS;
}

/* ---- memory ------------------------------------------------------------------------
 */

static struct block *find(CUdeviceptr at)
{
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].base != NULL && at >= (uintptr_t)blocks[i].base &&
            at - (uintptr_t)blocks[i].base < blocks[i].bytes)
            return &blocks[i];
    return NULL;
}

static CUresult take(size_t bytes, unsigned type, char **base)
{
    int i = 0;
    if (bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > memory_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    while (i < BLOCKS && blocks[i].base != NULL)
        i++;
    if (i < BLOCKS) {
        *base = aligned_alloc(256, (bytes + 255) / 256 * 256);
        blocks[i] = (struct block){*base, bytes, type, ++nids};
        atomic_fetch_add(&fake_cuda_held, 1);
    }
    pthread_mutex_unlock(&lock);
    return i < BLOCKS ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult give(CUdeviceptr at, unsigned type)
{
    CUresult code = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    struct block *b = find(at);
    if (b != NULL && (uintptr_t)b->base == at && b->type == type) {
        atomic_fetch_sub(&fake_cuda_held, 1);
        free(b->base);
        b->base = NULL;
        code = CUDA_SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return code;
}

EXPORT CUresult cuMemAlloc(CUdeviceptr *at, size_t bytes)
{
    char *base = NULL;
    UNSAFE;
    CUresult code = take(bytes, CU_MEMORYTYPE_DEVICE, &base);
    *at = (uintptr_t)base;
    return code;
}

EXPORT CUresult cuMemFree(CUdeviceptr at)
{
    UNSAFE;
    return give(at, CU_MEMORYTYPE_DEVICE);
}

EXPORT CUresult cuMemHostAlloc(void **at, size_t bytes, unsigned flags)
{
    char *base = NULL;
    UNSAFE;
    CUresult code = take(bytes, CU_MEMORYTYPE_HOST, &base);
    *at = base;
    return flags == CU_MEMHOSTALLOC_PORTABLE ? code : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuMemFreeHost(void *at)
{
    UNSAFE;
    return give((uintptr_t)at, CU_MEMORYTYPE_HOST);
}

EXPORT CUresult cuMemGetInfo(size_t *left, size_t *all)
{
    NEED_CONTEXT;
    *left = *all = memory_bytes;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuPointerGetAttributes(unsigned n, CUpointer_attribute *names,
                                       void **values, CUdeviceptr at)
{
    NEED_CONTEXT;
    pthread_mutex_lock(&lock);
    const struct block *b = find(at);
    const struct block known = b != NULL ? *b : (struct block){.bytes = 0};
    pthread_mutex_unlock(&lock);
    for (unsigned i = 0; i < n; i++) {
        if (names[i] == CU_POINTER_ATTRIBUTE_MEMORY_TYPE)
            *(unsigned *)values[i] = known.type;
        else if (names[i] == CU_POINTER_ATTRIBUTE_IS_MANAGED)
            *(unsigned *)values[i] = 0;
        else if (names[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL)
            *(int *)values[i] = known.base != NULL ? 0 : -2;
        else if (names[i] == CU_POINTER_ATTRIBUTE_RANGE_START_ADDR)
            *(CUdeviceptr *)values[i] = (uintptr_t)known.base;
        else if (names[i] == CU_POINTER_ATTRIBUTE_RANGE_SIZE)
            *(size_t *)values[i] = known.bytes;
        else
            *(unsigned long long *)values[i] = known.id;
    }
    return CUDA_SUCCESS;
}

EXPORT CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr at)
{
    (void)handle, (void)at;
    return CUDA_ERROR_NOT_SUPPORTED;
}

EXPORT CUresult cuIpcOpenMemHandle(CUdeviceptr *at, CUipcMemHandle handle,
                                   unsigned flags)
{
    (void)at, (void)handle, (void)flags;
    return CUDA_ERROR_NOT_SUPPORTED;
}

EXPORT CUresult cuIpcCloseMemHandle(CUdeviceptr at)
{
    (void)at;
    return CUDA_ERROR_NOT_SUPPORTED;
}
