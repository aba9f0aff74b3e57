/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NCCL without libdml: the rival of dml-perf-gpu. It is found at run time, and declared
 * here as far as it is used, so that the benchmark builds where it is not installed.
 */
#ifndef PERF_GPU_RAW_H
#define PERF_GPU_RAW_H

#include <stdbool.h>
#include <stddef.h>

struct gpu_raw;

/* A communicator of all ranks of MPI_COMM_WORLD on the thread's device, or NULL. */
struct gpu_raw *gpu_raw_open(int rank, int nranks);
void gpu_raw_close(struct gpu_raw *raw);

/* f32 sums of n elements, queued in a stream. */
bool gpu_raw_allreduce(struct gpu_raw *raw, const void *send, void *recv, size_t n,
                       void *stream);

#endif
