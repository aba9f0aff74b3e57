/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One f16 or bf16 value to and from f32, round to nearest even; the reference that the
 * vector kernels are tested against. A NaN stays a (quiet) NaN.
 */
#ifndef DML__HALF_H
#define DML__HALF_H

#include <stdint.h>
#include <string.h>

/* Compiled for the device too by nvcc, and else nothing (lib/gpu). */
#ifdef __CUDACC__
#define DML__HD __host__ __device__
#else
#define DML__HD
#endif

/* The largest finite number of each. */
#define DML__F16_MOST  65504.0f
#define DML__BF16_MOST 0x1.fep127f

DML__HD static inline uint32_t dml__f32_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* The same without the sign: in the order of the magnitudes, and NaN above all. */
DML__HD static inline uint32_t dml__f32_magnitude(float x)
{
    return dml__f32_bits(x) & 0x7fffffffu;
}

DML__HD static inline float dml__f32_from_bits(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

DML__HD static inline float dml__bf16_to_f32(uint16_t h)
{
    return dml__f32_from_bits((uint32_t)h << 16);
}

DML__HD static inline uint16_t dml__f32_to_bf16(float x)
{
    uint32_t u = dml__f32_bits(x);
    uint32_t rounded = u + 0x7fffu + ((u >> 16) & 1u);
    uint32_t quiet = u | 0x400000u; /* a NaN whose payload lies in the lost half */
    return (uint16_t)((((u & 0x7fffffffu) > 0x7f800000u) ? quiet : rounded) >> 16);
}

DML__HD static inline float dml__f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) /* infinity or NaN, which is made quiet */
        return dml__f32_from_bits(sign | 0x7f800000u | (magnitude << 13) |
                                  (magnitude > 0x7c00u ? 0x400000u : 0u));
    if (magnitude < 0x0400u) { /* zero or denormal: magnitude * 2^-24, exact in f32 */
        uint32_t u = dml__f32_bits((float)magnitude * 0x1p-24f);
        return dml__f32_from_bits(sign | u);
    }
    return dml__f32_from_bits(sign | ((magnitude << 13) + 0x38000000u));
}

DML__HD static inline uint16_t dml__f32_to_f16(float x)
{
    uint32_t u = dml__f32_bits(x);
    uint16_t sign = (uint16_t)((u >> 16) & 0x8000u);
    uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) /* NaN: keep the upper payload bits, make it quiet */
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) /* rounds to 2^16 or more: infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* below 2^-14: a denormal; the adder rounds it */
        float shifted = dml__f32_from_bits(magnitude) + 0x1p-1f;
        return (uint16_t)(sign | (dml__f32_bits(shifted) - 0x3f000000u));
    }
    uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | (rounded >> 13));
}

#endif
