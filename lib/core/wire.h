/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers as bytes, little endian, whatever the processor: what files and messages are
 * made of.
 */
#ifndef DML__WIRE_H
#define DML__WIRE_H

#include <stdint.h>

static inline uint32_t dml__get_u32(const uint8_t *b)
{
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
           (uint32_t)b[3] << 24;
}

static inline uint64_t dml__get_u64(const uint8_t *b)
{
    return dml__get_u32(b) | (uint64_t)dml__get_u32(b + 4) << 32;
}

static inline void dml__put_u32(uint8_t *b, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        b[i] = (uint8_t)(value >> 8 * i);
}

static inline void dml__put_u64(uint8_t *b, uint64_t value)
{
    dml__put_u32(b, (uint32_t)value);
    dml__put_u32(b + 4, (uint32_t)(value >> 32));
}

#endif
