/* SPDX-License-Identifier: BSD-3-Clause */
/* cuDNN and cuBLAS found at run time: gpu_cudnn_load.c, used by gpu_cudnn.c. */
#ifndef CNN_GPU_CUDNN_H
#define CNN_GPU_CUDNN_H

#include "cudnn_abi.h"
#include "gpu.h"

#define CUDNN_MEMBER(name, parameters) int(*name) parameters;

struct cudnn {
    struct {
        CUDNN_CALLS(CUDNN_MEMBER)
        size_t (*GetVersion)(void);
        const char *(*GetErrorString)(int code);
    } dnn;
    struct {
        CUBLAS_CALLS(CUDNN_MEMBER)
    } blas;
    struct {
        CUDA_CALLS(CUDNN_MEMBER)
    } cuda;
    void *handle, *blas_handle;
    bool has_context;
    bool measures; /* algorithms, rather than ask for proposals */
    void *space;   /* the workspace of all layers, in device memory */
    size_t space_bytes;
    void *blas_space;
};

/* Finds the libraries and starts them on the GPU's stream. On failure gpu->error says
 * what was found, what is needed, and what to do. */
dml_status cudnn_open(struct gpu *gpu, struct cudnn *lib);
void cudnn_close(struct gpu *gpu, struct cudnn *lib);

/* Which of the algorithms that were found, the best ones first, is taken; -1: none. */
int cudnn_best(const struct gpu *gpu, const struct cudnn_algorithm *found, int count);

/* A product of matrices as cuBLAS wants it, column by column: c = op(a) op(b). */
struct cudnn_product {
    int trans_a, trans_b, m, n, k, lda, ldb, ldc;
    const void *a, *b;
    void *c;
};

/* The three products of a linear layer, or of a window of one pixel; matrices row by
 * row: x [N][C], weight [K][C] and y [N][K], with N pixels of all images. */
struct cudnn_product cudnn_linear(enum gpu_conv what, const struct cnn_conv_args *args);

#endif
