/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-cnn uses of cuDNN 9, cuBLAS and the CUDA driver, without their headers: they
 * are found when they are needed, and one program runs with and without them. The
 * numbers are theirs (test/gpu/cudnn_abi.c). Handles and descriptors are pointers.
 */
#ifndef CNN_CUDNN_ABI_H
#define CNN_CUDNN_ABI_H

#include <stddef.h>

enum {
    CUDNN_FLOAT = 0,
    CUDNN_BF16 = 9,
    CUDNN_NHWC = 1,
    CUDNN_CROSS = 1,       /* cross-correlation */
    CUDNN_DEFAULT = 0,     /* math type: f32 by tf32 where that is quicker */
    CUDNN_TENSOR = 1,      /* ...: tensor cores, for 16-bit numbers */
    CUDNN_CONVERSION = 2,  /* f32 by way of f16 */
    CUDNN_FMA = 3,         /* math type: f32 all the way */
    CUDNN_REPEATABLE = 1,  /* determinism: the same bits every time */
    CUDNN_LACKS = 3000,    /* status: not supported, to CUDNN_LACKS + 999 */
    CUDNN_NEEDED = 90000,  /* 9.0.0 */
    CUDNN_BELOW = 100000,  /* another major version is another interface */
    CUBLAS_N = 0,          /* as it is */
    CUBLAS_T = 1,          /* transposed */
    CUBLAS_F32 = 0,        /* types of matrices */
    CUBLAS_BF16 = 14,      /* ... */
    CUBLAS_SUM_F32 = 68,   /* type of the computation */
    CUBLAS_SUM_TF32 = 77,  /* ..., products rounded to tf32 */
    CUBLAS_ALGORITHM = -1, /* its own choice */
};

/* An algorithm for a convolution, as cuDNN's heuristics or measurements give it, the
 * best one first. */
struct cudnn_algorithm {
    int number, status;
    float time;
    size_t memory;
    int determinism, math;
    int reserved[3];
};

/* X(function, parameters); all return an int, 0 on success. */
#define CUDNN_CALLS(X)                                                               \
    X(Create, (void **handle))                                                       \
    X(Destroy, (void *handle))                                                       \
    X(SetStream, (void *handle, void *stream))                                       \
    X(CreateTensorDescriptor, (void **tensor))                                       \
    X(DestroyTensorDescriptor, (void *tensor))                                       \
    X(SetTensor4dDescriptor,                                                         \
      (void *tensor, int format, int type, int n, int c, int h, int w))              \
    X(CreateFilterDescriptor, (void **filter))                                       \
    X(DestroyFilterDescriptor, (void *filter))                                       \
    X(SetFilter4dDescriptor,                                                         \
      (void *filter, int type, int format, int k, int c, int h, int w))              \
    X(CreateConvolutionDescriptor, (void **conv))                                    \
    X(DestroyConvolutionDescriptor, (void *conv))                                    \
    X(SetConvolution2dDescriptor,                                                    \
      (void *conv, int pad_h, int pad_w, int stride_h, int stride_w, int dilation_h, \
       int dilation_w, int mode, int type))                                          \
    X(SetConvolutionMathType, (void *conv, int math))                                \
    X(GetConvolutionForwardAlgorithm_v7,                                             \
      (void *handle, void *x, void *w, void *conv, void *y, int asked, int *count,   \
       struct cudnn_algorithm *found))                                               \
    X(GetConvolutionBackwardDataAlgorithm_v7,                                        \
      (void *handle, void *w, void *dy, void *conv, void *dx, int asked, int *count, \
       struct cudnn_algorithm *found))                                               \
    X(GetConvolutionBackwardFilterAlgorithm_v7,                                      \
      (void *handle, void *x, void *dy, void *conv, void *dw, int asked, int *count, \
       struct cudnn_algorithm *found))                                               \
    X(FindConvolutionForwardAlgorithm,                                               \
      (void *handle, void *x, void *w, void *conv, void *y, int asked, int *count,   \
       struct cudnn_algorithm *found))                                               \
    X(FindConvolutionBackwardDataAlgorithm,                                          \
      (void *handle, void *w, void *dy, void *conv, void *dx, int asked, int *count, \
       struct cudnn_algorithm *found))                                               \
    X(FindConvolutionBackwardFilterAlgorithm,                                        \
      (void *handle, void *x, void *dy, void *conv, void *dw, int asked, int *count, \
       struct cudnn_algorithm *found))                                               \
    X(ConvolutionForward,                                                            \
      (void *handle, const void *alpha, void *x_desc, const void *x, void *w_desc,   \
       const void *w, void *conv, int algorithm, void *space, size_t space_bytes,    \
       const void *beta, void *y_desc, void *y))                                     \
    X(ConvolutionBackwardData,                                                       \
      (void *handle, const void *alpha, void *w_desc, const void *w, void *dy_desc,  \
       const void *dy, void *conv, int algorithm, void *space, size_t space_bytes,   \
       const void *beta, void *dx_desc, void *dx))                                   \
    X(ConvolutionBackwardFilter,                                                     \
      (void *handle, const void *alpha, void *x_desc, const void *x, void *dy_desc,  \
       const void *dy, void *conv, int algorithm, void *space, size_t space_bytes,   \
       const void *beta, void *dw_desc, void *dw))

#define CUBLAS_CALLS(X)                                                                \
    X(Create_v2, (void **handle))                                                      \
    X(Destroy_v2, (void *handle))                                                      \
    X(SetStream_v2, (void *handle, void *stream))                                      \
    X(SetWorkspace_v2, (void *handle, void *space, size_t bytes))                      \
    X(GemmEx,                                                                          \
      (void *handle, int trans_a, int trans_b, int m, int n, int k, const void *alpha, \
       const void *a, int a_type, int lda, const void *b, int b_type, int ldb,         \
       const void *beta, void *c, int c_type, int ldc, int compute, int algorithm))

#define CUDA_CALLS(X)                                       \
    X(DevicePrimaryCtxRetain, (void **context, int device)) \
    X(DevicePrimaryCtxRelease_v2, (int device))             \
    X(CtxSetCurrent, (void *context))

#endif
