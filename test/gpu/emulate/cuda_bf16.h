/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What lib/gpu/reduce.cu takes of CUDA's header of this name.
 */
#ifndef EMULATE_CUDA_BF16_H
#define EMULATE_CUDA_BF16_H

#include "core/half.h"

struct __nv_bfloat16 {
    uint16_t bits;
};

static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    return __nv_bfloat16{dml__f32_to_bf16(x)};
}

static inline uint16_t __bfloat16_as_ushort(__nv_bfloat16 x)
{
    return x.bits;
}

#endif
