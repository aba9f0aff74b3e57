/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TernGrad's scale of a block, and its random numbers: for the host and for devices
 * (DML__HD, core/half.h). codec_tern.h says why.
 */
#ifndef DML__TERN_RULES_H
#define DML__TERN_RULES_H

#include "core/half.h"

#include <math.h>

/* From the key of an element to that of the next one. */
#define DML__TERN_STEP 0x9e3779b9u

/* Every bit of the result depends on every bit of x: two multiplications and shifts
 * (Wellons, "Prospecting for hash functions", 2018). */
DML__HD static inline uint32_t dml__scramble(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* Of a block's first element. */
DML__HD static inline uint32_t dml__tern_key(const uint32_t random[2], uint32_t block)
{
    return dml__scramble(random[0] ^ dml__scramble(random[1] + block));
}

/* largest: magnitude, as bits; sum: of the squares of the block's m elements. */
DML__HD static inline float dml__tern_scale(uint32_t largest, float sum, uint32_t m,
                                            float clip)
{
    const float peak = dml__f32_from_bits(largest);
    /* The mean square of up to 1,024 numbers is at least 1/1,024 of the largest one:
     * this holds where the squares of tiny elements vanish. */
    const float deviation = sqrtf(sum / (float)m), floor_of_it = peak / 32;
    const float limit = clip * (deviation > floor_of_it ? deviation : floor_of_it);
    return clip > 0 && limit < peak ? limit : peak;
}

#endif
