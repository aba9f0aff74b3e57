/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a user of MPI writes for 16-bit floats, which MPI does not have: an operation of
 * his own on 16-bit integers, which widens both, combines and rounds to nearest even.
 * (Every partial sum is rounded; libdml rounds once.)
 */
#include "perf_coll.h"

#include <stdint.h>
#include <string.h>

static float from_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* Scaling by a power of two puts the exponents of one format where the other has them,
 * denormal numbers included. */
static float from_f16(uint16_t x)
{
    uint32_t bits = (uint32_t)(x & 0x7fff) << 13 | (uint32_t)(x & 0x8000) << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f * 0x1p112f;
}

static uint16_t to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    float small = f * 0x1p-112f;
    memcpy(&bits, &small, sizeof bits);
    bits &= 0x7fffffff;
    return sign | (uint16_t)((bits + 0xfffu + (bits >> 13 & 1)) >> 13);
}

static float sum(float a, float b)
{
    return a + b;
}

static float prod(float a, float b)
{
    return a * b;
}

static float min(float a, float b)
{
    return b < a ? b : a;
}

static float max(float a, float b)
{
    return b > a ? b : a;
}

/* Inlined into the eight operations below, with its functions. */
static inline void loop(const void *in, void *inout, int n, float (*from)(uint16_t),
                        uint16_t (*to)(float), float (*op)(float, float))
{
    const uint16_t *a = in;
    uint16_t *b = inout;
    for (int i = 0; i < n; i++)
        b[i] = to(op(from(a[i]), from(b[i])));
}

static void sum_bf16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    loop(in, inout, *n, from_bf16, to_bf16, sum);
}

static void prod_bf16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    loop(in, inout, *n, from_bf16, to_bf16, prod);
}

static void min_bf16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    loop(in, inout, *n, from_bf16, to_bf16, min);
}

static void max_bf16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    loop(in, inout, *n, from_bf16, to_bf16, max);
}

static void sum_f16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    loop(in, inout, *n, from_f16, to_f16, sum);
}

static void prod_f16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    loop(in, inout, *n, from_f16, to_f16, prod);
}

static void min_f16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    loop(in, inout, *n, from_f16, to_f16, min);
}

static void max_f16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    loop(in, inout, *n, from_f16, to_f16, max);
}

MPI_Op perf_half_op(dml_dtype dtype, dml_op op)
{
    static MPI_User_function *const loops[2][4] = {
        {sum_bf16, prod_bf16, min_bf16, max_bf16},
        {sum_f16, prod_f16, min_f16, max_f16},
    };
    MPI_Op made = MPI_OP_NULL;
    if ((dtype != DML_BF16 && dtype != DML_F16) || (int)op > DML_MAX)
        return made;
    MPI_Op_create(loops[dtype == DML_F16][op], 1, &made);
    return made;
}
