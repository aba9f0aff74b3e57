/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * L-BFGS and OWL-QN on functions whose minimum is known, and on a model whose sentences
 * were drawn from it.
 */
#include "dml/rng.h"

#include "crf_reference.h"
#include "lbfgs.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dml_status alone(void *user, double *values, size_t n)
{
    (void)user;
    (void)values;
    (void)n;
    return DML_OK;
}

static dml_status go_on(void *user, const struct lbfgs_state *state, const double *x,
                        bool *stop)
{
    (void)user;
    (void)state;
    (void)x;
    (void)stop;
    return DML_OK;
}

/* ---- known functions ------------------------------------------------------------- */

enum { N = 50 };

/* Sum of (i + 1) / 2 (x_i - i + 20)^2. */
static dml_status bowl(void *user, const double *x, double *value, double *gradient)
{
    (void)user;
    *value = 0;
    for (int i = 0; i < N; i++) {
        double off = x[i] - i + 20;
        *value += (i + 1) * off * off / 2;
        gradient[i] = (i + 1) * off;
    }
    return DML_OK;
}

/* Rosenbrock's valley in pairs. */
static dml_status valley(void *user, const double *x, double *value, double *gradient)
{
    (void)user;
    *value = 0;
    for (int i = 0; i < N; i += 2) {
        double a = 1 - x[i], b = x[i + 1] - x[i] * x[i];
        *value += a * a + 100 * b * b;
        gradient[i] = -2 * a - 400 * x[i] * b;
        gradient[i + 1] = 200 * b;
    }
    return DML_OK;
}

static const struct lbfgs_opts tight = {.memory = 6, .epsilon = 1e-10};

static struct lbfgs_state
run(dml_status (*f)(void *, const double *, double *, double *), void *user,
    size_t count, struct lbfgs_opts opts, double *x)
{
    const struct lbfgs_problem problem = {
        .user = user, .count = count, .evaluate = f, .sum = alone, .progress = go_on};
    struct lbfgs_state state;
    struct job job = {0};
    assert_int_equal(
        lbfgs_minimise(&problem, &opts, kernels_find("c", 8), &job, x, &state), DML_OK);
    return state;
}

static void test_bowl(void **unused)
{
    (void)unused;
    double x[N] = {0};
    struct lbfgs_state state = run(bowl, NULL, N, tight, x);
    assert_int_equal(state.end, LBFGS_CONVERGED);
    assert_true(state.iteration < 120);
    for (int i = 0; i < N; i++)
        assert_true(fabs(x[i] - (i - 20)) < 1e-6);
}

static void test_valley(void **unused)
{
    (void)unused;
    double x[N];
    for (int i = 0; i < N; i++)
        x[i] = i % 2 ? 1 : -1.2;
    struct lbfgs_state state = run(valley, NULL, N, tight, x);
    assert_true(state.iteration < 300);
    for (int i = 0; i < N; i++)
        assert_true(fabs(x[i] - 1) < 1e-6);
}

/* With L1 the minimum of k/2 (x - a)^2 + l |x| is a moved by l/k towards 0, or 0. */
static void test_l1(void **unused)
{
    (void)unused;
    double x[N] = {0}, l1 = 90;
    struct lbfgs_opts opts = tight;
    opts.l1 = l1;
    opts.max_iterations = 500;
    opts.epsilon = 1e-8;
    struct lbfgs_state state = run(bowl, NULL, N, opts, x);
    int zeros = 0;
    for (int i = 0; i < N; i++) {
        double a = i - 20, move = l1 / (i + 1);
        double wanted = fabs(a) <= move ? 0 : a > 0 ? a - move : a + move;
        assert_true(fabs(x[i] - wanted) < 1e-5);
        zeros += x[i] == 0;
    }
    assert_true(zeros > 5 && state.end != LBFGS_LIMIT);
}

static void test_limit(void **unused)
{
    (void)unused;
    double x[N] = {0};
    struct lbfgs_opts opts = tight;
    opts.max_iterations = 3;
    struct lbfgs_state state = run(bowl, NULL, N, opts, x);
    assert_int_equal(state.end, LBFGS_LIMIT);
    assert_int_equal(state.iteration, 3);
}

/* ---- a known model --------------------------------------------------------------- */

static dml_status likelihood(void *user, const double *x, double *value,
                             double *gradient)
{
    struct problem *problem = user;
    objective_set(&problem->objective, x);
    return objective_run(&problem->objective, NULL, problem->shard.nsentences, value,
                         gradient);
}

/* Label after "before" (or at the start, before = 3) drawn by scores s and weights w.
 */
static uint16_t draw(const double *s, const double (*w)[3], size_t before, double u)
{
    double p[3], sum = 0;
    for (size_t j = 0; j < 3; j++)
        sum += p[j] = exp(s[j] + (before < 3 ? w[before][j] : 0));
    for (size_t j = 0; j < 2; j++) {
        u -= p[j] / sum;
        if (u < 0)
            return (uint16_t)j;
    }
    return 2;
}

/* Labels drawn from a Markov chain are a CRF without attributes that tell anything: the
 * differences of its transitions' weights come back, as far as a sample lets them. */
static void test_recovery(void **unused)
{
    (void)unused;
    static const double chain[3][3] = {{1, -1, 0}, {0.5, 0.5, -1}, {-1, 0, 1}};
    static const double none[3] = {0, 0, 0};
    enum { SENTENCES = 400, LENGTH = 30 };
    struct problem problem;
    const struct problem_kind kind = {
        .nsentences = SENTENCES, .longest = LENGTH, .nattrs = 4, .nlabels = 3};
    problem_make(&problem, 17, &kind, kernels_find("c", 8), 1);
    uint64_t counter = 0;
    for (size_t i = 0; i < SENTENCES; i++)
        for (size_t t = problem.shard.token_at[i]; t < problem.shard.token_at[i + 1];
             t++) {
            size_t before =
                t > problem.shard.token_at[i] ? problem.shard.labels[t - 1] : 3;
            problem.shard.labels[t] =
                draw(none, chain, before, dml_rng_uniform(23, 5, counter++));
        }
    size_t n = features_count(&problem.features), first = problem.features.nstate;
    assert_int_equal(problem.features.ntrans, 9);
    double *x = calloc(n, sizeof *x);
    struct lbfgs_opts opts = {.memory = 6, .epsilon = 1e-6, .max_iterations = 400};
    run(likelihood, &problem, n, opts, x);
    /* Locally normalised rows of the chain differ from a globally normalised model's by
     * terms of the row and the column alone: interactions are the same. */
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++) {
            const double *w = x + first;
            double found = w[3 * i + j] - w[3 * i + 2] - w[6 + j] + w[8];
            double wanted = chain[i][j] - chain[i][2] - chain[2][j] + chain[2][2];
            if (fabs(found - wanted) > 0.35)
                fail_msg("interaction %zu %zu: %.3f, %.3f in the model", i, j, found,
                         wanted);
        }
    free(x);
    problem_free(&problem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bowl),     cmocka_unit_test(test_valley),
        cmocka_unit_test(test_l1),       cmocka_unit_test(test_limit),
        cmocka_unit_test(test_recovery),
    };
    return cmocka_run_group_tests_name("crf_lbfgs", tests, NULL, NULL);
}
