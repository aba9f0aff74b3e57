/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random numbers: published vectors, moments, and permutations against values computed
 * by an independent implementation (Python, from the same papers).
 */
#include "dml/rng.h"

#include "core/philox.h"
#include "unit.h"

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED UINT64_C(20240601)

/* The vectors of Random123's kat_vectors file for philox4x32-10: all zeros, all ones,
 * and the digits of pi. */
static void philox_gives_the_published_vectors(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed, stream, counter;
        uint32_t expected[4];
    } vectors[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX,
         UINT64_MAX,
         UINT64_MAX,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822,
         0x0370734413198a2e,
         0x85a308d3243f6a88,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t r[4];
        dml__philox(vectors[i].seed, vectors[i].stream, vectors[i].counter, r);
        assert_memory_equal(r, vectors[i].expected, sizeof r);
        uint64_t word =
            dml_rng_u64(vectors[i].seed, vectors[i].stream, vectors[i].counter);
        assert_int_equal(word, (uint64_t)r[1] << 32 | r[0]);
    }
}

static void uniform_has_the_right_moments(void **state)
{
    (void)state;
    const int n = 200000;
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        double u = dml_rng_uniform(SEED, 3, (uint64_t)i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
    }
    /* Five standard errors. */
    assert_true(fabs(sum / n - 0.5) < 5 * sqrt(1.0 / 12 / n));
    assert_true(fabs(squares / n - 1.0 / 3) < 5 * sqrt(4.0 / 45 / n));
}

static void normal_has_the_right_moments(void **state)
{
    (void)state;
    const int n = 200000;
    double powers[5] = {0};
    int beyond_two = 0;
    for (int i = 0; i < n; i++) {
        double x = dml_rng_normal(SEED, 4, (uint64_t)i);
        assert_true(isfinite(x));
        beyond_two += fabs(x) > 2;
        double power = 1;
        for (int p = 0; p < 5; p++, power *= x)
            powers[p] += power / n;
    }
    /* Moments 0, 1, 0, 3 with variances 1, 2, 15, 96 of x, x^2, x^3, x^4. */
    assert_true(fabs(powers[1] - 0) < 5 * sqrt(1.0 / n));
    assert_true(fabs(powers[2] - 1) < 5 * sqrt(2.0 / n));
    assert_true(fabs(powers[3] - 0) < 5 * sqrt(15.0 / n));
    assert_true(fabs(powers[4] - 3) < 5 * sqrt(96.0 / n));
    assert_true(fabs(beyond_two / (double)n - 0.0455) < 5 * sqrt(0.0455 / n));
}

static void streams_and_seeds_differ(void **state)
{
    (void)state;
    uint64_t base = dml_rng_u64(1, 2, 3);
    assert_int_equal(base, dml_rng_u64(1, 2, 3));
    assert_int_not_equal(base, dml_rng_u64(2, 2, 3));
    assert_int_not_equal(base, dml_rng_u64(1, 3, 3));
    assert_int_not_equal(base, dml_rng_u64(1, 2, 4));
    assert_int_not_equal(base, dml_rng_u64(1, 3, 2));
}

static void permutation_holds_each_number_once(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 2, 3, 255, 1000};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        uint32_t out[1001];
        unsigned char seen[1000] = {0};
        out[counts[k]] = 0xabcdef;
        dml_rng_permutation(SEED, k, counts[k], out);
        for (uint32_t i = 0; i < counts[k]; i++) {
            assert_true(out[i] < counts[k]);
            assert_int_equal(seen[out[i]]++, 0);
        }
        assert_int_equal(out[counts[k]], 0xabcdef);
    }
}

static void permutation_gives_the_known_values(void **state)
{
    (void)state;
    static const uint32_t expected[10] = {3, 1, 5, 9, 8, 7, 0, 6, 4, 2};
    uint32_t small[10];
    dml_rng_permutation(42, 7, 10, small);
    assert_memory_equal(small, expected, sizeof small);

    /* Stream 1 is the first in which a word is rejected at this count. */
    const uint32_t count = 60000;
    uint32_t *large = malloc(count * sizeof *large);
    assert_non_null(large);
    dml_rng_permutation(42, 1, count, large);
    uint64_t fnv = UINT64_C(14695981039346656037);
    for (uint32_t i = 0; i < count; i++)
        fnv = (fnv ^ large[i]) * UINT64_C(1099511628211);
    free(large);
    assert_int_equal(fnv, UINT64_C(0x58f6195396d32467));
}

/* Each of the 24 orders of four numbers equally often: chi squared with 23 degrees of
 * freedom is below 49.7 with probability 0.999. */
static void permutations_are_equally_likely(void **state)
{
    (void)state;
    const int n = 24000;
    int times[256] = {0}, orders = 0;
    for (int i = 0; i < n; i++) {
        uint32_t p[4];
        dml_rng_permutation(SEED, (uint64_t)i, 4, p);
        times[p[0] | p[1] << 2 | p[2] << 4 | p[3] << 6]++;
    }
    double chi2 = 0, expected = n / 24.0;
    for (int i = 0; i < 256; i++) {
        if (times[i] == 0)
            continue;
        orders++;
        chi2 += (times[i] - expected) * (times[i] - expected) / expected;
    }
    assert_int_equal(orders, 24);
    assert_true(chi2 < 49.7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_vectors),
        cmocka_unit_test(uniform_has_the_right_moments),
        cmocka_unit_test(normal_has_the_right_moments),
        cmocka_unit_test(streams_and_seeds_differ),
        cmocka_unit_test(permutation_holds_each_number_once),
        cmocka_unit_test(permutation_gives_the_known_values),
        cmocka_unit_test(permutations_are_equally_likely),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
