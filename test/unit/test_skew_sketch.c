/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sketches: their bounds hold for every key, counted in one pass or merged from bytes,
 * a second pass is exact, and sketches that differ do not merge.
 */
#include "skew_help.h"

enum { N = 60000, KEYS = 2000, RANKS = 4 };

static dml_sketch *sketch_of(const uint64_t *u64, size_t count, size_t counters)
{
    dml_sketch *sketch = NULL;
    const dml_keys keys = as_keys(u64, count);
    ok(dml_sketch_create(ctx, DML_KEY_U64, counters, &sketch));
    ok(dml_sketch_add(sketch, &keys, NULL));
    return sketch;
}

/* Bounds hold for every key, and no key heavier than slack is missing. */
static void check_bounds(dml_sketch *sketch, const dml_histogram *exact,
                         size_t counters)
{
    dml_sketch_info info;
    ok(dml_sketch_get_info(sketch, &info));
    assert_true(info.keys <= counters);
    assert_true(info.weight == N);
    assert_true(info.slack <= N / (double)(counters + 1));
    double heavy = 0, found = 0, before = INFINITY;
    for (size_t i = 0; i < info_of(exact).entries; i++) {
        dml_histogram_entry entry;
        ok(dml_histogram_entry_at(exact, i, &entry));
        heavy += entry.weight > info.slack;
    }
    for (size_t i = 0; i < info.keys; i++) {
        dml_sketch_entry entry;
        ok(dml_sketch_entry_at(sketch, i, &entry));
        double truth = weight_of(exact, entry.u64);
        assert_true(entry.lower <= truth && truth <= entry.lower + info.slack);
        assert_true(entry.lower <= before);
        before = entry.lower;
        found += truth > info.slack;
    }
    assert_true(found == heavy);
}

static void sketches_keep_their_bounds(void **state)
{
    (void)state;
    static const size_t counters[] = {1, 7, 50};
    uint64_t *keys = zipf(N, KEYS, 1.1, 6, true);
    dml_histogram *exact = exact_of(keys, N);
    for (int c = 0; c < 3; c++) {
        dml_sketch *whole = sketch_of(keys, N, counters[c]);
        check_bounds(whole, exact, counters[c]);
        dml_sketch *merged = sketch_of(keys, N / RANKS, counters[c]);
        for (size_t r = 1; r < RANKS; r++) {
            dml_sketch *part =
                sketch_of(keys + r * (N / RANKS), N / RANKS, counters[c]);
            dml_sketch_info info;
            dml_sketch *sent = NULL;
            ok(dml_sketch_get_info(part, &info));
            void *wire = malloc(info.pack_bytes);
            assert_non_null(wire);
            ok(dml_sketch_pack(part, wire, info.pack_bytes));
            ok(dml_sketch_unpack(ctx, wire, info.pack_bytes, &sent));
            ((char *)wire)[30] ^= 1;
            dml_sketch *none = NULL;
            assert_int_equal(dml_sketch_unpack(ctx, wire, info.pack_bytes, &none),
                             DML_EFORMAT);
            ok(dml_sketch_merge(merged, sent));
            free(wire);
            dml_sketch_destroy(sent);
            dml_sketch_destroy(part);
        }
        check_bounds(merged, exact, counters[c]);
        dml_sketch_destroy(merged);
        dml_sketch_destroy(whole);
    }
    dml_histogram_destroy(exact);
    free(keys);
}

static void a_second_count_is_exact(void **state)
{
    (void)state;
    enum { COUNTERS = 40 };
    uint64_t *keys = zipf(N, KEYS, 1.1, 6, true);
    dml_histogram *exact = exact_of(keys, N), *h = sample(NULL, keys, N);
    dml_sketch *sketch = sketch_of(keys, N, COUNTERS);
    const dml_keys all = as_keys(keys, N);
    dml_sketch_info info;
    assert_int_equal(dml_histogram_refine(exact, sketch), DML_OK);
    ok(dml_sketch_recount(sketch));
    assert_int_equal(dml_histogram_refine(h, sketch), DML_EINVAL);
    ok(dml_sketch_add(sketch, &all, NULL));
    ok(dml_sketch_get_info(sketch, &info));
    assert_true(info.slack == 0 && info.weight == N && info.keys > 10);
    ok(dml_histogram_refine(h, sketch));
    assert_true(fabs(mass_of(h) - N) < 1e-6);
    for (size_t i = 0; i < info.keys; i++) {
        dml_sketch_entry entry;
        ok(dml_sketch_entry_at(sketch, i, &entry));
        assert_true(entry.lower == weight_of(h, entry.u64));
    }
    dml_histogram_destroy(exact);
    exact = exact_of(keys, N);
    dml_sketch_entry first;
    ok(dml_sketch_entry_at(sketch, 0, &first));
    assert_true(first.lower == weight_of(exact, first.u64));
    dml_sketch_destroy(sketch);
    dml_histogram_destroy(h);
    dml_histogram_destroy(exact);
    free(keys);
}

static void different_ones_do_not_merge(void **state)
{
    (void)state;
    static const uint64_t one[] = {1};
    dml_sketch *s = sketch_of(one, 1, 3), *t = sketch_of(one, 1, 4);
    assert_int_equal(dml_sketch_merge(s, t), DML_EINVAL);
    static const double bad[] = {NAN};
    const dml_keys keys = as_keys(one, 1);
    assert_int_equal(dml_sketch_add(s, &keys, bad), DML_EINVAL);
    dml_sketch_destroy(s);
    dml_sketch_destroy(t);
    assert_int_equal(dml_sketch_create(ctx, DML_KEY_U64, 0, &s), DML_EINVAL);
}

/* Of a sketch's keys only one counted again may have no weight. */
static void no_weight_is_refused(void **state)
{
    (void)state;
    static const uint64_t one[] = {1};
    enum { BYTES = 64 + 16 + 8, WEIGHT = 64 + 8 };
    unsigned char wire[BYTES];
    dml_sketch *sketch = sketch_of(one, 1, 3), *back = NULL;
    ok(dml_sketch_pack(sketch, wire, BYTES));
    memset(wire + WEIGHT, 0, 8);
    uint64_t sum = dml_hash_bytes(wire, BYTES - 8, 0);
    for (size_t i = 0; i < 8; i++)
        wire[BYTES - 8 + i] = (unsigned char)(sum >> 8 * i);
    assert_int_equal(dml_sketch_unpack(ctx, wire, BYTES, &back), DML_EFORMAT);
    ok(dml_sketch_recount(sketch));
    ok(dml_sketch_pack(sketch, wire, BYTES));
    ok(dml_sketch_unpack(ctx, wire, BYTES, &back));
    dml_sketch_destroy(back);
    dml_sketch_destroy(sketch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sketches_keep_their_bounds),
        cmocka_unit_test(a_second_count_is_exact),
        cmocka_unit_test(different_ones_do_not_merge),
        cmocka_unit_test(no_weight_is_refused),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}
