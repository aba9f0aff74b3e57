/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every entry of every usable kernel set against the reference set, bit for bit, on
 * random and adversarial data; the reference itself against definitions written here
 * one element at a time. Buffers lie at any byte, between guard bytes.
 *
 * DML_TEST_SEED=n repeats a run.
 */
#include "core/half.h"
#include "kernels/kernels.h"
#include "unit.h"

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 1031, GUARD = 128, BYTES = LONGEST * 8 + 64 + 2 * GUARD };

static uint64_t rng_state = 2024;

static uint64_t next_random(void)
{
    uint64_t z = rng_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- elements ----------------------------------------------------------------------
 */

static bool is_float(dml_dtype dtype)
{
    return dtype <= DML_BF16;
}

/* The bits of element i, in the low bytes. */
static uint64_t get_bits(const void *p, size_t i, dml_dtype dtype)
{
    const char *at = (const char *)p + i * dml_dtype_bytes(dtype);
    uint64_t u64;
    uint32_t u32;
    uint16_t u16;
    uint8_t u8;
    switch (dml_dtype_bytes(dtype)) {
    case 8:
        memcpy(&u64, at, sizeof u64);
        return u64;
    case 4:
        memcpy(&u32, at, sizeof u32);
        return u32;
    case 2:
        memcpy(&u16, at, sizeof u16);
        return u16;
    default:
        memcpy(&u8, at, sizeof u8);
        return u8;
    }
}

static void put_bits(void *p, size_t i, dml_dtype dtype, uint64_t bits)
{
    char *at = (char *)p + i * dml_dtype_bytes(dtype);
    uint32_t u32 = (uint32_t)bits;
    uint16_t u16 = (uint16_t)bits;
    uint8_t u8 = (uint8_t)bits;
    switch (dml_dtype_bytes(dtype)) {
    case 8:
        memcpy(at, &bits, sizeof bits);
        break;
    case 4:
        memcpy(at, &u32, sizeof u32);
        break;
    case 2:
        memcpy(at, &u16, sizeof u16);
        break;
    default:
        memcpy(at, &u8, sizeof u8);
    }
}

/* Exponent and mantissa of infinity; what is above is a NaN. */
static bool is_nan_bits(dml_dtype dtype, uint64_t bits)
{
    static const uint64_t infinity[] = {0x7f800000u, 0x7ff0000000000000u, 0x7c00u,
                                        0x7f80u};
    uint64_t sign = (uint64_t)1 << (8 * dml_dtype_bytes(dtype) - 1);
    return is_float(dtype) && (bits & ~sign) > infinity[dtype];
}

static bool same(dml_dtype dtype, uint64_t x, uint64_t y)
{
    return x == y || (is_nan_bits(dtype, x) && is_nan_bits(dtype, y));
}

/* Zeros, denormals, the smallest normal, one, largest, infinity, a quiet and a
 * signalling NaN (the sign is drawn apart); of integers the extremes. */
static uint64_t adversarial(dml_dtype dtype)
{
    static const uint64_t values[][8] = {
        {0, 1, 0x7fffff, 0x800000, 0x3f800000, 0x7f7fffff, 0x7f800000, 0x7fc00000},
        {0, 1, 0xfffffffffffff, 0x10000000000000, 0x3ff0000000000000,
         0x7fefffffffffffff, 0x7ff0000000000000, 0x7ff0000000000001},
        {0, 1, 0x3ff, 0x400, 0x3c00, 0x7bff, 0x7c00, 0x7c01},
        {0, 1, 0x7f, 0x80, 0x3f80, 0x7f7f, 0x7f80, 0x7f81},
    };
    unsigned bits = 8 * (unsigned)dml_dtype_bytes(dtype);
    uint64_t r = next_random(), top = (uint64_t)1 << (bits - 1);
    if (is_float(dtype))
        return values[dtype][r % 8] | (r & 64 ? top : 0);
    const uint64_t extremes[] = {0, 1, top, top - 1, ~(uint64_t)0, top + 1, 2, r >> 8};
    return extremes[r % 8];
}

/* Floats of small magnitude, so that sums round; of integers any bits. */
static uint64_t ordinary(dml_dtype dtype)
{
    double x = ldexp((double)(int64_t)next_random(), -62);
    float f = (float)x;
    uint64_t bits;
    switch (dtype) {
    case DML_F32:
        return dml__f32_bits(f);
    case DML_F64:
        memcpy(&bits, &x, sizeof bits);
        return bits;
    case DML_F16:
        return dml__f32_to_f16(f);
    case DML_BF16:
        return dml__f32_to_bf16(f);
    default:
        return next_random();
    }
}

static void fill(void *p, size_t n, dml_dtype dtype, int style)
{
    for (size_t i = 0; i < n; i++) {
        bool odd = style == 1 || (style == 2 && next_random() % 8 == 0);
        put_bits(p, i, dtype, odd ? adversarial(dtype) : ordinary(dtype));
    }
}

/* ---- entries of the table ----------------------------------------------------------
 */

enum kind { MERGE, FOLD, REDUCE, FOLD_SCALED, LOAD_SCALED, STORE_DIV };
static const char *const kind_names[] = {"merge",       "fold",        "reduce",
                                         "fold_scaled", "load_scaled", "store_div"};

struct entry {
    enum kind kind;
    dml_dtype dtype;     /* T */
    int op;              /* 0 for the last three kinds */
    dml_dtype dst, a, b; /* types of the operands */
    bool two;            /* b is used */
};

static bool entry_at(size_t index, struct entry *e)
{
    size_t per_type = 3 * DML__NREDUCE + 3;
    if (index >= per_type * DML_NDTYPES)
        return false;
    size_t k = index % per_type;
    dml_dtype type = (dml_dtype)(index / per_type), acc = dml__acc_dtype(type);
    enum kind kind = k < 3 * DML__NREDUCE
                         ? (enum kind)(k / DML__NREDUCE)
                         : (enum kind)(FOLD_SCALED + k - 3 * DML__NREDUCE);
    *e = (struct entry){.kind = kind, .dtype = type, .two = kind <= FOLD_SCALED};
    e->op = kind <= REDUCE ? (int)(k % DML__NREDUCE) : 0;
    e->dst = kind == REDUCE || kind == STORE_DIV ? type : acc;
    e->a = kind == REDUCE || kind == LOAD_SCALED ? type : acc;
    e->b = kind == MERGE ? acc : type;
    return true;
}

static dml__vec_fn *function_of(const struct dml__kernels *set, const struct entry *e)
{
    switch (e->kind) {
    case MERGE:
        return set->merge[e->dtype][e->op];
    case FOLD:
        return set->fold[e->dtype][e->op];
    case REDUCE:
        return set->reduce[e->dtype][e->op];
    case FOLD_SCALED:
        return set->fold_scaled[e->dtype];
    case LOAD_SCALED:
        return set->load_scaled[e->dtype];
    default:
        return set->store_div[e->dtype];
    }
}

static double draw_arg(const struct entry *e)
{
    static const double divisors[] = {1, 2, 3, 4, 5, 7, 8, 13, 127, 200, 1000};
    static const double scales[] = {1, 0.5, -3, 1.0 / 3, 1e-3, 0, 1e30, -7.25, 2};
    if (e->kind == STORE_DIV)
        return divisors[next_random() % (sizeof divisors / sizeof *divisors)];
    if (e->kind == FOLD_SCALED || e->kind == LOAD_SCALED)
        return scales[next_random() % (sizeof scales / sizeof *scales)];
    return 0;
}

/* ---- a set against the reference ---------------------------------------------------
 */

enum alias { APART, DST_IS_A, DST_IS_B };

struct buffers {
    unsigned char dst[BYTES], a[BYTES], b[BYTES], before[BYTES];
};

static void compare(const struct dml__kernels *set, const struct entry *e, size_t n,
                    enum alias alias, const size_t offset[3], int style)
{
    static struct buffers want, got;
    double arg = draw_arg(e);
    fill(want.a + GUARD + offset[1], n, e->a, style);
    fill(want.b + GUARD + offset[2], n, e->b, style);
    memset(want.dst, 0xa5, sizeof want.dst);
    memcpy(got.a, want.a, sizeof got.a);
    memcpy(got.b, want.b, sizeof got.b);
    unsigned char *base = alias == DST_IS_A   ? got.a
                          : alias == DST_IS_B ? got.b
                                              : got.dst;
    size_t shift = GUARD + offset[alias];
    memcpy(got.dst, want.dst, sizeof got.dst);
    memcpy(got.before, base, sizeof got.before);

    const struct dml__kernels *c = dml__kernels_usable(0);
    unsigned char *expected = want.dst + GUARD + offset[0];
    function_of(c, e)(expected, want.a + GUARD + offset[1],
                      e->two ? want.b + GUARD + offset[2] : NULL, n, arg);
    function_of(set, e)(base + shift, got.a + GUARD + offset[1],
                        e->two ? got.b + GUARD + offset[2] : NULL, n, arg);

    for (size_t i = 0; i < n; i++) {
        uint64_t x = get_bits(expected, i, e->dst),
                 y = get_bits(base + shift, i, e->dst);
        if (!same(e->dst, x, y))
            fail_msg("%s %s %s op %d arg %g n %zu i %zu alias %d: %#" PRIx64
                     ", reference %#" PRIx64,
                     set->name, kind_names[e->kind], dml_dtype_name(e->dtype), e->op,
                     arg, n, i, (int)alias, y, x);
    }
    size_t end = shift + n * dml_dtype_bytes(e->dst);
    if (memcmp(base, got.before, shift) != 0 ||
        memcmp(base + end, got.before + end, BYTES - end) != 0)
        fail_msg("%s %s %s n %zu: bytes outside dst changed", set->name,
                 kind_names[e->kind], dml_dtype_name(e->dtype), n);
}

static void compare_aliases(const struct dml__kernels *set, const struct entry *e,
                            size_t n, const size_t offset[3])
{
    int style = (int)(next_random() % 3);
    compare(set, e, n, APART, offset, style);
    if (e->dst == e->a)
        compare(set, e, n, DST_IS_A, offset, style);
    if (e->two && e->dst == e->b)
        compare(set, e, n, DST_IS_B, offset, style);
}

static void sets_agree_at_every_length(void **state)
{
    (void)state;
    static const size_t longer[] = {95, 127, 128, 129, 255, 511, 1021, LONGEST};
    const struct dml__kernels *set;
    struct entry e;
    for (size_t s = 0; (set = dml__kernels_usable(s)) != NULL; s++)
        for (size_t k = 0; entry_at(k, &e); k++)
            for (size_t l = 0; l < 68 + 8; l++) {
                uint64_t r = next_random();
                const size_t offset[3] = {r % 64, r / 64 % 64, r / 4096 % 64};
                compare_aliases(set, &e, l < 68 ? l : longer[l - 68], offset);
            }
}

static void sets_agree_at_every_alignment(void **state)
{
    (void)state;
    const struct dml__kernels *set;
    struct entry e;
    for (size_t s = 0; (set = dml__kernels_usable(s)) != NULL; s++)
        for (size_t k = 0; entry_at(k, &e); k++)
            for (size_t shift = 0; shift < 64; shift++)
                for (size_t operand = 0; operand < 3; operand++) {
                    size_t offset[3] = {0, 0, 0};
                    offset[operand] = shift;
                    compare_aliases(set, &e, 67 + next_random() % 80, offset);
                }
}

static void every_entry_is_there(void **state)
{
    (void)state;
    const struct dml__kernels *set;
    for (size_t s = 0; (set = dml__kernels_usable(s)) != NULL; s++) {
        struct entry e;
        for (size_t k = 0; entry_at(k, &e); k++)
            assert_non_null(function_of(set, &e));
        assert_true(set->axpy_f32 != NULL && set->scale_f32 != NULL);
        assert_true(set->sumsq_f32 != NULL && set->sgd_f32 != NULL);
        assert_ptr_equal(dml__kernels_find(set->name), set);
        if (dml__kernels_usable(s + 1) == NULL)
            assert_ptr_equal(dml__kernels_find("auto"), set);
    }
    assert_string_equal(dml__kernels_usable(0)->name, "c");
    assert_null(dml__kernels_find("mmx"));
}

int main(void)
{
    const char *seed = getenv("DML_TEST_SEED");
    if (seed != NULL)
        rng_state = strtoull(seed, NULL, 10);
    printf("seed %" PRIu64 "; sets:", rng_state);
    for (size_t s = 0; dml__kernels_usable(s) != NULL; s++)
        printf(" %s", dml__kernels_usable(s)->name);
    printf("\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_is_there),
        cmocka_unit_test(sets_agree_at_every_length),
        cmocka_unit_test(sets_agree_at_every_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
