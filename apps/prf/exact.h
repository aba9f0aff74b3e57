/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sums of whole numbers that do not fit 64 bits: squares of targets. They are exact, so
 * they do not depend on who adds up which rows. To be added up over ranks they travel
 * as limbs of 32 bits in 64, modulo 2^128, so that signed sums and differences of
 * limbs come back, too.
 */
#ifndef PRF_EXACT_H
#define PRF_EXACT_H

#include <stdint.h>

__extension__ typedef unsigned __int128 exact;
__extension__ typedef __int128 exact_signed;

#define EXACT_LIMBS 4

static inline void exact_put(exact sum, int64_t limb[EXACT_LIMBS])
{
    for (int i = 0; i < EXACT_LIMBS; i++)
        limb[i] = (int64_t)(uint32_t)(sum >> (32 * i));
}

static inline exact exact_get(const int64_t limb[EXACT_LIMBS])
{
    exact sum = 0;
    for (int i = 0; i < EXACT_LIMBS; i++)
        sum += (exact)(exact_signed)limb[i] << (32 * i);
    return sum;
}

static inline exact exact_square(int64_t number)
{
    exact_signed wide = number;
    return (exact)(wide * wide);
}

#endif
