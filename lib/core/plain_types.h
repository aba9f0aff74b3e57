/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The element types that are their own accumulator: includes TEMPLATE once for each.
 * NAME is the type's in dml_dtype, T its C type, U an unsigned one of at least its size
 * in which integers wrap and bits are looked at, S the type of scales and divisors;
 * LOWEST and HIGHEST are the bounds of an integer. The template ends their definitions.
 */

#define NAME     F32
#define T        float
#define U        uint32_t
#define S        float
#define FLOATING 1
#include TEMPLATE

#define NAME     F64
#define T        double
#define U        uint64_t
#define S        double
#define FLOATING 1
#include TEMPLATE

#define NAME     I8
#define T        int8_t
#define U        uint32_t
#define S        double
#define FLOATING 0
#define LOWEST   (-0x1p7)
#define HIGHEST  127.0
#include TEMPLATE

#define NAME     U8
#define T        uint8_t
#define U        uint32_t
#define S        double
#define FLOATING 0
#define LOWEST   0.0
#define HIGHEST  255.0
#include TEMPLATE

#define NAME     I32
#define T        int32_t
#define U        uint32_t
#define S        double
#define FLOATING 0
#define LOWEST   (-0x1p31)
#define HIGHEST  2147483647.0
#include TEMPLATE

/* HIGHEST of the 64-bit types is the largest double below 2^63 and 2^64. */
#define NAME     I64
#define T        int64_t
#define U        uint64_t
#define S        double
#define FLOATING 0
#define LOWEST   (-0x1p63)
#define HIGHEST  0x1.fffffffffffffp62
#include TEMPLATE

#define NAME     U64
#define T        uint64_t
#define U        uint64_t
#define S        double
#define FLOATING 0
#define LOWEST   0.0
#define HIGHEST  0x1.fffffffffffffp63
#include TEMPLATE
