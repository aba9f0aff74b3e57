/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lib/gpu/reduce.cu takes of CUDA's header of this name.
 */
#ifndef EMULATE_CUDA_FP16_H
#define EMULATE_CUDA_FP16_H

#include "core/half.h"

struct __half {
    uint16_t bits;
};

static inline __half __ushort_as_half(uint16_t bits)
{
    return __half{bits};
}

static inline uint16_t __half_as_ushort(__half x)
{
    return x.bits;
}

static inline float __half2float(__half x)
{
    return dml__f16_to_f32(x.bits);
}

static inline __half __float2half_rn(float x)
{
    return __half{dml__f32_to_f16(x)};
}

#endif
