/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Learning-rate schedules: exact at every boundary, right between them, monotone, and
 * bad ones refused with the fault named.
 */
#include "dml/optim.h"

#include "unit.h"

#include <math.h>
#include <string.h>

enum { W = 7, T = 100 };

/* Values whose sums and differences round, so that "exact" means something. */
static dml_lr falling(dml_lr_shape shape)
{
    dml_lr lr;
    dml_lr_init(&lr);
    lr.shape = shape;
    lr.base = 0.3;
    lr.end = 0.1;
    lr.warmup_start = 0.01;
    lr.warmup_steps = W;
    lr.total_steps = T;
    lr.power = 2;
    return lr;
}

static void warmup_is_linear_and_ends_at_base(void **state)
{
    (void)state;
    for (int shape = 0; shape < 5; shape++) {
        dml_lr lr = falling((dml_lr_shape)shape);
        assert_true(dml_lr_at(&lr, 0) == 0.01);
        for (uint64_t s = 0; s < W; s++) {
            double want = 0.01 + 0.29 * (double)s / W;
            assert_true(fabs(dml_lr_at(&lr, s) - want) < 1e-16);
        }
        assert_true(dml_lr_at(&lr, W - 1) < 0.3);
        assert_true(dml_lr_at(&lr, W) == 0.3);
        lr.warmup_steps = 0;
        assert_true(dml_lr_at(&lr, 0) == 0.3);
    }
}

static void constant_stays(void **state)
{
    (void)state;
    dml_lr lr = falling(DML_LR_CONSTANT);
    for (uint64_t s = W; s < 3 * T; s++)
        assert_true(dml_lr_at(&lr, s) == 0.3);
    assert_true(dml_lr_at(&lr, UINT64_MAX) == 0.3);
}

static void steps_fall_at_their_milestones(void **state)
{
    (void)state;
    static const uint64_t milestones[] = {3, 30, 60};
    dml_lr lr = falling(DML_LR_STEP);
    lr.milestones = milestones;
    lr.nmilestones = 3;
    /* The first lies inside the warm-up: it counts once that is over. */
    assert_true(dml_lr_at(&lr, 2) < dml_lr_at(&lr, 3));
    assert_true(dml_lr_at(&lr, W) == 0.3 * 0.1);
    assert_true(dml_lr_at(&lr, 29) == 0.3 * 0.1);
    assert_true(dml_lr_at(&lr, 30) == 0.3 * pow(0.1, 2));
    assert_true(dml_lr_at(&lr, 59) == 0.3 * pow(0.1, 2));
    assert_true(dml_lr_at(&lr, 60) == 0.3 * pow(0.1, 3));
    assert_true(dml_lr_at(&lr, UINT64_MAX) == 0.3 * pow(0.1, 3));
    lr.nmilestones = 0;
    assert_true(dml_lr_at(&lr, T) == 0.3);
}

static void cosine_and_poly_end_at_end(void **state)
{
    (void)state;
    const dml_lr_shape shapes[] = {DML_LR_COSINE, DML_LR_POLY};
    for (int k = 0; k < 2; k++) {
        dml_lr lr = falling(shapes[k]);
        for (uint64_t s = W; s < T; s++) {
            double t = (double)(s - W) / (T - W);
            double left = k == 0 ? (1 + cos(acos(-1.0) * t)) / 2 : (1 - t) * (1 - t);
            assert_true(fabs(dml_lr_at(&lr, s) - (0.1 + 0.2 * left)) < 1e-15);
            assert_true(dml_lr_at(&lr, s + 1) < dml_lr_at(&lr, s));
        }
        assert_true(dml_lr_at(&lr, T - 1) > 0.1);
        assert_true(dml_lr_at(&lr, T) == 0.1);
        assert_true(dml_lr_at(&lr, T + 1) == 0.1);
        assert_true(dml_lr_at(&lr, UINT64_MAX) == 0.1);
        lr.warmup_steps = T; /* all of it is warm-up */
        assert_true(dml_lr_at(&lr, T - 1) < 0.3);
        assert_true(dml_lr_at(&lr, T) == 0.1);
    }
}

static void poly_is_exact_for_powers_1_and_2(void **state)
{
    (void)state;
    for (int power = 1; power <= 2; power++) {
        dml_lr lr = falling(DML_LR_POLY);
        lr.power = power;
        lr.base = 1024;
        lr.end = 0;
        lr.warmup_steps = 36;
        for (uint64_t s = 36; s <= T; s++) { /* 64 steps: every value is a fraction */
            double left = (double)(T - s) / 64;
            double want = 1024 * (power == 1 ? left : left * left);
            assert_true(dml_lr_at(&lr, s) == want);
        }
    }
}

static void onecycle_goes_up_down_and_out(void **state)
{
    (void)state;
    dml_lr lr = falling(DML_LR_ONECYCLE);
    lr.end = 0.001;
    assert_true(dml_lr_at(&lr, 0) == 0.01);
    assert_true(dml_lr_at(&lr, W) == 0.3);
    assert_true(dml_lr_at(&lr, 2 * W) == 0.01);
    assert_true(dml_lr_at(&lr, T) == 0.001);
    assert_true(dml_lr_at(&lr, UINT64_MAX) == 0.001);
    for (uint64_t s = 0; s < W; s++) { /* the way down is the way up */
        assert_true(dml_lr_at(&lr, s) < dml_lr_at(&lr, s + 1));
        assert_true(fabs(dml_lr_at(&lr, 2 * W - s) - dml_lr_at(&lr, s)) < 1e-15);
    }
    for (uint64_t s = 2 * W; s < T; s++) {
        double way = (double)(s - 2 * W) / (T - 2 * W);
        assert_true(fabs(dml_lr_at(&lr, s) - (0.01 - 0.009 * way)) < 1e-15);
        assert_true(dml_lr_at(&lr, s + 1) < dml_lr_at(&lr, s));
    }
    lr.total_steps = 2 * W; /* nothing is left for the way out */
    assert_true(dml_lr_at(&lr, 2 * W - 1) < 0.3);
    assert_true(dml_lr_at(&lr, 2 * W) == 0.001);
}

static void onecycle_momentum_goes_against_the_rate(void **state)
{
    (void)state;
    dml_lr lr = falling(DML_LR_ONECYCLE);
    assert_true(dml_lr_momentum_at(&lr, W) == 0.9); /* unless asked for, it stays */
    lr.momentum = 0.95;
    lr.momentum_low = 0.85;
    assert_true(dml_lr_momentum_at(&lr, 0) == 0.95);
    assert_true(dml_lr_momentum_at(&lr, W) == 0.85);
    assert_true(dml_lr_momentum_at(&lr, 2 * W) == 0.95);
    assert_true(dml_lr_momentum_at(&lr, T) == 0.95);
    assert_true(dml_lr_momentum_at(&lr, UINT64_MAX) == 0.95);
    for (uint64_t s = 0; s < W; s++) { /* the way up is the way down */
        double want = 0.95 - 0.1 * (double)s / W;
        assert_true(fabs(dml_lr_momentum_at(&lr, s) - want) < 1e-15);
        assert_true(fabs(dml_lr_momentum_at(&lr, 2 * W - s) - want) < 1e-15);
    }
    lr.warmup_steps = 0;
    assert_true(dml_lr_momentum_at(&lr, 0) == 0.95);
    lr = falling(DML_LR_COSINE);
    lr.momentum_low = 0.5;
    assert_true(dml_lr_momentum_at(&lr, W) == 0.9);
}

static void expect_refused(dml_ctx *ctx, const dml_lr *lr, const char *word)
{
    dml_error error;
    assert_int_equal(dml_lr_check(ctx, lr), DML_EINVAL);
    dml_ctx_last_error(ctx, &error);
    if (strstr(error.text, word) == NULL)
        fail_msg("\"%s\" does not name %s", error.text, word);
}

static void bad_schedules_are_refused(void **state)
{
    (void)state;
    static const uint64_t equal[] = {3, 3}, falls[] = {5, 4};
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    dml_lr lr;
    dml_lr_init(&lr);
    assert_int_equal(dml_lr_check(ctx, &lr), DML_OK);
    lr.warmup_steps = 5; /* a constant schedule has no end to be longer than */
    assert_int_equal(dml_lr_check(ctx, &lr), DML_OK);
    lr.shape = DML_LR_COSINE;
    expect_refused(ctx, &lr, "warmup_steps");
    lr = falling(DML_LR_ONECYCLE);
    lr.total_steps = 2 * W;
    assert_int_equal(dml_lr_check(ctx, &lr), DML_OK);
    lr.total_steps = 2 * W - 1;
    expect_refused(ctx, &lr, "up and down");

#define REFUSE(field, value)              \
    do {                                  \
        lr = falling(DML_LR_POLY);        \
        lr.field = (value);               \
        expect_refused(ctx, &lr, #field); \
    } while (0)
    REFUSE(size, 1);
    REFUSE(shape, (dml_lr_shape)9);
    REFUSE(base, NAN);
    REFUSE(end, INFINITY);
    REFUSE(warmup_start, -INFINITY);
    REFUSE(gamma, NAN);
    REFUSE(power, 0);
    REFUSE(momentum, 1);
    REFUSE(momentum_low, -0.1);
    REFUSE(warmup_steps, T + 1);
    REFUSE(nmilestones, 2);
#undef REFUSE
    lr = falling(DML_LR_STEP);
    lr.nmilestones = 2;
    lr.milestones = equal;
    expect_refused(ctx, &lr, "milestones[1]");
    lr.milestones = falls;
    expect_refused(ctx, &lr, "milestones[1]");
    lr.nmilestones = 1;
    assert_int_equal(dml_lr_check(ctx, &lr), DML_OK);
    assert_true(dml_lr_scale_linear(0.1, 8) == 0.8);
    assert_true(dml_lr_scale_sqrt(0.1, 64) == 0.8);
    dml_ctx_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(warmup_is_linear_and_ends_at_base),
        cmocka_unit_test(constant_stays),
        cmocka_unit_test(steps_fall_at_their_milestones),
        cmocka_unit_test(cosine_and_poly_end_at_end),
        cmocka_unit_test(poly_is_exact_for_powers_1_and_2),
        cmocka_unit_test(onecycle_goes_up_down_and_out),
        cmocka_unit_test(onecycle_momentum_goes_against_the_rate),
        cmocka_unit_test(bad_schedules_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
