/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans of every planner: records go to one part, order and wholeness hold as promised,
 * loads are within the bounds of doc/skew.md, equal input gives equal bytes, and odd
 * input (no records, one key, more parts than keys, huge weights) does no harm.
 */
#include "skew_help.h"

static dml_plan *plan_of(dml_planner planner, size_t parts, const dml_histogram *h,
                         const double *capacities, bool whole)
{
    dml_plan_opts opts;
    dml_plan *plan = NULL;
    dml_plan_opts_init(&opts);
    opts.capacities = capacities;
    opts.whole_keys = whole;
    ok(dml_plan_create(ctx, planner, parts, h, &opts, &plan));
    return plan;
}

static dml_plan_info plan_info(const dml_plan *plan)
{
    dml_plan_info info;
    dml_plan_get_info(plan, &info);
    return info;
}

/* Routes all records, and checks that parts are legal, the same one by one, and in
 * order if the plan is. */
static void route(const dml_plan *plan, const uint64_t *u64, size_t count,
                  uint32_t *parts)
{
    dml_plan_info info = plan_info(plan);
    const dml_keys keys = as_keys(u64, count);
    uint64_t *highest = calloc(info.parts, sizeof *highest);
    assert_non_null(highest);
    ok(dml_plan_route(plan, &keys, NULL, 1000, parts));
    for (size_t i = 0; i < count; i++) {
        assert_true(parts[i] < info.parts);
        assert_int_equal(parts[i], dml_plan_route_u64(plan, u64[i], 1000 + i));
        if (u64[i] > highest[parts[i]])
            highest[parts[i]] = u64[i];
    }
    uint64_t before = 0;
    for (size_t j = 0; info.ordered && j < info.parts; j++) {
        before = highest[j] > before ? highest[j] : before;
        highest[j] = before;
    }
    for (size_t i = 0; info.ordered && i < count; i++)
        if (parts[i] > 0)
            assert_true(highest[parts[i] - 1] <= u64[i]);
    free(highest);
}

struct pair {
    uint64_t key;
    uint32_t part;
};

static int by_pair(const void *a_, const void *b_)
{
    const struct pair *a = a_, *b = b_;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->part < b->part ? -1 : a->part > b->part;
}

/* The most parts that one key has; ranges must have no gap. */
static size_t most_parts_of_a_key(const uint64_t *keys, const uint32_t *parts,
                                  size_t count, bool in_a_row)
{
    struct pair *pairs = malloc(count * sizeof *pairs);
    size_t most = 1, now = 1;
    assert_non_null(pairs);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct pair){keys[i], parts[i]};
    qsort(pairs, count, sizeof *pairs, by_pair);
    for (size_t i = 1; i < count; i++) {
        if (pairs[i].key != pairs[i - 1].key) {
            now = 1;
        } else if (pairs[i].part != pairs[i - 1].part) {
            now++;
            if (in_a_row)
                assert_int_equal(pairs[i].part, pairs[i - 1].part + 1);
        }
        most = now > most ? now : most;
    }
    free(pairs);
    return most;
}

static double imbalance_of(const uint32_t *parts, size_t count, size_t nparts,
                           const double *capacities)
{
    double *loads = calloc(nparts, sizeof *loads);
    dml_balance balance;
    assert_non_null(loads);
    for (size_t i = 0; i < count; i++)
        loads[parts[i]]++;
    ok(dml_balance_of(ctx, loads, capacities, nparts, &balance));
    free(loads);
    return balance.imbalance;
}

static double heaviest_of(const dml_histogram *exact)
{
    double most = 0;
    for (size_t i = 0; i < info_of(exact).entries; i++) {
        dml_histogram_entry entry;
        ok(dml_histogram_entry_at(exact, i, &entry));
        most = fmax(most, entry.weight);
    }
    return most;
}

enum { N = 60000, KEYS = 3000 };

static void plans_keep_their_promises(void **state)
{
    (void)state;
    static const double exponents[] = {0.2, 0.8, 1.2, 2.0};
    static const size_t nparts[] = {1, 3, 8, 16};
    uint64_t seed = seed_of("plans_keep_their_promises", 31);
    uint32_t *parts = malloc(N * sizeof *parts);
    assert_non_null(parts);
    for (size_t z = 0; z < 4; z++) {
        uint64_t *keys = zipf(N, KEYS, exponents[z], seed + z, z % 2 == 0);
        dml_histogram *exact = exact_of(keys, N), *h = sample(NULL, keys, N);
        double heaviest = heaviest_of(exact);
        for (size_t p = 0; p < 4; p++) {
            double samples = (double)info_of(h).samples / (double)nparts[p];
            double mean = N / (double)nparts[p];
            for (int planner = 0; planner < DML_NPLANNERS; planner++) {
                for (int whole = 0; whole < 2; whole++) {
                    dml_plan *plan =
                        plan_of((dml_planner)planner, nparts[p], h, NULL, whole);
                    route(plan, keys, N, parts);
                    bool splits = !whole && (planner == DML_PLAN_SCID ||
                                             planner == DML_PLAN_LIBRA ||
                                             planner == DML_PLAN_KSRP);
                    size_t most =
                        most_parts_of_a_key(keys, parts, N, plan_info(plan).ordered);
                    if (!splits) {
                        assert_int_equal(most, 1);
                        assert_int_equal(plan_info(plan).split_keys, 0);
                    }
                    double got = imbalance_of(parts, N, nparts[p], NULL);
                    if (planner == DML_PLAN_KSRP && !whole)
                        assert_true(got <= 1 + 3 / sqrt(samples));
                    if (planner == DML_PLAN_KRHP)
                        assert_true(got <= fmax(1, heaviest / mean) + 0.05);
                    dml_plan_destroy(plan);
                }
            }
        }
        dml_histogram_destroy(exact);
        dml_histogram_destroy(h);
        free(keys);
    }
    free(parts);
}

/* Of a key that weighs most, every part gets its share to within 5 standard deviations,
 * and loads are as predicted. */
static void shares_of_a_split_key_hold(void **state)
{
    (void)state;
    uint64_t *keys = zipf(N, KEYS, 2, 3, false);
    uint32_t *parts = malloc(N * sizeof *parts);
    assert_non_null(parts);
    dml_histogram *exact = exact_of(keys, N);
    dml_plan *plan = plan_of(DML_PLAN_KSRP, 7, exact, NULL, false);
    route(plan, keys, N, parts);
    double loads[7] = {0};
    for (size_t i = 0; i < N; i++)
        loads[parts[i]]++;
    for (int j = 0; j < 7; j++) {
        double want = dml_plan_loads(plan)[j];
        assert_true(fabs(want - N / 7.0) < 1);
        assert_true(fabs(loads[j] - want) < 5 * sqrt(want));
    }
    assert_true(plan_info(plan).split_keys >= 1);
    assert_true(plan_info(plan).imbalance < 1.0001);
    dml_plan_destroy(plan);
    dml_histogram_destroy(exact);
    free(parts);
    free(keys);
}

static void capacities_are_kept(void **state)
{
    (void)state;
    static const double capacities[] = {4, 1, 0.5, 2, 2, 0.25, 1, 1};
    uint64_t *keys = zipf(N, KEYS, 0.6, 5, true);
    uint32_t *parts = malloc(N * sizeof *parts);
    assert_non_null(parts);
    dml_histogram *h = sample(NULL, keys, N);
    static const struct {
        dml_planner planner;
        double most;
    } wanted[] = {{DML_PLAN_KRHP, 1.05},
                  {DML_PLAN_KSRP, 1.25},
                  {DML_PLAN_SCID, 1.4},
                  {DML_PLAN_HASH, 1.4},
                  {DML_PLAN_LIBRA, 1.8}};
    for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++) {
        dml_plan *plan = plan_of(wanted[w].planner, 8, h, capacities, false);
        route(plan, keys, N, parts);
        double got = imbalance_of(parts, N, 8, capacities);
        if (got > wanted[w].most)
            fail_msg("%s: %g", dml_planner_name(wanted[w].planner), got);
        assert_true(fabs(dml_plan_capacities(plan)[0] - 4 / 11.75) < 1e-12);
        dml_plan_destroy(plan);
    }
    dml_histogram_destroy(h);
    free(parts);
    free(keys);
}

/* The one strong part alone has room for the two heavy keys. */
static void heavy_keys_find_the_strong_part(void **state)
{
    (void)state;
    enum { PARTS = 64, HEAVY = 5000, LESS = 4000, COUNT = 16300 };
    static uint64_t keys[COUNT];
    static uint32_t parts[COUNT];
    double capacities[PARTS];
    for (size_t i = 0; i < COUNT; i++)
        keys[i] = i < HEAVY ? 1 : i < HEAVY + LESS ? 2 : i;
    for (size_t j = 0; j < PARTS; j++)
        capacities[j] = j == 42 ? 100 : 1;
    for (uint64_t seed = 0; seed < 20; seed++) {
        dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 1);
        opts.hash_seed = seed;
        dml_histogram *h = sample(&opts, keys, COUNT);
        dml_plan *plan = plan_of(DML_PLAN_KRHP, PARTS, h, capacities, false);
        route(plan, keys, COUNT, parts);
        assert_true(imbalance_of(parts, COUNT, PARTS, capacities) < 1.05);
        dml_plan_destroy(plan);
        dml_histogram_destroy(h);
    }
}

static void *plan_bytes(const dml_plan *plan, size_t *bytes)
{
    *bytes = plan_info(plan).pack_bytes;
    void *memory = malloc(*bytes);
    assert_non_null(memory);
    ok(dml_plan_pack(plan, memory, *bytes));
    return memory;
}

static void equal_input_gives_equal_bytes(void **state)
{
    (void)state;
    uint64_t *keys = zipf(N, KEYS, 1.1, 6, true);
    for (int planner = 0; planner < DML_NPLANNERS; planner++) {
        void *bytes[2];
        size_t counts[2];
        for (int i = 0; i < 2; i++) {
            dml_histogram *h = sample(NULL, keys, N), *sent = NULL;
            size_t count = 0;
            void *wire = packed(h, &count);
            ok(dml_histogram_unpack(ctx, wire, count, &sent));
            dml_plan *plan =
                plan_of((dml_planner)planner, 16, i == 0 ? h : sent, NULL, false);
            bytes[i] = plan_bytes(plan, &counts[i]);
            dml_plan_destroy(plan);
            dml_histogram_destroy(sent);
            dml_histogram_destroy(h);
            free(wire);
        }
        assert_int_equal(counts[0], counts[1]);
        assert_memory_equal(bytes[0], bytes[1], counts[0]);
        free(bytes[0]);
        free(bytes[1]);
    }
    free(keys);
}

static void odd_streams_do_no_harm(void **state)
{
    (void)state;
    static const uint64_t same[64] = {0}, few[] = {5, 5, 9, UINT64_MAX, 0};
    const struct {
        const uint64_t *keys;
        size_t count;
    } streams[] = {{same, 0}, {same, 64}, {few, 5}, {few, 1}};
    uint32_t parts[64];
    for (size_t s = 0; s < sizeof streams / sizeof *streams; s++) {
        for (int planner = 0; planner < DML_NPLANNERS; planner++) {
            for (size_t nparts = 1; nparts <= 1000; nparts = nparts * 5 + 1) {
                dml_histogram *h = exact_of(streams[s].keys, streams[s].count);
                dml_plan *plan = plan_of((dml_planner)planner, nparts, h, NULL, false);
                route(plan, streams[s].keys, streams[s].count, parts);
                route(plan, few, 5, parts);
                assert_true(isfinite(plan_info(plan).imbalance));
                dml_plan_destroy(plan);
                dml_histogram_destroy(h);
            }
        }
    }
}

static void huge_weights_are_planned(void **state)
{
    (void)state;
    static const uint64_t u64[] = {1, 2, 3, 4};
    static const double values[] = {4e307, 4e307, 1, 4e307};
    dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 1);
    opts.weight = DML_WEIGHT_VALUE;
    dml_sampler *sampler = NULL;
    dml_histogram *h = NULL;
    const dml_keys keys = as_keys(u64, 4);
    ok(dml_sampler_create(ctx, &opts, &sampler));
    ok(dml_sampler_add(sampler, &keys, values));
    ok(dml_sampler_finish(sampler, &h));
    for (int planner = 0; planner < DML_NPLANNERS; planner++) {
        dml_plan *plan = plan_of((dml_planner)planner, 3, h, NULL, true);
        double imbalance = plan_info(plan).imbalance;
        assert_true(isfinite(imbalance));
        if (planner == DML_PLAN_KRHP)
            assert_true(imbalance < 1.001);
        dml_plan_destroy(plan);
    }
    dml_histogram_destroy(h);
    dml_sampler_destroy(sampler);
}

static void bad_arguments_are_refused(void **state)
{
    (void)state;
    static const double bad[] = {0, -1, NAN, INFINITY};
    dml_histogram *h = exact_of(NULL, 0);
    dml_plan *plan = NULL;
    dml_plan_opts opts;
    for (int i = 0; i < 4; i++) {
        double capacities[] = {1, bad[i]};
        dml_plan_opts_init(&opts);
        opts.capacities = capacities;
        assert_int_equal(dml_plan_create(ctx, DML_PLAN_KSRP, 2, h, &opts, &plan),
                         DML_EINVAL);
        says("capacities[1]");
    }
    opts.size = 8;
    assert_int_equal(dml_plan_create(ctx, DML_PLAN_HASH, 2, h, &opts, &plan),
                     DML_EINVAL);
    says("dml_plan_opts_init()");
    assert_int_equal(dml_plan_create(ctx, DML_PLAN_HASH, 0, h, NULL, &plan),
                     DML_EINVAL);
    assert_int_equal(dml_plan_create(ctx, DML_PLAN_HASH, 65537, h, NULL, &plan),
                     DML_EINVAL);
    assert_int_equal(dml_plan_create(ctx, (dml_planner)6, 2, h, NULL, &plan),
                     DML_EINVAL);
    assert_int_equal(dml_plan_create(ctx, DML_PLAN_HASH, 2, NULL, NULL, &plan),
                     DML_EINVAL);
    dml_planner planner;
    assert_int_equal(dml_planner_parse(ctx, "best", &planner), DML_EINVAL);
    says("krhp");
    for (int i = 0; i < DML_NPLANNERS; i++) {
        ok(dml_planner_parse(ctx, dml_planner_name((dml_planner)i), &planner));
        assert_int_equal(planner, i);
    }
    assert_null(dml_planner_name((dml_planner)6));
    dml_balance balance;
    static const double loads[] = {1, NAN};
    assert_int_equal(dml_balance_of(ctx, loads, NULL, 2, &balance), DML_EINVAL);
    dml_histogram_destroy(h);
}

static void quality_by_hand(void **state)
{
    (void)state;
    static const double loads[] = {1, 2, 3, 6}, capacities[] = {1, 2, 3, 6};
    static const double nothing[] = {0, 0};
    dml_balance balance;
    ok(dml_balance_of(ctx, loads, NULL, 4, &balance));
    assert_true(balance.imbalance == 2 && balance.total == 12);
    assert_true(fabs(balance.cv - sqrt(3.5) / 3) < 1e-15);
    ok(dml_balance_of(ctx, loads, capacities, 4, &balance));
    assert_true(fabs(balance.imbalance - 1) < 1e-15 && balance.cv < 1e-15);
    ok(dml_balance_of(ctx, nothing, NULL, 2, &balance));
    assert_true(balance.imbalance == 1 && balance.cv == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_keep_their_promises),
        cmocka_unit_test(shares_of_a_split_key_hold),
        cmocka_unit_test(capacities_are_kept),
        cmocka_unit_test(heavy_keys_find_the_strong_part),
        cmocka_unit_test(equal_input_gives_equal_bytes),
        cmocka_unit_test(odd_streams_do_no_harm),
        cmocka_unit_test(huge_weights_are_planned),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(quality_by_hand),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}
