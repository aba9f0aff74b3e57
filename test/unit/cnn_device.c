/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening and closing of a device, and copies that wait: cnn_device.h. */
#include "cnn_device.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

void *must(void *pointer)
{
    assert_non_null(pointer);
    return pointer;
}

static void skip_unless_asked(void)
{
    const char *kind = getenv("DML_GPU"), *asked = getenv("DML_TEST_CUDA");
    if (kind && strcmp(kind, "cuda") == 0 && !(asked && strcmp(asked, "1") == 0)) {
        puts("skipped: a real device is used with DML_TEST_CUDA=1 only");
        exit(77);
    }
}

bool device_begin(struct gpu *gpu, const char *math)
{
    static const struct gpu_math *const all[] = {
        &gpu_math_cudnn, &gpu_math_cudnn_measured, &gpu_math_cudnn_gemm};
    skip_unless_asked();
    if (math == NULL)
        return true;
    gpu->math = &gpu_math_plain;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(math, all[i]->name) == 0)
            gpu->math = all[i];
    bool open = dml_ctx_create(NULL, &gpu->ctx) == DML_OK &&
                dml_gpu_stream_create(gpu->ctx, &gpu->stream) == DML_OK &&
                dml_gpu_device(gpu->ctx, &gpu->index) == DML_OK &&
                gpu->math->open(gpu) == DML_OK;
    if (!open)
        fprintf(stderr, "no GPU for %s: %s\n", math, gpu->error);
    return open;
}

int device_end(struct gpu *gpu, int failed)
{
    if (gpu->ctx) {
        gpu->math->close(gpu);
        dml_gpu_stream_destroy(gpu->ctx, gpu->stream);
        dml_ctx_destroy(gpu->ctx);
    }
    return failed;
}

static void copy(struct gpu *gpu, void *to, const void *from, size_t bytes)
{
    assert_int_equal(dml_gpu_copy(gpu->ctx, to, from, bytes, gpu->stream), DML_OK);
    assert_int_equal(dml_gpu_stream_sync(gpu->ctx, gpu->stream), DML_OK);
}

void *device_put(struct gpu *gpu, const void *from, size_t bytes)
{
    void *memory = NULL;
    assert_int_equal(dml_gpu_alloc(gpu->ctx, bytes, &memory), DML_OK);
    if (from)
        copy(gpu, memory, from, bytes);
    return memory;
}

void device_get(struct gpu *gpu, void *to, const void *from, size_t bytes)
{
    copy(gpu, to, from, bytes);
}
