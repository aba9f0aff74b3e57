/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which device a context uses, and when it is opened: where $DML_GPU names a kind, or
 * the program has CUDA in use already, with the context; else by the first call that
 * needs one, so that a node without GPUs never looks for them.
 */
#include "gpu/gpu.h"
#include "gpu/memory.h"
#include "gpu/paths.h"

#include <hwloc.h>
#include <stdlib.h>
#include <string.h>

const struct dml__gpu_ops *dml__gpu_driver(dml_ctx *ctx, const char *where)
{
    const char *kind = dml__ctx_env(ctx, "GPU");
    if (kind != NULL && strncmp(kind, "fake", 4) == 0)
        return &dml__gpu_fake;
    if (kind != NULL && strcmp(kind, "off") == 0) {
        dml__fail(ctx, DML_EUNSUPPORTED, where,
                  "DML_GPU=off forbids devices; unset it to use one");
        return NULL;
    }
#ifdef DML__CUDA
    return &dml__gpu_cuda;
#else
    dml__fail(ctx, DML_EUNSUPPORTED, where,
              "built without CUDA (no nvcc, or -Dgpu=disabled); DML_GPU=fake stands in "
              "for a GPU in tests");
    return NULL;
#endif
}

static bool holds(const struct dml__device *device, const void *memory)
{
    const struct dml__gpu *gpu = (const struct dml__gpu *)device;
    struct dml__gpu_place place = {.kind = DML_GPU_HOST};
    if (dml__gpu_enter(gpu) < 0)
        return false;
    dml_status found = gpu->ops->place(gpu, memory, &place);
    dml__gpu_leave(gpu);
    return found == DML_OK && dml__gpu_is_place(&place);
}

static void *stream_of(const dml_comm *comm)
{
    const struct dml__gpu_comm *g = comm != NULL ? dml__comm_gpu(comm) : NULL;
    return g != NULL ? g->stream : NULL;
}

static dml_status may_wait(const struct dml__device *device, const dml_comm *comm,
                           const char *where)
{
    const struct dml__gpu *gpu = (const struct dml__gpu *)device;
    bool captured = false;
    DML_TRY(dml__gpu_enter(gpu));
    dml_status status = gpu->ops->stream_captured(gpu, stream_of(comm), &captured);
    dml__gpu_leave(gpu);
    if (status == DML_OK && captured)
        return dml__fail(gpu->ctx, DML_EUNSUPPORTED, where,
                         "with device memory it cannot be captured in a graph; call it "
                         "before the capture or behind its end");
    return status;
}

static dml_status copy_now(const struct dml__device *device, const dml_comm *comm,
                           void *dst, const void *src, size_t bytes)
{
    const struct dml__gpu *gpu = (const struct dml__gpu *)device;
    void *stream = stream_of(comm);
    int mode = DML__GPU_RELAXED;
    DML_TRY(dml__gpu_enter(gpu));
    gpu->ops->capture_mode(gpu, &mode);
    dml_status status = gpu->ops->copy(gpu, dst, src, bytes, stream);
    if (status == DML_OK)
        status = gpu->ops->stream_sync(gpu, stream);
    gpu->ops->capture_mode(gpu, &mode);
    dml__gpu_leave(gpu);
    return status;
}

/* Queues it, with an event behind it. */
static dml_status begin_copy(struct dml__gpu *gpu, struct dml__device_copy *copy)
{
    void *event = NULL;
    DML_TRY(dml__gpu_event_take(gpu, &event));
    dml_status status =
        gpu->ops->copy(gpu, copy->dst, copy->src, copy->bytes, copy->stream);
    if (status == DML_OK)
        status = gpu->ops->event_record(gpu, event, copy->stream);
    if (status == DML_OK)
        copy->event = event;
    else
        dml__gpu_event_give(gpu, event);
    return status;
}

static dml_status advance_copy(struct dml__device *device,
                               struct dml__device_copy *copy)
{
    struct dml__gpu *gpu = (struct dml__gpu *)device;
    int mode = DML__GPU_RELAXED;
    DML_TRY(dml__gpu_enter(gpu));
    atomic_store_explicit(&gpu->used, true, memory_order_relaxed);
    gpu->ops->capture_mode(gpu, &mode);
    dml_status status = copy->event == NULL ? begin_copy(gpu, copy) : DML_OK;
    if (status == DML_OK)
        status = gpu->ops->event_query(gpu, copy->event);
    if (status == DML_OK)
        dml__gpu_event_give(gpu, copy->event);
    gpu->ops->capture_mode(gpu, &mode);
    dml__gpu_leave(gpu);
    return status;
}

static void close_gpu(struct dml__device *device)
{
    struct dml__gpu *gpu = (struct dml__gpu *)device; /* its first member */
    dml__gpu_events_close(gpu);
    dml__graphs_close(gpu);
    gpu->ops->close(gpu);
    dml__gpu_memory_close(gpu);
    dml__free(gpu);
}

dml_status dml__gpu_open(dml_ctx *ctx, const struct dml__gpu_ops *ops, int index,
                         struct dml__gpu **out)
{
    struct dml__gpu *gpu = dml__alloc(ctx, sizeof *gpu);
    if (gpu == NULL)
        return dml__fail(ctx, DML_ENOMEM, "dml_gpu", "no memory");
    *gpu = (struct dml__gpu){.device = {.paths = &dml__gpu_paths,
                                        .close = close_gpu,
                                        .holds = holds,
                                        .copy = copy_now,
                                        .stream = stream_of,
                                        .may_wait = may_wait,
                                        .advance = advance_copy},
                             .ops = ops,
                             .ctx = ctx,
                             .index = index};
    pthread_mutex_init(&gpu->events_lock, NULL);
    dml__graphs_open(gpu);
    dml_status status = dml__gpu_memory_open(gpu);
    if (status == DML_OK && (status = ops->open(gpu)) < 0)
        dml__gpu_memory_close(gpu);
    if (status < 0) {
        pthread_mutex_destroy(&gpu->events_lock);
        dml__graphs_close(gpu);
        dml__free(gpu);
        return status;
    }
    if (!dml__ctx_set_device(ctx, &gpu->device))
        close_gpu(&gpu->device); /* another thread was first */
    *out = dml__gpu_opened(ctx);
    dml__log(ctx, DML_LOG_INFO, "GPU %d of kind %s", (*out)->index, ops->name);
    return DML_OK;
}

dml_status dml__gpu_change(struct dml__gpu *gpu, int index)
{
    struct dml__gpu other = {.ops = gpu->ops, .ctx = gpu->ctx, .index = index};
    if (atomic_load(&gpu->used))
        return dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu_bind",
                         "the context has used GPU %d already (memory, a stream, an "
                         "optimizer or a communicator); bind it to %d before that",
                         gpu->index, index);
    DML_TRY(other.ops->open(&other));
    gpu->ops->close(gpu);
    gpu->index = index;
    gpu->driver = other.driver;
    gpu->smps = other.smps;
    return DML_OK;
}

struct dml__gpu *dml__gpu_opened(const dml_ctx *ctx)
{
    return (struct dml__gpu *)dml__ctx_device(ctx);
}

/* This process's number among those of the node, as launchers say it. */
static int local_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID",
                                        "MPI_LOCALRANKID", "PMI_LOCAL_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL)
            return abs(atoi(value));
    }
    return 0;
}

/* The process's own choice: the thread's device, or its turn among the nearest. */
static int choose(dml_ctx *ctx, const struct dml__gpu_ops *ops, int count)
{
    int current = ops->current(ctx);
    if (current >= 0 && current < count)
        return current;
    uint64_t near = dml__gpu_near(ctx, ops, count);
    int turn = local_rank() % __builtin_popcountll(near), i = 0;
    for (; i < count; i++)
        if (near >> i & 1 && turn-- == 0)
            break;
    return i;
}

static dml_status open_any(dml_ctx *ctx, const char *where, struct dml__gpu **gpu)
{
    const struct dml__gpu_ops *ops = dml__gpu_driver(ctx, where);
    int count = 0;
    if (ops == NULL)
        return DML_EUNSUPPORTED;
    DML_TRY(ops->count(ctx, &count));
    if (count == 0)
        return dml__fail(ctx, DML_EUNSUPPORTED, where, "there is no GPU");
    return dml__gpu_open(ctx, ops, choose(ctx, ops, count), gpu);
}

struct dml__gpu *dml__gpu_of(dml_ctx *ctx, const char *where)
{
    struct dml__gpu *gpu = dml__gpu_opened(ctx);
    if (gpu == NULL && open_any(ctx, where, &gpu) < 0)
        return NULL;
    atomic_store_explicit(&gpu->used, true, memory_order_relaxed);
    return gpu;
}

void dml__gpu_begin(dml_ctx *ctx)
{
    const char *kind = dml__ctx_env(ctx, "GPU");
    struct dml__gpu *gpu = NULL;
    bool asked = kind != NULL && strcmp(kind, "off") != 0 && strcmp(kind, "auto") != 0;
    bool in_use = false;
#ifdef DML__CUDA
    in_use = (kind == NULL || strcmp(kind, "auto") == 0) && dml__cuda_in_use();
#endif
    if (!asked && !in_use)
        return;
    if (open_any(ctx, "dml_ctx_create", &gpu) < 0) {
        dml_error error;
        dml_ctx_last_error(ctx, &error);
        dml__log(ctx, asked ? DML_LOG_WARN : DML_LOG_INFO, "no GPU is used: %s",
                 error.text);
    }
}

/* ---- nearness ----------------------------------------------------------------------
 */

/* Does the device hang on a part of the machine on which this process may run? */
static bool is_near(hwloc_topology_t topology, hwloc_const_cpuset_t mine,
                    const char *pci)
{
    hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(topology, pci);
    if (device == NULL)
        return false;
    hwloc_obj_t where = hwloc_get_non_io_ancestor_obj(topology, device);
    return where != NULL && where->cpuset != NULL &&
           hwloc_bitmap_intersects(where->cpuset, mine);
}

static uint64_t near_devices(dml_ctx *ctx, const struct dml__gpu_ops *ops, int count,
                             hwloc_topology_t topology)
{
    uint64_t near = 0;
    hwloc_cpuset_t mine = hwloc_bitmap_alloc();
    if (mine == NULL || hwloc_get_cpubind(topology, mine, HWLOC_CPUBIND_PROCESS) != 0) {
        hwloc_bitmap_free(mine);
        return 0;
    }
    for (int i = 0; i < count && i < 64; i++) {
        dml_gpu_info info;
        if (ops->info(ctx, i, &info) == DML_OK && is_near(topology, mine, info.pci))
            near |= (uint64_t)1 << i;
    }
    hwloc_bitmap_free(mine);
    return near;
}

uint64_t dml__gpu_near(dml_ctx *ctx, const struct dml__gpu_ops *ops, int count)
{
    hwloc_topology_t topology;
    uint64_t near = 0;
    if (count > 1 && hwloc_topology_init(&topology) == 0) {
        hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
        if (hwloc_topology_load(topology) == 0)
            near = near_devices(ctx, ops, count, topology);
        hwloc_topology_destroy(topology);
    }
    uint64_t all = count < 64 ? ((uint64_t)1 << count) - 1 : UINT64_MAX;
    return near != 0 ? near : all;
}
