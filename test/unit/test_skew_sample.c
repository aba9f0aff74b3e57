/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys in their order, and samplers: every record is kept with the probability
 * promised, totals are exact, cutting the stream into calls makes no difference, and
 * bad weights are refused.
 */
#include "skew_help.h"

static void numbers_keep_their_order(void **state)
{
    (void)state;
    static const int64_t whole[] = {INT64_MIN, -7, -1, 0, 1, 7, INT64_MAX};
    static const double real[] = {-INFINITY, -1e300, -1, -1e-310, 0,
                                  1e-310,    1,      2,  1e300,   INFINITY};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        assert_true(dml_key_to_i64(dml_key_of_i64(whole[i])) == whole[i]);
        if (i > 0)
            assert_true(dml_key_of_i64(whole[i - 1]) < dml_key_of_i64(whole[i]));
    }
    for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
        assert_true(dml_key_to_f64(dml_key_of_f64(real[i])) == real[i]);
        if (i > 0)
            assert_true(dml_key_of_f64(real[i - 1]) < dml_key_of_f64(real[i]));
    }
    assert_true(dml_key_of_f64(-0.0) == dml_key_of_f64(0.0));
    assert_true(dml_key_of_f64(NAN) > dml_key_of_f64(INFINITY));
    assert_true(isnan(dml_key_to_f64(dml_key_of_f64(NAN))));
}

static void hashes_are_those_of_xxh3(void **state)
{
    (void)state;
    /* Written down once from xxhsum -H3 of 8 bytes; a change would scatter old plans.
     */
    static const unsigned char bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_true(dml_hash_u64(0x0807060504030201u, 9) == dml_hash_bytes(bytes, 8, 9));
    assert_true(dml_hash_u64(1, 1) != dml_hash_u64(1, 2));
    assert_true(dml_hash_bytes(NULL, 0, 0) == 0x2d06800538d394c2u);
}

static int by_memcmp(const void *a_, const void *b_)
{
    const dml_bytes *a = a_, *b = b_;
    size_t both = a->count < b->count ? a->count : b->count;
    int order = both > 0 ? memcmp(a->data, b->data, both) : 0;
    return order != 0 ? order : (a->count > b->count) - (a->count < b->count);
}

/* Short alphabet, long common prefixes, zero bytes, empty strings. */
static void strings_sort_as_memcmp(void **state)
{
    (void)state;
    enum { COUNT = 5000, LONGEST = 24 };
    uint64_t seed = seed_of("strings_sort_as_memcmp", 3);
    static char text[COUNT][LONGEST];
    static dml_bytes bytes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t count = dml_rng_u64(seed, 1, i) % (LONGEST + 1);
        for (size_t c = 0; c < count; c++) {
            bool same = dml_rng_u64(seed, 4, i) % 2 == 0 && c < 10;
            text[i][c] = same ? 'a' : (char)(dml_rng_u64(seed, 2 + c, i) % 3 * 127);
        }
        bytes[i] = (dml_bytes){text[i], count};
    }
    dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 1);
    opts.kind = DML_KEY_BYTES;
    dml_sampler *sampler = NULL;
    dml_histogram *h = NULL;
    const dml_keys keys = {.kind = DML_KEY_BYTES, .count = COUNT, .bytes = bytes};
    ok(dml_sampler_create(ctx, &opts, &sampler));
    ok(dml_sampler_add(sampler, &keys, NULL));
    ok(dml_sampler_finish(sampler, &h));
    qsort(bytes, COUNT, sizeof *bytes, by_memcmp);
    size_t at = 0;
    for (size_t i = 0; i < info_of(h).entries; i++) {
        dml_histogram_entry entry;
        ok(dml_histogram_entry_at(h, i, &entry));
        size_t start = at;
        while (at < COUNT && by_memcmp(&bytes[at], &entry.bytes) == 0)
            at++;
        assert_true((double)(at - start) == entry.weight);
        assert_true(entry.samples == UINT64_MAX);
    }
    assert_int_equal(at, COUNT);
    dml_histogram_destroy(h);
    dml_sampler_destroy(sampler);
}

/* Which of n records a sampler keeps: record i has key i. */
static void count_kept(dml_sample_method method, double rate, uint64_t n, uint64_t seed,
                       uint32_t *kept, size_t *total)
{
    uint64_t *keys = malloc(n * sizeof *keys);
    assert_non_null(keys);
    for (uint64_t i = 0; i < n; i++)
        keys[i] = i;
    dml_sampler_opts opts = sampler_opts(method, rate);
    opts.seed = seed;
    opts.reservoir = 9;
    opts.buckets = 1;
    dml_histogram *h = sample(&opts, keys, n);
    *total = 0;
    for (size_t i = 0; i < info_of(h).entries; i++) {
        dml_histogram_entry entry;
        ok(dml_histogram_entry_at(h, i, &entry));
        kept[entry.u64]++;
        ++*total;
    }
    assert_int_equal(*total, info_of(h).samples);
    dml_histogram_destroy(h);
    free(keys);
}

/* n = 97 is no multiple of the step, so the last step is short; SORTED's only block is
 * short, too. Bounds are 5 standard deviations of a binomial. */
static void records_are_kept_with_equal_probability(void **state)
{
    (void)state;
    enum { N = 97, TRIALS = 1000 };
    uint64_t seed = seed_of("records_are_kept_with_equal_probability", 11);
    for (int method = 0; method < 4; method++) {
        double rate = 0.1, p = method == DML_SAMPLE_RESERVOIR ? 9.0 / N : 0.1;
        uint32_t kept[N] = {0};
        for (uint64_t trial = 0; trial < TRIALS; trial++) {
            size_t total = 0;
            count_kept((dml_sample_method)method, rate, N, seed + trial, kept, &total);
            if (method == DML_SAMPLE_RESERVOIR)
                assert_int_equal(total, 9);
            if (method == DML_SAMPLE_STEP || method == DML_SAMPLE_SORTED)
                assert_in_range(total, 9, 10);
        }
        for (size_t i = 0; i < N; i++) {
            double want = TRIALS * p;
            if (fabs(kept[i] - want) > 5 * sqrt(want * (1 - p)))
                fail_msg("%s: record %zu kept %u times, not %g",
                         dml_sample_method_name((dml_sample_method)method), i, kept[i],
                         want);
        }
    }
}

/* One of every ten in a row, whatever the draw. */
static void a_step_keeps_one(void **state)
{
    (void)state;
    enum { N = 1000 };
    uint32_t kept[N] = {0};
    size_t total = 0;
    count_kept(DML_SAMPLE_STEP, 0.1, N, 5, kept, &total);
    for (size_t step = 0; step < N / 10; step++) {
        uint32_t here = 0;
        for (size_t i = 0; i < 10; i++)
            here += kept[10 * step + i];
        assert_int_equal(here, 1);
    }
}

static void totals_are_exact(void **state)
{
    (void)state;
    enum { N = 30000 };
    uint64_t *keys = zipf(N, 500, 1.1, 2, true);
    double *lengths = malloc(N * sizeof *lengths), sum = 0, squares = 0;
    assert_non_null(lengths);
    for (size_t i = 0; i < N; i++) {
        lengths[i] = (double)(dml_rng_u64(1, 1, i) % 50);
        sum += lengths[i];
        squares += lengths[i] * lengths[i];
    }
    for (int weight = 0; weight < 3; weight++) {
        for (int method = 0; method < 4; method++) {
            dml_sampler_opts opts = sampler_opts((dml_sample_method)method, 0.05);
            opts.weight = (dml_weight)weight;
            opts.buckets = method % 2 ? 1 : 64;
            dml_sampler *sampler = NULL;
            dml_histogram *h = NULL;
            const dml_keys all = as_keys(keys, N);
            ok(dml_sampler_create(ctx, &opts, &sampler));
            ok(dml_sampler_add(sampler, &all, lengths));
            ok(dml_sampler_finish(sampler, &h));
            double want = weight == 0 ? N : weight == 1 ? sum : squares;
            assert_true(info_of(h).weight == want);
            assert_true(info_of(h).records == N);
            assert_true(fabs(mass_of(h) - want) < 1e-9 * want);
            dml_histogram_destroy(h);
            dml_sampler_destroy(sampler);
        }
    }
    free(lengths);
    free(keys);
}

static void calls_may_cut_the_stream_anywhere(void **state)
{
    (void)state;
    enum { N = 40000 };
    uint64_t *keys = zipf(N, 3000, 0.9, 4, true);
    for (int method = 0; method < 4; method++) {
        dml_sampler_opts opts = sampler_opts((dml_sample_method)method, 0.033);
        opts.reservoir = 700;
        dml_histogram *whole = sample(&opts, keys, N), *cut = NULL;
        dml_sampler *sampler = NULL;
        ok(dml_sampler_create(ctx, &opts, &sampler));
        for (size_t at = 0, step = 0; at < N; at += step) {
            step = dml_rng_u64(9, 9, at) % 777;
            step = step < N - at ? step : N - at;
            const dml_keys some = as_keys(keys + at, step);
            ok(dml_sampler_add(sampler, &some, NULL));
            if (at % 7 == 0) { /* looking on the way changes nothing */
                dml_histogram_destroy(cut);
                ok(dml_sampler_finish(sampler, &cut));
            }
        }
        dml_histogram_destroy(cut);
        ok(dml_sampler_finish(sampler, &cut));
        size_t a_bytes = 0, b_bytes = 0;
        void *a = packed(whole, &a_bytes), *b = packed(cut, &b_bytes);
        assert_int_equal(a_bytes, b_bytes);
        assert_memory_equal(a, b, a_bytes);
        free(a);
        free(b);
        dml_histogram_destroy(cut);
        dml_histogram_destroy(whole);
        dml_sampler_destroy(sampler);
    }
    free(keys);
}

static void bad_weights_are_refused(void **state)
{
    (void)state;
    static const double bad[] = {NAN, -1, INFINITY, 1e200};
    dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 0.5);
    opts.weight = DML_WEIGHT_SQUARE;
    dml_sampler *sampler = NULL;
    dml_histogram *h = NULL;
    ok(dml_sampler_create(ctx, &opts, &sampler));
    static const uint64_t three[] = {1, 2, 3};
    const dml_keys keys = as_keys(three, 3);
    for (size_t i = 0; i < 4; i++) {
        double values[] = {1, 1, bad[i]};
        assert_int_equal(dml_sampler_add(sampler, &keys, values), DML_EINVAL);
        says("values[2]");
    }
    assert_int_equal(dml_sampler_add(sampler, &keys, NULL), DML_EINVAL);
    const dml_keys strings = {.kind = DML_KEY_BYTES};
    assert_int_equal(dml_sampler_add(sampler, &strings, NULL), DML_EINVAL);
    ok(dml_sampler_finish(sampler, &h));
    assert_true(info_of(h).records == 0 && info_of(h).weight == 0);
    dml_histogram_destroy(h);
    dml_sampler_destroy(sampler);
    const struct {
        double rate;
        size_t buckets;
    } opts_bad[] = {{0, 64},  {1.5, 64},  {NAN, 64},
                    {0.1, 0}, {0.1, 100}, {0.1, 1 << 20}};
    for (size_t i = 0; i < sizeof opts_bad / sizeof *opts_bad; i++) {
        opts = sampler_opts(DML_SAMPLE_STEP, opts_bad[i].rate);
        opts.buckets = opts_bad[i].buckets;
        assert_int_equal(dml_sampler_create(ctx, &opts, &sampler), DML_EINVAL);
    }
}

/* Runs of one key: the step sampler and that of sorted blocks are spread over them. */
static void steps_do_better_on_runs(void **state)
{
    (void)state;
    enum { N = 200000, RUN = 100 };
    uint64_t seed = seed_of("steps_do_better_on_runs", 21);
    uint64_t *keys = zipf(N / RUN, 300, 0.7, seed, true);
    uint64_t *runs = malloc(N * sizeof *runs);
    assert_non_null(runs);
    for (size_t i = 0; i < N; i++)
        runs[i] = keys[i / RUN];
    dml_histogram *exact = exact_of(runs, N);
    double error[4] = {0};
    for (int method = 0; method < 4; method++) {
        for (uint64_t trial = 0; trial < 5; trial++) {
            dml_sampler_opts opts = sampler_opts((dml_sample_method)method, 0.033);
            opts.reservoir = N / 31;
            opts.seed = seed + trial;
            opts.buckets = 1;
            dml_histogram *h = sample(&opts, runs, N);
            dml_histogram_error e;
            ok(dml_histogram_compare(h, exact, 1, &e));
            error[method] += e.total_variation;
            dml_histogram_destroy(h);
        }
    }
    assert_true(error[DML_SAMPLE_STEP] < 0.6 * error[DML_SAMPLE_RESERVOIR]);
    assert_true(error[DML_SAMPLE_STEP] < 0.6 * error[DML_SAMPLE_RANDOM]);
    assert_true(error[DML_SAMPLE_SORTED] < 0.6 * error[DML_SAMPLE_RANDOM]);
    dml_histogram_destroy(exact);
    free(runs);
    free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_order),
        cmocka_unit_test(hashes_are_those_of_xxh3),
        cmocka_unit_test(strings_sort_as_memcmp),
        cmocka_unit_test(records_are_kept_with_equal_probability),
        cmocka_unit_test(a_step_keeps_one),
        cmocka_unit_test(totals_are_exact),
        cmocka_unit_test(calls_may_cut_the_stream_anywhere),
        cmocka_unit_test(bad_weights_are_refused),
        cmocka_unit_test(steps_do_better_on_runs),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}
