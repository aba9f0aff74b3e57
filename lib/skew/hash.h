/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hash of keys as inline functions, for loops over many: XXH3 by Yann Collet, whose
 * values its authors keep from version 0.8.0 on.
 */
#ifndef DML__SKEW_HASH_H
#define DML__SKEW_HASH_H

#define XXH_INLINE_ALL
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

static inline uint64_t hash_u64(uint64_t key, uint64_t seed)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(key >> 8 * i);
    return XXH3_64bits_withSeed(bytes, sizeof bytes, seed);
}

static inline uint64_t hash_bytes(const void *data, size_t count, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, count, seed);
}

#endif
