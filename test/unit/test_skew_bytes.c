/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Plans as bytes and plans of strings: what comes back routes alike, what is damaged is
 * refused, random changes under a right checksum do no harm, and running out of memory
 * anywhere is said and leaks nothing.
 */
#include "skew_help.h"

enum { N = 20000, KEYS = 900, LONGEST = 24 };

/* Words with Zipf's law; many share their first eight bytes. */
struct words {
    char text[KEYS][LONGEST];
    dml_bytes *bytes; /* [N] */
    dml_keys keys;
};

static struct words *words_of(double exponent)
{
    struct words *w = calloc(1, sizeof *w);
    uint64_t *ids = zipf(N, KEYS, exponent, 3, false);
    assert_non_null(w);
    w->bytes = calloc(N, sizeof *w->bytes);
    assert_non_null(w->bytes);
    for (unsigned k = 0; k < KEYS; k++)
        snprintf(w->text[k], LONGEST, k % 3 == 0 ? "https://x/%u" : "w%u",
                 k * 7919 % 997);
    for (size_t i = 0; i < N; i++) {
        const char *text = w->text[ids[i]];
        w->bytes[i] = (dml_bytes){text, strlen(text)};
    }
    w->keys = (dml_keys){.kind = DML_KEY_BYTES, .count = N, .bytes = w->bytes};
    free(ids);
    return w;
}

static void free_words(struct words *w)
{
    free(w->bytes);
    free(w);
}

static dml_status histogram_of(dml_ctx *with, const dml_keys *keys,
                               dml_sample_method method, dml_histogram **h)
{
    dml_sampler_opts opts = sampler_opts(method, 0.2);
    opts.kind = keys->kind;
    opts.reservoir = 3000;
    opts.buckets = 256;
    dml_sampler *sampler = NULL;
    dml_status status = dml_sampler_create(with, &opts, &sampler);
    if (status == DML_OK)
        status = dml_sampler_add(sampler, keys, NULL);
    if (status == DML_OK)
        status = dml_sampler_finish(sampler, h);
    dml_sampler_destroy(sampler);
    return status;
}

static unsigned char *packed_plan(const dml_plan *plan, size_t *bytes)
{
    dml_plan_info info;
    dml_plan_get_info(plan, &info);
    unsigned char *wire = malloc(info.pack_bytes);
    assert_non_null(wire);
    ok(dml_plan_pack(plan, wire, info.pack_bytes));
    assert_int_equal(dml_plan_pack(plan, wire, info.pack_bytes - 1), DML_EINVAL);
    *bytes = info.pack_bytes;
    return wire;
}

static void words_are_planned(void **state)
{
    (void)state;
    struct words *w = words_of(1.2);
    uint32_t *parts = malloc(2 * N * sizeof *parts);
    assert_non_null(parts);
    for (int method = 0; method < 4; method++) {
        dml_histogram *h = NULL;
        ok(histogram_of(ctx, &w->keys, (dml_sample_method)method, &h));
        for (int planner = 0; planner < DML_NPLANNERS; planner++) {
            dml_plan *plan = NULL, *back = NULL;
            dml_plan_info info;
            size_t bytes = 0;
            ok(dml_plan_create(ctx, (dml_planner)planner, 7, h, NULL, &plan));
            unsigned char *wire = packed_plan(plan, &bytes);
            ok(dml_plan_unpack(ctx, wire, bytes, &back));
            ok(dml_plan_route(plan, &w->keys, NULL, 0, parts));
            ok(dml_plan_route(back, &w->keys, NULL, 0, parts + N));
            assert_memory_equal(parts, parts + N, N * sizeof *parts);
            dml_plan_get_info(back, &info);
            size_t heavy_parts = 0;
            double loads[7] = {0};
            for (size_t i = 0; i < N; i++) {
                assert_int_equal(parts[i], dml_plan_route_bytes(plan, w->bytes[i], i));
                loads[parts[i]]++;
                for (size_t k = 0; info.ordered && k < 3 && k < i; k++) {
                    const dml_bytes *a = &w->bytes[i], *b = &w->bytes[k];
                    if (strcmp(a->data, b->data) < 0)
                        assert_true(parts[i] <= parts[k]);
                }
            }
            for (int j = 0; j < 7; j++)
                heavy_parts += loads[j] > 1.3 * N / 7;
            if (planner == DML_PLAN_KSRP)
                assert_int_equal(heavy_parts, 0);
            size_t again = 0;
            unsigned char *twice = packed_plan(back, &again);
            assert_int_equal(bytes, again);
            assert_memory_equal(wire, twice, bytes);
            free(twice);
            free(wire);
            dml_plan_destroy(back);
            dml_plan_destroy(plan);
        }
        dml_histogram_destroy(h);
    }
    free(parts);
    free_words(w);
}

/* Flips bytes and puts the right checksum behind: what is then believed must route. */
static void changed_plans_do_no_harm(void **state)
{
    (void)state;
    uint64_t seed = seed_of("changed_plans_do_no_harm", 41), believed = 0;
    struct words *w = words_of(1.2);
    uint64_t *u64 = zipf(N, KEYS, 1.2, 3, true);
    const dml_keys both[] = {as_keys(u64, N), w->keys};
    uint32_t parts[500];
    for (int trial = 0; trial < 4000; trial++) {
        uint64_t draw = dml_rng_u64(seed, 1, (uint64_t)trial);
        dml_keys keys = both[draw % 2];
        dml_planner planner = (dml_planner)(draw / 2 % DML_NPLANNERS);
        static unsigned char *wires[2][DML_NPLANNERS];
        static size_t sizes[2][DML_NPLANNERS];
        size_t *bytes = &sizes[draw % 2][planner];
        unsigned char **wire = &wires[draw % 2][planner];
        if (*wire == NULL) {
            dml_histogram *h = NULL;
            dml_plan *plan = NULL;
            ok(histogram_of(ctx, &keys, DML_SAMPLE_STEP, &h));
            ok(dml_plan_create(ctx, planner, 5, h, NULL, &plan));
            *wire = packed_plan(plan, bytes);
            dml_plan_destroy(plan);
            dml_histogram_destroy(h);
        }
        unsigned char *copy = malloc(*bytes);
        assert_non_null(copy);
        memcpy(copy, *wire, *bytes);
        for (uint64_t i = 0; i <= draw / 64 % 4; i++) {
            /* The head and what follows it more often than homes by the thousand. */
            uint64_t at = dml_rng_u64(seed, 3 + i, (uint64_t)trial);
            at = at % 3 == 0 ? at / 4 % (*bytes - 8) : at / 4 % 300 % (*bytes - 8);
            copy[at] = (unsigned char)(dml_rng_u64(seed, 9 + i, (uint64_t)trial));
        }
        uint64_t sum = dml_hash_bytes(copy, *bytes - 8, 0);
        for (int i = 0; i < 8; i++)
            copy[*bytes - 8 + (size_t)i] = (unsigned char)(sum >> 8 * i);
        dml_plan *plan = NULL;
        dml_status status = dml_plan_unpack(ctx, copy, *bytes, &plan);
        assert_true(status == DML_OK || status == DML_EFORMAT);
        if (status == DML_OK) {
            dml_plan_info info;
            dml_plan_get_info(plan, &info);
            keys = both[info.kind];
            keys.count = 500;
            believed++;
            ok(dml_plan_route(plan, &keys, NULL, 0, parts));
            for (size_t i = 0; i < keys.count; i++)
                assert_true(parts[i] < info.parts);
        }
        dml_plan_destroy(plan);
        free(copy);
        if (trial == 3999)
            for (int i = 0; i < 2 * DML_NPLANNERS; i++)
                free(wires[i / DML_NPLANNERS][i % DML_NPLANNERS]);
    }
    assert_true(believed > 100);
    free(u64);
    free_words(w);
}

/* Bytes that are read back. */
static dml_status histogram_and_back(dml_ctx *with, const dml_histogram *h)
{
    size_t bytes = 0;
    void *wire = packed(h, &bytes);
    dml_histogram *back = NULL;
    dml_status status = dml_histogram_unpack(with, wire, bytes, &back);
    dml_histogram_destroy(back);
    free(wire);
    return status;
}

static dml_status plan_and_back(dml_ctx *with, const dml_plan *plan)
{
    size_t bytes = 0;
    void *wire = packed_plan(plan, &bytes);
    dml_plan *back = NULL;
    dml_status status = dml_plan_unpack(with, wire, bytes, &back);
    dml_plan_destroy(back);
    free(wire);
    return status;
}

/* Also merges what came back into the sketch. */
static dml_status sketch_and_back(dml_ctx *with, dml_sketch *sketch)
{
    dml_sketch_info info;
    dml_sketch *back = NULL;
    dml_status status = dml_sketch_get_info(sketch, &info);
    if (status != DML_OK)
        return status;
    void *wire = malloc(info.pack_bytes);
    assert_non_null(wire);
    status = dml_sketch_pack(sketch, wire, info.pack_bytes);
    if (status == DML_OK)
        status = dml_sketch_unpack(with, wire, info.pack_bytes, &back);
    if (status == DML_OK)
        status = dml_sketch_merge(sketch, back);
    dml_sketch_destroy(back);
    free(wire);
    return status;
}

static dml_status sketch_everything(dml_ctx *with, const struct words *w,
                                    dml_histogram *h)
{
    dml_sketch *sketch = NULL;
    dml_status status = dml_sketch_create(with, DML_KEY_BYTES, 20, &sketch);
    if (status == DML_OK)
        status = dml_sketch_add(sketch, &w->keys, NULL);
    if (status == DML_OK)
        status = dml_histogram_refine(h, sketch);
    if (status == DML_OK)
        status = sketch_and_back(with, sketch);
    dml_sketch_destroy(sketch);
    return status;
}

/* All that allocates, in a row. */
static dml_status everything(dml_ctx *with, const struct words *w)
{
    dml_histogram *h = NULL, *joined = NULL;
    dml_rebalance *rebalance = NULL;
    dml_plan *plan = NULL;
    static const uint64_t units[] = {5, 5};
    static const dml_task tasks[] = {{1, 0}, {2, 0}};
    static const dml_node nodes[] = {{1, 0}, {2, 0}};
    dml_slot slots[2];
    dml_status status = histogram_of(with, &w->keys, DML_SAMPLE_SORTED, &h);
    if (status == DML_OK)
        status = dml_histogram_join(with, h, h, 1, &joined);
    if (status == DML_OK)
        status = sketch_everything(with, w, h);
    if (status == DML_OK)
        status = dml_histogram_shorten(h, 100);
    if (status == DML_OK)
        status = histogram_and_back(with, h);
    for (int p = 0; status == DML_OK && p < DML_NPLANNERS; p++) {
        status = dml_plan_create(with, (dml_planner)p, 5, h, NULL, &plan);
        if (status != DML_OK)
            break;
        status = plan_and_back(with, plan);
        dml_plan_destroy(plan);
    }
    if (status == DML_OK)
        status = dml_rebalance_create(with, 2, units, NULL, &rebalance);
    if (status == DML_OK)
        status = dml_schedule_tasks(with, tasks, 2, nodes, 2, NULL, slots, NULL);
    dml_rebalance_destroy(rebalance);
    dml_histogram_destroy(joined);
    dml_histogram_destroy(h);
    return status;
}

static void no_memory_is_said(void **state)
{
    (void)state;
    struct words *w = words_of(1);
    w->keys.count = 1500;
    int n = 1;
    for (dml_status status = DML_ENOMEM; status != DML_OK; n++) {
        char text[16];
        dml_ctx *poor = NULL;
        snprintf(text, sizeof text, "%d", n);
        setenv("DML_TEST_ALLOC_FAIL", text, 1);
        ok(dml_ctx_create(NULL, &poor));
        unsetenv("DML_TEST_ALLOC_FAIL");
        status = everything(poor, w);
        assert_true(status == DML_OK || status == DML_ENOMEM);
        dml_ctx_destroy(poor);
    }
    assert_true(n > 100);
    free_words(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_planned),
        cmocka_unit_test(changed_plans_do_no_harm),
        cmocka_unit_test(no_memory_is_said),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}
