/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of kernels.h as a table; for the fake device each is a loop over its
 * items here.
 */
#include "gpu.h"
#include "kernels_dropout.h"
#include "kernels_loss.h"
#include "kernels_norm_back.h"
#include "kernels_window.h"

#define LOOP(name, type)                                       \
    static void loop_##name(const void *args, unsigned blocks) \
    {                                                          \
        const struct cnn_##type##_args *a = args;              \
        (void)blocks;                                          \
        for (size_t i = 0; i < a->n; i++)                      \
            cnn_item_##name(a, i);                             \
    }
CNN_KERNELS(LOOP)

#ifdef CNN_CUDA
extern const unsigned long long cnn_fatbin_kernels[];
#define IMAGE cnn_fatbin_kernels
#else
#define IMAGE NULL
#endif

enum { THREADS = 256 };

static const struct {
    dml_gpu_kernel kernel;
    size_t bytes; /* of its arguments */
} table[] = {
#define ROW(name, type) \
    {{"cnn_" #name, IMAGE, THREADS, loop_##name}, sizeof(struct cnn_##type##_args)},
    CNN_KERNELS(ROW)
#undef ROW
};

dml_status gpu_run(struct gpu *gpu, enum cnn_kernel kernel, const void *args)
{
    size_t n;
    memcpy(&n, args, sizeof n); /* the first member of them all */
    if (n == 0)
        return DML_OK;
    return gpu_note(gpu, dml_gpu_launch(gpu->ctx, &table[kernel].kernel, n, args,
                                        table[kernel].bytes, gpu->stream));
}

dml_status gpu_run_map(struct gpu *gpu, enum cnn_kernel kernel,
                       struct cnn_map_args args)
{
    args.n = args.channels > 0
                 ? gpu_row_items(args.count / (size_t)args.channels, args.channels)
                 : (args.count + CNN_VECTOR - 1) / CNN_VECTOR;
    args.half = gpu->half;
    return gpu_run(gpu, kernel, &args);
}
