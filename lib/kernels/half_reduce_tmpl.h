/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Template: fold (f32 = f32 OP T) and reduce (T = T OP T, rounded once) of a 16-bit
 * type. Included per type and operation by half_tmpl.h.
 */
static void FN(JOIN(fold, OP))(void *dst, const void *a, const void *b, size_t n,
                               double arg)
{
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        float x[BLOCK];
        FN(widen)(x, at(b, i * sizeof(uint16_t)));
        INDEPENDENT
        for (size_t j = 0; j < BLOCK; j++)
            put_F32(dst, i + j, JOIN(OP, F32)(get_F32(a, i + j), x[j]));
    }
    if (i < n) {
        float x[BLOCK] = {0};
        uint16_t y[BLOCK] = {0};
        memcpy(x, at(a, i * sizeof *x), (n - i) * sizeof *x);
        memcpy(y, at(b, i * sizeof *y), (n - i) * sizeof *y);
        FN(JOIN(fold, OP))(x, x, y, BLOCK, arg);
        memcpy(to(dst, i * sizeof *x), x, (n - i) * sizeof *x);
    }
}

static void FN(JOIN(reduce, OP))(void *dst, const void *a, const void *b, size_t n,
                                 double arg)
{
    size_t i = 0;
    for (; i + 2 * BLOCK <= n; i += 2 * BLOCK) {
        float x[2 * BLOCK], y[2 * BLOCK];
        FN(split)(x, at(a, i * sizeof(uint16_t)));
        FN(split)(y, at(b, i * sizeof(uint16_t)));
        INDEPENDENT
        for (size_t j = 0; j < 2 * BLOCK; j++)
            x[j] = JOIN(OP, F32)(x[j], y[j]);
        FN(join)(to(dst, i * sizeof(uint16_t)), x);
    }
    if (i < n) {
        uint16_t x[2 * BLOCK] = {0}, y[2 * BLOCK] = {0};
        memcpy(x, at(a, i * sizeof *x), (n - i) * sizeof *x);
        memcpy(y, at(b, i * sizeof *y), (n - i) * sizeof *y);
        FN(JOIN(reduce, OP))(x, x, y, 2 * BLOCK, arg);
        memcpy(to(dst, i * sizeof *x), x, (n - i) * sizeof *x);
    }
}
