/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must not change a bit: saving and restoring, shards, threads. And what happens
 * around a step: gradients that are not finite, loss scaling, 16-bit types, calls out
 * of order.
 */
#include "core/half.h"
#include "optim_fixture.h"

#include <math.h>
#include <stdlib.h>

/* ---- saving ------------------------------------------------------------------------
 */

struct snapshot {
    dml_optim_counters counters;
    float slots[FIVE][3][FIVE_MOST];
    struct five five;
    uint16_t half[FIVE][FIVE_MOST];
};

/* Five tensors of which two are bf16, at SGD's corrected momentum or any other rule. */
struct run {
    struct five five;
    uint16_t half[FIVE][FIVE_MOST];
    dml_optim *optim;
};

static void open_run(struct run *r, dml_ctx *ctx, dml_optim_rule rule)
{
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, rule);
    opts.velocity = DML_RATE_INSIDE;
    opts.momentum_correction = rule == DML_OPTIM_SGD;
    opts.loss_scale = 8;
    opts.loss_scale_window = 3;
    opts.clip_norm = 2;
    five_start(&r->five);
    for (size_t t = 3; t < FIVE; t++) {
        for (size_t i = 0; i < five_counts[t]; i++)
            r->half[t][i] = dml__f32_to_bf16(r->five.w[t][i]);
        r->five.params[t].param = r->half[t];
        r->five.params[t].dtype = DML_BF16;
    }
    r->optim = make_optim(ctx, rule, r->five.params, FIVE, &opts);
}

/* Steps from "first" to before "end"; the gradients of step 6 are not finite. */
static void go(struct run *r, dml_optim_rule rule, int first, int end)
{
    for (int step = first; step < end; step++) {
        five_gradients(&r->five, (size_t)step);
        dml_optim_info info;
        dml_optim_get_info(r->optim, &info);
        for (size_t t = 0; t < FIVE; t++)
            for (size_t i = 0; i < five_counts[t]; i++)
                r->five.g[t][i] *= (float)info.loss_scale;
        if (step == 6)
            r->five.g[4][32] = INFINITY;
        assert_int_equal(dml_optim_step(r->optim, five_rate(rule, step)), DML_OK);
    }
}

static size_t copy_state(struct run *r, struct snapshot *s, bool save)
{
    size_t floats = 0;
    for (size_t t = 0; t < FIVE; t++)
        for (size_t k = 0; k < dml_optim_nslots(r->optim); k++) {
            dml_optim_slot slot;
            assert_int_equal(dml_optim_get_slot(r->optim, t, k, &slot), DML_OK);
            assert_true(slot.name != NULL && slot.name[0] != '\0');
            size_t bytes = slot.count * sizeof *slot.data;
            if (bytes > 0)
                memcpy(save ? s->slots[t][k] : slot.data,
                       save ? slot.data : s->slots[t][k], bytes);
            floats += slot.count;
        }
    return floats;
}

static void restored_in_mid_schedule_it_goes_on_alike(void **state)
{
    (void)state;
    static struct run whole, resumed;
    static struct snapshot s;
    dml_ctx *ctx = context();
    for (size_t k = 0; k < NRULES; k++) {
        open_run(&whole, ctx, rules[k]);
        go(&whole, rules[k], 1, 9);
        memset(&s, 0, sizeof s);
        size_t floats = copy_state(&whole, &s, true);
        assert_int_equal(dml_optim_state_bytes(whole.optim), floats * sizeof(float));
        dml_optim_get_counters(whole.optim, &s.counters);
        assert_int_equal(s.counters.steps, 7);
        assert_int_equal(s.counters.skipped, 1);
        s.five = whole.five;
        memcpy(s.half, whole.half, sizeof s.half);
        go(&whole, rules[k], 9, 20);

        open_run(&resumed, ctx, rules[k]);
        memcpy(resumed.five.w, s.five.w, sizeof s.five.w);
        memcpy(resumed.half, s.half, sizeof s.half);
        copy_state(&resumed, &s, false);
        assert_int_equal(dml_optim_set_counters(resumed.optim, &s.counters), DML_OK);
        go(&resumed, rules[k], 9, 20);
        assert_memory_equal(resumed.five.w, whole.five.w, sizeof whole.five.w);
        assert_memory_equal(resumed.half, whole.half, sizeof whole.half);

        s.counters.loss_scale = 0;
        assert_int_equal(dml_optim_set_counters(whole.optim, &s.counters), DML_EINVAL);
        expect_error(ctx, DML_EINVAL, "dml_optim_set_counters", "loss_scale");
        dml_optim_slot slot;
        assert_int_equal(dml_optim_get_slot(whole.optim, FIVE, 0, &slot), DML_EINVAL);
        assert_int_equal(dml_optim_get_slot(whole.optim, 0, 9, &slot), DML_EINVAL);
        dml_optim_destroy(whole.optim);
        dml_optim_destroy(resumed.optim);
    }
    dml_ctx_destroy(ctx);
}

/* ---- shards and threads ------------------------------------------------------------
 */

enum { LARGE = 3, STEPS = 4, SHARDS = 3 };
static const size_t large_counts[LARGE] = {150000, 1000, 70001};

struct large {
    float *w[LARGE], *g[LARGE];
};

static void open_large(struct large *l)
{
    for (size_t t = 0; t < LARGE; t++) {
        l->w[t] = malloc(large_counts[t] * sizeof(float));
        l->g[t] = malloc(large_counts[t] * sizeof(float));
        assert_true(l->w[t] != NULL && l->g[t] != NULL);
        for (size_t i = 0; i < large_counts[t]; i++)
            l->w[t][i] = five_value(t, i, 0);
    }
}

static void close_large(struct large *l)
{
    for (size_t t = 0; t < LARGE; t++) {
        free(l->w[t]);
        free(l->g[t]);
    }
}

static void large_gradients(struct large *l, size_t step)
{
    for (size_t t = 0; t < LARGE; t++)
        for (size_t i = 0; i < large_counts[t]; i++)
            l->g[t][i] = five_value(t, i, step);
}

static void large_params(const struct large *l, dml_param *params)
{
    for (size_t t = 0; t < LARGE; t++)
        params[t] =
            (dml_param){.param = l->w[t], .grad = l->g[t], .count = large_counts[t]};
}

static dml_optim_opts large_opts(dml_optim_rule rule)
{
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, rule);
    opts.clip_norm = 10;
    return opts;
}

static void run_whole(struct large *l, dml_ctx *ctx, dml_optim_rule rule, int threads)
{
    dml_param params[LARGE];
    dml_optim_opts opts = large_opts(rule);
    opts.threads = threads;
    open_large(l);
    large_params(l, params);
    dml_optim *optim = make_optim(ctx, rule, params, LARGE, &opts);
    for (size_t step = 1; step <= STEPS; step++) {
        large_gradients(l, step);
        assert_int_equal(dml_optim_step(optim, 0.05), DML_OK);
    }
    dml_optim_destroy(optim);
}

static void expect_same(const struct large *a, const struct large *b)
{
    for (size_t t = 0; t < LARGE; t++)
        assert_memory_equal(a->w[t], b->w[t], large_counts[t] * sizeof(float));
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    dml_ctx *ctx = context();
    for (size_t k = 0; k < NRULES; k++) {
        struct large one, many;
        run_whole(&one, ctx, rules[k], 1);
        for (int threads = 2; threads <= 7; threads += k % 2 ? 5 : 1) {
            run_whole(&many, ctx, rules[k], threads);
            expect_same(&one, &many);
            close_large(&many);
        }
        close_large(&one);
    }
    dml_ctx_destroy(ctx);
}

static void every_kernel_set_gives_the_same_bits(void **state)
{
    (void)state;
    for (size_t k = 0; k < NRULES; k++) {
        struct large reference;
        dml_ctx *ctx = context_of_set(0);
        run_whole(&reference, ctx, rules[k], 1);
        dml_ctx_destroy(ctx);
        for (size_t set = 1; (ctx = context_of_set(set)) != NULL; set++) {
            struct large other;
            run_whole(&other, ctx, rules[k], 1);
            expect_same(&reference, &other);
            close_large(&other);
            dml_ctx_destroy(ctx);
        }
        close_large(&reference);
    }
}

/* Part "rank" of the tensors' memory as if they lay one after another, cut at multiples
 * of "grain" of each tensor. */
static void shard_params(const struct large *l, size_t rank, size_t grain,
                         dml_param *params)
{
    for (size_t t = 0; t < LARGE; t++) {
        size_t n = large_counts[t];
        size_t begin = n * rank / SHARDS / grain * grain;
        size_t end = rank + 1 == SHARDS ? n : n * (rank + 1) / SHARDS / grain * grain;
        params[t] = (dml_param){.param = l->w[t] + begin,
                                .grad = l->g[t] + begin,
                                .count = end - begin,
                                .first = begin,
                                .whole = n};
    }
}

/* One step of all shards, whose sums are added up in a rank order that is not 0 1 2. */
static void step_shards(dml_optim **shards, double lr)
{
    static const size_t order[SHARDS] = {2, 0, 1};
    for (;;) {
        double *sums[SHARDS];
        size_t nsums[SHARDS];
        dml_status status = DML_OK;
        for (size_t r = 0; r < SHARDS; r++) {
            status = dml_optim_norms(shards[r], &sums[r], &nsums[r]);
            assert_int_equal(nsums[r], nsums[0]);
            assert_true(status == DML_OK || status == DML_PENDING);
        }
        if (status == DML_OK)
            break;
        for (size_t i = 0; i < nsums[0]; i++) {
            double sum = 0;
            for (size_t r = 0; r < SHARDS; r++)
                sum += sums[order[r]][i];
            for (size_t r = 0; r < SHARDS; r++)
                sums[r][i] = sum;
        }
    }
    for (size_t r = 0; r < SHARDS; r++)
        assert_int_equal(dml_optim_apply(shards[r], lr), DML_OK);
}

static void run_shards(struct large *l, dml_ctx *ctx, dml_optim_rule rule, size_t grain)
{
    dml_optim *shards[SHARDS];
    dml_optim_opts opts = large_opts(rule);
    size_t bytes = 0;
    open_large(l);
    for (size_t r = 0; r < SHARDS; r++) {
        dml_param params[LARGE];
        shard_params(l, r, grain, params);
        shards[r] = make_optim(ctx, rule, params, LARGE, &opts);
        bytes += dml_optim_state_bytes(shards[r]);
        assert_int_equal(dml_optim_step(shards[r], 0.05), DML_EINVAL);
        expect_error(ctx, DML_EINVAL, "dml_optim_step", "shards");
    }
    assert_int_equal(bytes, dml_optim_nslots(shards[0]) * 221001 * sizeof(float));
    for (size_t step = 1; step <= STEPS; step++) {
        large_gradients(l, step);
        step_shards(shards, 0.05);
    }
    for (size_t r = 0; r < SHARDS; r++)
        dml_optim_destroy(shards[r]);
}

static void shards_make_the_whole(void **state)
{
    (void)state;
    dml_ctx *ctx = context();
    for (size_t k = 0; k < NRULES; k++) {
        struct large whole, shards;
        run_whole(&whole, ctx, rules[k], 1);
        run_shards(&shards, ctx, rules[k], DML_OPTIM_BLOCK);
        expect_same(&whole, &shards);
        close_large(&shards);
        run_shards(&shards, ctx, rules[k], 1);
        for (size_t t = 0; t < LARGE; t++)
            for (size_t i = 0; i < large_counts[t]; i++)
                assert_true(fabsf(whole.w[t][i] - shards.w[t][i]) < 1e-6f);
        close_large(&shards);
        close_large(&whole);
    }
    dml_ctx_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restored_in_mid_schedule_it_goes_on_alike),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(every_kernel_set_gives_the_same_bits),
        cmocka_unit_test(shards_make_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
