/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The edges of lib/skew: NULL instead of an object or a result, and numbers whose sum
 * or ratio no double holds, are refused, and what was there before stays good.
 */
#include "skew_help.h"

#include <float.h>

#define refused(call) assert_int_equal((call), DML_EINVAL)

static const uint64_t three[] = {1, 2, 3};

static dml_sampler *weighing(void)
{
    dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 1);
    opts.weight = DML_WEIGHT_VALUE;
    dml_sampler *sampler = NULL;
    ok(dml_sampler_create(ctx, &opts, &sampler));
    return sampler;
}

static dml_histogram *weighed(const double *values, size_t count)
{
    dml_sampler *sampler = weighing();
    dml_histogram *h = NULL;
    const dml_keys keys = as_keys(three, count);
    ok(dml_sampler_add(sampler, &keys, values));
    ok(dml_sampler_finish(sampler, &h));
    dml_sampler_destroy(sampler);
    return h;
}

static void samples_without_objects(void **state)
{
    (void)state;
    const dml_keys keys = as_keys(three, 3);
    dml_sampler *sampler = NULL;
    dml_histogram *h = exact_of(three, 3), *other = NULL;
    dml_histogram_entry entry;
    dml_histogram_error error;
    char bytes[8] = "";
    refused(dml_sampler_create(ctx, NULL, NULL));
    says("NULL");
    ok(dml_sampler_create(ctx, NULL, &sampler));
    refused(dml_sampler_add(NULL, &keys, NULL));
    refused(dml_sampler_add(sampler, NULL, NULL));
    refused(dml_sampler_finish(NULL, &other));
    refused(dml_sampler_finish(sampler, NULL));
    refused(dml_histogram_entry_at(NULL, 0, &entry));
    refused(dml_histogram_entry_at(h, 0, NULL));
    const dml_histogram *const first[] = {NULL, h}, *const second[] = {h, NULL};
    refused(dml_histogram_merge(ctx, first, 2, &other));
    says("histogram 0 is NULL");
    refused(dml_histogram_merge(ctx, second, 2, &other));
    says("histogram 1 is NULL");
    refused(dml_histogram_merge(ctx, second, 1, NULL));
    refused(dml_histogram_join(ctx, h, NULL, 1, &other));
    refused(dml_histogram_join(ctx, NULL, h, 1, &other));
    refused(dml_histogram_join(ctx, h, h, 1, NULL));
    refused(dml_histogram_shorten(NULL, 2));
    refused(dml_histogram_compare(NULL, h, 0, &error));
    refused(dml_histogram_compare(h, NULL, 0, &error));
    refused(dml_histogram_compare(h, h, 0, NULL));
    refused(dml_histogram_pack(h, NULL, SIZE_MAX));
    says("bytes is NULL");
    refused(dml_histogram_pack(NULL, bytes, sizeof bytes));
    refused(dml_histogram_unpack(ctx, bytes, sizeof bytes, NULL));
    dml_histogram_get_info(h, NULL);
    assert_int_equal(info_of(NULL).entries, 0);
    assert_null(other);
    dml_histogram_destroy(h);
    dml_sampler_destroy(sampler);
}

static void sketches_without_objects(void **state)
{
    (void)state;
    const dml_keys keys = as_keys(three, 3);
    dml_sketch *sketch = NULL;
    dml_sketch_info info;
    dml_sketch_entry entry;
    dml_histogram *h = exact_of(three, 3);
    char bytes[8] = "";
    refused(dml_sketch_create(ctx, DML_KEY_U64, 4, NULL));
    ok(dml_sketch_create(ctx, DML_KEY_U64, 4, &sketch));
    refused(dml_sketch_add(NULL, &keys, NULL));
    refused(dml_sketch_merge(sketch, NULL));
    refused(dml_sketch_merge(NULL, sketch));
    refused(dml_sketch_recount(NULL));
    refused(dml_sketch_get_info(NULL, &info));
    refused(dml_sketch_get_info(sketch, NULL));
    refused(dml_sketch_entry_at(NULL, 0, &entry));
    refused(dml_sketch_entry_at(sketch, 0, NULL));
    refused(dml_sketch_pack(NULL, bytes, sizeof bytes));
    refused(dml_sketch_pack(sketch, NULL, SIZE_MAX));
    says("bytes is NULL");
    refused(dml_sketch_unpack(ctx, bytes, sizeof bytes, NULL));
    refused(dml_histogram_refine(h, NULL));
    refused(dml_histogram_refine(NULL, sketch));
    dml_histogram_destroy(h);
    dml_sketch_destroy(sketch);
}

static void plans_without_objects(void **state)
{
    (void)state;
    const dml_keys keys = as_keys(three, 3);
    const double load = 1;
    dml_histogram *h = exact_of(three, 3);
    dml_plan *plan = NULL;
    dml_plan_info info;
    uint32_t parts[3];
    char bytes[8] = "";
    refused(dml_planner_parse(ctx, "krhp", NULL));
    refused(dml_plan_create(ctx, DML_PLAN_KRHP, 2, h, NULL, NULL));
    ok(dml_plan_create(ctx, DML_PLAN_KRHP, 2, h, NULL, &plan));
    refused(dml_plan_route(NULL, &keys, NULL, 0, parts));
    refused(dml_plan_route(plan, NULL, NULL, 0, parts));
    refused(dml_plan_pack(NULL, bytes, sizeof bytes));
    refused(dml_plan_pack(plan, NULL, SIZE_MAX));
    says("bytes is NULL");
    refused(dml_plan_unpack(ctx, bytes, sizeof bytes, NULL));
    refused(dml_balance_of(ctx, &load, NULL, 1, NULL));
    assert_null(dml_plan_loads(NULL));
    assert_null(dml_plan_capacities(NULL));
    dml_plan_get_info(plan, NULL);
    dml_plan_get_info(NULL, &info);
    assert_int_equal(info.parts, 0);
    dml_plan_destroy(plan);
    dml_histogram_destroy(h);
}

static void rebalancers_without_objects(void **state)
{
    (void)state;
    const uint64_t units[] = {1, 1};
    const double seconds[] = {1, 1};
    const dml_task task = {.load = 1};
    const dml_node node = {.speed = 1};
    dml_move moves[2];
    size_t nmoves = 0;
    dml_rebalance_info info;
    dml_rebalance *r = NULL;
    refused(dml_rebalance_create(ctx, 2, units, NULL, NULL));
    ok(dml_rebalance_create(ctx, 2, units, NULL, &r));
    refused(dml_rebalance_step(NULL, seconds, moves, &nmoves));
    assert_null(dml_rebalance_units(NULL));
    assert_null(dml_rebalance_speeds(NULL));
    dml_rebalance_get_info(r, NULL);
    dml_rebalance_get_info(NULL, &info);
    assert_int_equal(info.steps, 0);
    refused(dml_schedule_tasks(ctx, &task, 1, &node, 1, NULL, NULL, NULL));
    dml_rebalance_destroy(r);
}

static void sums_of_weights(void **state)
{
    (void)state;
    static const double half[] = {1e308}, both[] = {1e308, 1e308}, one[] = {1};
    const dml_keys keys = as_keys(three, 1), two = as_keys(three, 2);
    dml_sampler *sampler = weighing();
    dml_histogram *h = NULL;
    refused(dml_sampler_add(sampler, &two, both));
    says("the sum of all weights is inf");
    ok(dml_sampler_add(sampler, &keys, half));
    refused(dml_sampler_add(sampler, &keys, half));
    ok(dml_sampler_add(sampler, &keys, one));
    ok(dml_sampler_finish(sampler, &h));
    assert_true(info_of(h).weight == 1e308 && info_of(h).records == 2);
    dml_sampler_destroy(sampler);

    dml_histogram *other = weighed(half, 1), *made = NULL;
    const dml_histogram *const parts[] = {h, other};
    refused(dml_histogram_merge(ctx, parts, 2, &made));
    says("the sum of all weights, inf");
    refused(dml_histogram_join(ctx, h, other, 0, &made));
    assert_null(made);
    dml_histogram_destroy(other);
    dml_histogram_destroy(h);

    dml_sketch *a = NULL, *b = NULL;
    dml_sketch_info info;
    ok(dml_sketch_create(ctx, DML_KEY_U64, 4, &a));
    ok(dml_sketch_create(ctx, DML_KEY_U64, 4, &b));
    refused(dml_sketch_add(a, &two, both));
    says("the sum of all is inf");
    ok(dml_sketch_add(a, &keys, half));
    ok(dml_sketch_add(b, &keys, half));
    refused(dml_sketch_merge(a, b));
    says("the sum of all weights, inf");
    ok(dml_sketch_get_info(a, &info));
    assert_true(info.weight == 1e308 && info.keys == 1);
    dml_sketch_destroy(b);
    dml_sketch_destroy(a);
}

static void sums_of_loads(void **state)
{
    (void)state;
    static const double both[] = {1e308, 1e308}, small[] = {1, 5e-324};
    static const double loads[] = {1, 1}, even[] = {5e-324, 5e-324};
    dml_balance balance;
    refused(dml_balance_of(ctx, both, NULL, 2, &balance));
    says("the sum of the loads is inf");
    refused(dml_balance_of(ctx, loads, small, 2, &balance));
    says("capacities[1]");
    ok(dml_balance_of(ctx, loads, both, 2, &balance));
    assert_true(balance.imbalance == 1 && balance.cv == 0);
    ok(dml_balance_of(ctx, loads, even, 2, &balance));
    assert_true(balance.imbalance == 1 && balance.cv == 0);
    ok(dml_balance_of(ctx, even, loads, 2, &balance));
    assert_true(balance.imbalance == 1 && balance.total == 1e-323);
}

/* A plan that is made can be written, and what is written can be read. */
static void plans_of_small_capacities(void **state)
{
    (void)state;
    static const double small[] = {5e-324, DBL_MIN, 1e-304, 1e-302, 1e-300, 1};
    dml_histogram *h = exact_of(three, 3);
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        const double capacities[] = {1, 1, small[i]};
        dml_plan_opts opts;
        dml_plan_opts_init(&opts);
        opts.capacities = capacities;
        for (int planner = 0; planner < DML_NPLANNERS; planner++) {
            dml_plan *plan = NULL, *again = NULL;
            dml_status status =
                dml_plan_create(ctx, (dml_planner)planner, 3, h, &opts, &plan);
            assert_int_equal(status, small[i] < 1e-303 ? DML_EINVAL : DML_OK);
            if (status != DML_OK) {
                says("capacities[2]");
                continue;
            }
            dml_plan_info info;
            dml_plan_get_info(plan, &info);
            assert_true(info.imbalance >= 1 - 1e-9 && info.imbalance <= DBL_MAX);
            assert_true(info.cv <= DBL_MAX);
            void *bytes = malloc(info.pack_bytes);
            assert_non_null(bytes);
            ok(dml_plan_pack(plan, bytes, info.pack_bytes));
            ok(dml_plan_unpack(ctx, bytes, info.pack_bytes, &again));
            free(bytes);
            dml_plan_destroy(again);
            dml_plan_destroy(plan);
        }
    }
    dml_histogram_destroy(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_without_objects),
        cmocka_unit_test(sketches_without_objects),
        cmocka_unit_test(plans_without_objects),
        cmocka_unit_test(rebalancers_without_objects),
        cmocka_unit_test(sums_of_weights),
        cmocka_unit_test(sums_of_loads),
        cmocka_unit_test(plans_of_small_capacities),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}
