/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fake device: what fake.c and fake_stream.c share. It stands for a driver and its
 * devices, and so its state is the process's, as a driver's is.
 */
#ifndef DML__GPU_FAKE_H
#define DML__GPU_FAKE_H

#include "gpu/gpu.h"

#include <pthread.h>

enum { DML__FAKE_DEVICES = 8, DML__FAKE_KERNELS = 128 };

/* Memory of a device; addresses of all devices, and as few as will do where a process
 * has no more (limits, valgrind). */
#define DML__FAKE_MEMORY ((size_t)4 << 30)
#define DML__FAKE_MOST   ((size_t)128 << 30)
#define DML__FAKE_LEAST  ((size_t)8 << 30)

struct dml__fake_block {
    struct dml__fake_block *next; /* by address */
    char *base;                   /* device address, or of pinned memory */
    size_t bytes;
    int device; /* -1: pinned host memory */
    int file;
    uint64_t id;
    int owner; /* the process whose it is, where it is another's; else 0 */
};

struct dml__fake_stream {
    struct dml__fake_stream *next; /* of all */
    pthread_t thread;
    struct dml__fake_work *first, **last;
    uint64_t added, done; /* of the queue's work */
    bool stop;
    long delay_us; /* before each piece of work, so that nobody can rely on speed */
    struct dml__fake_graph *capture; /* into which its work goes, or NULL */
};

struct dml__fake_event {
    uint64_t recorded, passed;
    double at_s;
    bool timed;
    uint64_t capture; /* number of the one in which it was recorded last, or 0 */
};

/* Work that was captured, of all streams of the capture, in the order of its queueing,
 * which is one that their events allow. */
struct dml__fake_graph {
    struct dml__fake_graph *next; /* of those that are still being captured */
    struct dml__fake_work *first, **last;
    uint64_t number;
    struct dml__fake_stream *origin, *joined[4];
    int njoined;
    bool broken; /* by a call that is not allowed */
};

struct dml__fake {
    int users;              /* contexts that have it open */
    pthread_mutex_t lock;   /* of all below, and of all streams and events */
    pthread_cond_t changed; /* any of it */
    char *arena;            /* addresses of all devices, then the views of the same */
    size_t addresses;       /* of all devices, equal parts */
    /* Runs the device's code of a kernel ($DML_TEST_GPU_KERNELS), or false: has none.
     */
    bool (*emulate)(const char *name, unsigned blocks, unsigned threads,
                    const void *args);
    struct dml__fake_block *blocks;
    uint64_t nblocks;                 /* ever made */
    int most_opened;                  /* of one process's blocks; 0: any number */
    struct dml__fake_graph *captures; /* under way */
    uint64_t ncaptures;               /* ever */
    const struct dml_gpu_kernel *loaded[DML__FAKE_KERNELS];
    int nloaded;
    size_t used[DML__FAKE_DEVICES];                     /* bytes */
    struct dml__fake_stream *queues[DML__FAKE_DEVICES]; /* the default streams */
    struct dml__fake_stream *streams;                   /* all */
};

/* NULL while no context has the fake device open. */
extern struct dml__fake *dml__fake_driver;

/* The kinds of work in a stream. */
struct dml__fake_work {
    struct dml__fake_work *next;
    enum { FAKE_COPY, FAKE_FILL, FAKE_LAUNCH, FAKE_RECORD, FAKE_WAIT } kind;
    void *dst;
    const void *src;
    size_t bytes;
    int byte;
    const struct dml_gpu_kernel *kernel;
    unsigned blocks;
    size_t arg_bytes;
    struct dml__fake_event *event;
    uint64_t ticket;
    max_align_t args[];
};

/* Does a launch. */
void dml__fake_run(const struct dml_gpu_kernel *kernel, unsigned blocks,
                   const void *args);

/* Adds work to a stream: a copy of it with "bytes" of arguments behind it. */
dml_status dml__fake_add(const struct dml__gpu *gpu, void *stream,
                         const struct dml__fake_work *work, const void *args,
                         size_t bytes);

/* Graphs (fake_graph.c). What CUDA does not allow during a capture is refused, and
 * spoils the capture: what may allocate, wait or load, in any thread whose mode is not
 * relaxed. To be called without the lock. */
dml_status dml__fake_may(const struct dml__gpu *gpu, const char *call);
/* The same of what may not be done to a captured stream, or event, in any mode. */
dml_status dml__fake_not_captured(const struct dml__gpu *gpu,
                                  const struct dml__fake_stream *stream,
                                  const struct dml__fake_event *event,
                                  const char *call);
/* A stream waits for an event: joins its capture. false: not in a capture. */
dml_status dml__fake_join(const struct dml__gpu *gpu, struct dml__fake_stream *stream,
                          const struct dml__fake_event *event, bool *joined);
dml_status dml__fake_load(const struct dml__gpu *gpu,
                          const struct dml_gpu_kernel *kernel);
dml_status dml__fake_capture_begin(const struct dml__gpu *gpu, void *stream);
dml_status dml__fake_capture_end(const struct dml__gpu *gpu, void *stream,
                                 void **graph);
dml_status dml__fake_graph_launch(const struct dml__gpu *gpu, void *graph,
                                  void *stream);
dml_status dml__fake_graph_destroy(const struct dml__gpu *gpu, void *graph);
dml_status dml__fake_stream_captured(const struct dml__gpu *gpu, void *stream,
                                     bool *yes);
void dml__fake_capture_mode(const struct dml__gpu *gpu, int *mode);

/* The stream, or the device's default one. */
struct dml__fake_stream *dml__fake_queue(const struct dml__gpu *gpu, void *stream);

/* Waits for all work of all devices, as CUDA does before memory is freed. */
void dml__fake_drain(void);
dml_status dml__fake_sync(const struct dml__gpu *gpu);

/* The default stream of a device, whose thread it starts; and its end. */
dml_status dml__fake_start(const struct dml__gpu *gpu, struct dml__fake_stream **out);
void dml__fake_stop(struct dml__fake_stream *stream);

dml_status dml__fake_alloc(const struct dml__gpu *gpu, size_t bytes, void **memory);
dml_status dml__fake_free(const struct dml__gpu *gpu, void *memory);
dml_status dml__fake_alloc_pinned(const struct dml__gpu *gpu, size_t bytes,
                                  void **memory);
dml_status dml__fake_free_pinned(const struct dml__gpu *gpu, void *memory);
dml_status dml__fake_place(const struct dml__gpu *gpu, const void *p,
                           struct dml__gpu_place *place);
dml_status dml__fake_ipc_get(const struct dml__gpu *gpu, void *base,
                             struct dml__gpu_ipc *out);
dml_status dml__fake_ipc_open(const struct dml__gpu *gpu, const struct dml__gpu_ipc *in,
                              void **base);
dml_status dml__fake_ipc_close(const struct dml__gpu *gpu, void *base);

dml_status dml__fake_stream_create(const struct dml__gpu *gpu, void **stream);
dml_status dml__fake_stream_destroy(const struct dml__gpu *gpu, void *stream);
dml_status dml__fake_stream_sync(const struct dml__gpu *gpu, void *stream);
dml_status dml__fake_stream_query(const struct dml__gpu *gpu, void *stream);
dml_status dml__fake_stream_wait(const struct dml__gpu *gpu, void *stream, void *event);
dml_status dml__fake_event_create(const struct dml__gpu *gpu, bool timed, void **event);
dml_status dml__fake_event_destroy(const struct dml__gpu *gpu, void *event);
dml_status dml__fake_event_record(const struct dml__gpu *gpu, void *event,
                                  void *stream);
dml_status dml__fake_event_query(const struct dml__gpu *gpu, void *event);
dml_status dml__fake_event_sync(const struct dml__gpu *gpu, void *event);
dml_status dml__fake_event_elapsed(const struct dml__gpu *gpu, void *from, void *to,
                                   double *seconds);

#endif
