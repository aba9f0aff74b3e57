/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capturing streams into CUDA graphs.
 */
#include "gpu/cuda.h"

static const struct dml__cuda_calls *calls(const struct dml__gpu *gpu)
{
    const struct dml__cuda *cuda = gpu->driver;
    return &cuda->cu;
}

dml_status dml__cuda_stream_captured(const struct dml__gpu *gpu, void *stream,
                                     bool *yes)
{
    CUstreamCaptureStatus found = CU_STREAM_CAPTURE_STATUS_NONE;
    *yes = false;
    if (stream == NULL) /* never is, and to ask would spoil the captures of others */
        return DML_OK;
    CUresult code = calls(gpu)->StreamIsCapturing(stream, &found);
    *yes = found != CU_STREAM_CAPTURE_STATUS_NONE;
    return dml__cuda_check(gpu, "cuStreamIsCapturing", code);
}

_Static_assert(DML__GPU_RELAXED == (int)CU_STREAM_CAPTURE_MODE_RELAXED, "");

void dml__cuda_capture_mode(const struct dml__gpu *gpu, int *mode)
{
    CUstreamCaptureMode other = (CUstreamCaptureMode)*mode;
    calls(gpu)->ThreadExchangeStreamCaptureMode(&other);
    *mode = (int)other;
}

/* Only this thread is held to the rules. Others may allocate or ask meanwhile: threads
 * of NCCL's, which puts calls of a communicator that does not block into the capture
 * from one of its own, of MPI's, and of the program. */
dml_status dml__cuda_capture_begin(const struct dml__gpu *gpu, void *stream)
{
    return dml__cuda_check(
        gpu, "cuStreamBeginCapture",
        calls(gpu)->StreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
}

dml_status dml__cuda_capture_end(const struct dml__gpu *gpu, void *stream, void **graph)
{
    CUgraph captured = NULL;
    CUgraphExec made = NULL;
    DML_TRY(dml__cuda_check(gpu, "cuStreamEndCapture",
                            calls(gpu)->StreamEndCapture(stream, &captured)));
    dml_status status = dml__cuda_check(
        gpu, "cuGraphInstantiate", calls(gpu)->GraphInstantiate(&made, captured, 0));
    calls(gpu)->GraphDestroy(captured);
    *graph = made;
    return status;
}

dml_status dml__cuda_graph_launch(const struct dml__gpu *gpu, void *graph, void *stream)
{
    return dml__cuda_check(gpu, "cuGraphLaunch",
                           calls(gpu)->GraphLaunch(graph, stream));
}

dml_status dml__cuda_graph_destroy(const struct dml__gpu *gpu, void *graph)
{
    return dml__cuda_check(gpu, "cuGraphExecDestroy",
                           calls(gpu)->GraphExecDestroy(graph));
}
