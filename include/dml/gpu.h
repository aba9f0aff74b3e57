/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file gpu.h
 * GPU devices: memory, streams and events as opaque handles, without any CUDA header.
 *
 * Collectives take device memory where they take host memory: which it is they ask the
 * driver. A context uses one device, that of dml_gpu_bind(). Without that call it is
 * the thread's, or the process's turn among the nearest, taken when the context is made
 * (DML_GPU=cuda or fake, or the program has loaded the driver before) or else by the
 * first dml_gpu_* call that needs one; bind changes it only before that. Streams and
 * events are the driver's own: a cudaStream_t or cudaEvent_t is cast to dml_gpu_stream
 * or dml_gpu_event, and back (doc/gpu.md).
 *
 * The library can be built without CUDA; the calls are there all the same and answer
 * DML_EUNSUPPORTED, "built without CUDA". With DML_GPU=fake they work without a GPU, on
 * threads and host memory that the host cannot touch, for tests.
 *
 * Errors common to all: DML_EUNSUPPORTED (no CUDA in the build, no driver, one that is
 * too old, no device) | DML_ECOMM (the device failed) | DML_EINVAL.
 */
#ifndef DML_GPU_H
#define DML_GPU_H

#include "dml/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A queue of work on the device, in order. NULL is CUDA's default stream. */
typedef struct dml_gpu_stream_s *dml_gpu_stream;

/** A mark in a stream, that others can wait for. */
typedef struct dml_gpu_event_s *dml_gpu_event;

/** Work that was captured, to be done again and again. */
typedef struct dml_gpu_graph_s *dml_gpu_graph;

/** Where memory lies. */
typedef enum dml_gpu_memory {
    DML_GPU_HOST = 0,    /**< plain memory, unknown to the driver */
    DML_GPU_PINNED = 1,  /**< host memory that the device reaches */
    DML_GPU_DEVICE = 2,  /**< the device's own */
    DML_GPU_MANAGED = 3, /**< moves by itself */
} dml_gpu_memory;

/** A device. */
typedef struct dml_gpu_info {
    int index;           /**< among those that the process sees */
    char name[64];       /**< "NVIDIA H200" */
    char pci[16];        /**< "0000:17:00.0" */
    size_t memory_bytes; /**< all it has */
    int major, minor;    /**< compute capability: 9, 0 */
    int multiprocessors;
    int driver;      /**< CUDA version that the driver supports, 13000 for 13.0 */
    size_t l2_bytes; /**< of the cache that all multiprocessors share */
} dml_gpu_info;

/** Number of usable devices.
 * Not collective. @param[out] count  written on success, 0 is possible.
 * @return see the top of this file. Threads: any.  @since 0.1 */
DML_API dml_status dml_gpu_count(dml_ctx *ctx, int *count);

/** What a device is. Not collective. @param index 0 .. count-1.
 * @return see the top of this file. Threads: any.  @since 0.4 */
DML_API dml_status dml_gpu_get_info(dml_ctx *ctx, int index, dml_gpu_info *info);

/** For dml_gpu_bind(): the rank's share of the devices, the nearest to it (hwloc). */
#define DML_GPU_NEAREST (-1)

/**
 * Choose the device of a communicator's context, and make ready what collectives on
 * device memory need: done else by the first such call, which then waits for all ranks.
 * A device that the context has taken by itself is changed as long as nothing uses it:
 * no memory, stream, optimizer, codec or communicator. Meanwhile no other call may use
 * the context. Collective. Several ranks may have the same device.
 * @param index  a device, or DML_GPU_NEAREST: ranks of a node take turns among the
 * devices nearest to their processors, so two may share one while a far one is idle;
 * what the context has taken by itself stays.
 * @return see the top of this file; DML_EINVAL also where the context uses another
 * device already.  @since 0.4 */
DML_API dml_status dml_gpu_bind(dml_comm *comm, int index);

/** The device of a context. Not collective.
 * @return DML_OK | DML_EINVAL (it has none).  @since 0.4 */
DML_API dml_status dml_gpu_device(dml_ctx *ctx, int *index);

/**
 * Order collectives on device memory behind what is in a stream, and what comes later
 * in it behind them; without this call it is the default stream.
 * Not collective. The stream must live until another is set, or comm is destroyed, and
 * the requests that were begun with it are complete; those of dml_coll_init() keep it.
 * @param stream  the caller's; NULL is the default one.
 * @param queued  blocking calls return when their work is in the stream, by paths that
 * need not wait for the host of another rank (nccl, and all with one rank); errors of
 * the device come back from later calls. False: they return when it is done. A call
 * that returns a request does at once, and the request completes with the work.
 * @return DML_OK | DML_EINVAL (dml_gpu_bind() was not called on comm).  @since 0.4 */
DML_API dml_status dml_comm_set_stream(dml_comm *comm, dml_gpu_stream stream,
                                       bool queued);

/**
 * What collectives that were only queued (dml_comm_set_stream, graphs) have met since:
 * to be asked when their end has been waited for, by an event or a stream, which says
 * nothing of it. Not collective. Threads: as all calls on a communicator.
 * @return DML_OK | DML_EINVAL (NULL) | what ended the communicator, as any call on it:
 * DML_ECOMM, DML_EPEER, DML_ETIMEOUT ... The results are not to be used then; the text
 * names call, number and rank.  @since 0.4 */
DML_API dml_status dml_comm_async_error(dml_comm *comm);

/* ---- memory ------------------------------------------------------------------------
 */

/** Device memory, not zeroed. Not collective. NCCL is told of it at the first call that
 * uses it, and where ranks of a communicator cannot map each other's memory it is from
 * NCCL's allocator (doc/gpu.md). @param[out] memory free by dml_gpu_free().
 * @return see the top of this file, and DML_ENOMEM. Threads: any.  @since 0.4 */
DML_API dml_status dml_gpu_alloc(dml_ctx *ctx, size_t bytes, void **memory);

/** Free it, when the device is done with it; NULL is a no-op. Not collective.
 * @since 0.4 */
DML_API dml_status dml_gpu_free(dml_ctx *ctx, void *memory);

/** Host memory that the device reads and writes at full speed; free by
 * dml_gpu_free_pinned(). Not collective.
 * @return see the top of this file, and DML_ENOMEM. Threads: any.  @since 0.4 */
DML_API dml_status dml_gpu_alloc_pinned(dml_ctx *ctx, size_t bytes, void **memory);

/** Free it; NULL is a no-op. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_free_pinned(dml_ctx *ctx, void *memory);

/** Where memory lies, and on which device (-1 of plain host memory; NULL is possible).
 * Not collective.
 * @return see the top of this file. Threads: any.  @since 0.4 */
DML_API dml_status dml_gpu_query(dml_ctx *ctx, const void *memory, dml_gpu_memory *kind,
                                 int *device);

/** Copy between any two kinds of memory, in a stream. Not collective. The host must not
 * touch either until the stream has come there.
 * @return see the top of this file. Threads: any.  @since 0.4 */
DML_API dml_status dml_gpu_copy(dml_ctx *ctx, void *dst, const void *src, size_t bytes,
                                dml_gpu_stream stream);

/** Set bytes of device memory, in a stream. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_fill(dml_ctx *ctx, void *dst, int byte, size_t bytes,
                                dml_gpu_stream stream);

/* ---- streams and events ------------------------------------------------------------
 */

/** Make a stream that runs beside the default one. Not collective. Free by
 * dml_gpu_stream_destroy().
 * @since 0.4 */
DML_API dml_status dml_gpu_stream_create(dml_ctx *ctx, dml_gpu_stream *stream);

/** Free it, its work is done all the same; NULL is a no-op. Not collective.
 * @since 0.4 */
DML_API dml_status dml_gpu_stream_destroy(dml_ctx *ctx, dml_gpu_stream stream);

/** Wait until all its work is done. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_stream_sync(dml_ctx *ctx, dml_gpu_stream stream);

/** DML_OK when all its work is done, else DML_PENDING. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_stream_query(dml_ctx *ctx, dml_gpu_stream stream);

/** What comes later in the stream waits for the event. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_stream_wait(dml_ctx *ctx, dml_gpu_stream stream,
                                       dml_gpu_event event);

/** Make an event, with a clock if it is timed. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_event_create(dml_ctx *ctx, bool timed, dml_gpu_event *event);

/** Free it; NULL is a no-op. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_event_destroy(dml_ctx *ctx, dml_gpu_event event);

/** Mark this place of a stream. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_event_record(dml_ctx *ctx, dml_gpu_event event,
                                        dml_gpu_stream stream);

/** DML_OK when the stream has come there (or never was told to), else DML_PENDING.
 * Not collective.
 * @since 0.4 */
DML_API dml_status dml_gpu_event_query(dml_ctx *ctx, dml_gpu_event event);

/** Wait until the stream has come there. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_event_sync(dml_ctx *ctx, dml_gpu_event event);

/** Seconds between two timed events that have passed. Not collective. @since 0.4 */
DML_API dml_status dml_gpu_event_elapsed(dml_ctx *ctx, dml_gpu_event from,
                                         dml_gpu_event to, double *seconds);

/* ---- graphs ------------------------------------------------------------------------
 */

/**
 * What is queued in a stream from now on is not done but kept, to become a graph; also
 * what streams get that wait for an event of this one, and it must wait for them in
 * turn before the end. Not collective. Until the end, by the same thread:
 * - copies, fills, launches and steps of optimizers on the device are kept, with the
 *   arguments that they have now (dml_optim_read_rate());
 * - collectives on device memory are where they wait for nobody: with one rank, and by
 *   nccl on a stream that is "queued", after the same call was made once before; where
 *   NCCL can do a call that is captured no other path is chosen for it. By host_staged,
 *   and by ipc with more ranks, with a request, and on a stream that is not "queued"
 *   they are refused (DML_EUNSUPPORTED). All ranks capture them, or none does;
 * - requests of dml_coll_init() cannot be started, nor messages sent or received, with
 *   device memory (DML_EUNSUPPORTED);
 * - no communicator may be destroyed of which it holds calls: NCCL would wait for the
 *   end of the capture;
 * - no thread may allocate or free memory, wait for or ask a stream or an event, or
 *   launch a kernel for the first time: such a call fails, and so does the end.
 * @return see the top of this file; DML_EINVAL for the default stream, and for one that
 * is being captured.  @since 0.4 */
DML_API dml_status dml_gpu_capture_begin(dml_ctx *ctx, dml_gpu_stream stream);

/** Is the stream being captured? For callers who do otherwise then. Not collective.
 * @param[out] captured  written on success.
 * @return see the top of this file. Threads: any.  @since 0.4 */
DML_API dml_status dml_gpu_stream_captured(dml_ctx *ctx, dml_gpu_stream stream,
                                           bool *captured);

/** End the capture, also one that failed: the stream is as before. Not collective.
 * @param[out] graph  written on success; free by dml_gpu_graph_free().
 * @return see the top of this file; DML_EINVAL where the stream is not being captured.
 * @since 0.4 */
DML_API dml_status dml_gpu_capture_end(dml_ctx *ctx, dml_gpu_stream stream,
                                       dml_gpu_graph *graph);

/** Queue all its work in a stream, as one piece. Addresses are those of the capture:
 * that memory must live, as must communicators. Collective where it holds collectives,
 * which are watched as those that are called (DML_TIMEOUT_S); what they meet comes back
 * from later launches and dml_comm_async_error(). (Graphs that CUDA's own calls
 * capture, or launch, are not watched.)
 * Threads: one at a time for a graph, and as all calls on the communicators in it.
 * @return see the top of this file; DML_EINVAL where a communicator has been
 * destroyed; what dml_comm_async_error() returns for one that has failed.
 * @since 0.4 */
DML_API dml_status dml_gpu_graph_launch(dml_ctx *ctx, dml_gpu_graph graph,
                                        dml_gpu_stream stream);

/** Free it, what is queued is done all the same; NULL is a no-op. Not collective.
 * @return see the top of this file; DML_EINVAL where it is no graph of the context.
 * @since 0.4 */
DML_API dml_status dml_gpu_graph_free(dml_ctx *ctx, dml_gpu_graph graph);

/* ---- kernels -----------------------------------------------------------------------
 */

/**
 * A kernel of the caller's: on CUDA 'extern "C" __global__ void NAME(struct ARGS args)'
 * of a fat binary, cubin or PTX text; on the fake device a function of C, which a
 * stream's thread calls with a copy of the same structure, and which reads device
 * memory through dml_gpu_view(). Static: a device remembers it by its address, up to
 * 128 kernels with libdml's own (fewer than 50), of up to 16 fat binaries.
 */
typedef struct dml_gpu_kernel {
    const char *name;  /**< of the function */
    const void *image; /**< the fat binary; NULL: it runs on the fake device only */
    unsigned threads;  /**< of a block */
    void (*host)(const void *args,
                 unsigned blocks); /**< the same for the fake device */
} dml_gpu_kernel;

/** Run a kernel in a stream, for n items of which a thread takes about one: as many
 * blocks as that needs, up to a few of each multiprocessor, so it strides over the
 * rest. Not collective. @param[in] args  [bytes] its structure, at most 4 KiB, copied.
 * @return see the top of this file; DML_EUNSUPPORTED also without code for this device.
 * Threads: any.  @since 0.4 */
DML_API dml_status dml_gpu_launch(dml_ctx *ctx, const dml_gpu_kernel *kernel, size_t n,
                                  const void *args, size_t bytes,
                                  dml_gpu_stream stream);

/** Where a kernel's host function finds device memory, on the fake device; any other
 * address comes back as it is. Not collective. Threads: any.  @since 0.4 */
DML_API void *dml_gpu_view(const void *memory);

#ifdef __cplusplus
}
#endif
#endif
