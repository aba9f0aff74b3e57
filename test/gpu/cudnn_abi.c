/* SPDX-License-Identifier: BSD-3-Clause */
/* The numbers and structures of cudnn_abi.h are those of cuDNN's and cuBLAS's headers.
 */
#include <cublas_v2.h>
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
SAME(CUDNN_CONVERSION, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION);
SAME(CUDNN_FMA, CUDNN_FMA_MATH);
SAME(CUDNN_REPEATABLE, CUDNN_DETERMINISTIC);
SAME(CUBLAS_N, CUBLAS_OP_N);
SAME(CUBLAS_T, CUBLAS_OP_T);
SAME(CUBLAS_F32, CUDA_R_32F);
SAME(CUBLAS_BF16, CUDA_R_16BF);
SAME(CUBLAS_SUM_F32, CUBLAS_COMPUTE_32F);
SAME(CUBLAS_SUM_TF32, CUBLAS_COMPUTE_32F_FAST_TF32);
SAME(CUBLAS_ALGORITHM, CUBLAS_GEMM_DEFAULT);
SAME(sizeof(struct cudnn_way), sizeof(cudnnConvolutionFwdAlgoPerf_t));
SAME(sizeof(struct cudnn_way), sizeof(cudnnConvolutionBwdDataAlgoPerf_t));
SAME(sizeof(struct cudnn_way), sizeof(cudnnConvolutionBwdFilterAlgoPerf_t));
SAME(offsetof(struct cudnn_way, memory),
     offsetof(cudnnConvolutionFwdAlgoPerf_t, memory));
SAME(offsetof(struct cudnn_way, determinism),
     offsetof(cudnnConvolutionFwdAlgoPerf_t, determinism));
SAME(offsetof(struct cudnn_way, math),
     offsetof(cudnnConvolutionBwdFilterAlgoPerf_t, mathType));

int main(void)
{
    return 0;
}
