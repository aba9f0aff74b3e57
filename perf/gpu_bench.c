/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timing on a device: work stands between two events of the default stream, in turn
 * with a copy of more than any cache holds, so that both meet the same clocks.
 */
#include "gpu_bench.h"

#include "median.h"

#include <stdio.h>
#include <stdlib.h>

static int failed(const struct gpu_bench *bench)
{
    dml_error error;
    dml_ctx_last_error(bench->ctx, &error);
    fprintf(stderr, "%s: %s\n", error.where, error.text);
    return 1;
}

int gpu_bench_open(struct gpu_bench *bench)
{
    int count = 0;
    *bench = (struct gpu_bench){.copy_bytes = (size_t)1 << 30};
    if (dml_ctx_create(NULL, &bench->ctx) != DML_OK)
        return 1;
    if (dml_gpu_count(bench->ctx, &count) != DML_OK || count == 0) {
        fprintf(stderr, "no device: ");
        return failed(bench);
    }
    const char *name = getenv("DML_GPU");
    if (name != NULL && name[0] == 'f') /* the fake one is for trying the program */
        bench->copy_bytes = (size_t)1 << 20;
    if (dml_gpu_event_create(bench->ctx, true, &bench->from) != DML_OK ||
        dml_gpu_event_create(bench->ctx, true, &bench->to) != DML_OK ||
        dml_gpu_alloc(bench->ctx, bench->copy_bytes, &bench->copy[0]) != DML_OK ||
        dml_gpu_alloc(bench->ctx, bench->copy_bytes, &bench->copy[1]) != DML_OK)
        return failed(bench);
    return 0;
}

void gpu_bench_close(struct gpu_bench *bench)
{
    if (bench->ctx == NULL)
        return;
    dml_gpu_free(bench->ctx, bench->copy[0]);
    dml_gpu_free(bench->ctx, bench->copy[1]);
    dml_gpu_event_destroy(bench->ctx, bench->from);
    dml_gpu_event_destroy(bench->ctx, bench->to);
    dml_ctx_destroy(bench->ctx);
}

static void fill(void *to, dml_dtype dtype, size_t count, float scale, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (dtype == DML_F32)
            ((float *)to)[i] = ((float)(seed >> 8) / 0x1p23f - 1) * scale;
        else
            ((uint16_t *)to)[i] = (uint16_t)(0x3000u + (seed >> 21));
    }
}

/* Random values are made once for a piece, which then goes to many places. */
void *gpu_bench_vector(struct gpu_bench *bench, dml_dtype dtype, size_t count,
                       float scale)
{
    const size_t element = dml_dtype_bytes(dtype);
    const size_t piece = count < ((size_t)1 << 24) ? count : (size_t)1 << 24;
    void *values = malloc(piece * element + 1), *memory = NULL;
    if (values == NULL || dml_gpu_alloc(bench->ctx, count * element + 1, &memory) < 0) {
        fprintf(stderr, "no memory for %zu elements\n", count);
        free(values);
        return NULL;
    }
    fill(values, dtype, piece, scale, (uint32_t)count);
    int bad = 0;
    for (size_t at = 0; at < count && !bad; at += piece) {
        const size_t n = count - at < piece ? count - at : piece;
        bad = dml_gpu_copy(bench->ctx, (char *)memory + at * element, values,
                           n * element, NULL) != DML_OK;
    }
    bad |= dml_gpu_stream_sync(bench->ctx, NULL) != DML_OK;
    free(values);
    if (bad) {
        failed(bench);
        dml_gpu_free(bench->ctx, memory);
        return NULL;
    }
    return memory;
}

double gpu_bench_time(struct gpu_bench *bench, int (*work)(void *user, size_t round),
                      void *user, size_t round)
{
    double seconds = -1;
    if (dml_gpu_event_record(bench->ctx, bench->from, NULL) != DML_OK ||
        work(user, round) != 0 ||
        dml_gpu_event_record(bench->ctx, bench->to, NULL) != DML_OK ||
        dml_gpu_event_sync(bench->ctx, bench->to) != DML_OK ||
        dml_gpu_event_elapsed(bench->ctx, bench->from, bench->to, &seconds) != DML_OK)
        failed(bench);
    return seconds;
}

static int copy_once(void *user, size_t round)
{
    struct gpu_bench *bench = user;
    return dml_gpu_copy(bench->ctx, bench->copy[round % 2], bench->copy[1 - round % 2],
                        bench->copy_bytes, NULL) != DML_OK;
}

double gpu_bench_copy(struct gpu_bench *bench)
{
    const double seconds = gpu_bench_time(bench, copy_once, bench, 0);
    return seconds > 0 ? 2e-9 * (double)bench->copy_bytes / seconds : -1;
}

int gpu_bench_measure(struct gpu_bench *bench, int (*work)(void *user, size_t round),
                      void *user, size_t rounds, double gigabytes,
                      struct gpu_bench_result *result)
{
    enum { WARM = 3 };
    static double seconds[GPU_BENCH_ROUNDS], copies[GPU_BENCH_ROUNDS],
        ratios[GPU_BENCH_ROUNDS];
    for (size_t i = 0; i < rounds + WARM; i++) {
        const double took = gpu_bench_time(bench, work, user, i);
        const double copy = gpu_bench_copy(bench);
        if (took <= 0 || copy <= 0)
            return 1;
        if (i < WARM)
            continue;
        seconds[i - WARM] = took;
        copies[i - WARM] = copy;
        ratios[i - WARM] = gigabytes / took / copy;
    }
    result->seconds = perf_median(seconds, rounds);
    result->gbs = gigabytes / result->seconds;
    result->copy_gbs = perf_median(copies, rounds);
    result->of_copy = perf_median(ratios, rounds);
    return 0;
}
