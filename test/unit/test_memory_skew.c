/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No memory, at every allocation in turn, for keys: samplers, histograms, sketches,
 * plans, rebalancing and the placement of tasks. See test_memory.c.
 */
#include "memory_sweep.h"

enum { KEYS = 400, PARTS = 5 };

static uint64_t numbers[KEYS];
static char words[KEYS][12];
static dml_bytes strings[KEYS];
static double values[KEYS];

static dml_keys keys_of(dml_key_kind kind)
{
    for (size_t i = 0; i < KEYS; i++) {
        numbers[i] = i % 30 + (i % 7 == 0 ? i : 0);
        int length = snprintf(words[i], sizeof words[i], "w%u", (unsigned)numbers[i]);
        strings[i] = (dml_bytes){words[i], (size_t)length};
        values[i] = 1 + (double)(i % 3);
    }
    return (dml_keys){.kind = kind, .count = KEYS, .u64 = numbers, .bytes = strings};
}

static dml_status sample(dml_ctx *ctx, dml_key_kind kind, dml_sample_method method,
                         dml_histogram **histogram)
{
    const dml_keys keys = keys_of(kind);
    dml_status status;
    dml_sampler *sampler = NULL;
    dml_sampler_opts opts;
    dml_sampler_opts_init(&opts);
    opts.kind = kind;
    opts.method = method;
    opts.rate = 0.5;
    opts.reservoir = 50;
    opts.weight = DML_WEIGHT_VALUE;
    opts.buckets = 64;
    TRY(dml_sampler_create(ctx, &opts, &sampler));
    TRY(dml_sampler_add(sampler, &keys, values));
    TRY(dml_sampler_add(sampler, &keys, values));
    TRY(dml_sampler_finish(sampler, histogram));
out:
    dml_sampler_destroy(sampler);
    return status;
}

static dml_status run_samplers(fixture *f, dml_ctx *ctx)
{
    (void)f;
    for (int method = 0; dml_sample_method_name((dml_sample_method)method); method++)
        for (int kind = DML_KEY_U64; kind <= DML_KEY_BYTES; kind++) {
            dml_histogram *histogram = NULL;
            dml_status status =
                sample(ctx, (dml_key_kind)kind, (dml_sample_method)method, &histogram);
            dml_histogram_destroy(histogram);
            if (status != DML_OK)
                return status;
        }
    return DML_OK;
}

static dml_status use_histograms(dml_ctx *ctx, dml_key_kind kind)
{
    dml_status status;
    dml_histogram *a = NULL, *b = NULL, *merged = NULL, *joined = NULL, *again = NULL;
    dml_histogram_info info;
    dml_histogram_error error;
    uint8_t *bytes = NULL;
    TRY(sample(ctx, kind, DML_SAMPLE_STEP, &a));
    TRY(sample(ctx, kind, DML_SAMPLE_RANDOM, &b));
    const dml_histogram *const both[] = {a, b};
    TRY(dml_histogram_merge(ctx, both, 2, &merged));
    TRY(dml_histogram_join(ctx, a, b, 0.5, &joined));
    TRY(dml_histogram_compare(a, merged, 0, &error));
    TRY(dml_histogram_shorten(merged, 8));
    dml_histogram_get_info(merged, &info);
    assert_int_equal(info.entries, 8);
    bytes = malloc(info.pack_bytes);
    assert_non_null(bytes);
    TRY(dml_histogram_pack(merged, bytes, info.pack_bytes));
    TRY(dml_histogram_unpack(ctx, bytes, info.pack_bytes, &again));
out:
    free(bytes);
    dml_histogram_destroy(again);
    dml_histogram_destroy(joined);
    dml_histogram_destroy(merged);
    dml_histogram_destroy(b);
    dml_histogram_destroy(a);
    return status;
}

static dml_status use_sketches(dml_ctx *ctx, dml_key_kind kind)
{
    const dml_keys keys = keys_of(kind);
    dml_status status;
    dml_sketch *a = NULL, *b = NULL, *again = NULL;
    dml_histogram *histogram = NULL;
    dml_sketch_info info;
    dml_sketch_entry entry;
    uint8_t *bytes = NULL;
    TRY(dml_sketch_create(ctx, kind, 10, &a));
    TRY(dml_sketch_create(ctx, kind, 10, &b));
    TRY(dml_sketch_add(a, &keys, values));
    TRY(dml_sketch_add(b, &keys, values));
    TRY(dml_sketch_merge(a, b));
    TRY(dml_sketch_get_info(a, &info));
    TRY(dml_sketch_entry_at(a, 0, &entry));
    bytes = malloc(info.pack_bytes);
    assert_non_null(bytes);
    TRY(dml_sketch_pack(a, bytes, info.pack_bytes));
    TRY(dml_sketch_unpack(ctx, bytes, info.pack_bytes, &again));
    TRY(sample(ctx, kind, DML_SAMPLE_STEP, &histogram));
    TRY(dml_histogram_refine(histogram, a));
    TRY(dml_sketch_recount(a));
    TRY(dml_sketch_add(a, &keys, values));
out:
    free(bytes);
    dml_histogram_destroy(histogram);
    dml_sketch_destroy(again);
    dml_sketch_destroy(b);
    dml_sketch_destroy(a);
    return status;
}

static dml_status run_keys(fixture *f, dml_ctx *ctx)
{
    dml_status status;
    (void)f;
    TRY(use_histograms(ctx, DML_KEY_U64));
    TRY(use_histograms(ctx, DML_KEY_BYTES));
    TRY(use_sketches(ctx, DML_KEY_U64));
    TRY(use_sketches(ctx, DML_KEY_BYTES));
out:
    return status;
}

static dml_status use_plan(dml_ctx *ctx, dml_planner planner, dml_key_kind kind)
{
    static const double capacities[PARTS] = {1, 2, 3, 4, 5};
    uint32_t parts[KEYS];
    const dml_keys keys = keys_of(kind);
    dml_status status;
    dml_histogram *histogram = NULL;
    dml_plan *plan = NULL, *again = NULL;
    dml_plan_info info;
    dml_plan_opts opts;
    uint8_t *bytes = NULL;
    dml_plan_opts_init(&opts);
    opts.capacities = capacities;
    opts.min_samples = 1;
    TRY(sample(ctx, kind, DML_SAMPLE_STEP, &histogram));
    TRY(dml_plan_create(ctx, planner, PARTS, histogram, &opts, &plan));
    TRY(dml_plan_route(plan, &keys, NULL, 0, parts));
    dml_plan_get_info(plan, &info);
    bytes = malloc(info.pack_bytes);
    assert_non_null(bytes);
    TRY(dml_plan_pack(plan, bytes, info.pack_bytes));
    TRY(dml_plan_unpack(ctx, bytes, info.pack_bytes, &again));
out:
    free(bytes);
    dml_plan_destroy(again);
    dml_plan_destroy(plan);
    dml_histogram_destroy(histogram);
    return status;
}

static dml_status run_plans(fixture *f, dml_ctx *ctx)
{
    dml_status status = DML_OK;
    (void)f;
    for (int planner = 0; planner < DML_NPLANNERS; planner++) {
        TRY(use_plan(ctx, (dml_planner)planner, DML_KEY_U64));
        TRY(use_plan(ctx, (dml_planner)planner, DML_KEY_BYTES));
    }
out:
    return status;
}

static dml_status run_work(fixture *f, dml_ctx *ctx)
{
    static const uint64_t units[] = {100, 100, 100};
    static const double seconds[] = {1, 1, 3}, transfer_s[12] = {0};
    static const dml_task tasks[] = {{3, 0}, {2, 1}, {5, 0}, {1, 0}};
    static const dml_node nodes[] = {{1, 0}, {2, 1}, {1, 0}};
    dml_status status;
    dml_rebalance *rebalance = NULL;
    dml_move moves[3];
    dml_slot slots[4];
    size_t nmoves;
    double makespan_s;
    (void)f;
    TRY(dml_rebalance_create(ctx, 3, units, NULL, &rebalance));
    for (int step = 0; step < 6; step++)
        TRY(dml_rebalance_step(rebalance, seconds, moves, &nmoves));
    TRY(dml_schedule_tasks(ctx, tasks, 4, nodes, 3, transfer_s, slots, &makespan_s));
out:
    dml_rebalance_destroy(rebalance);
    return status;
}

static void test_samplers(void **state)
{
    sweep(*state, run_samplers);
}

static void test_keys(void **state)
{
    sweep(*state, run_keys);
}

static void test_plans(void **state)
{
    sweep(*state, run_plans);
}

static void test_work(void **state)
{
    sweep(*state, run_work);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(test_samplers),
        DATA_TEST(test_keys),
        DATA_TEST(test_plans),
        DATA_TEST(test_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
