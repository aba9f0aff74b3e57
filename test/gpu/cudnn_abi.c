/* SPDX-License-Identifier: BSD-3-Clause */
/* The numbers, structures and parameters of cudnn_abi.h are those of the headers of
 * cuDNN, cuBLAS and the CUDA driver. */
#include <cublas_v2.h>
#include <cuda.h>
#include <cudnn.h>
#include <stddef.h>

/* Names that both have, with another meaning. */
#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
#include "cudnn_abi.h"

SAME(CUDNN_FLOAT, CUDNN_DATA_FLOAT);
SAME(CUDNN_BF16, CUDNN_DATA_BFLOAT16);
SAME(CUDNN_NHWC, CUDNN_TENSOR_NHWC);
SAME(CUDNN_CROSS, CUDNN_CROSS_CORRELATION);
SAME(CUDNN_DEFAULT, CUDNN_DEFAULT_MATH);
SAME(CUDNN_TENSOR, CUDNN_TENSOR_OP_MATH);
SAME(CUDNN_CONVERSION, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION);
SAME(CUDNN_FMA, CUDNN_FMA_MATH);
SAME(CUDNN_REPEATABLE, CUDNN_DETERMINISTIC);
SAME(CUDNN_LACKS, CUDNN_STATUS_NOT_SUPPORTED);
SAME(CUDNN_LACKS, CUDNN_STATUS_CATEGORY(CUDNN_STATUS_NOT_SUPPORTED_SHAPE));
SAME(CUBLAS_N, CUBLAS_OP_N);
SAME(CUBLAS_T, CUBLAS_OP_T);
SAME(CUBLAS_F32, CUDA_R_32F);
SAME(CUBLAS_BF16, CUDA_R_16BF);
SAME(CUBLAS_SUM_F32, CUBLAS_COMPUTE_32F);
SAME(CUBLAS_SUM_TF32, CUBLAS_COMPUTE_32F_FAST_TF32);
SAME(CUBLAS_ALGORITHM, CUBLAS_GEMM_DEFAULT);
SAME(sizeof(struct cudnn_algorithm), sizeof(cudnnConvolutionFwdAlgoPerf_t));
SAME(sizeof(struct cudnn_algorithm), sizeof(cudnnConvolutionBwdDataAlgoPerf_t));
SAME(sizeof(struct cudnn_algorithm), sizeof(cudnnConvolutionBwdFilterAlgoPerf_t));
SAME(offsetof(struct cudnn_algorithm, memory),
     offsetof(cudnnConvolutionFwdAlgoPerf_t, memory));
SAME(offsetof(struct cudnn_algorithm, determinism),
     offsetof(cudnnConvolutionFwdAlgoPerf_t, determinism));
SAME(offsetof(struct cudnn_algorithm, math),
     offsetof(cudnnConvolutionBwdFilterAlgoPerf_t, mathType));

/* Every function takes the same arguments by the table's type and by the header's. The
 * compiler checks it: a pointer is no number, and the header's descriptors differ.
 * Nobody calls these, so nothing is linked. */
#define MEMBER(name, parameters) int(*name) parameters;
struct table {
    CUDNN_CALLS(MEMBER)
    CUBLAS_CALLS(MEMBER)
    CUDA_CALLS(MEMBER)
};
#define BOTH(theirs, name, ...) ((void)t->name(__VA_ARGS__), (void)theirs(__VA_ARGS__))
#define DNN(name, ...)          BOTH(cudnn##name, name, __VA_ARGS__)

struct of_cudnn {
    cudnnHandle_t handle;
    cudaStream_t stream;
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    cudnnTensorFormat_t format;
    cudnnDataType_t type;
    cudnnConvolutionMode_t mode;
    cudnnMathType_t math;
    cudnnConvolutionFwdAlgo_t forward;
    cudnnConvolutionBwdDataAlgo_t data;
    cudnnConvolutionBwdFilterAlgo_t filter;
};

/* void pointers become any: for pointers to handles, and for data. */
__attribute__((unused)) static void cudnn_abi_calls(const struct table *t,
                                                    struct of_cudnn *c, void *p)
{
    const size_t bytes = 0;
    DNN(Create, p);
    DNN(Destroy, c->handle);
    DNN(SetStream, c->handle, c->stream);
    DNN(CreateTensorDescriptor, p);
    DNN(DestroyTensorDescriptor, c->x);
    DNN(SetTensor4dDescriptor, c->x, c->format, c->type, 1, 1, 1, 1);
    DNN(CreateFilterDescriptor, p);
    DNN(DestroyFilterDescriptor, c->w);
    DNN(SetFilter4dDescriptor, c->w, c->type, c->format, 1, 1, 1, 1);
    DNN(CreateConvolutionDescriptor, p);
    DNN(DestroyConvolutionDescriptor, c->conv);
    DNN(SetConvolution2dDescriptor, c->conv, 0, 0, 1, 1, 1, 1, c->mode, c->type);
    DNN(SetConvolutionMathType, c->conv, c->math);
    DNN(GetConvolutionForwardAlgorithm_v7, c->handle, c->x, c->w, c->conv, c->y, 1, p,
        p);
    DNN(GetConvolutionBackwardDataAlgorithm_v7, c->handle, c->w, c->y, c->conv, c->x, 1,
        p, p);
    DNN(GetConvolutionBackwardFilterAlgorithm_v7, c->handle, c->x, c->y, c->conv, c->w,
        1, p, p);
    DNN(FindConvolutionForwardAlgorithm, c->handle, c->x, c->w, c->conv, c->y, 1, p, p);
    DNN(FindConvolutionBackwardDataAlgorithm, c->handle, c->w, c->y, c->conv, c->x, 1,
        p, p);
    DNN(FindConvolutionBackwardFilterAlgorithm, c->handle, c->x, c->y, c->conv, c->w, 1,
        p, p);
    DNN(ConvolutionForward, c->handle, p, c->x, p, c->w, p, c->conv, c->forward, p,
        bytes, p, c->y, p);
    DNN(ConvolutionBackwardData, c->handle, p, c->w, p, c->y, p, c->conv, c->data, p,
        bytes, p, c->x, p);
    DNN(ConvolutionBackwardFilter, c->handle, p, c->x, p, c->y, p, c->conv, c->filter,
        p, bytes, p, c->w, p);
}

__attribute__((unused)) static void cublas_abi_calls(const struct table *t,
                                                     cublasHandle_t blas,
                                                     cudaStream_t stream, void *p)
{
    BOTH(cublasCreate_v2, Create_v2, p);
    BOTH(cublasDestroy_v2, Destroy_v2, blas);
    BOTH(cublasSetStream_v2, SetStream_v2, blas, stream);
    BOTH(cublasSetWorkspace_v2, SetWorkspace_v2, blas, p, (size_t)0);
    BOTH(cublasGemmEx, GemmEx, blas, CUBLAS_OP_N, CUBLAS_OP_T, 1, 1, 1, p, p,
         CUDA_R_32F, 1, p, CUDA_R_32F, 1, p, p, CUDA_R_32F, 1, CUBLAS_COMPUTE_32F,
         CUBLAS_GEMM_DEFAULT);
}

__attribute__((unused)) static void
cuda_abi_calls(const struct table *t, CUdevice device, CUcontext context, void *p)
{
    BOTH(cuDevicePrimaryCtxRetain, DevicePrimaryCtxRetain, p, device);
    BOTH(cuDevicePrimaryCtxRelease_v2, DevicePrimaryCtxRelease_v2, device);
    BOTH(cuCtxSetCurrent, CtxSetCurrent, context);
}

int main(void)
{
    return 0;
}
