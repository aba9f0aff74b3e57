/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The f16 and bf16 conversions of core/half.h against a definition of their own: a
 * value is decoded by its formula in f64, and rounding must give the nearer neighbour,
 * or the even one of two equally near.
 */
#include "core/half.h"
#include "unit.h"

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>

struct format {
    const char *name;
    int mantissa_bits, bias;
    float (*widen)(uint16_t);
    uint16_t (*narrow)(float);
};

static const struct format formats[] = {
    {"f16", 10, 15, dml__f16_to_f32, dml__f32_to_f16},
    {"bf16", 7, 127, dml__bf16_to_f32, dml__f32_to_bf16},
};

static uint16_t infinity_of(const struct format *f)
{
    return (uint16_t)(0x7fffu >> f->mantissa_bits << f->mantissa_bits);
}

/* The value of a non-negative finite code, and of infinity as the power of two that
 * would follow the largest finite value, which is how IEEE 754 rounds. */
static double decode(const struct format *f, uint16_t code)
{
    int exponent = code >> f->mantissa_bits;
    int fraction = code & ((1 << f->mantissa_bits) - 1);
    if (exponent == 0)
        return ldexp(fraction, 1 - f->bias - f->mantissa_bits);
    return ldexp((1 << f->mantissa_bits) + fraction,
                 exponent - f->bias - f->mantissa_bits);
}

/* The code nearest to a positive x, by bisection over the ordered codes. */
static uint16_t nearest(const struct format *f, double x)
{
    uint16_t low = 0, high = infinity_of(f);
    if (x >= decode(f, high))
        return high;
    while (high - low > 1) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        if (decode(f, middle) <= x)
            low = middle;
        else
            high = middle;
    }
    double below = x - decode(f, low), above = decode(f, high) - x;
    if (below == above)
        return low % 2 == 0 ? low : high;
    return below < above ? low : high;
}

static void check_narrow(const struct format *f, float x)
{
    uint16_t sign = signbit(x) ? 0x8000u : 0;
    uint16_t expected = (uint16_t)(nearest(f, fabs((double)x)) | sign);
    uint16_t got = f->narrow(x);
    if (got != expected)
        fail_msg("%s: %a gives %#x, not %#x", f->name, x, got, expected);
}

static void every_code_widens_and_returns(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const struct format *f = &formats[k];
        for (uint32_t code = 0; code <= 0xffffu; code++) {
            float x = f->widen((uint16_t)code);
            uint16_t magnitude = code & 0x7fffu;
            assert_int_equal(signbit(x) != 0, code >> 15);
            if (magnitude > infinity_of(f)) {
                assert_true(isnan(x));
                assert_true((f->narrow(x) & 0x7fffu) > infinity_of(f));
                continue;
            }
            if (magnitude == infinity_of(f))
                assert_true(isinf(x));
            else
                assert_true(fabs((double)x) == decode(f, magnitude));
            assert_int_equal(f->narrow(x), code);
        }
    }
}

/* Between each two neighbours: the middle, and the f32 values beside it. */
static void middles_round_to_even(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const struct format *f = &formats[k];
        for (uint16_t code = 0; code < infinity_of(f); code++) {
            double middle = (decode(f, code) + decode(f, (uint16_t)(code + 1))) / 2;
            float x = (float)middle;
            check_narrow(f, x);
            check_narrow(f, nextafterf(x, 0));
            if (isfinite(nextafterf(x, INFINITY)))
                check_narrow(f, nextafterf(x, INFINITY));
            check_narrow(f, -x);
        }
    }
}

/* A stride that visits every exponent and many mantissas, of both signs. */
static void f32_values_round_to_nearest(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++)
        for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 4093) {
            float x = dml__f32_from_bits((uint32_t)bits);
            if (isfinite(x))
                check_narrow(&formats[k], x);
        }
}

static void special_values(void **state)
{
    (void)state;
    assert_int_equal(dml__f32_to_f16(65504.0f), 0x7bff);
    assert_int_equal(dml__f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(dml__f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(dml__f32_to_f16(0x1p-24f), 0x0001);
    assert_int_equal(dml__f32_to_f16(0x1p-25f), 0x0000);
    assert_int_equal(dml__f32_to_f16(0x1.000002p-25f), 0x0001);
    assert_int_equal(dml__f32_to_f16(-0x1p-149f), 0x8000);
    assert_int_equal(dml__f32_to_bf16(0x1.fffffep127f), 0x7f80);
    assert_int_equal(dml__f32_to_bf16(0x1p-149f), 0x0000);
    assert_int_equal(dml__f32_to_bf16(-0x1.8p-133f), 0x8002);
    for (uint32_t low = 1; low < 0x800000u; low = low * 3 + 1)
        for (int k = 0; k < 2; k++) {
            float nan = dml__f32_from_bits(0x7f800000u | low);
            uint16_t code = formats[k].narrow(nan);
            assert_true((code & 0x7fffu) > infinity_of(&formats[k]));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_widens_and_returns),
        cmocka_unit_test(middles_round_to_even),
        cmocka_unit_test(f32_values_round_to_nearest),
        cmocka_unit_test(special_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
