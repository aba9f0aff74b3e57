/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Around a step: gradients that are not finite, loss scaling, 16-bit types, calls out
 * of order.
 */
#include "core/half.h"
#include "optim_fixture.h"

#include <math.h>

static void a_gradient_that_is_not_finite_is_named(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    dml_ctx *ctx = context();
    for (size_t k = 0; k < NRULES * 3; k++) {
        static struct five f, before;
        dml_optim_rule rule = rules[k % NRULES];
        dml_optim_opts opts;
        dml_optim_opts_init(&opts, rule);
        opts.rank = 3;
        opts.finite = k < NRULES ? DML_FINITE_RIDE : DML_FINITE_FIRST;
        five_start(&f);
        dml_optim *optim = make_optim(ctx, rule, f.params, FIVE, &opts);
        five_gradients(&f, 1);
        assert_int_equal(dml_optim_step(optim, 0.1), DML_OK);
        five_gradients(&f, 2);
        f.g[3][6] = bad[k % 3];
        before = f;
        assert_int_equal(dml_optim_step(optim, 0.1), DML_ENUMERIC);
        expect_error(ctx, DML_ENUMERIC, "dml_optim_step", "scale: ");
        expect_error(ctx, DML_ENUMERIC, "dml_optim_step", "step 2 of rank 3");
        dml_error error;
        dml_ctx_last_error(ctx, &error);
        assert_int_equal(error.rank, 3);
        assert_memory_equal(f.w[3], before.w[3], sizeof f.w[3]);
        if (opts.finite == DML_FINITE_FIRST || rule == DML_OPTIM_LARS) {
            assert_memory_equal(f.w, before.w, sizeof f.w);
            five_gradients(&f, 2); /* and can be made good */
            assert_int_equal(dml_optim_step(optim, 0.1), DML_OK);
        }
        dml_optim_destroy(optim);

        opts.finite = DML_FINITE_OFF;
        opts.rank = -1;
        five_start(&f);
        f.params[3].name = NULL;
        optim = make_optim(ctx, rule, f.params, FIVE, &opts);
        f.g[3][6] = bad[k % 3];
        assert_int_equal(dml_optim_step(optim, 0.1), DML_OK);
        dml_optim_destroy(optim);

        opts.finite = DML_FINITE_RIDE;
        optim = make_optim(ctx, rule, f.params, FIVE, &opts);
        assert_int_equal(dml_optim_step(optim, 0.1), DML_ENUMERIC);
        expect_error(ctx, DML_ENUMERIC, "dml_optim_step", "params[3]: ");
        dml_optim_destroy(optim);
    }
    dml_ctx_destroy(ctx);
}

static void the_loss_scale_falls_and_grows(void **state)
{
    (void)state;
    dml_ctx *ctx = context();
    uint16_t w = dml__f32_to_f16(1), g = 0;
    dml_param param = {
        .param = &w, .grad = &g, .count = 1, .dtype = DML_F16, .grad_dtype = DML_F16};
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.momentum = 0;
    opts.loss_scale = 1024;
    opts.loss_scale_window = 3;
    dml_optim *optim = make_optim(ctx, DML_OPTIM_SGD, &param, 1, &opts);
    /* Gradients of 0.25, but two that overflow. */
    static const bool overflows[] = {false, true, true, false, false, false, false};
    static const double scales[] = {1024, 512, 256, 256, 256, 512, 512};
    float want = 1;
    for (size_t i = 0; i < sizeof overflows; i++) {
        dml_optim_info info;
        dml_optim_get_info(optim, &info);
        g = dml__f32_to_f16(overflows[i] ? INFINITY : 0.25f * (float)info.loss_scale);
        assert_int_equal(dml_optim_step(optim, 0.5), DML_OK);
        want -= overflows[i] ? 0 : 0.125f;
        assert_true(dml__f16_to_f32(w) == want);
        dml_optim_get_info(optim, &info);
        assert_true(info.loss_scale == scales[i]);
        assert_int_equal(info.last_skipped, overflows[i]);
        assert_true(overflows[i] || info.grad_norm == 0.25);
    }
    dml_optim_info info;
    dml_optim_get_info(optim, &info);
    assert_true(info.steps == 5 && info.skipped == 2);
    dml_optim_destroy(optim);

    opts.loss_scale_window = 0; /* fixed */
    optim = make_optim(ctx, DML_OPTIM_SGD, &param, 1, &opts);
    g = dml__f32_to_f16(NAN);
    assert_int_equal(dml_optim_step(optim, 0.5), DML_OK);
    dml_optim_get_info(optim, &info);
    assert_true(info.loss_scale == 1024 && info.skipped == 1 && info.steps == 0);
    dml_optim_destroy(optim);
    dml_ctx_destroy(ctx);
}

/* Gradients that 16 bits hold exactly give the master copies the bits of an f32 run,
 * and the parameters are the master copies, rounded. */
static void masters_follow_an_f32_run(void **state)
{
    (void)state;
    enum { N = 3000 };
    static float w[N], g[N];
    static uint16_t half_w[N], half_g[N];
    dml_ctx *ctx;
    for (size_t set = 0; (ctx = context_of_set(set)) != NULL; set++) {
        for (size_t k = 0; k < NRULES * 2; k++) {
            bool f16 = k % 2 == 0;
            dml_optim_rule rule = rules[k / 2];
            dml_dtype dtype = f16 ? DML_F16 : DML_BF16;
            for (size_t i = 0; i < N; i++) {
                float x = five_value(0, i, 0);
                half_w[i] = f16 ? dml__f32_to_f16(x) : dml__f32_to_bf16(x);
                w[i] = f16 ? dml__f16_to_f32(half_w[i]) : dml__bf16_to_f32(half_w[i]);
            }
            dml_param full = {.param = w, .grad = g, .count = N};
            dml_param half = {.param = half_w, .grad = half_g, .count = N};
            half.dtype = half.grad_dtype = dtype;
            dml_optim *a = make_optim(ctx, rule, &full, 1, NULL);
            dml_optim *b = make_optim(ctx, rule, &half, 1, NULL);
            for (size_t step = 1; step <= 3; step++) {
                for (size_t i = 0; i < N; i++) {
                    g[i] = rintf(five_value(1, i, step) * 64) / 64;
                    half_g[i] = f16 ? dml__f32_to_f16(g[i]) : dml__f32_to_bf16(g[i]);
                }
                assert_int_equal(dml_optim_step(a, 0.1), DML_OK);
                assert_int_equal(dml_optim_step(b, 0.1), DML_OK);
            }
            dml_optim_slot slot;
            size_t master = dml_optim_nslots(b) - 1;
            assert_int_equal(dml_optim_get_slot(b, 0, master, &slot), DML_OK);
            assert_string_equal(slot.name, "master");
            assert_memory_equal(slot.data, w, sizeof w);
            for (size_t i = 0; i < N; i++)
                assert_int_equal(half_w[i],
                                 f16 ? dml__f32_to_f16(w[i]) : dml__f32_to_bf16(w[i]));
            half_w[7] = 0; /* somebody else writes the parameters */
            dml_optim_reload(b);
            assert_true(slot.data[7] == 0);
            dml_optim_destroy(a);
            dml_optim_destroy(b);
        }
        dml_ctx_destroy(ctx);
    }
}

static void calls_out_of_order_are_refused(void **state)
{
    (void)state;
    static struct five f;
    dml_ctx *ctx = context();
    five_start(&f);
    dml_optim *optim = make_optim(ctx, DML_OPTIM_LAMB, f.params, FIVE, NULL);
    double *sums;
    size_t nsums;
    dml_optim_counters counters;
    dml_optim_get_counters(optim, &counters);
    assert_int_equal(dml_optim_apply(optim, 0.1), DML_EINVAL);
    expect_error(ctx, DML_EINVAL, "dml_optim_apply", "dml_optim_norms");
    assert_int_equal(dml_optim_norms(optim, &sums, &nsums), DML_PENDING);
    assert_int_equal(nsums, 2 * FIVE);
    assert_int_equal(dml_optim_apply(optim, 0.1), DML_EINVAL);
    assert_int_equal(dml_optim_step(optim, 0.1), DML_EINVAL);
    expect_error(ctx, DML_EINVAL, "dml_optim_step", "under way");
    assert_int_equal(dml_optim_set_counters(optim, &counters), DML_EINVAL);
    assert_int_equal(dml_optim_norms(optim, &sums, &nsums), DML_OK);
    assert_int_equal(dml_optim_norms(optim, &sums, &nsums), DML_OK);
    assert_int_equal(nsums, 0);
    assert_int_equal(dml_optim_apply(optim, NAN), DML_EINVAL);
    assert_int_equal(dml_optim_apply(optim, 0.1), DML_OK);
    assert_int_equal(dml_optim_set_counters(optim, &counters), DML_OK);
    dml_optim_destroy(optim);
    dml_ctx_destroy(ctx);
}

static void there_may_be_no_tensor(void **state)
{
    (void)state;
    dml_ctx *ctx = context();
    for (size_t k = 0; k < NRULES; k++) {
        dml_optim_opts opts;
        dml_optim_opts_init(&opts, rules[k]);
        opts.clip_norm = 1;
        opts.threads = 2;
        dml_optim *optim = make_optim(ctx, rules[k], NULL, 0, &opts);
        assert_int_equal(dml_optim_step(optim, 0.1), DML_OK);
        assert_int_equal(dml_optim_state_bytes(optim), 0);
        dml_optim_destroy(optim);
    }
    dml_ctx_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gradient_that_is_not_finite_is_named),
        cmocka_unit_test(the_loss_scale_falls_and_grows),
        cmocka_unit_test(masters_follow_an_f32_run),
        cmocka_unit_test(calls_out_of_order_are_refused),
        cmocka_unit_test(there_may_be_no_tensor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
