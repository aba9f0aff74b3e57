/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The runtime layer on CUDA's driver interface. It uses each device's primary context,
 * the one that the CUDA runtime, NCCL and cuBLAS use, so that memory, streams and
 * events go from one to the other as they are.
 */
#include "gpu/cuda.h"

#include <string.h>

static const struct dml__cuda_calls *calls(const struct dml__gpu *gpu)
{
    const struct dml__cuda *cuda = gpu->driver;
    return &cuda->cu;
}

/* Calls the driver, and returns from the caller. */
#define CALL(gpu, name, ...) \
    return dml__cuda_check(gpu, "cu" #name, calls(gpu)->name(__VA_ARGS__))

static CUdeviceptr address(const void *p)
{
    return (CUdeviceptr)(uintptr_t)p;
}

/* ---- devices -----------------------------------------------------------------------
 */

static dml_status count_devices(dml_ctx *ctx, int *count)
{
    struct dml__cuda_calls cu;
    int n = 0;
    DML_TRY(dml__cuda_load(ctx, &cu, NULL));
    if (cu.DeviceGetCount(&n) != CUDA_SUCCESS)
        return dml__fail(ctx, DML_ECOMM, "dml_gpu_count", "cuDeviceGetCount fails");
    *count = n;
    return DML_OK;
}

static dml_status get_info(dml_ctx *ctx, int index, dml_gpu_info *info)
{
    struct dml__cuda_calls cu;
    CUdevice device;
    int version = 0, l2 = 0;
    *info = (dml_gpu_info){.index = index};
    DML_TRY(dml__cuda_load(ctx, &cu, &version));
    info->driver = version;
    if (cu.DeviceGet(&device, index) != CUDA_SUCCESS ||
        cu.DeviceGetName(info->name, sizeof info->name, device) != CUDA_SUCCESS ||
        cu.DeviceTotalMem(&info->memory_bytes, device) != CUDA_SUCCESS ||
        cu.DeviceGetPCIBusId(info->pci, sizeof info->pci, device) != CUDA_SUCCESS ||
        cu.DeviceGetAttribute(&info->major,
                              CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                              device) != CUDA_SUCCESS ||
        cu.DeviceGetAttribute(&info->minor,
                              CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                              device) != CUDA_SUCCESS ||
        cu.DeviceGetAttribute(&info->multiprocessors,
                              CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                              device) != CUDA_SUCCESS ||
        cu.DeviceGetAttribute(&l2, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, device) !=
            CUDA_SUCCESS)
        return dml__fail(ctx, DML_ECOMM, "dml_gpu_get_info",
                         "the driver does not describe GPU %d", index);
    info->l2_bytes = (size_t)l2;
    return DML_OK;
}

static int current(dml_ctx *ctx)
{
    struct dml__cuda_calls cu;
    CUcontext context = NULL;
    CUdevice device = -1;
    if (dml__cuda_load(ctx, &cu, NULL) < 0 ||
        cu.CtxGetCurrent(&context) != CUDA_SUCCESS || context == NULL ||
        cu.CtxGetDevice(&device) != CUDA_SUCCESS)
        return -1;
    return device; /* its number */
}

static dml_status start_device(struct dml__gpu *gpu)
{
    struct dml__cuda *cuda = gpu->driver;
    int smps = 0;
    DML_TRY(dml__cuda_check(gpu, "cuDeviceGet",
                            cuda->cu.DeviceGet(&cuda->device, gpu->index)));
    DML_TRY(dml__cuda_check(
        gpu, "cuDeviceGetAttribute",
        cuda->cu.DeviceGetAttribute(&smps, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                                    cuda->device)));
    gpu->smps = (unsigned)smps;
    return dml__cuda_check(
        gpu, "cuDevicePrimaryCtxRetain",
        cuda->cu.DevicePrimaryCtxRetain(&cuda->context, cuda->device));
}

static dml_status open_device(struct dml__gpu *gpu)
{
    struct dml__cuda *cuda = dml__alloc(gpu->ctx, sizeof *cuda);
    if (cuda == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory");
    gpu->driver = cuda;
    dml_status status = dml__cuda_load(gpu->ctx, &cuda->cu, NULL);
    if (status == DML_OK)
        status = start_device(gpu);
    if (status != DML_OK) {
        gpu->driver = NULL;
        dml__free(cuda);
        return status;
    }
    pthread_mutex_init(&cuda->lock, NULL);
    return DML_OK;
}

static void close_device(struct dml__gpu *gpu)
{
    struct dml__cuda *cuda = gpu->driver;
    if (cuda->cu.CtxPushCurrent(cuda->context) == CUDA_SUCCESS) {
        CUcontext before;
        dml__cuda_unload(cuda);
        cuda->cu.CtxPopCurrent(&before);
    }
    cuda->cu.DevicePrimaryCtxRelease(cuda->device);
    pthread_mutex_destroy(&cuda->lock);
    gpu->driver = NULL;
    dml__free(cuda);
}

static dml_status enter(const struct dml__gpu *gpu)
{
    const struct dml__cuda *cuda = gpu->driver;
    CALL(gpu, CtxPushCurrent, cuda->context);
}

static void leave(const struct dml__gpu *gpu)
{
    CUcontext before;
    calls(gpu)->CtxPopCurrent(&before);
}

/* ---- memory ------------------------------------------------------------------------
 */

static dml_status allocate(const struct dml__gpu *gpu, size_t bytes, void **memory)
{
    CUdeviceptr at = 0;
    CUresult code = calls(gpu)->MemAlloc(&at, bytes > 0 ? bytes : 1);
    if (code == CUDA_ERROR_OUT_OF_MEMORY) {
        size_t left = 0, all = 0;
        calls(gpu)->MemGetInfo(&left, &all);
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu_alloc",
                         "GPU %d has no %zu bytes: %zu of %zu are left", gpu->index,
                         bytes, left, all);
    }
    DML_TRY(dml__cuda_check(gpu, "cuMemAlloc", code));
    *memory = (void *)(uintptr_t)at;
    return DML_OK;
}

static dml_status free_memory(const struct dml__gpu *gpu, void *memory)
{
    CALL(gpu, MemFree, address(memory));
}

static dml_status allocate_pinned(const struct dml__gpu *gpu, size_t bytes,
                                  void **memory)
{
    CALL(gpu, MemHostAlloc, memory, bytes > 0 ? bytes : 1, CU_MEMHOSTALLOC_PORTABLE);
}

static dml_status free_pinned(const struct dml__gpu *gpu, void *memory)
{
    CALL(gpu, MemFreeHost, memory);
}

static dml_status find_place(const struct dml__gpu *gpu, const void *p,
                             struct dml__gpu_place *place)
{
    unsigned type = 0, managed = 0;
    int device = -1;
    CUdeviceptr start = 0;
    size_t bytes = 0;
    unsigned long long id = 0;
    CUpointer_attribute names[] = {
        CU_POINTER_ATTRIBUTE_MEMORY_TYPE,    CU_POINTER_ATTRIBUTE_IS_MANAGED,
        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
        CU_POINTER_ATTRIBUTE_RANGE_SIZE,     CU_POINTER_ATTRIBUTE_BUFFER_ID};
    void *values[] = {&type, &managed, &device, &start, &bytes, &id};
    *place = (struct dml__gpu_place){.kind = DML_GPU_HOST, .device = -1};
    CUresult code = calls(gpu)->PointerGetAttributes(sizeof names / sizeof names[0],
                                                     names, values, address(p));
    if (code == CUDA_ERROR_INVALID_VALUE) /* some drivers say so of plain memory */
        return DML_OK;
    DML_TRY(dml__cuda_check(gpu, "cuPointerGetAttributes", code));
    if (managed)
        place->kind = DML_GPU_MANAGED;
    else if (type == CU_MEMORYTYPE_DEVICE)
        place->kind = DML_GPU_DEVICE;
    else if (type == CU_MEMORYTYPE_HOST)
        place->kind = DML_GPU_PINNED;
    else
        return DML_OK;
    place->device = place->kind == DML_GPU_PINNED ? -1 : device;
    place->base = (void *)(uintptr_t)start;
    place->bytes = bytes;
    place->id = id;
    return DML_OK;
}

/* ---- work --------------------------------------------------------------------------
 */

static dml_status copy(const struct dml__gpu *gpu, void *dst, const void *src,
                       size_t bytes, void *stream)
{
    if (bytes == 0) /* of which no graph may have a node */
        return DML_OK;
    CALL(gpu, MemcpyAsync, address(dst), address(src), bytes, stream);
}

static dml_status fill(const struct dml__gpu *gpu, void *dst, int byte, size_t bytes,
                       void *stream)
{
    if (bytes == 0)
        return DML_OK;
    CALL(gpu, MemsetD8Async, address(dst), (unsigned char)byte, bytes, stream);
}

static dml_status launch(const struct dml__gpu *gpu,
                         const struct dml_gpu_kernel *kernel, unsigned blocks,
                         const void *args, size_t bytes, void *stream)
{
    union {
        const void *given;
        void *taken; /* the driver only reads them */
    } a = {.given = args};
    CUfunction function = NULL;
    (void)bytes; /* the driver knows them */
    DML_TRY(dml__cuda_kernel(gpu, kernel, &function));
    return dml__cuda_check(gpu, kernel->name,
                           calls(gpu)->LaunchKernel(function, blocks, 1, 1,
                                                    kernel->threads, 1, 1, 0, stream,
                                                    &a.taken, NULL));
}

static dml_status load(const struct dml__gpu *gpu, const struct dml_gpu_kernel *kernel)
{
    CUfunction function = NULL;
    return dml__cuda_kernel(gpu, kernel, &function);
}

static dml_status stream_create(const struct dml__gpu *gpu, void **stream)
{
    CUstream made = NULL;
    DML_TRY(dml__cuda_check(gpu, "cuStreamCreate",
                            calls(gpu)->StreamCreate(&made, CU_STREAM_NON_BLOCKING)));
    *stream = made;
    return DML_OK;
}

static dml_status stream_destroy(const struct dml__gpu *gpu, void *stream)
{
    CALL(gpu, StreamDestroy, stream);
}

static dml_status sync_device(const struct dml__gpu *gpu)
{
    return dml__cuda_check(gpu, "cuCtxSynchronize", calls(gpu)->CtxSynchronize());
}

static dml_status stream_sync(const struct dml__gpu *gpu, void *stream)
{
    CALL(gpu, StreamSynchronize, stream);
}

static dml_status stream_query(const struct dml__gpu *gpu, void *stream)
{
    CUresult code = calls(gpu)->StreamQuery(stream);
    return code == CUDA_ERROR_NOT_READY ? DML_PENDING
                                        : dml__cuda_check(gpu, "cuStreamQuery", code);
}

static dml_status stream_wait(const struct dml__gpu *gpu, void *stream, void *event)
{
    CALL(gpu, StreamWaitEvent, stream, event, 0);
}

static dml_status event_create(const struct dml__gpu *gpu, bool timed, void **event)
{
    CUevent e = NULL;
    unsigned flags = timed ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING;
    DML_TRY(dml__cuda_check(gpu, "cuEventCreate", calls(gpu)->EventCreate(&e, flags)));
    *event = e;
    return DML_OK;
}

static dml_status event_destroy(const struct dml__gpu *gpu, void *event)
{
    CALL(gpu, EventDestroy, event);
}

static dml_status event_record(const struct dml__gpu *gpu, void *event, void *stream)
{
    CALL(gpu, EventRecord, event, stream);
}

static dml_status event_query(const struct dml__gpu *gpu, void *event)
{
    CUresult code = calls(gpu)->EventQuery(event);
    return code == CUDA_ERROR_NOT_READY ? DML_PENDING
                                        : dml__cuda_check(gpu, "cuEventQuery", code);
}

static dml_status event_sync(const struct dml__gpu *gpu, void *event)
{
    CALL(gpu, EventSynchronize, event);
}

static dml_status event_elapsed(const struct dml__gpu *gpu, void *from, void *to,
                                double *seconds)
{
    float ms = 0;
    CUresult code = calls(gpu)->EventElapsedTime(&ms, from, to);
    *seconds = 1e-3 * (double)ms;
    return dml__cuda_check(gpu, "cuEventElapsedTime", code);
}

/* ---- memory of other processes -----------------------------------------------------
 */

_Static_assert(sizeof(CUipcMemHandle) == sizeof(struct dml__gpu_ipc), "");

static dml_status ipc_get(const struct dml__gpu *gpu, void *base,
                          struct dml__gpu_ipc *handle)
{
    CUipcMemHandle found;
    DML_TRY(dml__cuda_check(gpu, "cuIpcGetMemHandle",
                            calls(gpu)->IpcGetMemHandle(&found, address(base))));
    memcpy(handle, &found, sizeof found);
    return DML_OK;
}

static dml_status ipc_open(const struct dml__gpu *gpu,
                           const struct dml__gpu_ipc *handle, void **base)
{
    CUipcMemHandle given;
    CUdeviceptr at = 0;
    memcpy(&given, handle, sizeof given);
    DML_TRY(dml__cuda_check(
        gpu, "cuIpcOpenMemHandle",
        calls(gpu)->IpcOpenMemHandle(&at, given, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS)));
    *base = (void *)(uintptr_t)at;
    return DML_OK;
}

static dml_status ipc_close(const struct dml__gpu *gpu, void *base)
{
    CALL(gpu, IpcCloseMemHandle, address(base));
}

const struct dml__gpu_ops dml__gpu_cuda = {
    .name = "cuda",
    .count = count_devices,
    .info = get_info,
    .current = current,
    .open = open_device,
    .close = close_device,
    .enter = enter,
    .leave = leave,
    .alloc = allocate,
    .free = free_memory,
    .alloc_pinned = allocate_pinned,
    .free_pinned = free_pinned,
    .place = find_place,
    .copy = copy,
    .fill = fill,
    .launch = launch,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
    .sync = sync_device,
    .stream_sync = stream_sync,
    .stream_query = stream_query,
    .stream_wait = stream_wait,
    .stream_captured = dml__cuda_stream_captured,
    .capture_mode = dml__cuda_capture_mode,
    .event_create = event_create,
    .event_destroy = event_destroy,
    .event_record = event_record,
    .event_query = event_query,
    .event_sync = event_sync,
    .event_elapsed = event_elapsed,
    .ipc_get = ipc_get,
    .ipc_open = ipc_open,
    .ipc_close = ipc_close,
    .load = load,
    .capture_begin = dml__cuda_capture_begin,
    .capture_end = dml__cuda_capture_end,
    .graph_launch = dml__cuda_graph_launch,
    .graph_destroy = dml__cuda_graph_destroy,
};
