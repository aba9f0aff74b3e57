/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Template: the loops of one element type that is its own accumulator. Included once
 * per type by set.c, which defines
 *
 *     NAME      F32, I8 ...: ends every name made here, see FN()
 *     T         the element type
 *     U         floats: the unsigned integer of the same width; integers: an unsigned
 *               type in which sums and products wrap and are not promoted to int
 *     S         the type in which a scaled element is computed
 *     FLOATING  1 for floats, 0 for integers
 *     LOWEST, HIGHEST   integers: the bounds, as doubles, that a conversion to T bears
 *
 * Elements are read and written by memcpy: buffers may have any alignment, and the
 * compiler turns the copies into unaligned vector loads and stores.
 */
static inline T FN(get)(const void *p, size_t i)
{
    T x;
    memcpy(&x, (const char *)p + i * sizeof x, sizeof x);
    return x;
}

static inline void FN(put)(void *p, size_t i, T x)
{
    memcpy((char *)p + i * sizeof x, &x, sizeof x);
}

#if FLOATING

static inline T FN(sum)(T a, T b)
{
    return a + b;
}

static inline T FN(prod)(T a, T b)
{
    return a * b;
}

/*
 * "a < b ? a : b" hands b on when the operands are equal or one is a NaN, so the two
 * orders differ in just these cases, and their bits joined by "or" are what we want:
 * -0 of two zeros, and a NaN of anything and a NaN. The result does not depend on the
 * order of the operands, but for the payload of a NaN.
 */
static inline T FN(min)(T a, T b)
{
    T x = a < b ? a : b, y = b < a ? b : a;
    U u, v;
    memcpy(&u, &x, sizeof u);
    memcpy(&v, &y, sizeof v);
    u |= v;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* The mirror image: +0 of two zeros, hence "and" in the sign. */
static inline T FN(max)(T a, T b)
{
    const U sign = (U)1 << (8 * sizeof(T) - 1);
    T x = a > b ? a : b, y = b > a ? b : a;
    U u, v;
    memcpy(&u, &x, sizeof u);
    memcpy(&v, &y, sizeof v);
    u = (u & v) | ((u | v) & ~sign);
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline T FN(times)(T x, S scale)
{
    return x * scale;
}

static inline T FN(over)(T x, S divisor)
{
    return x / divisor;
}

#else

static inline T FN(sum)(T a, T b)
{
    return (T)((U)a + (U)b);
}

static inline T FN(prod)(T a, T b)
{
    return (T)((U)a * (U)b);
}

static inline T FN(min)(T a, T b)
{
    return a < b ? a : b;
}

static inline T FN(max)(T a, T b)
{
    return a > b ? a : b;
}

/* Cut towards zero. Bounded, since a conversion out of range is undefined in C. */
static inline T FN(times)(T x, S scale)
{
    S y = (S)x * scale;
    y = y >= LOWEST ? y : LOWEST;
    return (T)(y <= HIGHEST ? y : HIGHEST);
}

/*
 * Up to 32 bits the f64 quotient, cut, is the integer one: a quotient that is no
 * integer lies at least 1/divisor from the next, far more than f64 rounds away. It can
 * be vectorised; integer division cannot.
 */
static inline T FN(over)(T x, S divisor)
{
    return sizeof(T) <= 4 ? (T)((S)x / divisor) : (T)(x / (T)divisor);
}

#endif

#define OP sum
#include "kernels/reduce_tmpl.h"
#undef OP
#define OP prod
#include "kernels/reduce_tmpl.h"
#undef OP
#define OP min
#include "kernels/reduce_tmpl.h"
#undef OP
#define OP max
#include "kernels/reduce_tmpl.h"
#undef OP

/* The scale 1 is apart because a 64-bit integer must not pass through a double. */
static void FN(load_scaled)(void *dst, const void *a, const void *b, size_t n,
                            double arg)
{
    (void)b;
    if (arg == 1) {
        if (n > 0 && dst != a)
            memcpy(dst, a, n * sizeof(T));
        return;
    }
    const S scale = (S)arg;
    INDEPENDENT
    for (size_t i = 0; i < n; i++)
        FN(put)(dst, i, FN(times)(FN(get)(a, i), scale));
}

static void FN(fold_scaled)(void *dst, const void *a, const void *b, size_t n,
                            double arg)
{
    if (arg == 1) {
        FN(reduce_sum)(dst, a, b, n, 0);
        return;
    }
    const S scale = (S)arg;
    INDEPENDENT
    for (size_t i = 0; i < n; i++) {
        T term = FN(times)(FN(get)(b, i), scale);
        FN(put)(dst, i, FN(sum)(FN(get)(a, i), term));
    }
}

/* A product with the inverse of a power of two rounds as the quotient does. */
static void FN(store_div)(void *dst, const void *a, const void *b, size_t n, double arg)
{
    if (arg == 1 || (FLOATING && inverse_is_exact(arg))) {
        FN(load_scaled)(dst, a, b, n, 1 / arg);
        return;
    }
    assert(FLOATING || arg >= 1);
    const S divisor = (S)arg;
    INDEPENDENT
    for (size_t i = 0; i < n; i++)
        FN(put)(dst, i, FN(over)(FN(get)(a, i), divisor));
}

#undef NAME
#undef T
#undef U
#undef S
#undef FLOATING
#undef LOWEST
#undef HIGHEST
