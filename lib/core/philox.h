/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counter-based random numbers: Philox4x32-10 of Salmon, Moraes, Dror and Shaw (SC
 * 2011). The seed is the key; stream and counter are the block to encrypt. Only 32-bit
 * multiplications with 64-bit results are used, so every machine gives the same bits,
 * and so does a device (DML__HD, half.h).
 */
#ifndef DML__PHILOX_H
#define DML__PHILOX_H

#include "core/half.h"

#include <stdint.h>

/* The 128 random bits of (seed, stream, counter). Pure; any thread. */
DML__HD static inline void dml__philox(uint64_t seed, uint64_t stream, uint64_t counter,
                                       uint32_t out[4])
{
    enum { ROUNDS = 10 };
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

#endif
