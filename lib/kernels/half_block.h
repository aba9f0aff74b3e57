/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A block of 16-bit floats to and from f32, the step in which the instruction sets
 * differ. bf16 is integer arithmetic that compilers vectorise; f16 needs the F16C
 * instructions, which no compiler finds by itself. The bf16 instructions of AVX-512 are
 * left aside: they flush denormals to zero.
 */
#ifndef DML__HALF_BLOCK_H
#define DML__HALF_BLOCK_H

#include "core/half.h"

#include <stddef.h>
#include <string.h>

#define BLOCK 16 /* elements: one AVX-512 register of f32 */

static inline void widen_BF16(float x[BLOCK], const void *from)
{
    uint16_t h[BLOCK];
    memcpy(h, from, sizeof h);
    INDEPENDENT
    for (size_t j = 0; j < BLOCK; j++)
        x[j] = dml__bf16_to_f32(h[j]);
}

static inline void narrow_BF16(void *to, const float x[BLOCK])
{
    uint16_t h[BLOCK];
    INDEPENDENT
    for (size_t j = 0; j < BLOCK; j++)
        h[j] = dml__f32_to_bf16(x[j]);
    memcpy(to, h, sizeof h);
}

static inline void widen_F16(float x[BLOCK], const void *from)
{
    uint16_t h[BLOCK];
    memcpy(h, from, sizeof h);
    INDEPENDENT
    for (size_t j = 0; j < BLOCK; j++)
        x[j] = dml__f16_to_f32(h[j]);
}

static inline void narrow_F16(void *to, const float x[BLOCK])
{
    uint16_t h[BLOCK];
    INDEPENDENT
    for (size_t j = 0; j < BLOCK; j++)
        h[j] = dml__f32_to_f16(x[j]);
    memcpy(to, h, sizeof h);
}

#endif
