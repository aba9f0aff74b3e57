/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SGD against a trajectory in f64, in every kernel set; bad options; lack of memory.
 *
 * The tolerance is no guess: a bound on the error of each f32 operation (half a unit in
 * the last place, u = 2^-24 of its result) is carried through the recurrence beside the
 * f64 values, and f32 must stay inside it.
 */
#include "dml/optim.h"

#include "kernels/kernels.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 20, COUNT = 77 };

/* One element in f64: weight and velocity, and how far f32 may be from them. */
struct exact {
    double w, v, w_error, v_error;
};

static void exact_step(struct exact *e, double g, double lr, double mu, double decay,
                       bool nesterov)
{
    const double u = 0x1p-24;
    double d = g + decay * e->w;
    double d_error = decay * e->w_error + u * fabs(decay * e->w) + u * fabs(d);
    double v = mu * e->v + d;
    double v_error = mu * e->v_error + u * fabs(mu * e->v) + d_error + u * fabs(v);
    double move = nesterov ? d + mu * v : v;
    double move_error =
        nesterov ? d_error + mu * v_error + u * fabs(mu * v) + u * fabs(move) : v_error;
    double w = e->w - lr * move;
    e->w_error += lr * move_error + u * fabs(lr * move) + u * fabs(w);
    e->w = w;
    e->v = v;
    e->v_error = v_error;
}

static float draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 0x1p23f - 1;
}

struct variant {
    double momentum, weight_decay;
    int nesterov;
};

/* Three tensors: one empty, one without decay. The weights after the run go to end. */
static void run_trajectory(dml_ctx *ctx, const struct variant *variant,
                           float end[2][COUNT])
{
    static struct exact exact[2][COUNT];
    float w[2][COUNT], g[2][COUNT];
    uint32_t seed = 5;
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < COUNT; i++) {
            w[t][i] = draw(&seed);
            exact[t][i] = (struct exact){.w = w[t][i]};
        }
    const dml_param params[] = {
        {.param = w[0], .grad = g[0], .count = COUNT},
        {.count = 0},
        {.param = w[1], .grad = g[1], .count = COUNT, .flags = DML_PARAM_NO_DECAY},
    };
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.momentum = variant->momentum;
    opts.weight_decay = variant->weight_decay;
    opts.nesterov = variant->nesterov;
    dml_optim *optim = NULL;
    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, params, 3, &opts, &optim),
                     DML_OK);
    for (int step = 0; step < STEPS; step++) {
        float lr = 0.1f / (float)(1 + step / 5);
        for (int t = 0; t < 2; t++)
            for (int i = 0; i < COUNT; i++) {
                double decay = t == 0 ? (float)variant->weight_decay : 0;
                g[t][i] = draw(&seed);
                exact_step(&exact[t][i], g[t][i], lr, (float)variant->momentum, decay,
                           variant->nesterov != 0);
            }
        assert_int_equal(dml_optim_step(optim, lr), DML_OK);
        for (int t = 0; t < 2; t++)
            for (int i = 0; i < COUNT; i++) {
                double error = fabs(w[t][i] - exact[t][i].w);
                if (error > 1.01 * exact[t][i].w_error) /* 1.01: terms in u squared */
                    fail_msg("step %d tensor %d element %d: %a, exact %a", step, t, i,
                             w[t][i], exact[t][i].w);
            }
    }
    dml_optim_destroy(optim);
    memcpy(end, w, sizeof w);
}

static void sgd_follows_f64_and_sets_agree(void **state)
{
    (void)state;
    static const struct variant variants[] = {
        {0, 0, 0},      {0, 0.01, 0}, {0.9, 0, 0},
        {0.9, 0.01, 0}, {0.9, 0, 1},  {0.9, 0.01, 1},
    };
    for (size_t k = 0; k < sizeof variants / sizeof *variants; k++) {
        float first[2][COUNT], end[2][COUNT];
        const struct dml__kernels *set;
        for (size_t s = 0; (set = dml__kernels_usable(s)) != NULL; s++) {
            dml_ctx_opts opts;
            dml_ctx_opts_init(&opts);
            opts.isa = set->name;
            dml_ctx *ctx = NULL;
            assert_int_equal(dml_ctx_create(&opts, &ctx), DML_OK);
            run_trajectory(ctx, &variants[k], s == 0 ? first : end);
            if (s > 0)
                assert_memory_equal(end, first, sizeof end);
            dml_ctx_destroy(ctx);
        }
    }
}

/* By hand: mu 1/2, lambda 1/4, eta 1/8 keep every value exact in f32. */
static void sgd_by_hand(void **state)
{
    (void)state;
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    for (int nesterov = 0; nesterov < 2; nesterov++) {
        float w = 1, g = 1;
        dml_param param = {.param = &w, .grad = &g, .count = 1};
        dml_optim_opts opts;
        dml_optim_opts_init(&opts, DML_OPTIM_SGD);
        assert_true(opts.momentum == 0.9 && opts.weight_decay == 0);
        opts.momentum = 0.5;
        opts.weight_decay = 0.25;
        opts.nesterov = nesterov;
        dml_optim *optim = NULL;
        assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, &param, 1, &opts, &optim),
                         DML_OK);
        /* g = 1.25, v = 1.25; Nesterov moves by 1.25 + 0.625. */
        assert_int_equal(dml_optim_step(optim, 0.125), DML_OK);
        float first = nesterov ? 1 - 0.125f * 1.875f : 1 - 0.125f * 1.25f;
        assert_true(w == first);
        float d = 1 + 0.25f * first, v = 0.5f * 1.25f + d;
        assert_int_equal(dml_optim_step(optim, 0.125), DML_OK);
        assert_true(w == first - 0.125f * (nesterov ? d + 0.5f * v : v));
        float before = w;
        assert_int_equal(dml_optim_step(optim, 0), DML_OK);
        assert_true(w == before);
        dml_optim_destroy(optim);
    }
    dml_ctx_destroy(ctx);
}

static void expect_text(dml_ctx *ctx, const char *where, const char *word)
{
    dml_error error;
    dml_ctx_last_error(ctx, &error);
    assert_int_equal(error.status, DML_EINVAL);
    assert_string_equal(error.where, where);
    if (strstr(error.text, word) == NULL)
        fail_msg("\"%s\" does not name %s", error.text, word);
}

/* Steps with momentum 1/2, 1/4 and 0, of numbers that f32 holds exactly. */
static void momentum_may_change(void **state)
{
    (void)state;
    static const double momenta[] = {0.5, 0.25, 0};
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    float w = 0, velocity = 0, want = 0;
    const float g = 4;
    const dml_param param = {.param = &w, .grad = &g, .count = 1};
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.momentum = 0.5;
    dml_optim *optim = NULL;
    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, &param, 1, &opts, &optim),
                     DML_OK);
    for (int step = 0; step < 6; step++) {
        const double momentum = momenta[step % 3];
        velocity = (float)momentum * velocity + g;
        want -= velocity;
        assert_int_equal(dml_optim_set_momentum(optim, momentum), DML_OK);
        assert_int_equal(dml_optim_step(optim, 1), DML_OK);
        assert_true(w == want);
    }
    assert_int_equal(dml_optim_set_momentum(optim, 1), DML_EINVAL);
    assert_int_equal(dml_optim_set_momentum(optim, -0.5), DML_EINVAL);
    assert_int_equal(dml_optim_set_momentum(NULL, 0.5), DML_EINVAL);
    dml_optim_destroy(optim);

    opts.momentum = 0;
    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, &param, 1, &opts, &optim),
                     DML_OK);
    assert_int_equal(dml_optim_set_momentum(optim, 0), DML_OK);
    assert_int_equal(dml_optim_set_momentum(optim, 0.5), DML_EINVAL); /* no velocity */
    dml_optim_destroy(optim);
    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_ADAM, &param, 1, NULL, &optim),
                     DML_OK);
    assert_int_equal(dml_optim_set_momentum(optim, 0.5), DML_EINVAL);
    dml_optim_destroy(optim);
    dml_ctx_destroy(ctx);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    float w[2] = {1, 2}, g[2] = {0, 0};
    dml_param param = {.param = w, .grad = g, .count = 2};
    dml_param no_grad = {.param = w, .count = 2};
    dml_optim *optim = NULL;
    dml_optim_opts opts;
#define REFUSE(field, value)                                                \
    do {                                                                    \
        dml_optim_opts_init(&opts, DML_OPTIM_SGD);                          \
        opts.field = (value);                                               \
        assert_int_equal(                                                   \
            dml_optim_create(ctx, DML_OPTIM_SGD, &param, 1, &opts, &optim), \
            DML_EINVAL);                                                    \
        expect_text(ctx, "dml_optim_create", #field);                       \
    } while (0)
    REFUSE(momentum, 1);
    REFUSE(momentum, -0.1);
    REFUSE(momentum, NAN);
    REFUSE(weight_decay, -1);
    REFUSE(weight_decay, INFINITY);
    REFUSE(size, 3);
#undef REFUSE
    dml_optim_opts_init(&opts, DML_OPTIM_SGD);
    opts.momentum = 0;
    opts.nesterov = 1;
    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, &param, 1, &opts, &optim),
                     DML_EINVAL);
    expect_text(ctx, "dml_optim_create", "nesterov");
    assert_int_equal(dml_optim_create(ctx, (dml_optim_rule)9, &param, 1, NULL, &optim),
                     DML_EINVAL);
    expect_text(ctx, "dml_optim_create", "rule 9");
    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, &no_grad, 1, NULL, &optim),
                     DML_EINVAL);
    expect_text(ctx, "dml_optim_create", "grad");
    assert_null(optim);

    assert_int_equal(dml_optim_create(ctx, DML_OPTIM_SGD, &param, 1, NULL, &optim),
                     DML_OK);
    assert_int_equal(dml_optim_step(optim, NAN), DML_EINVAL);
    expect_text(ctx, "dml_optim_step", "lr");
    assert_int_equal(dml_optim_step(optim, INFINITY), DML_EINVAL);
    assert_int_equal(dml_optim_step(optim, -0.1), DML_EINVAL);
    assert_true(w[0] == 1 && w[1] == 2);
    dml_optim_destroy(optim);
    dml_optim_destroy(NULL);
    dml_ctx_destroy(ctx);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    float w = 1, g = 1;
    dml_param param = {.param = &w, .grad = &g, .count = 1};
    int failures = 0;
    for (char n = '1'; n <= '7'; n++) {
        const char value[] = {n, '\0'};
        setenv("DML_TEST_ALLOC_FAIL", value, 1);
        dml_ctx *ctx = NULL;
        assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
        dml_optim *optim = NULL;
        dml_status status =
            dml_optim_create(ctx, DML_OPTIM_SGD, &param, 1, NULL, &optim);
        failures += status == DML_ENOMEM;
        assert_true(status == DML_OK || optim == NULL);
        dml_optim_destroy(optim);
        dml_ctx_destroy(ctx);
    }
    unsetenv("DML_TEST_ALLOC_FAIL");
    assert_int_equal(failures, 6); /* optimizer, tensors, names, state, sums, marks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_follows_f64_and_sets_agree),
        cmocka_unit_test(sgd_by_hand),
        cmocka_unit_test(momentum_may_change),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
