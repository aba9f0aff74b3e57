/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other half of the stand-in for CUDA's driver (fake_cuda.c): code, streams, events
 * and graphs. What is queued is done at once; a capture keeps only that there is one.
 */
#include "fake_cuda.h"

#include <stdlib.h>
#include <string.h>

static atomic_int nmodules, nlaunches;
static _Thread_local int captures;
static _Thread_local CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

bool fake_cuda_is_safe(void)
{
    return captures == 0 || mode == CU_STREAM_CAPTURE_MODE_RELAXED;
}

EXPORT int fake_cuda_modules(void);
EXPORT int fake_cuda_modules(void)
{
    return atomic_load(&nmodules);
}

EXPORT int fake_cuda_launches(void);
EXPORT int fake_cuda_launches(void)
{
    return atomic_load(&nlaunches);
}

/* What callers hold by an address. */
struct object {
    const char *code; /* of a module: a fat binary */
    bool captured;    /* a stream */
};

static void *made(void)
{
    atomic_fetch_add(&fake_cuda_held, 1);
    return calloc(1, sizeof(struct object));
}

static CUresult gone(void *object)
{
    NEED_CONTEXT;
    atomic_fetch_sub(&fake_cuda_held, 1);
    free(object);
    return CUDA_SUCCESS;
}

/* ---- code --------------------------------------------------------------------------
 */

/* The head of a fat binary. */
struct head {
    uint32_t magic;
    uint16_t version, bytes;
    uint64_t length;
};

EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    struct head head;
    UNSAFE;
    memcpy(&head.magic, image, sizeof head.magic); /* it may be shorter than a head */
    if (head.magic != 0xba55ed50u || (uintptr_t)image % 8 != 0)
        return CUDA_ERROR_INVALID_IMAGE;
    struct object *object = made();
    object->code = image;
    atomic_fetch_add(&nmodules, 1);
    *module = (CUmodule)(void *)object;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleUnload(CUmodule module)
{
    return gone(module);
}

EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module,
                                    const char *name)
{
    const struct object *object = (const void *)module;
    struct head head;
    UNSAFE;
    memcpy(&head, object->code, sizeof head);
    *function = (CUfunction)(void *)module;
    return memmem(object->code, head.bytes + head.length, name, strlen(name) + 1) !=
                   NULL
               ? CUDA_SUCCESS
               : CUDA_ERROR_NOT_FOUND;
}

EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z,
                               unsigned threads, unsigned threads_y, unsigned threads_z,
                               unsigned shared, CUstream stream, void **args,
                               void **extra)
{
    NEED_CONTEXT;
    (void)stream;
    atomic_fetch_add(&nlaunches, 1);
    const bool good = function != NULL && x > 0 && y == 1 && z == 1 && threads > 0 &&
                      threads <= 1024 && threads_y == 1 && threads_z == 1 &&
                      shared == 0 && args != NULL && extra == NULL;
    return good ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- streams -----------------------------------------------------------------------
 */

static bool is_captured(CUstream stream)
{
    const struct object *object = (const void *)stream;
    return object != NULL && object->captured;
}

EXPORT CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                              CUstream stream)
{
    NEED_CONTEXT;
    if (bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!is_captured(stream))
        memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char byte, size_t bytes,
                                CUstream stream)
{
    NEED_CONTEXT;
    if (bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (!is_captured(stream))
        memset((void *)(uintptr_t)to, byte, bytes);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    NEED_CONTEXT;
    *stream = made();
    return flags == CU_STREAM_NON_BLOCKING ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuStreamDestroy(CUstream stream)
{
    return gone(stream);
}

/* Also of a stream that is captured, whatever the mode. */
EXPORT CUresult cuStreamSynchronize(CUstream stream)
{
    UNSAFE;
    return is_captured(stream) ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

EXPORT CUresult cuStreamQuery(CUstream stream)
{
    return cuStreamSynchronize(stream);
}

EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    NEED_CONTEXT;
    (void)stream;
    return event != NULL && flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- events ------------------------------------------------------------------------
 */

EXPORT CUresult cuEventCreate(CUevent *event, unsigned flags)
{
    NEED_CONTEXT;
    *event = made();
    return flags == CU_EVENT_DEFAULT || flags == CU_EVENT_DISABLE_TIMING
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuEventDestroy(CUevent event)
{
    return gone(event);
}

EXPORT CUresult cuEventRecord(CUevent event, CUstream stream)
{
    NEED_CONTEXT;
    (void)stream;
    return event != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuEventQuery(CUevent event)
{
    UNSAFE;
    return event != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuEventSynchronize(CUevent event)
{
    return cuEventQuery(event);
}

EXPORT CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to)
{
    NEED_CONTEXT;
    *ms = 1;
    return from != NULL && to != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- graphs ------------------------------------------------------------------------
 */

EXPORT CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *other)
{
    const CUstreamCaptureMode before = mode;
    mode = *other;
    *other = before;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
    NEED_CONTEXT;
    *status = is_captured(stream) ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                  : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode given)
{
    struct object *object = (void *)stream;
    NEED_CONTEXT;
    if (object == NULL || object->captured ||
        given != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        return CUDA_ERROR_INVALID_VALUE;
    object->captured = true;
    captures++;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph)
{
    struct object *object = (void *)stream;
    NEED_CONTEXT;
    if (!is_captured(stream))
        return CUDA_ERROR_INVALID_VALUE;
    object->captured = false;
    captures--;
    *graph = made();
    return CUDA_SUCCESS;
}

EXPORT CUresult cuGraphInstantiate(CUgraphExec *made_of, CUgraph graph,
                                   unsigned long long flags)
{
    NEED_CONTEXT;
    *made_of = made();
    return graph != NULL && flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream)
{
    NEED_CONTEXT;
    return graph != NULL && !is_captured(stream) ? CUDA_SUCCESS
                                                 : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuGraphDestroy(CUgraph graph)
{
    return gone(graph);
}

EXPORT CUresult cuGraphExecDestroy(CUgraphExec graph)
{
    return gone(graph);
}
