/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Template: the loops of one 16-bit float type, whose accumulator is f32. Included once
 * per type by set.c, which defines
 *
 *     NAME            F16 or BF16: ends every name made here, see FN()
 *     FN(widen)(float x[BLOCK], const void *from)   and
 *     FN(narrow)(void *to, const float x[BLOCK]),
 *     and FN(split), FN(join) for two blocks in any order: see half_block.h
 *
 * Loops go block by block: widen, compute in f32 exactly as plain_tmpl.h does, narrow.
 * A block is so short that the compiler keeps it in registers. What is left at the end
 * is copied into one padded block, so that no loop needs a second, scalar body.
 */
#define OP sum
#include "kernels/half_reduce_tmpl.h"
#undef OP
#define OP prod
#include "kernels/half_reduce_tmpl.h"
#undef OP
#define OP min
#include "kernels/half_reduce_tmpl.h"
#undef OP
#define OP max
#include "kernels/half_reduce_tmpl.h"
#undef OP

static void FN(fold_scaled)(void *dst, const void *a, const void *b, size_t n,
                            double arg)
{
    const float scale = (float)arg;
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        float x[BLOCK];
        FN(widen)(x, at(b, i * sizeof(uint16_t)));
        INDEPENDENT
        for (size_t j = 0; j < BLOCK; j++)
            put_F32(dst, i + j, get_F32(a, i + j) + x[j] * scale);
    }
    if (i < n) {
        float x[BLOCK] = {0};
        uint16_t y[BLOCK] = {0};
        memcpy(x, at(a, i * sizeof *x), (n - i) * sizeof *x);
        memcpy(y, at(b, i * sizeof *y), (n - i) * sizeof *y);
        FN(fold_scaled)(x, x, y, BLOCK, arg);
        memcpy(to(dst, i * sizeof *x), x, (n - i) * sizeof *x);
    }
}

static void FN(load_scaled)(void *dst, const void *a, const void *b, size_t n,
                            double arg)
{
    const float scale = (float)arg;
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        float x[BLOCK];
        FN(widen)(x, at(a, i * sizeof(uint16_t)));
        INDEPENDENT
        for (size_t j = 0; j < BLOCK; j++)
            put_F32(dst, i + j, x[j] * scale);
    }
    if (i < n) {
        float x[BLOCK];
        uint16_t y[BLOCK] = {0};
        memcpy(y, at(a, i * sizeof *y), (n - i) * sizeof *y);
        FN(load_scaled)(x, y, b, BLOCK, arg);
        memcpy(to(dst, i * sizeof *x), x, (n - i) * sizeof *x);
    }
}

/* A product with the inverse of a power of two rounds as the quotient does. */
static void FN(store_div)(void *dst, const void *a, const void *b, size_t n, double arg)
{
    const bool multiply = inverse_is_exact(arg);
    const float factor = multiply ? 1 / (float)arg : (float)arg;
    size_t i = 0;
    for (; multiply && i + BLOCK <= n; i += BLOCK) {
        float x[BLOCK];
        INDEPENDENT
        for (size_t j = 0; j < BLOCK; j++)
            x[j] = get_F32(a, i + j) * factor;
        FN(narrow)(to(dst, i * sizeof(uint16_t)), x);
    }
    for (; i + BLOCK <= n; i += BLOCK) {
        float x[BLOCK];
        INDEPENDENT
        for (size_t j = 0; j < BLOCK; j++)
            x[j] = get_F32(a, i + j) / factor;
        FN(narrow)(to(dst, i * sizeof(uint16_t)), x);
    }
    if (i < n) {
        float x[BLOCK] = {0};
        uint16_t y[BLOCK];
        memcpy(x, at(a, i * sizeof *x), (n - i) * sizeof *x);
        FN(store_div)(y, x, b, BLOCK, arg);
        memcpy(to(dst, i * sizeof *y), y, (n - i) * sizeof *y);
    }
}

#undef NAME
