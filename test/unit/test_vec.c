/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The values that kernels give, in every set this processor has: the public calls of
 * vec.h, and the scaled loads and divided stores behind averages and pre-multiplied
 * sums, each against its definition written here one element at a time.
 */
#include "dml/vec.h"

#include "core/half.h"
#include "kernels/kernels.h"
#include "unit.h"

#include <math.h>
#include <string.h>

enum { N = 300 };

static dml_ctx *open_set(size_t index)
{
    const struct dml__kernels *set = dml__kernels_usable(index);
    if (set == NULL)
        return NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.isa = set->name;
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(&opts, &ctx), DML_OK);
    assert_string_equal(dml_ctx_isa(ctx), set->name);
    return ctx;
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* ---- reductions --------------------------------------------------------------------
 */

/* Integers of up to 64 bits as their low bits; is_signed tells how to compare. */
static uint64_t integer_op(dml_op op, uint64_t a, uint64_t b, bool is_signed)
{
    bool less = is_signed ? (int64_t)a < (int64_t)b : a < b;
    switch (op) {
    case DML_SUM:
        return a + b;
    case DML_PROD:
        return a * b;
    case DML_MIN:
        return less ? a : b;
    default:
        return less ? b : a;
    }
}

static double float_op(dml_op op, double a, double b)
{
    switch (op) {
    case DML_SUM:
        return a + b;
    case DML_PROD:
        return a * b;
    case DML_MIN:
        return a < b ? a : b;
    default:
        return a < b ? b : a;
    }
}

static void integers_wrap_and_compare(void **state)
{
    (void)state;
    static int8_t a8[N], b8[N], c8[N];
    static uint8_t au8[N], bu8[N], cu8[N];
    static int32_t a32[N], b32[N], c32[N];
    static int64_t a64[N], b64[N], c64[N];
    static uint64_t au64[N], bu64[N], cu64[N];
    uint32_t seed = 7;
    for (size_t i = 0; i < N; i++) {
        au64[i] = (uint64_t)next_random(&seed) << 40 ^ next_random(&seed);
        bu64[i] = (uint64_t)next_random(&seed) << 40 ^ next_random(&seed);
        a64[i] = (int64_t)au64[i], b64[i] = (int64_t)bu64[i];
        a32[i] = (int32_t)au64[i], b32[i] = (int32_t)bu64[i];
        a8[i] = (int8_t)au64[i], b8[i] = (int8_t)bu64[i];
        au8[i] = (uint8_t)au64[i], bu8[i] = (uint8_t)bu64[i];
    }
    dml_ctx *ctx;
    for (size_t s = 0; (ctx = open_set(s)) != NULL; s++) {
        for (int k = 0; k < DML__NREDUCE; k++) {
            dml_op op = (dml_op)k;
            dml_vec_reduce(ctx, c8, a8, b8, N, DML_I8, op);
            dml_vec_reduce(ctx, cu8, au8, bu8, N, DML_U8, op);
            dml_vec_reduce(ctx, c32, a32, b32, N, DML_I32, op);
            dml_vec_reduce(ctx, c64, a64, b64, N, DML_I64, op);
            dml_vec_reduce(ctx, cu64, au64, bu64, N, DML_U64, op);
            for (size_t i = 0; i < N; i++) {
                uint64_t x8 = (uint64_t)a8[i], y8 = (uint64_t)b8[i];
                uint64_t x32 = (uint64_t)a32[i], y32 = (uint64_t)b32[i];
                assert_int_equal(c8[i], (int8_t)integer_op(op, x8, y8, true));
                assert_int_equal(cu8[i],
                                 (uint8_t)integer_op(op, au8[i], bu8[i], false));
                assert_int_equal(c32[i], (int32_t)integer_op(op, x32, y32, true));
                assert_true((uint64_t)c64[i] == integer_op(op, au64[i], bu64[i], true));
                assert_true(cu64[i] == integer_op(op, au64[i], bu64[i], false));
            }
        }
        dml_ctx_destroy(ctx);
    }
}

/* Sums and products of two f32 in f64, rounded to f32, are rounded once in effect:
 * 53 bits are more than twice 24 and two. */
static void floats_round_once(void **state)
{
    (void)state;
    static float a[N], b[N], c[N];
    static double a64[N], b64[N], c64[N];
    static uint16_t ah[N], bh[N], ch[N], ab[N], bb[N], cb[N];
    uint32_t seed = 11;
    for (size_t i = 0; i < N; i++) {
        a64[i] = ldexp((double)next_random(&seed) - 0x1p23, (int)(i % 40) - 40) / 3;
        b64[i] = ldexp((double)next_random(&seed) - 0x1p23, (int)(i % 37) - 40) / 7;
        a[i] = (float)a64[i], b[i] = (float)b64[i];
        ah[i] = dml__f32_to_f16(a[i]), bh[i] = dml__f32_to_f16(b[i]);
        ab[i] = dml__f32_to_bf16(a[i]), bb[i] = dml__f32_to_bf16(b[i]);
    }
    dml_ctx *ctx;
    for (size_t s = 0; (ctx = open_set(s)) != NULL; s++) {
        for (int k = 0; k < DML__NREDUCE; k++) {
            dml_op op = (dml_op)k;
            dml_vec_reduce(ctx, c, a, b, N, DML_F32, op);
            dml_vec_reduce(ctx, c64, a64, b64, N, DML_F64, op);
            dml_vec_reduce(ctx, ch, ah, bh, N, DML_F16, op);
            dml_vec_reduce(ctx, cb, ab, bb, N, DML_BF16, op);
            for (size_t i = 0; i < N; i++) {
                float h =
                    (float)float_op(op, dml__f16_to_f32(ah[i]), dml__f16_to_f32(bh[i]));
                float g = (float)float_op(op, dml__bf16_to_f32(ab[i]),
                                          dml__bf16_to_f32(bb[i]));
                assert_true(c[i] == (float)float_op(op, a[i], b[i]));
                assert_true(c64[i] == float_op(op, a64[i], b64[i]));
                assert_int_equal(ch[i], dml__f32_to_f16(h));
                assert_int_equal(cb[i], dml__f32_to_bf16(g));
            }
        }
        dml_ctx_destroy(ctx);
    }
}

static void min_and_max_hand_nan_on_and_order_zeros(void **state)
{
    (void)state;
    static const double pairs[][4] = {
        /* a, b, min, max */
        {-0.0, 0.0, -0.0, 0.0},
        {0.0, -0.0, -0.0, 0.0},
        {-0.0, -0.0, -0.0, -0.0},
        {NAN, 1, NAN, NAN},
        {1, NAN, NAN, NAN},
        {-NAN, -INFINITY, NAN, NAN},
        {INFINITY, -INFINITY, -INFINITY, INFINITY},
        {-3, -2, -3, -2},
    };
    dml_ctx *ctx;
    for (size_t s = 0; (ctx = open_set(s)) != NULL; s++) {
        for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
            float a[40], b[40], c[40];
            double a64[40], b64[40], c64[40];
            uint16_t ah[40], bh[40], ch[40];
            for (int i = 0; i < 40; i++) {
                a[i] = (float)(a64[i] = pairs[p][0]);
                b[i] = (float)(b64[i] = pairs[p][1]);
                ah[i] = dml__f32_to_bf16(a[i]), bh[i] = dml__f32_to_bf16(b[i]);
            }
            for (int k = 2; k < 4; k++) {
                double want = pairs[p][k];
                dml_vec_reduce(ctx, c, a, b, 40, DML_F32, (dml_op)k);
                dml_vec_reduce(ctx, c64, a64, b64, 40, DML_F64, (dml_op)k);
                dml_vec_reduce(ctx, ch, ah, bh, 40, DML_BF16, (dml_op)k);
                for (int i = 0; i < 40; i++) {
                    const double got[] = {c[i], c64[i], dml__bf16_to_f32(ch[i])};
                    for (int t = 0; t < 3; t++)
                        assert_true(isnan(want) ? isnan(got[t])
                                                : got[t] == want && !signbit(got[t]) ==
                                                                        !signbit(want));
                }
            }
        }
        dml_ctx_destroy(ctx);
    }
}

/* ---- the way in and out of an accumulator ------------------------------------------
 */

static void scaled_integers_are_cut_and_bounded(void **state)
{
    (void)state;
    const struct dml__kernels *set;
    for (size_t s = 0; (set = dml__kernels_usable(s)) != NULL; s++) {
        int8_t a[40], c[40];
        int64_t wide[40], out[40];
        uint64_t big[40], scaled[40];
        for (int i = 0; i < 40; i++) {
            a[i] = (int8_t)(7 * (i - 20));
            wide[i] = INT64_MAX - i;
            big[i] = UINT64_MAX - (uint64_t)i;
        }
        set->load_scaled[DML_I8](c, a, NULL, 40, 0.5);
        for (int i = 0; i < 40; i++)
            assert_int_equal(c[i], a[i] / 2);
        set->load_scaled[DML_I8](c, a, NULL, 40, -1000.0);
        for (int i = 0; i < 40; i++)
            assert_int_equal(c[i], a[i] > 0 ? -128 : a[i] < 0 ? 127 : 0);
        set->load_scaled[DML_I64](out, wide, NULL, 40, 1);
        assert_memory_equal(out, wide, sizeof out);
        set->load_scaled[DML_I64](out, wide, NULL, 40, 2);
        assert_true(out[0] > INT64_MAX - 2048);
        set->load_scaled[DML_U64](scaled, big, NULL, 40, -1);
        assert_true(scaled[0] == 0);
        set->fold_scaled[DML_U64](scaled, big, big, 40, 1);
        for (int i = 0; i < 40; i++)
            assert_true(scaled[i] == 2 * big[i]);
    }
}

static void averages_divide(void **state)
{
    (void)state;
    const struct dml__kernels *set;
    for (size_t s = 0; (set = dml__kernels_usable(s)) != NULL; s++)
        for (int d = 1; d <= 200; d++) {
            float x[N], y[N];
            uint16_t h[N];
            int8_t a[N], c[N];
            int32_t a32[N], c32[N];
            int64_t a64[N], c64[N];
            for (int i = 0; i < N; i++) {
                x[i] = (float)(i - 150) * 1.37f;
                a[i] = (int8_t)i;
                a32[i] = (i - 150) * (INT32_MAX / 150) - 1;
                a64[i] = (i - 150) * (INT64_MAX / 150) - 1;
            }
            set->store_div[DML_F32](y, x, NULL, N, d);
            set->store_div[DML_F16](h, x, NULL, N, d);
            set->store_div[DML_I8](c, a, NULL, N, d);
            set->store_div[DML_I32](c32, a32, NULL, N, d);
            set->store_div[DML_I64](c64, a64, NULL, N, d);
            for (int i = 0; i < N; i++) {
                assert_true(y[i] == x[i] / (float)d);
                assert_int_equal(h[i], dml__f32_to_f16(x[i] / (float)d));
                assert_int_equal(c[i], a[i] / d);
                assert_int_equal(c32[i], a32[i] / d);
                assert_true(c64[i] == a64[i] / d);
            }
        }
}

/* ---- f32 loops ---------------------------------------------------------------------
 */

static double sumsq_by_definition(size_t n, const float *x)
{
    double sum[32] = {0};
    for (size_t i = 0; i < n; i++)
        sum[i % 32] += (double)x[i] * (double)x[i];
    for (size_t half = 16; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            sum[j] += sum[j + half];
    return sum[0];
}

static void f32_loops_by_definition(void **state)
{
    (void)state;
    static char memory[2][N * sizeof(float) + 64];
    dml_ctx *ctx;
    for (size_t s = 0; (ctx = open_set(s)) != NULL; s++) {
        uint32_t seed = 3;
        for (size_t n = 0; n <= N; n++) {
            float x[N], y[N], got[N];
            void *at_x = memory[0] + n % 64, *at_y = memory[1] + 5 * n % 64;
            for (size_t i = 0; i < n; i++) {
                x[i] = ldexpf((float)next_random(&seed), -(int)(seed % 50));
                y[i] = ldexpf((float)next_random(&seed), -(int)(seed % 50));
            }
            memcpy(at_x, x, n * sizeof *x);
            memcpy(at_y, y, n * sizeof *y);
            assert_true(dml_vec_sumsq(ctx, n, at_x) == sumsq_by_definition(n, x));
            dml_vec_axpy(ctx, n, -1.3f, at_x, at_y);
            memcpy(got, at_y, n * sizeof *got);
            for (size_t i = 0; i < n; i++) {
                volatile float product = -1.3f * x[i]; /* not fused */
                assert_true(got[i] == y[i] + product);
            }
            dml_vec_scale(ctx, n, 0.7f, at_x);
            memcpy(got, at_x, n * sizeof *got);
            for (size_t i = 0; i < n; i++)
                assert_true(got[i] == 0.7f * x[i]);
        }
        dml_ctx_destroy(ctx);
    }
}

/* Every code there is, through the public calls. */
static void conversions_return(void **state)
{
    (void)state;
    static uint16_t codes[65536], back[65536];
    static float wide[65536];
    for (size_t i = 0; i < 65536; i++)
        codes[i] = (uint16_t)i;
    dml_ctx *ctx;
    for (size_t s = 0; (ctx = open_set(s)) != NULL; s++) {
        for (int k = 0; k < 2; k++) {
            dml_dtype half = k == 0 ? DML_F16 : DML_BF16;
            assert_int_equal(dml_vec_convert(ctx, wide, DML_F32, codes, half, 65536),
                             DML_OK);
            assert_int_equal(dml_vec_convert(ctx, back, half, wide, DML_F32, 65536),
                             DML_OK);
            for (size_t i = 0; i < 65536; i++) {
                float want =
                    k == 0 ? dml__f16_to_f32(codes[i]) : dml__bf16_to_f32(codes[i]);
                if (isnan(want))
                    assert_true(isnan(wide[i]));
                else
                    assert_true(wide[i] == want && back[i] == codes[i]);
            }
        }
        dml_ctx_destroy(ctx);
    }
}

static void mistakes_are_named(void **state)
{
    (void)state;
    dml_ctx *ctx = open_set(0);
    float x[4] = {0}, y[4] = {0};
    dml_error error;
    assert_int_equal(dml_vec_reduce(ctx, x, x, y, 4, (dml_dtype)99, DML_SUM),
                     DML_EINVAL);
    dml_ctx_last_error(ctx, &error);
    assert_string_equal(error.where, "dml_vec_reduce");
    assert_non_null(strstr(error.text, "99"));
    assert_int_equal(dml_vec_reduce(ctx, x, x, y, 4, DML_F32, DML_AVG), DML_EINVAL);
    dml_ctx_last_error(ctx, &error);
    assert_non_null(strstr(error.text, "avg"));
    assert_int_equal(dml_vec_convert(ctx, x, DML_F16, y, DML_BF16, 4), DML_EINVAL);
    dml_ctx_last_error(ctx, &error);
    assert_non_null(strstr(error.text, "bf16 to f16"));
    assert_int_equal(dml_vec_convert(ctx, x, DML_F32, y, DML_F64, 4), DML_EINVAL);
    dml_ctx_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_wrap_and_compare),
        cmocka_unit_test(floats_round_once),
        cmocka_unit_test(min_and_max_hand_nan_on_and_order_zeros),
        cmocka_unit_test(scaled_integers_are_cut_and_bounded),
        cmocka_unit_test(averages_divide),
        cmocka_unit_test(f32_loops_by_definition),
        cmocka_unit_test(conversions_return),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
