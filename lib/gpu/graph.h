/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Captures and graphs of a context's device: the driver's, and which communicators of
 * NCCL have calls in them, so that a launch is watched as the calls themselves would
 * be.
 */
#ifndef DML__GPU_GRAPH_H
#define DML__GPU_GRAPH_H

#include "dml/gpu.h"

#include <pthread.h>

struct dml__gpu;
struct dml__nccl_call; /* nccl.h */
struct dml__nccl_comm;

/* A dml_gpu_graph; also a capture that is under way. */
struct dml__gpu_graph;

struct dml__gpu_graphs {
    pthread_mutex_t lock; /* of the list; taken with a communicator's own lock held */
    struct dml__gpu_graph *first;
};

void dml__graphs_open(struct dml__gpu *gpu);
void dml__graphs_close(struct dml__gpu *gpu);

dml_status dml__graph_begin(struct dml__gpu *gpu, void *stream);
dml_status dml__graph_end(struct dml__gpu *gpu, void *stream,
                          struct dml__gpu_graph **graph);
dml_status dml__graph_launch(struct dml__gpu *gpu, struct dml__gpu_graph *graph,
                             void *stream);
dml_status dml__graph_free(struct dml__gpu *gpu, struct dml__gpu_graph *graph);

/* A call by NCCL has gone into what this thread captures. */
dml_status dml__graphs_keep(struct dml__gpu *gpu, struct dml__nccl_comm *nccl,
                            const struct dml__nccl_call *call);
/* Before the communicator ends or is aborted, which waits until all graphs that hold
 * calls of it have been destroyed (NCCL 2.28, commDestroySync): destroys the driver's,
 * so that what is left can only be freed. A capture that is open goes on: its end, or
 * its failure, does the same. Then the communicator is no more. */
void dml__graphs_end(struct dml__gpu *gpu, const struct dml__nccl_comm *nccl);
void dml__graphs_forget(struct dml__gpu *gpu, const struct dml__nccl_comm *nccl);

#endif
