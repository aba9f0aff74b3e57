/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The runtime layer of GPUs: one table of functions, filled by the CUDA driver (cuda.c)
 * and by a fake device (fake.c), which is threads and memcpy. All that libdml does with
 * devices goes through it, so that the fake one runs the whole logic (doc/adr/0014).
 *
 * Streams and events are the driver's own handles (CUstream is cudaStream_t, CUevent is
 * cudaEvent_t), as void *; NULL is the default stream. Functions return DML_OK, or
 * record an error that names the driver's call and return its status. Those that a
 * thread calls for a device stand between dml__gpu_enter and dml__gpu_leave.
 */
#ifndef DML__GPU_H
#define DML__GPU_H

#include "dml/gpu.h"

#include "core/core.h"
#include "gpu/graph.h"

#include <pthread.h>
#include <stdatomic.h>

struct dml__gpu_ops;
struct dml__gpu_memory; /* memory.h */

/* A device that a context uses, the same for all its communicators. */
struct dml__gpu {
    struct dml__device device; /* what the context has of it */
    const struct dml__gpu_ops *ops;
    dml_ctx *ctx;
    int index;     /* of the devices that the process sees */
    void *driver;  /* the implementation's own */
    unsigned smps; /* multiprocessors: a grid takes a few blocks of each */
    struct dml__gpu_memory *memory;
    atomic_bool used; /* something of the context lies on it: it stays */
    pthread_mutex_t events_lock;
    struct dml__gpu_event *events; /* all of tasks */
    struct dml__gpu_graphs graphs;
};

/* For tasks: used again by later ones; one whose task never ends is the device's to
 * free. */
struct dml__gpu_event {
    void *event;
    bool taken;
    struct dml__gpu_event *next;
};

/* Where memory lies. */
struct dml__gpu_place {
    dml_gpu_memory kind;
    int device; /* whose it is; -1 of plain host memory */
    void *base; /* of the allocation, and its bytes; NULL of plain host memory */
    size_t bytes;
    uint64_t id; /* of the allocation: no other of the process ever has it */
};

/* Does memory count as the device's? Managed memory does: work that is queued may still
 * write it. Pinned memory is the host's. */
static inline bool dml__gpu_is_place(const struct dml__gpu_place *place)
{
    return place->kind == DML_GPU_DEVICE || place->kind == DML_GPU_MANAGED;
}

/* CUDA's numbers; the second one is bytes of a kernel's arguments. */
enum { DML__GPU_RELAXED = 2, DML__GPU_ARGS = 4096 };

/* What names an allocation of device memory to another process of the node. */
struct dml__gpu_ipc {
    unsigned char bytes[64];
};

/*
 * struct dml_gpu_kernel is public (dml/gpu.h). Images of this library's: images.h.
 */

struct dml__gpu_ops {
    const char *name; /* "cuda", "fake" */

    /* Loads the driver, and says how many devices it has; without a device too. */
    dml_status (*count)(dml_ctx *ctx, int *count);
    dml_status (*info)(dml_ctx *ctx, int index, dml_gpu_info *info);
    /* The thread's device, or -1 where it has none. */
    int (*current)(dml_ctx *ctx);
    /* Fills driver and smps of a gpu whose other members are set. */
    dml_status (*open)(struct dml__gpu *gpu);
    void (*close)(struct dml__gpu *gpu);

    /* Makes it the thread's device, and gives the thread back as it was. */
    dml_status (*enter)(const struct dml__gpu *gpu);
    void (*leave)(const struct dml__gpu *gpu);

    dml_status (*alloc)(const struct dml__gpu *gpu, size_t bytes, void **memory);
    dml_status (*free)(const struct dml__gpu *gpu, void *memory);
    dml_status (*alloc_pinned)(const struct dml__gpu *gpu, size_t bytes, void **memory);
    dml_status (*free_pinned)(const struct dml__gpu *gpu, void *memory);
    /* Any address; what no driver knows is plain host memory. */
    dml_status (*place)(const struct dml__gpu *gpu, const void *p,
                        struct dml__gpu_place *place);

    /* Work for a stream. Copies go between any two kinds of memory. */
    dml_status (*copy)(const struct dml__gpu *gpu, void *dst, const void *src,
                       size_t bytes, void *stream);
    dml_status (*fill)(const struct dml__gpu *gpu, void *dst, int byte, size_t bytes,
                       void *stream);
    dml_status (*launch)(const struct dml__gpu *gpu,
                         const struct dml_gpu_kernel *kernel, unsigned blocks,
                         const void *args, size_t bytes, void *stream);

    /* Waits for all that is queued on the device by this process. */
    dml_status (*sync)(const struct dml__gpu *gpu);

    /* Runs beside the default stream. */
    dml_status (*stream_create)(const struct dml__gpu *gpu, void **stream);
    dml_status (*stream_destroy)(const struct dml__gpu *gpu, void *stream);
    dml_status (*stream_sync)(const struct dml__gpu *gpu, void *stream);
    dml_status (*stream_query)(const struct dml__gpu *gpu, void *stream);
    dml_status (*stream_wait)(const struct dml__gpu *gpu, void *stream, void *event);
    /* Is it being recorded into a graph? Then nothing may wait for it. */
    dml_status (*stream_captured)(const struct dml__gpu *gpu, void *stream, bool *yes);

    /* What the thread asks ends no capture of another's: exchanges the thread's mode
     * with *mode, at first DML__GPU_RELAXED, and so gives it back by a second call. */
    void (*capture_mode)(const struct dml__gpu *gpu, int *mode);

    dml_status (*event_create)(const struct dml__gpu *gpu, bool timed, void **event);
    dml_status (*event_destroy)(const struct dml__gpu *gpu, void *event);
    dml_status (*event_record)(const struct dml__gpu *gpu, void *event, void *stream);
    dml_status (*event_query)(const struct dml__gpu *gpu,
                              void *event); /* DML_PENDING */
    dml_status (*event_sync)(const struct dml__gpu *gpu, void *event);
    dml_status (*event_elapsed)(const struct dml__gpu *gpu, void *from, void *to,
                                double *seconds);

    /* Device memory of another process: base addresses of allocations only. */
    dml_status (*ipc_get)(const struct dml__gpu *gpu, void *base,
                          struct dml__gpu_ipc *handle);
    dml_status (*ipc_open)(const struct dml__gpu *gpu,
                           const struct dml__gpu_ipc *handle, void **base);
    dml_status (*ipc_close)(const struct dml__gpu *gpu, void *base);

    /* Loads a kernel's code, which else its first launch does: none may be loaded while
     * a stream is captured. */
    dml_status (*load)(const struct dml__gpu *gpu, const struct dml_gpu_kernel *kernel);

    /* What is queued in a stream in between goes into a graph, which then is work
     * itself, again and again. Meanwhile no thread may allocate, wait, ask or load (but
     * see capture_mode). */
    dml_status (*capture_begin)(const struct dml__gpu *gpu, void *stream);
    dml_status (*capture_end)(const struct dml__gpu *gpu, void *stream, void **graph);
    dml_status (*graph_launch)(const struct dml__gpu *gpu, void *graph, void *stream);
    dml_status (*graph_destroy)(const struct dml__gpu *gpu, void *graph);
};

extern const struct dml__gpu_ops dml__gpu_cuda, dml__gpu_fake;

/* The context's device, to be used: opened at first as $DML_GPU says; NULL with an
 * error. */
struct dml__gpu *dml__gpu_of(dml_ctx *ctx, const char *where);

/* The devices that $DML_GPU says; NULL with an error. */
const struct dml__gpu_ops *dml__gpu_driver(dml_ctx *ctx, const char *where);

/* Opens a device for a context that has none. */
dml_status dml__gpu_open(dml_ctx *ctx, const struct dml__gpu_ops *ops, int index,
                         struct dml__gpu **out);

/* Takes another device, of the same kind, for a context that has not used its own. */
dml_status dml__gpu_change(struct dml__gpu *gpu, int index);

/* Bit i: device i is as near as any to the processors of this process (hwloc); all bits
 * where that is not known. */
uint64_t dml__gpu_near(dml_ctx *ctx, const struct dml__gpu_ops *ops, int count);

/* What a new context does: uses the device at once where $DML_GPU names a kind, or the
 * program has CUDA in use. */
void dml__gpu_begin(dml_ctx *ctx);

/* Is the driver in use in this process? */
bool dml__cuda_in_use(void);

/* The same if it was opened before; else NULL without an error. */
struct dml__gpu *dml__gpu_opened(const dml_ctx *ctx);

static inline dml_status dml__gpu_enter(const struct dml__gpu *gpu)
{
    return gpu->ops->enter(gpu);
}

static inline void dml__gpu_leave(const struct dml__gpu *gpu)
{
    gpu->ops->leave(gpu);
}

/* For calls whose failure is no error, but means another path. */
static inline struct dml__gpu dml__gpu_quiet(const struct dml__gpu *gpu)
{
    return (struct dml__gpu){
        .ops = gpu->ops, .index = gpu->index, .driver = gpu->driver, .smps = gpu->smps};
}

/* An event for a task, which gives it back when it has passed. */
dml_status dml__gpu_event_take(struct dml__gpu *gpu, void **event);
void dml__gpu_event_give(struct dml__gpu *gpu, const void *event);
void dml__gpu_events_close(struct dml__gpu *gpu);

/* Launches for n items of work, of which a thread does about "each": as many blocks as
 * that needs, at most a few of each multiprocessor; kernels stride over the rest. */
dml_status dml__gpu_launch(const struct dml__gpu *gpu,
                           const struct dml_gpu_kernel *kernel, size_t n, size_t each,
                           const void *args, size_t bytes, void *stream);

/* Loads what an object will launch: kernels [n]. */
dml_status dml__gpu_load_kernels(const struct dml__gpu *gpu,
                                 const struct dml_gpu_kernel *const *kernels, size_t n);

/* Where the fake device's memory really is: for the "host" functions of kernels. Other
 * addresses come back as they are. */
void *dml__gpu_view(const void *p);

#endif
