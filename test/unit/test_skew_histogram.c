/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histograms: merging gives what one pass over all gives, shortening keeps the weight,
 * bytes come back or are refused, joins by brute force.
 */
#include "skew_help.h"

enum { N = 60000, KEYS = 2000, RANKS = 4 };

static void merging_is_one_pass(void **state)
{
    (void)state;
    uint64_t *keys = zipf(N, KEYS, 1, 3, true);
    dml_histogram *part[RANKS], *merged = NULL, *nested = NULL, *pair[2], *again = NULL;
    for (size_t r = 0; r < RANKS; r++)
        part[r] = exact_of(keys + r * (N / RANKS), N / RANKS);
    dml_histogram *whole = exact_of(keys, N);
    const dml_histogram *all[] = {part[0], part[1], part[2], part[3]};
    const dml_histogram *reversed[] = {part[3], part[2], part[1], part[0]};
    ok(dml_histogram_merge(ctx, all, RANKS, &merged));
    ok(dml_histogram_merge(ctx, all, 2, &pair[0]));
    ok(dml_histogram_merge(ctx, all + 2, 2, &pair[1]));
    ok(dml_histogram_merge(ctx, (const dml_histogram *const *)pair, 2, &nested));
    ok(dml_histogram_merge(ctx, reversed, RANKS, &again));
    dml_histogram *same[] = {merged, nested, again};
    size_t bytes = 0, other = 0;
    void *want = packed(whole, &bytes);
    for (int i = 0; i < 3; i++) {
        void *got = packed(same[i], &other);
        assert_int_equal(bytes, other);
        assert_memory_equal(want, got, bytes);
        free(got);
        dml_histogram_destroy(same[i]);
    }
    assert_true(info_of(whole).distinct == (double)info_of(whole).entries);
    for (size_t r = 0; r < RANKS; r++)
        dml_histogram_destroy(part[r]);
    dml_histogram_destroy(pair[0]);
    dml_histogram_destroy(pair[1]);
    dml_histogram_destroy(whole);
    free(want);
    free(keys);
}

static void shortening_keeps_the_weight(void **state)
{
    (void)state;
    uint64_t *keys = zipf(N, KEYS, 0.8, 4, true);
    for (size_t entries = 2; entries < 1500; entries = entries * 3 + 1) {
        dml_histogram *h = exact_of(keys, N);
        double heaviest = 0, listed = 0;
        ok(dml_histogram_shorten(h, entries));
        dml_histogram_info info = info_of(h);
        assert_true(info.entries <= entries);
        assert_true(mass_of(h) == N);
        for (size_t i = 0; i < info.entries; i++) {
            dml_histogram_entry entry;
            ok(dml_histogram_entry_at(h, i, &entry));
            heaviest = fmax(heaviest, entry.weight);
            listed += entry.weight > 0;
            /* Pieces of the tail are equal to within the largest key in them. */
            assert_true(entry.tail <=
                        info.tail / (double)(entries - entries / 2) + 700);
        }
        assert_true(listed == (double)(entries / 2));
        assert_true(heaviest > 300);
        dml_histogram_destroy(h);
    }
    dml_histogram *h = exact_of(keys, N);
    assert_int_equal(dml_histogram_shorten(h, 1), DML_EINVAL);
    dml_histogram_destroy(h);
    free(keys);
}

/* A tail lies below its key: what is lighter than the keys that stay is not carried
 * past one of them. */
static void shortening_keeps_the_sides(void **state)
{
    (void)state;
    uint64_t *keys = zipf(N, KEYS, 0.9, 8, true);
    dml_histogram *whole = exact_of(keys, N), *h = exact_of(keys, N);
    ok(dml_histogram_shorten(h, 40));
    double tails = 0, light = 0;
    size_t at = 0;
    for (size_t i = 0; i < info_of(h).entries; i++) {
        dml_histogram_entry entry, passed;
        ok(dml_histogram_entry_at(h, i, &entry));
        tails += entry.tail;
        if (entry.weight <= 0)
            continue;
        for (;; at++) {
            ok(dml_histogram_entry_at(whole, at, &passed));
            if (passed.u64 == entry.u64)
                break;
            light += passed.weight;
        }
        at++;
        /* Heavy keys passed on the way are in neither sum. */
        assert_true(tails == light);
    }
    dml_histogram_destroy(whole);
    dml_histogram_destroy(h);
    free(keys);
}

static void distinct_keys_are_estimated(void **state)
{
    (void)state;
    for (size_t n = 10; n <= 1000000; n *= 10) {
        uint64_t *keys = malloc(n * sizeof *keys);
        assert_non_null(keys);
        for (size_t i = 0; i < n; i++)
            keys[i] = i;
        dml_histogram *h = sample(NULL, keys, n);
        double error = fabs(info_of(h).distinct / (double)n - 1);
        assert_true(error < 5 * 1.04 / 64);
        dml_histogram_destroy(h);
        free(keys);
    }
}

/* Every byte flipped, every length: refused, or read as the same. */
static void damaged_bytes_are_refused(void **state)
{
    (void)state;
    uint64_t *keys = zipf(300, 20, 1, 3, true);
    dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 1);
    opts.buckets = 4;
    dml_histogram *h = sample(&opts, keys, 300), *back = NULL;
    size_t bytes = 0;
    unsigned char *wire = packed(h, &bytes);
    ok(dml_histogram_unpack(ctx, wire, bytes, &back));
    dml_histogram_destroy(back);
    for (size_t i = 0; i < bytes; i++) {
        wire[i] ^= 0x40;
        assert_int_equal(dml_histogram_unpack(ctx, wire, bytes, &back), DML_EFORMAT);
        wire[i] ^= 0x40;
        unsigned char *cut = malloc(i + 1);
        assert_non_null(cut);
        memcpy(cut, wire, i);
        assert_int_equal(dml_histogram_unpack(ctx, cut, i, &back), DML_EFORMAT);
        free(cut);
    }
    says("offset");
    assert_int_equal(dml_histogram_pack(h, wire, bytes - 1), DML_EINVAL);
    free(wire);
    dml_histogram_destroy(h);
    free(keys);
}

/* Negative zero has the bits of a number heavier than all others. */
static void negative_zero_is_refused(void **state)
{
    (void)state;
    static const uint64_t one[] = {1};
    enum { WEIGHT = 80 + 9 + 8 };
    dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 1);
    opts.buckets = 1;
    dml_histogram *h = sample(&opts, one, 1), *back = NULL;
    size_t bytes = 0;
    unsigned char *wire = packed(h, &bytes);
    for (int i = 0; i < 8; i++)
        wire[WEIGHT + i] = i == 7 ? 0x80 : 0;
    uint64_t sum = dml_hash_bytes(wire, bytes - 8, 0);
    for (size_t i = 0; i < 8; i++)
        wire[bytes - 8 + i] = (unsigned char)(sum >> 8 * i);
    assert_int_equal(dml_histogram_unpack(ctx, wire, bytes, &back), DML_EFORMAT);
    says("weight");
    free(wire);
    dml_histogram_destroy(h);
}

static void joins_multiply(void **state)
{
    (void)state;
    static const uint64_t a[] = {1, 1, 2, 3, 3, 3}, b[] = {1, 3, 3, 4};
    dml_histogram *ha = exact_of(a, 6), *hb = exact_of(b, 4), *joined = NULL;
    ok(dml_histogram_join(ctx, ha, hb, 0.5, &joined));
    assert_true(weight_of(joined, 1) == 2 + 1 + 0.5 * 2);
    assert_true(weight_of(joined, 2) == 1);
    assert_true(weight_of(joined, 3) == 3 + 2 + 0.5 * 6);
    assert_true(weight_of(joined, 4) == 1);
    assert_true(info_of(joined).weight == 10 + 0.5 * 8);
    assert_true(mass_of(joined) == 14);
    static const double bad[] = {-1, NAN, INFINITY};
    for (int i = 0; i < 3; i++)
        assert_int_equal(dml_histogram_join(ctx, ha, hb, bad[i], &joined), DML_EINVAL);
    dml_histogram_destroy(joined);
    dml_histogram_destroy(ha);
    dml_histogram_destroy(hb);
}

/* 1000 keys of weight 10 on both sides, of which one or both are short: the output is
 * 1000 * 10 * 10, whichever keys are listed where. */
static void joins_of_short_histograms(void **state)
{
    (void)state;
    enum { COUNT = 10000, DISTINCT = 1000 };
    static uint64_t keys[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        keys[i] = i % DISTINCT;
    for (int both = 0; both < 2; both++) {
        for (int side = 0; side < 2; side++) {
            dml_histogram *h[] = {exact_of(keys, COUNT), exact_of(keys, COUNT)};
            dml_histogram *joined = NULL;
            ok(dml_histogram_shorten(h[side], 100));
            if (both)
                ok(dml_histogram_shorten(h[1 - side], 400));
            ok(dml_histogram_join(ctx, h[0], h[1], 1, &joined));
            double output = info_of(joined).weight - 2 * COUNT;
            if (fabs(output / 100000 - 1) > 0.1)
                fail_msg("the output is %g, not 100000", output);
            assert_true(fabs(mass_of(joined) / info_of(joined).weight - 1) < 1e-9);
            for (int i = 0; i < 2; i++)
                dml_histogram_destroy(h[i]);
            dml_histogram_destroy(joined);
        }
    }
}

/* 1000 keys on one side, of which the other has 200 and lists 50. */
static void joins_of_unequal_sets(void **state)
{
    (void)state;
    static uint64_t many[4000], few[4000];
    for (size_t i = 0; i < 4000; i++) {
        many[i] = i % 1000;
        few[i] = i % 200;
    }
    dml_histogram *a = exact_of(many, 4000), *b = exact_of(few, 4000), *joined = NULL;
    ok(dml_histogram_shorten(b, 100));
    ok(dml_histogram_join(ctx, a, b, 1, &joined));
    double output = info_of(joined).weight - 8000;
    assert_true(fabs(output / (200 * 4 * 20) - 1) < 0.1);
    dml_histogram_destroy(joined);
    dml_histogram_destroy(a);
    dml_histogram_destroy(b);
}

static void comparing_by_hand(void **state)
{
    (void)state;
    static const uint64_t truth[] = {1, 1, 1, 2}, guess[] = {1, 2, 3, 3};
    dml_histogram *exact = exact_of(truth, 4), *h = exact_of(guess, 4);
    dml_histogram_error error;
    ok(dml_histogram_compare(exact, exact, 0, &error));
    assert_true(error.total_variation == 0 && error.top20 == 0);
    ok(dml_histogram_compare(h, exact, 0, &error));
    assert_true(error.total_variation == 0.5);
    assert_true(fabs(error.top20 - (2 / 3.0 + 0) / 2) < 1e-15);
    dml_histogram_destroy(h);
    h = exact_of(NULL, 0);
    assert_int_equal(dml_histogram_compare(exact, h, 0, &error), DML_EINVAL);
    dml_histogram_destroy(h);
    dml_histogram_destroy(exact);
}

static void different_ones_do_not_merge(void **state)
{
    (void)state;
    static const uint64_t one[] = {1};
    dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 1);
    opts.hash_seed = 9;
    dml_histogram *a = exact_of(one, 1), *b = sample(&opts, one, 1), *merged = NULL;
    const dml_histogram *both[] = {a, b};
    assert_int_equal(dml_histogram_merge(ctx, both, 2, &merged), DML_EINVAL);
    assert_int_equal(dml_histogram_merge(ctx, both, 0, &merged), DML_EINVAL);
    dml_histogram_destroy(a);
    dml_histogram_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_is_one_pass),
        cmocka_unit_test(shortening_keeps_the_weight),
        cmocka_unit_test(shortening_keeps_the_sides),
        cmocka_unit_test(distinct_keys_are_estimated),
        cmocka_unit_test(damaged_bytes_are_refused),
        cmocka_unit_test(negative_zero_is_refused),
        cmocka_unit_test(joins_multiply),
        cmocka_unit_test(joins_of_short_histograms),
        cmocka_unit_test(joins_of_unequal_sets),
        cmocka_unit_test(comparing_by_hand),
        cmocka_unit_test(different_ones_do_not_merge),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}
