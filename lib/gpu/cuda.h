/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The CUDA driver as cuda_load.c finds it at run time, and what cuda.c keeps of a
 * device. Only the cuda_*.c files and this one know CUDA's own header.
 */
#ifndef DML__GPU_CUDA_H
#define DML__GPU_CUDA_H

#include "gpu/gpu.h"

#include <cuda.h>
#include <pthread.h>

/* Names without cu; the header knows which version of each function is meant. */
#define DML__CUDA_CALLS(X)             \
    X(Init)                            \
    X(DriverGetVersion)                \
    X(GetErrorName)                    \
    X(GetErrorString)                  \
    X(DeviceGetCount)                  \
    X(DeviceGet)                       \
    X(DeviceGetName)                   \
    X(DeviceTotalMem)                  \
    X(DeviceGetAttribute)              \
    X(DeviceGetPCIBusId)               \
    X(DevicePrimaryCtxRetain)          \
    X(DevicePrimaryCtxRelease)         \
    X(CtxPushCurrent)                  \
    X(CtxGetCurrent)                   \
    X(CtxGetDevice)                    \
    X(CtxPopCurrent)                   \
    X(CtxSynchronize)                  \
    X(MemAlloc)                        \
    X(MemFree)                         \
    X(MemHostAlloc)                    \
    X(MemFreeHost)                     \
    X(MemGetInfo)                      \
    X(PointerGetAttributes)            \
    X(MemcpyAsync)                     \
    X(MemsetD8Async)                   \
    X(ModuleLoadData)                  \
    X(ModuleUnload)                    \
    X(ModuleGetFunction)               \
    X(LaunchKernel)                    \
    X(StreamCreate)                    \
    X(StreamDestroy)                   \
    X(StreamSynchronize)               \
    X(StreamQuery)                     \
    X(StreamWaitEvent)                 \
    X(StreamIsCapturing)               \
    X(StreamBeginCapture)              \
    X(StreamEndCapture)                \
    X(ThreadExchangeStreamCaptureMode) \
    X(GraphInstantiate)                \
    X(GraphLaunch)                     \
    X(GraphDestroy)                    \
    X(GraphExecDestroy)                \
    X(EventCreate)                     \
    X(EventDestroy)                    \
    X(EventRecord)                     \
    X(EventQuery)                      \
    X(EventSynchronize)                \
    X(EventElapsedTime)                \
    X(IpcGetMemHandle)                 \
    X(IpcOpenMemHandle)                \
    X(IpcCloseMemHandle)

struct dml__cuda_calls {
#define DML__CUDA_MEMBER(name) __typeof__(cu##name) *name;
    DML__CUDA_CALLS(DML__CUDA_MEMBER)
#undef DML__CUDA_MEMBER
};

/* With those of callers. */
enum { DML__CUDA_NIMAGES = 24, DML__CUDA_NKERNELS = 128 };

struct dml__cuda {
    struct dml__cuda_calls cu;
    CUdevice device;
    CUcontext context;    /* the primary one, which the CUDA runtime uses too */
    pthread_mutex_t lock; /* of the kernels */
    int nimages;
    const void *images[DML__CUDA_NIMAGES];
    CUmodule modules[DML__CUDA_NIMAGES];
    int nkernels;
    const struct dml_gpu_kernel *kernels[DML__CUDA_NKERNELS];
    CUfunction functions[DML__CUDA_NKERNELS];
};

/* Finds the driver; DML_EUNSUPPORTED with a text where there is none, or it is older
 * than what this library was built with. *version may be NULL. */
dml_status dml__cuda_load(dml_ctx *ctx, struct dml__cuda_calls *cu, int *version);

/* Records what a call of the driver answered, unless that is success. */
dml_status dml__cuda_check(const struct dml__gpu *gpu, const char *call, CUresult code);

/* The driver's function for a kernel; loads its image at first. */
dml_status dml__cuda_kernel(const struct dml__gpu *gpu,
                            const struct dml_gpu_kernel *kernel, CUfunction *function);

/* Graphs (cuda_graph.c). */
dml_status dml__cuda_capture_begin(const struct dml__gpu *gpu, void *stream);
dml_status dml__cuda_capture_end(const struct dml__gpu *gpu, void *stream,
                                 void **graph);
dml_status dml__cuda_graph_launch(const struct dml__gpu *gpu, void *graph,
                                  void *stream);
dml_status dml__cuda_graph_destroy(const struct dml__gpu *gpu, void *graph);
dml_status dml__cuda_stream_captured(const struct dml__gpu *gpu, void *stream,
                                     bool *yes);
void dml__cuda_capture_mode(const struct dml__gpu *gpu, int *mode);

void dml__cuda_unload(struct dml__cuda *cuda);

#endif
