/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must hold of the optimizers whatever the numbers: scales, sizes of steps, who is
 * exempt, where tensors lie; and which options are refused.
 */
#include "optim_fixture.h"

#include <math.h>
#include <stdlib.h>

static double norm_of(const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = (double)x[i] - (y != NULL ? y[i] : 0);
        sum += difference * difference;
    }
    return sqrt(sum);
}

/* Five steps at rate lr with gradients times "scale". */
static void run_scaled(struct five *f, dml_optim_rule rule, const dml_optim_opts *opts,
                       float scale, double lr)
{
    dml_ctx *ctx = context();
    five_start(f);
    dml_optim *optim = make_optim(ctx, rule, f->params, FIVE, opts);
    for (size_t step = 1; step <= 5; step++) {
        five_gradients(f, step);
        for (size_t t = 0; t < FIVE; t++)
            for (size_t i = 0; i < five_counts[t]; i++)
                f->g[t][i] *= scale;
        assert_int_equal(dml_optim_step(optim, lr), DML_OK);
    }
    dml_optim_destroy(optim);
    dml_ctx_destroy(ctx);
}

/* LARS, by a power of two, to the bit: norms and products scale exactly. LAMB but for
 * eps, beside which the smallest root of the second moment is large. */
static void gradients_may_be_scaled(void **state)
{
    (void)state;
    static struct five once, scaled;
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_LARS);
    opts.weight_decay = 0;
    run_scaled(&once, DML_OPTIM_LARS, &opts, 1, 0.1);
    run_scaled(&scaled, DML_OPTIM_LARS, &opts, 1024, 0.1);
    for (size_t t = 3; t < FIVE; t++)
        assert_memory_equal(once.w[t], scaled.w[t], sizeof once.w[t]);
    assert_true(norm_of(once.w[EXEMPT], scaled.w[EXEMPT], 5) > 1);

    dml_optim_opts_init(&opts, DML_OPTIM_LAMB);
    opts.eps = 1e-12;
    run_scaled(&once, DML_OPTIM_LAMB, &opts, 1, 0.1);
    run_scaled(&scaled, DML_OPTIM_LAMB, &opts, 1000, 0.1);
    for (size_t t = 0; t < FIVE; t++)
        for (size_t i = 0; i < five_counts[t]; i++)
            assert_true(fabs(once.w[t][i] - scaled.w[t][i]) < 1e-5);
}

/* |step| = eta trust |w| in LARS's first step, eta |w| in every one of LAMB's; a bound
 * on the ratio and both kinds of clipping bound the step. */
static void steps_have_their_size(void **state)
{
    (void)state;
    dml_ctx *ctx = context();
    const double eta = 0.25;
    const struct {
        dml_optim_rule rule;
        double per_weight; /* |step| / (eta |w|) */
        size_t steps;
    } cases[] = {{DML_OPTIM_LARS, 0.001, 1}, {DML_OPTIM_LAMB, 1, 5}};
    for (size_t k = 0; k < 2; k++) {
        static struct five f, before;
        dml_optim_opts opts;
        dml_optim_opts_init(&opts, cases[k].rule);
        opts.weight_decay = 0;
        five_start(&f);
        dml_optim *optim = make_optim(ctx, cases[k].rule, f.params, FIVE, &opts);
        for (size_t step = 1; step <= cases[k].steps; step++) {
            five_gradients(&f, step);
            before = f;
            assert_int_equal(dml_optim_step(optim, eta), DML_OK);
            for (size_t t = 3; t < FIVE; t++) {
                double w = norm_of(before.w[t], NULL, five_counts[t]);
                double moved = norm_of(before.w[t], f.w[t], five_counts[t]);
                assert_true(fabs(moved / (eta * w * cases[k].per_weight) - 1) < 1e-4);
            }
        }
        dml_optim_destroy(optim);
    }
    dml_ctx_destroy(ctx);
}

/* Plain descent from 0: the step is the clipped gradient. */
static void clipping_bounds_the_step(void **state)
{
    (void)state;
    dml_ctx *ctx = context();
    float w[3] = {0}, g[3] = {3, -4, 12}; /* norm 13 */
    dml_param param = {.param = w, .grad = g, .count = 3};
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.momentum = 0;
    opts.clip_norm = 6.5;
    dml_optim *optim = make_optim(ctx, DML_OPTIM_SGD, &param, 1, &opts);
    assert_int_equal(dml_optim_step(optim, 1), DML_OK);
    assert_true(w[0] == -1.5f && w[1] == 2 && w[2] == -6);
    dml_optim_info info;
    dml_optim_get_info(optim, &info);
    assert_true(info.grad_norm == 13 && info.steps == 1 && info.loss_scale == 1);
    memset(g, 0, sizeof g);
    g[0] = 6; /* short enough */
    assert_int_equal(dml_optim_step(optim, 1), DML_OK);
    assert_true(w[0] == -7.5f && w[1] == 2 && w[2] == -6);
    dml_optim_destroy(optim);

    opts.clip_norm = 0;
    opts.clip_value = 3.5;
    memcpy(g, (float[]){3, -4, 12}, sizeof g);
    memset(w, 0, sizeof w);
    optim = make_optim(ctx, DML_OPTIM_SGD, &param, 1, &opts);
    assert_int_equal(dml_optim_step(optim, 1), DML_OK);
    assert_true(w[0] == -3 && w[1] == 3.5f && w[2] == -3.5f);
    g[1] = -INFINITY; /* is not made a gradient of -3.5 */
    assert_int_equal(dml_optim_step(optim, 1), DML_ENUMERIC);
    dml_optim_destroy(optim);
    dml_ctx_destroy(ctx);
}

static void exempt_tensors_do_not_decay(void **state)
{
    (void)state;
    dml_ctx *ctx = context();
    assert_int_equal(dml_param_flags(0), DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT);
    assert_int_equal(dml_param_flags(1), DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT);
    assert_int_equal(dml_param_flags(2), 0);
    assert_int_equal(dml_param_flags(4), 0);
    for (int rule = 0; rule < NRULES; rule++) {
        static struct five f, before;
        dml_optim_opts opts;
        dml_optim_opts_init(&opts, (dml_optim_rule)rule);
        opts.weight_decay = 0.5;
        five_start(&f);
        before = f;
        dml_optim *optim = make_optim(ctx, (dml_optim_rule)rule, f.params, FIVE, &opts);
        assert_int_equal(dml_optim_step(optim, 0.1), DML_OK); /* all gradients are 0 */
        assert_memory_equal(f.w[EXEMPT], before.w[EXEMPT], sizeof f.w[EXEMPT]);
        for (size_t t = 3; t < FIVE; t++)
            assert_true(norm_of(f.w[t], NULL, five_counts[t]) <
                        0.999 * norm_of(before.w[t], NULL, five_counts[t]));
        dml_optim_destroy(optim);
    }
    dml_ctx_destroy(ctx);
}

/* Twenty steps of SGD from step "first" of the schedule on. */
static void run_velocity(struct five *f, dml_velocity velocity, int correction,
                         int first)
{
    dml_ctx *ctx = context();
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.velocity = velocity;
    opts.momentum_correction = correction;
    five_start(f);
    dml_optim *optim = make_optim(ctx, DML_OPTIM_SGD, f->params, FIVE, &opts);
    for (int step = first; step < first + 20; step++) {
        five_gradients(f, (size_t)step);
        assert_int_equal(dml_optim_step(optim, five_rate(DML_OPTIM_SGD, step)), DML_OK);
    }
    dml_optim_destroy(optim);
    dml_ctx_destroy(ctx);
}

/* With the correction, rate inside is rate outside; without it, not. What was gathered
 * at rate 0 is lost inside, and kept outside. */
static void momentum_correction_makes_places_equal(void **state)
{
    (void)state;
    static struct five outside, inside, corrected;
    run_velocity(&outside, DML_RATE_OUTSIDE, 0, 1);
    run_velocity(&inside, DML_RATE_INSIDE, 0, 1);
    run_velocity(&corrected, DML_RATE_INSIDE, 1, 1);
    assert_true(norm_of(outside.w[4], corrected.w[4], FIVE_MOST) < 1e-5);
    assert_true(norm_of(outside.w[4], inside.w[4], FIVE_MOST) > 0.1);
    run_velocity(&outside, DML_RATE_OUTSIDE, 0, 0);
    run_velocity(&corrected, DML_RATE_INSIDE, 1, 0);
    assert_true(norm_of(outside.w[4], corrected.w[4], FIVE_MOST) > 0.01);
}

/* Any place in memory and any count gives the bits of an aligned run. */
static void place_and_count_are_free(void **state)
{
    (void)state;
    enum { ROOM = 5000 };
    static const size_t counts[] = {0, 1, 3, 31, 33, 1023, 1024, 1025, 2049, 4100};
    float *w = aligned_alloc(64, 4 * (ROOM + 16) * sizeof *w);
    assert_non_null(w);
    float *g = w + ROOM + 16, *moved = g + ROOM + 16, *grad = moved + ROOM + 16;
    dml_ctx *ctx = context();
    for (size_t k = 0; k < sizeof counts / sizeof *counts * NRULES; k++) {
        size_t n = counts[k / NRULES], shift = 1 + k % 7;
        dml_optim_rule rule = (dml_optim_rule)(k % NRULES);
        for (size_t i = 0; i < n; i++)
            moved[shift + i] = w[i] = five_value(0, i, 0);
        moved[shift + n] = 7;
        dml_param params[] = {
            {.param = w, .grad = g, .count = n},
            {.param = moved + shift, .grad = grad + shift, .count = n},
        };
        dml_optim *optim = make_optim(ctx, rule, params, 2, NULL);
        for (size_t step = 1; step <= 3; step++) {
            for (size_t i = 0; i < n; i++)
                grad[shift + i] = g[i] = five_value(0, i, step);
            assert_int_equal(dml_optim_step(optim, 0.1), DML_OK);
        }
        dml_optim_destroy(optim);
        assert_memory_equal(w, moved + shift, n * sizeof *w);
        assert_true(moved[shift + n] == 7);
        assert_true(n == 0 || w[0] != five_value(0, 0, 0));
    }
    free(w);
    dml_ctx_destroy(ctx);
}

static void options_are_refused_by_name(void **state)
{
    (void)state;
    dml_ctx *ctx = context();
    float w = 1, g = 1;
    dml_param param = {.param = &w, .grad = &g, .count = 1};
    dml_optim *optim = NULL;
    dml_optim_opts opts;
#define REFUSE(rule, field, value, word)                                       \
    do {                                                                       \
        dml_optim_opts_init(&opts, DML_OPTIM_##rule);                          \
        opts.field = (value);                                                  \
        assert_int_equal(                                                      \
            dml_optim_create(ctx, DML_OPTIM_##rule, &param, 1, &opts, &optim), \
            DML_EINVAL);                                                       \
        expect_error(ctx, DML_EINVAL, "dml_optim_create", word);               \
    } while (0)
    REFUSE(ADAM, beta1, 1, "beta1 is 1");
    REFUSE(ADAMW, beta1, -0.5, "beta1");
    REFUSE(LAMB, beta2, NAN, "beta2");
    REFUSE(ADAM, eps, 0, "eps is 0");
    REFUSE(ADAGRAD, eps, 0, "eps is 0");
    REFUSE(LAMB, eps, 1e-60, "eps");
    REFUSE(LARS, eps, -1, "eps");
    REFUSE(LARS, trust, 0, "trust is 0");
    REFUSE(LARS, momentum, 1, "momentum is 1");
    REFUSE(LARS, trust_max, -1, "trust_max");
    REFUSE(SGD, velocity, (dml_velocity)7, "velocity 7");
    REFUSE(SGD, momentum_correction, 1, "momentum_correction needs velocity");
    REFUSE(ADAM, weight_decay, 1e60, "weight_decay is 1e+60");
    REFUSE(SGD, clip_norm, -1, "clip_norm");
    REFUSE(SGD, clip_value, INFINITY, "clip_value");
    REFUSE(SGD, loss_scale, -1, "loss_scale");
    REFUSE(SGD, finite, (dml_finite)9, "finite 9");
    REFUSE(SGD, threads, 0, "threads is 0");
    REFUSE(SGD, threads, 100000, "threads is 100000");
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.clip_norm = opts.clip_value = 1;
    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, &param, 1, &opts, &optim),
                     DML_EINVAL);
    expect_error(ctx, DML_EINVAL, "dml_optim_create", "use one of them");
    opts = (dml_optim_opts){0};
#define REFUSE_PARAM(field, value, word)                                              \
    do {                                                                              \
        dml_param bad = param;                                                        \
        bad.field = (value);                                                          \
        assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, &bad, 1, NULL, &optim), \
                         DML_EINVAL);                                                 \
        expect_error(ctx, DML_EINVAL, "dml_optim_create", word);                      \
    } while (0)
    REFUSE_PARAM(dtype, DML_F64, "dtype is f64");
    REFUSE_PARAM(grad_dtype, DML_I8, "grad_dtype is i8");
    REFUSE_PARAM(first, 1, "1 elements from 1 on");
    REFUSE_PARAM(first, SIZE_MAX, "set first and whole");
    REFUSE_PARAM(param, NULL, "no param");
    assert_null(optim);
    dml_ctx_destroy(ctx);
}

static void lack_of_memory_is_said(void **state)
{
    (void)state;
    uint16_t w = 0;
    float g = 0;
    dml_param param = {.param = &w, .grad = &g, .count = 1, .dtype = DML_BF16};
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_LAMB);
    opts.threads = 3;
    int failures = 0;
    for (char n = '1'; n <= '9'; n++) {
        setenv("DML_TEST_ALLOC_FAIL", (char[]){n, '\0'}, 1);
        dml_ctx *ctx = context();
        dml_optim *optim = NULL;
        dml_status status =
            dml_optim_create(ctx, DML_OPTIM_LAMB, &param, 1, &opts, &optim);
        failures += status == DML_ENOMEM;
        assert_true(status == DML_OK || optim == NULL);
        dml_optim_destroy(optim);
        dml_ctx_destroy(ctx);
    }
    unsetenv("DML_TEST_ALLOC_FAIL");
    assert_int_equal(failures, 8); /* six of its own, two of the threads */

    dml_ctx *ctx = context();
    dml_optim *optim = NULL;
    param.count = SIZE_MAX / 2;
    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_LAMB, &param, 1, NULL, &optim),
                     DML_ENOMEM);
    dml_ctx_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_may_be_scaled),
        cmocka_unit_test(steps_have_their_size),
        cmocka_unit_test(clipping_bounds_the_step),
        cmocka_unit_test(exempt_tensors_do_not_decay),
        cmocka_unit_test(momentum_correction_makes_places_equal),
        cmocka_unit_test(place_and_count_are_free),
        cmocka_unit_test(options_are_refused_by_name),
        cmocka_unit_test(lack_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
