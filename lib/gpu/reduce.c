/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The host's side of the reduction kernels: which one a type has, and the same loops
 * for the fake device, element by element by the arithmetic that they share.
 */
#include "gpu/reduce.h"

#include "gpu/element.h"
#include "gpu/gpu.h"
#include "gpu/images.h"
#include "gpu/launch.h"

#include <assert.h>

/* A copy of the arguments with the addresses at which the fake device's memory is. */
static struct dml__gpu_reduce_args viewed(const void *args)
{
    struct dml__gpu_reduce_args a = *(const struct dml__gpu_reduce_args *)args;
    for (int s = 0; s < a.nsrc; s++)
        a.src[s] = dml__gpu_view(a.src[s]);
    for (int d = 0; d < a.ndst; d++)
        a.dst[d] = dml__gpu_view(a.dst[d]);
    return a;
}

#define SAME(x) (x)

/* The loop of type N, elements T, accumulators A with the arithmetic of type E. */
#define HOST_LOOP(N, T, A, E, widen, narrow)                                        \
    static void reduce_##N(const void *args, unsigned blocks)                       \
    {                                                                               \
        const struct dml__gpu_reduce_args a = viewed(args);                         \
        (void)blocks;                                                               \
        for (size_t i = 0; i < a.n; i++) {                                          \
            A acc = 0;                                                              \
            T x;                                                                    \
            for (int s = 0; s < a.nsrc; s++) {                                      \
                memcpy(&x, (const char *)a.src[s] + i * sizeof x, sizeof x);        \
                A term = widen(x);                                                  \
                term = a.scaled ? dml__elem_load_##E(term, a.scale[s]) : term;      \
                acc = s == 0 ? term : dml__elem_merge_##E(acc, term, a.op);         \
            }                                                                       \
            x = narrow(a.divisor != 1 ? dml__elem_store_##E(acc, a.divisor) : acc); \
            for (int d = 0; d < a.ndst; d++)                                        \
                memcpy((char *)a.dst[d] + i * sizeof x, &x, sizeof x);              \
        }                                                                           \
    }

HOST_LOOP(F32, float, float, F32, SAME, SAME)
HOST_LOOP(F64, double, double, F64, SAME, SAME)
HOST_LOOP(F16, uint16_t, float, F32, dml__f16_to_f32, dml__f32_to_f16)
HOST_LOOP(BF16, uint16_t, float, F32, dml__bf16_to_f32, dml__f32_to_bf16)
HOST_LOOP(I8, int8_t, int8_t, I8, SAME, SAME)
HOST_LOOP(U8, uint8_t, uint8_t, U8, SAME, SAME)
HOST_LOOP(I32, int32_t, int32_t, I32, SAME, SAME)
HOST_LOOP(I64, int64_t, int64_t, I64, SAME, SAME)
HOST_LOOP(U64, uint64_t, uint64_t, U64, SAME, SAME)

enum { THREADS = 256, PACK_BYTES = 16, PACKS = 2 };

static const struct dml_gpu_kernel kernels[DML_NDTYPES] = {
#define ROW(N, number, text, bytes) \
    [number] = {"dml__reduce_" #N, DML__IMAGE(reduce), THREADS, reduce_##N},
    DML_DTYPE_MAP(ROW)
#undef ROW
};

dml_status dml__gpu_reduce_load(const struct dml__gpu *gpu)
{
    for (int t = 0; t < DML_NDTYPES; t++)
        DML_TRY(gpu->ops->load(gpu, &kernels[t]));
    return DML_OK;
}

dml_status dml__gpu_reduce(const struct dml__gpu *gpu,
                           const struct dml__gpu_reduce_args *args, dml_dtype dtype,
                           void *stream)
{
    assert(args->nsrc <= DML__GPU_FAN && args->ndst <= DML__GPU_FAN);
    if (args->n == 0)
        return DML_OK;
    size_t each = PACKS * PACK_BYTES / dml_dtype_bytes(dtype);
    return dml__gpu_launch(gpu, &kernels[dtype], args->n, each, args, sizeof *args,
                           stream);
}
