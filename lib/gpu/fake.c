/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake device ($DML_GPU is fake or fake:N): the same table as the CUDA driver's, on
 * threads and memcpy, so that all logic above it runs and is tested without a GPU.
 *
 * An allocation is a memory file that is mapped at its "view"; its device address is as
 * far into a part of the address space that nobody may touch, so that the host dies at
 * once where it takes device memory for its own. The file is what other processes open,
 * as they do with CUDA's memory handles.
 *
 * Kernels run by their host functions; where $DML_TEST_GPU_KERNELS names a module that
 * emulates device code (test/gpu/emulate), by that, and memory can then be touched at
 * its device address, too.
 */
#include "gpu/fake.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct dml__fake *dml__fake_driver;

/* Of its being there, and of who uses it: contexts of several threads may. */
static pthread_mutex_t fake_driver_gate = PTHREAD_MUTEX_INITIALIZER;

static struct dml__fake *fake(void)
{
    return dml__fake_driver;
}

void *dml__gpu_view(const void *p)
{
    if (fake() == NULL)
        return (void *)p;
    uintptr_t at = (uintptr_t)p, arena = (uintptr_t)fake()->arena;
    bool device = at >= arena && at < arena + fake()->addresses;
    return (void *)(device ? at + fake()->addresses : at);
}

/* ---- devices -----------------------------------------------------------------------
 */

static dml_status count_devices(dml_ctx *ctx, int *count)
{
    const char *text = dml__ctx_env(ctx, "GPU"), *colon = NULL;
    if (text != NULL)
        colon = strchr(text, ':');
    int n = colon != NULL ? (int)strtol(colon + 1, NULL, 10) : 1;
    *count = n < DML__FAKE_DEVICES ? n : DML__FAKE_DEVICES;
    return DML_OK;
}

static dml_status get_info(dml_ctx *ctx, int index, dml_gpu_info *info)
{
    (void)ctx;
    *info = (dml_gpu_info){.index = index,
                           .name = "fake device",
                           .memory_bytes = DML__FAKE_MEMORY,
                           .multiprocessors = 2,
                           .l2_bytes = (size_t)1 << 20};
    snprintf(info->pci, sizeof info->pci, "fake:%02x:00.0", (unsigned)index & 0xff);
    return DML_OK;
}

static int current(dml_ctx *ctx)
{
    (void)ctx;
    return -1;
}

static dml_status find_emulator(struct dml__gpu *gpu, struct dml__fake *f)
{
    const char *name = dml__ctx_env(gpu->ctx, "TEST_GPU_KERNELS");
    if (name == NULL)
        return DML_OK;
    void *module = dlopen(name, RTLD_NOW | RTLD_NODELETE);
    void *symbol = module != NULL ? dlsym(module, "emulate_launch") : NULL;
    if (symbol == NULL) {
        const char *why = dlerror();
        return dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu", "DML_TEST_GPU_KERNELS: %s",
                         why != NULL ? why : name);
    }
    dlclose(module); /* it stays */
    memcpy(&f->emulate, &symbol, sizeof symbol);
    return DML_OK;
}

static dml_status make_driver(struct dml__gpu *gpu)
{
    struct dml__fake *f = dml__alloc(gpu->ctx, sizeof *f);
    if (f == NULL)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu", "no memory");
    dml_status status = find_emulator(gpu, f);
    if (status < 0) {
        dml__free(f);
        return status;
    }
    f->arena = MAP_FAILED;
    for (size_t bytes = DML__FAKE_MOST; bytes >= DML__FAKE_LEAST; bytes /= 2) {
        f->addresses = bytes;
        f->arena = mmap(NULL, 2 * bytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (f->arena != MAP_FAILED)
            break;
    }
    if (f->arena == MAP_FAILED) {
        dml__free(f);
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu",
                         "no addresses for the fake device");
    }
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    dml__fake_driver = f;
    return DML_OK;
}

static void end_driver(void)
{
    struct dml__fake *f = fake();
    while (f->streams != NULL) /* those that the program has left, too */
        dml__fake_stop(f->streams);
    while (f->blocks != NULL) {
        struct dml__fake_block *b = f->blocks;
        f->blocks = b->next;
        if (b->device >= 0)
            close(b->file);
        else
            dml__free(b->base);
        dml__free(b);
    }
    munmap(f->arena, 2 * f->addresses);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    dml__fake_driver = NULL;
    dml__free(f);
}

static dml_status open_locked(struct dml__gpu *gpu)
{
    if (fake() == NULL)
        DML_TRY(make_driver(gpu));
    gpu->smps = 2;
    if (dml__ctx_env(gpu->ctx, "TEST_GPU_NO_IPC") != NULL)
        gpu->driver = fake(); /* not NULL: other processes' memory is out of reach */
    const char *most = dml__ctx_env(gpu->ctx, "TEST_GPU_OPENED");
    fake()->most_opened = most != NULL ? atoi(most) : 0;
    fake()->users++;
    if (fake()->queues[gpu->index] != NULL)
        return DML_OK;
    dml_status status = dml__fake_start(gpu, &fake()->queues[gpu->index]);
    if (status < 0 && --fake()->users == 0)
        end_driver();
    return status;
}

static dml_status open_device(struct dml__gpu *gpu)
{
    pthread_mutex_lock(&fake_driver_gate);
    dml_status status = open_locked(gpu);
    pthread_mutex_unlock(&fake_driver_gate);
    return status;
}

static void close_device(struct dml__gpu *gpu)
{
    (void)gpu;
    pthread_mutex_lock(&fake_driver_gate);
    if (--fake()->users == 0)
        end_driver();
    pthread_mutex_unlock(&fake_driver_gate);
}

static dml_status enter(const struct dml__gpu *gpu)
{
    (void)gpu;
    return DML_OK;
}

static void leave(const struct dml__gpu *gpu)
{
    (void)gpu;
}

/* ---- work --------------------------------------------------------------------------
 */

static dml_status copy(const struct dml__gpu *gpu, void *dst, const void *src,
                       size_t bytes, void *stream)
{
    struct dml__fake_work w = {
        .kind = FAKE_COPY, .dst = dst, .src = src, .bytes = bytes};
    return dml__fake_add(gpu, stream, &w, NULL, 0);
}

static dml_status fill(const struct dml__gpu *gpu, void *dst, int byte, size_t bytes,
                       void *stream)
{
    struct dml__fake_work w = {
        .kind = FAKE_FILL, .dst = dst, .byte = byte, .bytes = bytes};
    return dml__fake_add(gpu, stream, &w, NULL, 0);
}

static dml_status launch(const struct dml__gpu *gpu,
                         const struct dml_gpu_kernel *kernel, unsigned blocks,
                         const void *args, size_t bytes, void *stream)
{
    if (kernel->host == NULL)
        return dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu_launch",
                         "the kernel %s: host is NULL, which the fake device calls",
                         kernel->name);
    DML_TRY(dml__fake_load(gpu, kernel));
    struct dml__fake_work w = {.kind = FAKE_LAUNCH, .kernel = kernel, .blocks = blocks};
    return dml__fake_add(gpu, stream, &w, args, bytes);
}

void dml__fake_run(const struct dml_gpu_kernel *kernel, unsigned blocks,
                   const void *args)
{
    if (fake()->emulate == NULL ||
        !fake()->emulate(kernel->name, blocks, kernel->threads, args))
        kernel->host(args, blocks);
}

const struct dml__gpu_ops dml__gpu_fake = {
    .name = "fake",
    .count = count_devices,
    .info = get_info,
    .current = current,
    .open = open_device,
    .close = close_device,
    .enter = enter,
    .leave = leave,
    .alloc = dml__fake_alloc,
    .free = dml__fake_free,
    .alloc_pinned = dml__fake_alloc_pinned,
    .free_pinned = dml__fake_free_pinned,
    .place = dml__fake_place,
    .copy = copy,
    .fill = fill,
    .launch = launch,
    .stream_create = dml__fake_stream_create,
    .stream_destroy = dml__fake_stream_destroy,
    .sync = dml__fake_sync,
    .stream_sync = dml__fake_stream_sync,
    .stream_query = dml__fake_stream_query,
    .stream_wait = dml__fake_stream_wait,
    .stream_captured = dml__fake_stream_captured,
    .capture_mode = dml__fake_capture_mode,
    .event_create = dml__fake_event_create,
    .event_destroy = dml__fake_event_destroy,
    .event_record = dml__fake_event_record,
    .event_query = dml__fake_event_query,
    .event_sync = dml__fake_event_sync,
    .event_elapsed = dml__fake_event_elapsed,
    .ipc_get = dml__fake_ipc_get,
    .ipc_open = dml__fake_ipc_open,
    .ipc_close = dml__fake_ipc_close,
    .load = dml__fake_load,
    .capture_begin = dml__fake_capture_begin,
    .capture_end = dml__fake_capture_end,
    .graph_launch = dml__fake_graph_launch,
    .graph_destroy = dml__fake_graph_destroy,
};
