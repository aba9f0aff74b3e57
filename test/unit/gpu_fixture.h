/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What tests of device memory share: a context on the device that $DML_GPU names, else
 * on the fake one, and vectors that lie there, between the host's elements' sizes but
 * at no rounder address.
 */
#ifndef GPU_FIXTURE_H
#define GPU_FIXTURE_H

#include "dml/ctx.h"
#include "dml/gpu.h"

#include "unit.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dml_ctx *gpu_ctx;
static uint64_t gpu_random_state;

static inline void gpu_quiet(void *user, dml_log_level level, const char *line)
{
    (void)user, (void)level, (void)line;
}

/* A real device is for those who ask for it: else the test is skipped by name. */
static inline void gpu_skip_without_device(void)
{
    const char *kind = getenv("DML_GPU"), *asked = getenv("DML_TEST_CUDA");
    if (kind != NULL && strcmp(kind, "cuda") == 0 &&
        (asked == NULL || strcmp(asked, "1") != 0)) {
        puts("skipped: a real device is used with DML_TEST_CUDA=1 only");
        exit(77);
    }
}

static inline int gpu_open(void **unused)
{
    (void)unused;
    const char *seed = getenv("DML_TEST_SEED");
    gpu_random_state = seed != NULL ? strtoull(seed, NULL, 10) : 20261122;
    printf("seed %" PRIu64 "\n", gpu_random_state);
    setenv("DML_GPU", "fake", 0);
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = gpu_quiet;
    return dml_ctx_create(&opts, &gpu_ctx) != DML_OK;
}

static inline int gpu_close(void **unused)
{
    (void)unused;
    dml_ctx_destroy(gpu_ctx);
    return 0;
}

static inline uint64_t gpu_random(void)
{
    uint64_t z = gpu_random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Mostly in (-1, 1) with many sizes; now and then a zero of either sign, a denormal, or
 * something huge. */
static inline float gpu_value(bool odd)
{
    const uint64_t bits = gpu_random();
    const double y = (double)(int64_t)bits * 0x1p-63;
    const float usual = (float)(y * y * y);
    switch (odd ? bits % 64 : 63) {
    case 0:
        return 0.0f;
    case 1:
        return -0.0f;
    case 2:
        return usual * 0x1p-126f;
    case 3:
        return usual * 0x1p40f;
    default:
        return usual;
    }
}

static inline void *gpu_new(size_t bytes)
{
    void *memory = NULL;
    assert_int_equal(dml_gpu_alloc(gpu_ctx, bytes + 64, &memory), DML_OK);
    return memory;
}

static inline void gpu_delete(void *memory)
{
    assert_int_equal(dml_gpu_free(gpu_ctx, memory), DML_OK);
}

static inline void gpu_copy(void *dst, const void *src, size_t bytes)
{
    if (bytes > 0)
        assert_int_equal(dml_gpu_copy(gpu_ctx, dst, src, bytes, NULL), DML_OK);
    assert_int_equal(dml_gpu_stream_sync(gpu_ctx, NULL), DML_OK);
}

/* The same numbers, bit for bit; any NaN is as good as another. */
static inline void gpu_expect_same(const float *seen, const float *wanted, size_t n,
                                   const char *what)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&seen[i], &wanted[i], sizeof *seen) == 0 ||
            (isnan(seen[i]) && isnan(wanted[i])))
            continue;
        fail_msg("%s: element %zu of %zu is %a, on the host %a", what, i, n,
                 (double)seen[i], (double)wanted[i]);
    }
}

#endif
