/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * As much of CUDA's dialect as the .cu files here use, for a C++ compiler and a
 * processor: kernels run thread by thread, and meet where a device's threads meet
 * (emulate.cc). What is missing does not compile.
 */
#ifndef EMULATE_H
#define EMULATE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* So that headers take the device's side. */
#define __CUDACC__    1
#define __CUDA_ARCH__ 900

#define __device__
#define __global__
#define __host__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
/* One thread block runs at a time; what the one before left there is garbage. */
#define __shared__ static

struct emulate_dim {
    unsigned x;
};
extern struct emulate_dim threadIdx, blockIdx, blockDim, gridDim;

/* Loads and stores of them are checked for their alignment (meson.build). */
#define EMULATE_TWO(T, name)                 \
    struct alignas(2 * sizeof(T)) name {     \
        T x, y;                              \
    };                                       \
    static inline name make_##name(T x, T y) \
    {                                        \
        return name{x, y};                   \
    }
#define EMULATE_FOUR(T, name)                          \
    struct alignas(4 * sizeof(T)) name {               \
        T x, y, z, w;                                  \
    };                                                 \
    static inline name make_##name(T x, T y, T z, T w) \
    {                                                  \
        return name{x, y, z, w};                       \
    }
EMULATE_FOUR(float, float4)
EMULATE_TWO(uint32_t, uint2)
EMULATE_FOUR(uint32_t, uint4)
EMULATE_FOUR(uint16_t, ushort4)
EMULATE_FOUR(uint8_t, uchar4)

template <typename T> static void __stcs(T *to, T value)
{
    *to = value;
}

/* ---- where threads meet; line: of the call, which must be the same for all --------
 */

/* All threads of the block come here before any goes on. */
void emulate_meet_block(int line);

/* The same for a warp; returns the values [32][8 bytes] that its lanes brought. */
const uint64_t *emulate_meet_warp(unsigned lanes, uint64_t value, int line);

static inline void __syncthreads(int line = __builtin_LINE())
{
    emulate_meet_block(line);
}

static inline void __threadfence(void)
{
}

template <typename T> static uint64_t emulate_pack(T value)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
    uint64_t packed = 0;
    memcpy(&packed, &value, sizeof value);
    return packed;
}

template <typename T>
static T emulate_take(unsigned lanes, T value, unsigned from, int line)
{
    T taken;
    memcpy(&taken, &emulate_meet_warp(lanes, emulate_pack(value), line)[from],
           sizeof(T));
    return taken;
}

template <typename T>
static T __shfl_sync(unsigned lanes, T value, int from, int width = 32,
                     int line = __builtin_LINE())
{
    const unsigned own = threadIdx.x % 32, first = own / width * width;
    return emulate_take(lanes, value, first + (unsigned)from % width, line);
}

template <typename T>
static T __shfl_down_sync(unsigned lanes, T value, unsigned delta, int width = 32,
                          int line = __builtin_LINE())
{
    const unsigned own = threadIdx.x % 32, last = own / width * width + width - 1;
    return emulate_take(lanes, value, own + delta <= last ? own + delta : own, line);
}

template <typename T>
static T __shfl_up_sync(unsigned lanes, T value, unsigned delta, int width = 32,
                        int line = __builtin_LINE())
{
    const unsigned own = threadIdx.x % 32, first = own / width * width;
    return emulate_take(lanes, value, own >= first + delta ? own - delta : own, line);
}

template <typename T>
static T __shfl_xor_sync(unsigned lanes, T value, unsigned mask, int width = 32,
                         int line = __builtin_LINE())
{
    const unsigned own = threadIdx.x % 32, from = own ^ mask;
    return emulate_take(lanes, value, from / width == own / width ? from : own, line);
}

static inline unsigned __ballot_sync(unsigned lanes, int yes,
                                     int line = __builtin_LINE())
{
    const uint64_t *said = emulate_meet_warp(lanes, yes != 0, line);
    unsigned word = 0;
    for (unsigned lane = 0; lane < 32; lane++)
        word |= (unsigned)said[lane] << lane;
    return word;
}

static inline int __all_sync(unsigned lanes, int yes, int line = __builtin_LINE())
{
    return __ballot_sync(lanes, yes, line) == 0xffffffffu;
}

static inline int __any_sync(unsigned lanes, int yes, int line = __builtin_LINE())
{
    return __ballot_sync(lanes, yes, line) != 0;
}

static inline int __popc(unsigned word)
{
    return __builtin_popcount(word);
}

static inline int __ffs(int word)
{
    return __builtin_ffs(word);
}

/* Threads change places only where they meet, so nothing comes in between. */
template <typename T, typename V> static T atomicAdd(T *at, V value)
{
    const T old = *at;
    *at = old + (T)value;
    return old;
}

template <typename T, typename V> static T atomicMax(T *at, V value)
{
    const T old = *at;
    *at = (T)value > old ? (T)value : old;
    return old;
}

template <typename T, typename V> static T atomicMin(T *at, V value)
{
    const T old = *at;
    *at = (T)value < old ? (T)value : old;
    return old;
}

static inline uint32_t atomicInc(uint32_t *at, uint32_t limit)
{
    const uint32_t old = *at;
    *at = old >= limit ? 0 : old + 1;
    return old;
}

/* ---- kernels that can be run ------------------------------------------------------
 */

struct emulate_kernel {
    const char *name;
    void (*run)(const void *args); /* one thread */
    struct emulate_kernel *next;
    emulate_kernel(const char *name, void (*run)(const void *args));
};

template <typename Args, void (*kernel)(Args)>
static void emulate_call(const void *args)
{
    kernel(*static_cast<const Args *>(args));
}

/* Of a kernel that takes a struct, or const struct, by value. */
template <typename Args> static Args emulate_args(void (*)(Args));

#define EMULATE(NAME)                            \
    static struct emulate_kernel emulate_##NAME( \
        #NAME, emulate_call<decltype(emulate_args(NAME)), NAME>);

#endif
