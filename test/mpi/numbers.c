/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inputs as pure functions of (seed, rank, index), and the serial reduction of them;
 * see numbers.h for the bounds. The float formats are described by a table and taken
 * apart with ldexp where C has no such type.
 */
#include "numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct format {
    int bits, mantissa, bias;
    int accumulator; /* mantissa bits, hidden one included, of the accumulator */
};

static const struct format formats[DML_NDTYPES] = {
    [DML_F32] = {32, 23, 127, 24},
    [DML_F64] = {64, 52, 1023, 53},
    [DML_F16] = {16, 10, 15, 24},
    [DML_BF16] = {16, 7, 127, 24},
};

bool numbers_is_float(dml_dtype dtype)
{
    return formats[dtype].bits > 0;
}

static bool is_signed(dml_dtype dtype)
{
    return dtype == DML_I8 || dtype == DML_I32 || dtype == DML_I64;
}

const char *numbers_op_name(dml_op op)
{
    return op == OP_PREMUL ? "premul" : dml_op_name(op);
}

double numbers_scale(dml_dtype dtype, int rank)
{
    if (!numbers_is_float(dtype))
        return ldexp(1.0, -(rank % 3));
    return (rank % 2 == 0 ? 1.0 : -1.0) / (rank + 3);
}

/* ---- inputs ------------------------------------------------------------------------
 */

/* Floats lie in +-[1/16, 16), where no sum of a few can overflow or be denormal, or for
 * products in +-[1/2, 2). Integers take all values, but for pre-multiplied sums only
 * those that f64 holds. */
static uint64_t element_bits(dml_dtype dtype, dml_op op, uint64_t hash)
{
    const struct format *f = &formats[dtype];
    if (f->bits == 0) {
        if (op != OP_PREMUL || dml_dtype_bytes(dtype) < 8)
            return hash;
        return is_signed(dtype) ? (uint64_t)((int64_t)hash >> 12) : hash >> 12;
    }
    int exponent = op == DML_PROD ? -1 + (int)(hash >> 62) % 2 : -4 + (int)(hash >> 61);
    uint64_t sign = hash >> 60 & 1;
    uint64_t mantissa = hash & (((uint64_t)1 << f->mantissa) - 1);
    return sign << (f->bits - 1) | (uint64_t)(exponent + f->bias) << f->mantissa |
           mantissa;
}

static uint64_t input_bits(dml_dtype dtype, dml_op op, uint64_t seed, int rank,
                           size_t index)
{
    return element_bits(dtype, op, dml_test_hash(seed, (uint64_t)rank + 1, index));
}

/* The low bytes of a 64-bit word, whatever the byte order of the machine. */
static void put(void *dst, dml_dtype dtype, uint64_t bits)
{
    uint8_t b1 = (uint8_t)bits;
    uint16_t b2 = (uint16_t)bits;
    uint32_t b4 = (uint32_t)bits;
    switch (dml_dtype_bytes(dtype)) {
    case 1:
        memcpy(dst, &b1, 1);
        break;
    case 2:
        memcpy(dst, &b2, 2);
        break;
    case 4:
        memcpy(dst, &b4, 4);
        break;
    default:
        memcpy(dst, &bits, 8);
    }
}

static uint64_t get(const void *src, dml_dtype dtype)
{
    uint8_t b1;
    uint16_t b2;
    uint32_t b4;
    uint64_t b8;
    switch (dml_dtype_bytes(dtype)) {
    case 1:
        memcpy(&b1, src, 1);
        return b1;
    case 2:
        memcpy(&b2, src, 2);
        return b2;
    case 4:
        memcpy(&b4, src, 4);
        return b4;
    default:
        memcpy(&b8, src, 8);
        return b8;
    }
}

void numbers_fill(void *dst, size_t first, size_t count, dml_dtype dtype, dml_op op,
                  uint64_t seed, int rank)
{
    unsigned char *p = dst;
    size_t bytes = dml_dtype_bytes(dtype);
    for (size_t i = 0; i < count; i++)
        put(p + i * bytes, dtype, input_bits(dtype, op, seed, rank, first + i));
}

/* A number of f->bits bits: sign, exponent, mantissa. */
static long double float_value(const struct format *f, uint64_t bits)
{
    uint64_t mantissa = bits & (((uint64_t)1 << f->mantissa) - 1);
    int exponent_bits = f->bits - 1 - f->mantissa;
    int exponent = (int)(bits >> f->mantissa & (((uint64_t)1 << exponent_bits) - 1));
    long double sign = bits >> (f->bits - 1) & 1 ? -1.0L : 1.0L;
    if (exponent == (1 << exponent_bits) - 1)
        return mantissa != 0 ? (long double)NAN : sign * (long double)INFINITY;
    if (exponent == 0)
        return sign * ldexpl((long double)mantissa, 1 - f->bias - f->mantissa);
    mantissa |= (uint64_t)1 << f->mantissa;
    return sign * ldexpl((long double)mantissa, exponent - f->bias - f->mantissa);
}

/* The same for the types that C has, which are too many to go the slow way. */
static long double value_of(dml_dtype dtype, uint64_t bits)
{
    float f32;
    double f64;
    uint32_t low = (uint32_t)(dtype == DML_BF16 ? bits << 16 : bits);
    switch (dtype) {
    case DML_F64:
        memcpy(&f64, &bits, sizeof f64);
        return f64;
    case DML_F32:
    case DML_BF16:
        memcpy(&f32, &low, sizeof f32);
        return f32;
    default:
        return float_value(&formats[dtype], bits);
    }
}

long double numbers_value(dml_dtype dtype, const void *element)
{
    return value_of(dtype, get(element, dtype));
}

/* ---- integers ----------------------------------------------------------------------
 */

/* The value of the low bits as this type, widened to 64 bits. */
static uint64_t widen(dml_dtype dtype, uint64_t bits)
{
    int unused = 64 - 8 * (int)dml_dtype_bytes(dtype);
    return is_signed(dtype) ? (uint64_t)((int64_t)(bits << unused) >> unused)
                            : bits << unused >> unused;
}

static bool less(dml_dtype dtype, uint64_t a, uint64_t b)
{
    return is_signed(dtype) ? (int64_t)a < (int64_t)b : a < b;
}

static uint64_t scaled(dml_dtype dtype, uint64_t x, double scale)
{
    return is_signed(dtype) ? (uint64_t)(int64_t)((double)(int64_t)x * scale)
                            : (uint64_t)((double)x * scale);
}

static uint64_t reduce_integer(dml_dtype dtype, dml_op op, uint64_t seed, int nranks,
                               size_t index)
{
    uint64_t total = 0;
    for (int r = 0; r < nranks; r++) {
        uint64_t x = widen(dtype, input_bits(dtype, op, seed, r, index));
        if (op == OP_PREMUL)
            x = scaled(dtype, x, numbers_scale(dtype, r));
        if (r == 0)
            total = x;
        else if (op == DML_PROD)
            total *= x;
        else if (op == DML_MIN)
            total = less(dtype, x, total) ? x : total;
        else if (op == DML_MAX)
            total = less(dtype, total, x) ? x : total;
        else
            total += x;
    }
    total = widen(dtype, total);
    if (op == DML_AVG)
        total = is_signed(dtype) ? (uint64_t)((int64_t)total / nranks)
                                 : total / (uint64_t)nranks;
    return total;
}

/* ---- floats ------------------------------------------------------------------------
 */

static uint64_t extreme_float(dml_dtype dtype, dml_op op, uint64_t seed, int nranks,
                              size_t index)
{
    uint64_t best = input_bits(dtype, op, seed, 0, index);
    for (int r = 1; r < nranks; r++) {
        uint64_t x = input_bits(dtype, op, seed, r, index);
        bool below = value_of(dtype, x) < value_of(dtype, best);
        if (below == (op == DML_MIN))
            best = x;
    }
    return best;
}

/* Half a unit in the last place of a 16-bit float near this value. */
static long double half_ulp(const struct format *f, long double value)
{
    int exponent = value != 0 ? ilogbl(value) : 1 - f->bias;
    if (exponent < 1 - f->bias)
        exponent = 1 - f->bias;
    return ldexpl(1.0L, exponent - f->mantissa - 1);
}

static void reduce_float(struct numbers_ref *ref, dml_op op, uint64_t seed, int nranks,
                         size_t index)
{
    const struct format *f = &formats[ref->dtype];
    long double u = ldexpl(1.0L, -f->accumulator);
    long double total = op == DML_PROD ? 1 : 0, magnitude = 0;
    for (int r = 0; r < nranks; r++) {
        long double x =
            value_of(ref->dtype, input_bits(ref->dtype, op, seed, r, index));
        if (op == OP_PREMUL)
            x *= (long double)numbers_scale(ref->dtype, r);
        total = op == DML_PROD ? total * x : total + x;
        magnitude = op == DML_PROD ? fabsl(total) : magnitude + fabsl(x);
    }
    long double bound = (nranks - 1 + (op == OP_PREMUL ? 2 : 0)) * u * magnitude;
    if (op == DML_AVG) {
        total /= nranks;
        bound = bound / nranks + u * fabsl(total);
    }
    bound *= 1.01L;
    if (f->bits == 16)
        bound += half_ulp(f, fabsl(total) + bound);
    ref->value[index] = total;
    ref->bound[index] = bound;
}

/* ---- whole vectors -----------------------------------------------------------------
 */

void numbers_reduce(struct numbers_ref *ref, size_t count, dml_dtype dtype, dml_op op,
                    uint64_t seed, int nranks)
{
    bool extreme = op == DML_MIN || op == DML_MAX;
    bool rounded = numbers_is_float(dtype) && !extreme;
    size_t bytes = dml_dtype_bytes(dtype);
    *ref = (struct numbers_ref){.count = count, .dtype = dtype};
    if (rounded) {
        ref->value = dml_test_alloc(count * sizeof *ref->value);
        ref->bound = dml_test_alloc(count * sizeof *ref->bound);
        for (size_t i = 0; i < count; i++)
            reduce_float(ref, op, seed, nranks, i);
        return;
    }
    ref->bytes = dml_test_alloc(count * bytes);
    for (size_t i = 0; i < count; i++)
        put(ref->bytes + i * bytes, dtype,
            numbers_is_float(dtype) ? extreme_float(dtype, op, seed, nranks, i)
                                    : reduce_integer(dtype, op, seed, nranks, i));
}

void numbers_free(struct numbers_ref *ref)
{
    free(ref->bytes);
    free(ref->value);
    free(ref->bound);
    *ref = (struct numbers_ref){0};
}

bool numbers_check(struct dml_test *t, const struct numbers_ref *ref, size_t first,
                   const void *got, size_t count)
{
    size_t bytes = dml_dtype_bytes(ref->dtype);
    const unsigned char *p = got;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *element = p + i * bytes;
        if (ref->bytes != NULL) {
            const unsigned char *want = ref->bytes + (first + i) * bytes;
            if (memcmp(element, want, bytes) == 0)
                continue;
            dml_test_fail(t, "index %zu: got bits 0x%llx, wanted 0x%llx", i,
                          (unsigned long long)get(element, ref->dtype),
                          (unsigned long long)get(want, ref->dtype));
            return false;
        }
        long double x = numbers_value(ref->dtype, element);
        long double want = ref->value[first + i], bound = ref->bound[first + i];
        if (fabsl(x - want) <= bound)
            continue;
        dml_test_fail(t, "index %zu: got %.17Lg, wanted %.17Lg +- %.3Lg", i, x, want,
                      bound);
        return false;
    }
    return true;
}
