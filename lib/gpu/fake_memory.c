/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of the fake device: allocations are memory files, mapped at their views, that
 * other processes open by their number (fake.c says what a view is).
 */
#include "gpu/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t page = 4096;

/* What a handle for another process holds. */
struct handle {
    int pid, file;
    size_t bytes;
};

static struct dml__fake *fake(void)
{
    return dml__fake_driver;
}

/* ---- memory ------------------------------------------------------------------------
 */

static size_t rounded(size_t bytes)
{
    return (bytes + page - 1) / page * page;
}

static bool takes_room(const struct dml__fake_block *b, int device)
{
    return b->device == device;
}

/* The first gap of a device's addresses that takes "bytes" and a page nobody has; the
 * link into which its block goes, or NULL. */
static struct dml__fake_block **find_gap(int device, size_t bytes, char **base)
{
    size_t share = fake()->addresses / DML__FAKE_DEVICES;
    char *at = fake()->arena + share * (size_t)device, *end = at + share;
    struct dml__fake_block **link = &fake()->blocks;
    for (; *link != NULL; link = &(*link)->next) {
        const struct dml__fake_block *b = *link;
        if (!takes_room(b, device))
            continue;
        if (bytes + page <= (size_t)(b->base - at))
            break;
        at = b->base + rounded(b->bytes) + page;
    }
    *base = at;
    return bytes + page <= (size_t)(end - at) ? link : NULL;
}

static bool map_at(char *at, int file, size_t bytes)
{
    return mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) !=
           MAP_FAILED;
}

static void unmap_block(char *base, size_t bytes)
{
    char *const at[] = {base, base + fake()->addresses};
    for (int i = 0; i < 2; i++)
        mmap(at[i], bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* Maps a file at the view of a device's address, and for emulated kernels there. */
static bool map_block(char *base, int file, size_t bytes)
{
    if ((fake()->emulate == NULL || map_at(base, file, bytes)) &&
        map_at(base + fake()->addresses, file, bytes))
        return true;
    unmap_block(base, bytes);
    return false;
}

/* Maps a file at a device's address; takes the file over, unless it fails. */
static bool add_block(const struct dml__gpu *gpu, int file, size_t bytes, int owner,
                      void **memory)
{
    struct dml__fake_block *b = dml__alloc(gpu->ctx, sizeof *b);
    bool mapped = false;
    pthread_mutex_lock(&fake()->lock);
    struct dml__fake_block **link =
        b != NULL ? find_gap(gpu->index, rounded(bytes), &b->base) : NULL;
    if (link != NULL)
        mapped = map_block(b->base, file, rounded(bytes));
    if (mapped) {
        b->bytes = bytes;
        b->device = gpu->index;
        b->file = file;
        b->owner = owner;
        b->id = ++fake()->nblocks;
        b->next = *link;
        *link = b;
        *memory = b->base;
        fake()->used[gpu->index] += owner != 0 ? 0 : bytes;
    }
    pthread_mutex_unlock(&fake()->lock);
    if (!mapped)
        dml__free(b);
    return mapped;
}

dml_status dml__fake_alloc(const struct dml__gpu *gpu, size_t bytes, void **memory)
{
    bytes = bytes > 0 ? bytes : 1;
    DML_TRY(dml__fake_may(gpu, "allocating memory"));
    pthread_mutex_lock(&fake()->lock);
    size_t left = DML__FAKE_MEMORY - fake()->used[gpu->index];
    pthread_mutex_unlock(&fake()->lock);
    if (bytes > left)
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu_alloc",
                         "GPU %d has no %zu bytes: %zu of %zu are left", gpu->index,
                         bytes, left, DML__FAKE_MEMORY);
    int file = memfd_create("dml-fake-gpu", MFD_CLOEXEC);
    if (file >= 0 && ftruncate(file, (off_t)rounded(bytes)) == 0 &&
        add_block(gpu, file, bytes, 0, memory))
        return DML_OK;
    const int code = errno;
    if (file >= 0)
        close(file);
    return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu_alloc",
                     "the fake device has no %zu bytes: %s", bytes, strerror(code));
}

/* Takes the block that begins at an address out of the list, or NULL. */
static struct dml__fake_block *take_block(const void *base, bool pinned)
{
    struct dml__fake_block *found = NULL;
    pthread_mutex_lock(&fake()->lock);
    for (struct dml__fake_block **link = &fake()->blocks; *link != NULL;
         link = &(*link)->next) {
        struct dml__fake_block *b = *link;
        if (b->base != base || (b->device < 0) != pinned)
            continue;
        *link = b->next;
        found = b;
        if (!pinned && b->owner == 0)
            fake()->used[b->device] -= b->bytes;
        break;
    }
    pthread_mutex_unlock(&fake()->lock);
    return found;
}

static dml_status unmap(const struct dml__gpu *gpu, void *memory, const char *where)
{
    struct dml__fake_block *b = take_block(memory, false);
    if (b == NULL)
        return dml__fail(gpu->ctx, DML_EINVAL, where, "%p is no device memory", memory);
    unmap_block(b->base, rounded(b->bytes));
    close(b->file);
    dml__free(b);
    return DML_OK;
}

dml_status dml__fake_free(const struct dml__gpu *gpu, void *memory)
{
    DML_TRY(dml__fake_may(gpu, "freeing memory"));
    dml__fake_drain();
    return unmap(gpu, memory, "dml_gpu_free");
}

dml_status dml__fake_alloc_pinned(const struct dml__gpu *gpu, size_t bytes,
                                  void **memory)
{
    DML_TRY(dml__fake_may(gpu, "allocating memory"));
    struct dml__fake_block *b = dml__alloc(gpu->ctx, sizeof *b);
    void *host = b != NULL ? dml__alloc(gpu->ctx, bytes) : NULL;
    if (host == NULL) {
        dml__free(b);
        return dml__fail(gpu->ctx, DML_ENOMEM, "dml_gpu_alloc_pinned",
                         "no memory for %zu bytes", bytes);
    }
    *b = (struct dml__fake_block){.base = host, .bytes = bytes, .device = -1};
    pthread_mutex_lock(&fake()->lock);
    b->next = fake()->blocks;
    fake()->blocks = b;
    pthread_mutex_unlock(&fake()->lock);
    *memory = host;
    return DML_OK;
}

dml_status dml__fake_free_pinned(const struct dml__gpu *gpu, void *memory)
{
    DML_TRY(dml__fake_may(gpu, "freeing memory"));
    struct dml__fake_block *b = take_block(memory, true);
    if (b == NULL)
        return dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu_free_pinned",
                         "%p is not from dml_gpu_alloc_pinned", memory);
    dml__free(b->base);
    dml__free(b);
    return DML_OK;
}

dml_status dml__fake_place(const struct dml__gpu *gpu, const void *p,
                           struct dml__gpu_place *place)
{
    const char *at = p;
    (void)gpu;
    *place = (struct dml__gpu_place){.kind = DML_GPU_HOST, .device = -1};
    pthread_mutex_lock(&fake()->lock);
    for (const struct dml__fake_block *b = fake()->blocks; b != NULL; b = b->next)
        if (at >= b->base && at < b->base + b->bytes)
            *place = (struct dml__gpu_place){.kind = b->device < 0 ? DML_GPU_PINNED
                                                                   : DML_GPU_DEVICE,
                                             .device = b->device,
                                             .base = b->base,
                                             .bytes = b->bytes,
                                             .id = b->id};
    pthread_mutex_unlock(&fake()->lock);
    return DML_OK;
}

/* ---- memory of other processes -----------------------------------------------------
 */

dml_status dml__fake_ipc_get(const struct dml__gpu *gpu, void *base,
                             struct dml__gpu_ipc *out)
{
    struct handle h = {.pid = (int)getpid(), .file = -1};
    pthread_mutex_lock(&fake()->lock);
    for (const struct dml__fake_block *b = fake()->blocks; b != NULL; b = b->next)
        if (b->base == base && b->device >= 0 && gpu->driver == NULL) {
            h.file = b->file;
            h.bytes = b->bytes;
        }
    pthread_mutex_unlock(&fake()->lock);
    if (h.file < 0)
        return dml__fail(gpu->ctx, DML_EINVAL, "dml_gpu", "%p is no device memory",
                         base);
    memcpy(out->bytes, &h, sizeof h);
    return DML_OK;
}

/* Tests have a mapping refused while others are kept, as CUDA may. */
static bool may_open(int owner)
{
    int n = 0;
    pthread_mutex_lock(&fake()->lock);
    for (const struct dml__fake_block *b = fake()->blocks; b != NULL; b = b->next)
        n += b->owner == owner;
    const bool may = fake()->most_opened == 0 || n < fake()->most_opened;
    pthread_mutex_unlock(&fake()->lock);
    return may;
}

dml_status dml__fake_ipc_open(const struct dml__gpu *gpu, const struct dml__gpu_ipc *in,
                              void **base)
{
    struct handle h;
    char path[64];
    DML_TRY(dml__fake_may(gpu, "opening memory"));
    memcpy(&h, in->bytes, sizeof h);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", h.pid, h.file);
    const bool may = gpu->driver == NULL && may_open(h.pid);
    int file = may ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file >= 0 && add_block(gpu, file, h.bytes, h.pid, base))
        return DML_OK;
    if (file >= 0)
        close(file);
    return dml__fail(gpu->ctx, DML_EUNSUPPORTED, "dml_gpu",
                     "memory of process %d cannot be opened", h.pid);
}

dml_status dml__fake_ipc_close(const struct dml__gpu *gpu, void *base)
{
    DML_TRY(dml__fake_may(gpu, "closing memory"));
    dml__fake_drain();
    return unmap(gpu, base, "dml_gpu");
}
