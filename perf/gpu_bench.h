/* SPDX-License-Identifier: BSD-3-Clause */
/* What benchmarks on a device share: time by its events, and its copy rate. */
#ifndef PERF_GPU_BENCH_H
#define PERF_GPU_BENCH_H

#include "dml/dml.h"
#include "dml/gpu.h"

#include <stdbool.h>

enum { GPU_BENCH_ROUNDS = 1001 };

struct gpu_bench {
    dml_ctx *ctx;
    dml_gpu_event from, to;
    void *copy[2];     /* device memory of copy_bytes each */
    size_t copy_bytes; /* far more than any cache */
};

/* 0 when there is a device; else a line on the standard error says why not. */
int gpu_bench_open(struct gpu_bench *bench);
void gpu_bench_close(struct gpu_bench *bench);

/* Device memory of random f32 or 16-bit values of magnitude "scale" and below; NULL
 * with a line on the standard error. */
void *gpu_bench_vector(struct gpu_bench *bench, dml_dtype dtype, size_t count,
                       float scale);

/* Seconds of the device for work(user, round); < 0 when that failed. */
double gpu_bench_time(struct gpu_bench *bench, int (*work)(void *user, size_t round),
                      void *user, size_t round);

/* GB/s of a copy within the device, both ways counted; < 0 when it failed. */
double gpu_bench_copy(struct gpu_bench *bench);

/* What was timed beside a copy: medians. */
struct gpu_bench_result {
    double seconds, gbs, copy_gbs, of_copy;
};

/* 0 when all went well; rounds: at most GPU_BENCH_ROUNDS. */
int gpu_bench_measure(struct gpu_bench *bench, int (*work)(void *user, size_t round),
                      void *user, size_t rounds, double gigabytes,
                      struct gpu_bench_result *result);

#endif
