/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reduction kernels, one for each element type. Where all vectors have the same place
 * within 16 bytes a thread loads and stores 16 bytes at a time, two of them of every
 * source before it adds; what is before and behind is done by element, as is all of
 * vectors that lie askew. A thread reads an element of all sources before it writes it
 * anywhere, so results may replace sources.
 */
#include "gpu/reduce.h"

#include "gpu/element.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace {

/* Element type T, accumulator A. */
#define PLAIN(N, TYPE)                                                              \
    struct N {                                                                      \
        using T = TYPE;                                                             \
        using A = TYPE;                                                             \
        static __device__ A widen(T x) { return x; }                                \
        static __device__ T narrow(A x) { return x; }                               \
        static __device__ A load(A x, double s) { return dml__elem_load_##N(x, s); } \
        static __device__ A merge(A a, A b, int op)                                 \
        {                                                                           \
            return dml__elem_merge_##N(a, b, op);                                   \
        }                                                                           \
        static __device__ A store(A x, double d) { return dml__elem_store_##N(x, d); } \
    };

PLAIN(F32, float)
PLAIN(F64, double)
PLAIN(I8, int8_t)
PLAIN(U8, uint8_t)
PLAIN(I32, int32_t)
PLAIN(I64, int64_t)
PLAIN(U64, uint64_t)

/* The device converts 16-bit floats by instructions, with the bits of core/half.h but
 * for the payload of a NaN. */
struct F16 : F32 {
    using T = uint16_t;
    static __device__ A widen(T x) { return __half2float(__ushort_as_half(x)); }
    static __device__ T narrow(A x) { return __half_as_ushort(__float2half_rn(x)); }
};

struct BF16 : F32 {
    using T = uint16_t;
    static __device__ A widen(T x) { return dml__bf16_to_f32(x); }
    static __device__ T narrow(A x)
    {
        return __bfloat16_as_ushort(__float2bfloat16_rn(x));
    }
};

using args_t = struct dml__gpu_reduce_args;

template <class E>
__device__ typename E::A term(typename E::T x, const args_t &a, int s)
{
    typename E::A v = E::widen(x);
    return a.scaled ? E::load(v, a.scale[s]) : v;
}

template <class E>
__device__ typename E::T result(typename E::A x, const args_t &a)
{
    return E::narrow(a.divisor != 1 ? E::store(x, a.divisor) : x);
}

/* Element i at any address: the device reads multiples of an element's size only. */
template <class T, bool BYTES>
__device__ T fetch(const void *p, size_t i)
{
    if constexpr (!BYTES) {
        return static_cast<const T *>(p)[i];
    } else {
        unsigned char b[sizeof(T)];
        T x;
#pragma unroll
        for (size_t k = 0; k < sizeof(T); k++)
            b[k] = static_cast<const unsigned char *>(p)[i * sizeof(T) + k];
        memcpy(&x, b, sizeof x);
        return x;
    }
}

template <class T, bool BYTES>
__device__ void store(void *p, size_t i, T x)
{
    if constexpr (!BYTES) {
        static_cast<T *>(p)[i] = x;
    } else {
        unsigned char b[sizeof(T)];
        memcpy(b, &x, sizeof x);
#pragma unroll
        for (size_t k = 0; k < sizeof(T); k++)
            static_cast<unsigned char *>(p)[i * sizeof(T) + k] = b[k];
    }
}

template <class E, int OP, bool BYTES>
__device__ void one(const args_t &a, size_t i)
{
    using T = typename E::T;
    typename E::A acc = term<E>(fetch<T, BYTES>(a.src[0], i), a, 0);
    for (int s = 1; s < a.nsrc; s++)
        acc = E::merge(acc, term<E>(fetch<T, BYTES>(a.src[s], i), a, s), OP);
    T y = result<E>(acc, a);
    for (int d = 0; d < a.ndst; d++)
        store<T, BYTES>(a.dst[d], i, y);
}

/* 16 bytes as elements. */
template <class E>
union pack {
    uint4 bits;
    typename E::T x[16 / sizeof(typename E::T)];
};

template <class E>
__device__ pack<E> get(const void *p, size_t head, size_t i)
{
    pack<E> v;
    const typename E::T *from = static_cast<const typename E::T *>(p) + head;
    v.bits = reinterpret_cast<const uint4 *>(from)[i];
    return v;
}

template <class E>
__device__ void put(void *p, size_t head, size_t i, const pack<E> &v)
{
    typename E::T *to = static_cast<typename E::T *>(p) + head;
    reinterpret_cast<uint4 *>(to)[i] = v.bits;
}

/* N packs, a grid apart, from pack i on. */
template <class E, int OP, int N>
__device__ void packs(const args_t &a, size_t head, size_t i, size_t step)
{
    constexpr int V = 16 / sizeof(typename E::T);
    typename E::A acc[N][V];
    pack<E> v[N];
    for (int s = 0; s < a.nsrc; s++) {
#pragma unroll
        for (int k = 0; k < N; k++)
            v[k] = get<E>(a.src[s], head, i + k * step);
#pragma unroll
        for (int k = 0; k < N; k++)
#pragma unroll
            for (int j = 0; j < V; j++) {
                typename E::A x = term<E>(v[k].x[j], a, s);
                acc[k][j] = s == 0 ? x : E::merge(acc[k][j], x, OP);
            }
    }
#pragma unroll
    for (int k = 0; k < N; k++)
#pragma unroll
        for (int j = 0; j < V; j++)
            v[k].x[j] = result<E>(acc[k][j], a);
    for (int d = 0; d < a.ndst; d++)
#pragma unroll
        for (int k = 0; k < N; k++)
            put<E>(a.dst[d], head, i + k * step, v[k]);
}

/* Bits in which the addresses differ, within 16 bytes, from the first one, or in which
 * any of them is no multiple of an element's size. */
template <class T>
__device__ void compare(const args_t &a, size_t *differ, size_t *askew)
{
    size_t first = reinterpret_cast<size_t>(a.src[0]) % 16;
    *differ = *askew = 0;
    for (int s = 0; s < a.nsrc; s++) {
        *differ |= reinterpret_cast<size_t>(a.src[s]) % 16 ^ first;
        *askew |= reinterpret_cast<size_t>(a.src[s]) % sizeof(T);
    }
    for (int d = 0; d < a.ndst; d++) {
        *differ |= reinterpret_cast<size_t>(a.dst[d]) % 16 ^ first;
        *askew |= reinterpret_cast<size_t>(a.dst[d]) % sizeof(T);
    }
}

template <class E, int OP>
__device__ void reduce(const args_t &a)
{
    constexpr size_t BYTES = sizeof(typename E::T), V = 16 / BYTES;
    constexpr int N = BYTES == 1 ? 1 : 2; /* else registers run short */
    const size_t step = (size_t)gridDim.x * blockDim.x;
    const size_t me = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    size_t differ, askew;
    compare<typename E::T>(a, &differ, &askew);
    if (askew != 0) {
        for (size_t k = me; k < a.n; k += step)
            one<E, OP, true>(a, k);
        return;
    }
    size_t before = (16 - reinterpret_cast<size_t>(a.src[0]) % 16) % 16 / BYTES;
    const size_t head = differ == 0 && before < a.n ? before : a.n;
    const size_t npacks = (a.n - head) / V;
    size_t i = me;
    for (; i + (N - 1) * step < npacks; i += N * step)
        packs<E, OP, N>(a, head, i, step);
    for (; i < npacks; i += step)
        packs<E, OP, 1>(a, head, i, step);
    for (size_t k = me; k < head; k += step)
        one<E, OP, false>(a, k);
    for (size_t k = head + npacks * V + me; k < a.n; k += step)
        one<E, OP, false>(a, k);
}

template <class E>
__device__ void by_operation(const args_t &a)
{
    switch (a.op) {
    case DML__SUM:
        return reduce<E, DML__SUM>(a);
    case DML__PROD:
        return reduce<E, DML__PROD>(a);
    case DML__MIN:
        return reduce<E, DML__MIN>(a);
    default:
        return reduce<E, DML__MAX>(a);
    }
}

} // namespace

#define KERNEL(N)                                                                     \
    extern "C" __global__ void __launch_bounds__(256)                                 \
        dml__reduce_##N(const __grid_constant__ struct dml__gpu_reduce_args args)     \
    {                                                                                 \
        by_operation<N>(args);                                                        \
    }

KERNEL(F32)
KERNEL(F64)
KERNEL(F16)
KERNEL(BF16)
KERNEL(I8)
KERNEL(U8)
KERNEL(I32)
KERNEL(I64)
KERNEL(U64)
