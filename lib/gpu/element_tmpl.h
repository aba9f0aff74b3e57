/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Template: reducing one element of a type that is its own accumulator, the same
 * operations in the same order as lib/kernels/plain_tmpl.h, so that device and
 * processor give the same bits. Included once per type by element.h, which defines
 * NAME, T, U, S, FLOATING, LOWEST and HIGHEST as set.c there does.
 */
#if FLOATING

/* -0 is below +0, and a NaN of either operand is handed on: see plain_tmpl.h. */
DML__HD static inline T FN(min)(T a, T b)
{
    T x = a < b ? a : b, y = b < a ? b : a;
    U u, v;
    memcpy(&u, &x, sizeof u);
    memcpy(&v, &y, sizeof v);
    u |= v;
    memcpy(&x, &u, sizeof x);
    return x;
}

DML__HD static inline T FN(max)(T a, T b)
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

DML__HD static inline T FN(merge)(T a, T b, int op)
{
    return op == DML__SUM    ? a + b
           : op == DML__PROD ? a * b
           : op == DML__MIN  ? FN(min)(a, b)
                             : FN(max)(a, b);
}

DML__HD static inline T FN(load)(T x, double scale)
{
    return x * (S)scale;
}

DML__HD static inline T FN(store)(T x, double divisor)
{
    return x / (S)divisor;
}

#else

/* Sums and products wrap. */
DML__HD static inline T FN(merge)(T a, T b, int op)
{
    return op == DML__SUM    ? (T)((U)a + (U)b)
           : op == DML__PROD ? (T)((U)a * (U)b)
           : op == DML__MIN  ? (a < b ? a : b)
                             : (a > b ? a : b);
}

/* Cut towards zero. The scale 1 is apart because a 64-bit integer must not pass through
 * a double. */
DML__HD static inline T FN(load)(T x, double scale)
{
    S y = (S)x * scale;
    y = y >= LOWEST ? y : LOWEST;
    return scale == 1 ? x : (T)(y <= HIGHEST ? y : HIGHEST);
}

DML__HD static inline T FN(store)(T x, double divisor)
{
    return sizeof(T) <= 4 ? (T)((S)x / divisor) : (T)(x / (T)divisor);
}

#endif

#undef NAME
#undef T
#undef U
#undef S
#undef FLOATING
#undef LOWEST
#undef HIGHEST
