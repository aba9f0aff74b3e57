/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How many blocks a kernel gets: enough to fill the device, and no more than the work
 * needs.
 */
#include "gpu/gpu.h"

dml_status dml__gpu_load_kernels(const struct dml__gpu *gpu,
                                 const struct dml_gpu_kernel *const *kernels, size_t n)
{
    for (size_t i = 0; i < n; i++)
        DML_TRY(gpu->ops->load(gpu, kernels[i]));
    return DML_OK;
}

dml_status dml__gpu_launch(const struct dml__gpu *gpu,
                           const struct dml_gpu_kernel *kernel, size_t n, size_t each,
                           const void *args, size_t bytes, void *stream)
{
    enum { THREADS_OF_A_MULTIPROCESSOR = 2048 };
    size_t resident = THREADS_OF_A_MULTIPROCESSOR / kernel->threads;
    size_t most = gpu->smps * (resident > 0 ? resident : 1);
    size_t per_block = kernel->threads * each;
    size_t blocks = n / per_block + (n % per_block != 0);
    blocks = blocks < most ? blocks : most;
    return gpu->ops->launch(gpu, kernel, (unsigned)(blocks > 0 ? blocks : 1), args,
                            bytes, stream);
}
