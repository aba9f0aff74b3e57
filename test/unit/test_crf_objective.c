/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loss, marginals, gradient and best labellings of chains, in every kernel set that
 * this processor has and in both types, against enumeration and finite differences.
 */
#include "crf_reference.h"
#include "nbest.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The set "i" if the processor has it, or NULL behind the last. */
static const struct kernels *set_at(size_t i)
{
    static const struct kernels *sets[6];
    static size_t count;
    if (count == 0)
        for (size_t bytes = 4; bytes <= 8; bytes += 4) {
            sets[count++] = kernels_find("c", bytes);
#ifdef __x86_64__
            if (__builtin_cpu_supports("avx2"))
                sets[count++] = kernels_find("avx2", bytes);
            if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
                sets[count++] = kernels_find("avx512", bytes);
#endif
        }
    return i < count ? sets[i] : NULL;
}

static double tolerance(const struct kernels *kernels)
{
    return kernels->bytes == 4 ? 2e-5 : 1e-12;
}

static void check_near(double got, double wanted, double relative, const char *what)
{
    if (fabs(got - wanted) > relative * fmax(1, fabs(wanted)))
        fail_msg("%s: %.17g, %.17g expected", what, got, wanted);
}

/* ---- against enumeration --------------------------------------------------------- */

static void check_sentence(struct problem *problem, size_t sentence)
{
    const struct kernels *kernels = problem->objective.kernels;
    const struct chain *chain = &problem->objective.chain;
    struct tokens tokens = shard_tokens(&problem->shard, sentence);
    struct bench bench = {0};
    uint16_t best[16], found[16];
    double marginals[16 * 8], gradient[1024], found_gradient[1024], loss;
    double z, near = tolerance(kernels);
    size_t nfeatures = features_count(&problem->features);
    assert_true(nfeatures <= 1024);
    double wanted = reference_enumerate(problem, sentence, best, marginals, gradient);
    assert_true(bench_reserve(&bench, kernels, chain->pad, &tokens));
    bench_scores(&bench, kernels, chain, &tokens);
    bench_best(&bench, kernels, chain, &tokens, found);
    /* Labellings of equal score are equally good. */
    check_near(reference_score(problem, sentence, found),
               reference_score(problem, sentence, best), near, "best score");
    z = bench_sum(&bench, kernels, chain, &tokens, NULL);
    check_near(z, wanted, near, "log Z");
    for (size_t t = 0; t < tokens.count; t++)
        for (size_t j = 0; j < chain->labels; j++)
            check_near(bench_number(kernels, bench.beta, t * chain->pad + j),
                       marginals[t * chain->labels + j], near, "marginal");
    assert_int_equal(objective_run(&problem->objective, &(uint32_t){(uint32_t)sentence},
                                   1, &loss, found_gradient),
                     DML_OK);
    for (size_t i = 0; i < nfeatures; i++)
        check_near(found_gradient[i], gradient[i], 4 * near, "gradient");
    bench_free(&bench);
}

static void test_enumeration(void **state)
{
    (void)state;
    for (size_t k = 0; set_at(k); k++)
        for (size_t labels = 1; labels <= 4; labels++)
            for (uint64_t seed = 1; seed <= 10; seed++) {
                struct problem problem;
                const struct problem_kind kind = {.nsentences = 8,
                                                  .longest = 6,
                                                  .nattrs = 12,
                                                  .nlabels = labels,
                                                  .valued = seed % 2 == 0,
                                                  .pairs = seed > 4,
                                                  .scale = 2};
                problem_make(&problem, seed, &kind, set_at(k), 1);
                for (size_t i = 0; i < 8; i++)
                    check_sentence(&problem, i);
                problem_free(&problem);
            }
}

static void check_nbest(bool pairs)
{
    struct problem problem;
    struct nbest nbest = {0};
    struct bench bench = {0};
    const struct kernels *kernels = kernels_find("c", 8);
    const struct problem_kind kind = {.nsentences = 20,
                                      .longest = 4,
                                      .nattrs = 12,
                                      .nlabels = 3,
                                      .pairs = pairs,
                                      .scale = 2};
    problem_make(&problem, 7, &kind, kernels, 1);
    const struct chain *chain = &problem.objective.chain;
    for (size_t i = 0; i < 20; i++) {
        struct tokens tokens = shard_tokens(&problem.shard, i);
        size_t all = 1;
        for (size_t t = 0; t < tokens.count; t++)
            all *= 3;
        assert_true(bench_reserve(&bench, kernels, chain->pad, &tokens));
        bench_scores(&bench, kernels, chain, &tokens);
        assert_true(nbest_copy(&nbest, kernels, chain, &tokens, &bench));
        assert_true(nbest_run(&nbest, problem.objective.trans, &tokens, 3, 100));
        assert_int_equal(nbest.found, all);
        double sum = 0, z = bench_sum(&bench, kernels, chain, &tokens, NULL);
        for (size_t k = 0; k < all; k++) {
            const uint16_t *labels = nbest.labels + k * tokens.count;
            check_near(nbest.score[k], reference_score(&problem, i, labels), 1e-12,
                       "score of a labelling");
            assert_true(k == 0 || nbest.score[k] <= nbest.score[k - 1]);
            sum += exp(nbest.score[k] - z);
        }
        check_near(sum, 1, 1e-12, "sum of all probabilities");
    }
    bench_free(&bench);
    nbest_free(&nbest);
    problem_free(&problem);
}

static void test_nbest(void **state)
{
    (void)state;
    check_nbest(false);
    check_nbest(true);
}

/* ---- loss and gradient ----------------------------------------------------------- */

static void check_loss(size_t labels, const struct kernels *kernels, int threads,
                       bool valued, bool pairs)
{
    struct problem problem;
    double loss;
    const struct problem_kind kind = {.nsentences = 12,
                                      .longest = 9,
                                      .nattrs = 40,
                                      .nlabels = labels,
                                      .valued = valued,
                                      .pairs = pairs,
                                      .scale = 1};
    problem_make(&problem, 11 * labels, &kind, kernels, threads);
    size_t n = features_count(&problem.features);
    double *gradient = calloc(n, sizeof *gradient), norm = 0;
    assert_int_equal(objective_run(&problem.objective, NULL, 12, &loss, gradient),
                     DML_OK);
    check_near(loss, reference_loss(&problem), tolerance(kernels), "loss");
    /* Central differences of the reference, at every seventh weight. */
    for (size_t i = 0; i < n; i += i + 8 < n ? 7 : 1) {
        double keep = problem.weights[i], step = 1e-5, up, down;
        problem.weights[i] = keep + step;
        up = reference_loss(&problem);
        problem.weights[i] = keep - step;
        down = reference_loss(&problem);
        problem.weights[i] = keep;
        norm = (up - down) / (2 * step);
        if (fabs(gradient[i] - norm) > 2e-5 * fmax(1, fabs(norm)))
            fail_msg("%s f%zu, %zu labels: gradient %zu of %zu is %.10g, %.10g by "
                     "differences",
                     kernels->isa, 8 * kernels->bytes, labels, i, n, gradient[i], norm);
    }
    free(gradient);
    problem_free(&problem);
}

static void test_gradient(void **state)
{
    (void)state;
    static const size_t labels[] = {1, 2, 5, 9, 17, 23, 33};
    for (size_t k = 0; set_at(k); k++)
        for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
            for (int pairs = 0; pairs < 2; pairs++)
                check_loss(labels[i], set_at(k), 1 + (int)(i % 3), i % 2 == 1,
                           pairs == 1);
}

/* Widths of more vectors than registers. */
static void test_many_labels(void **state)
{
    (void)state;
    static const size_t labels[] = {47, 64, 65, 100, 129};
    for (size_t k = 0; set_at(k); k++)
        for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
            struct problem problem;
            double loss;
            const struct problem_kind kind = {.nsentences = 6,
                                              .longest = 8,
                                              .nattrs = 30,
                                              .nlabels = labels[i],
                                              .pairs = i % 2 == 0,
                                              .scale = 1};
            problem_make(&problem, labels[i], &kind, set_at(k), 1);
            double *gradient =
                calloc(features_count(&problem.features), sizeof *gradient);
            assert_int_equal(
                objective_run(&problem.objective, NULL, 6, &loss, gradient), DML_OK);
            check_near(loss, reference_loss(&problem), tolerance(set_at(k)), "loss");
            /* Pairs' probabilities sum to the pairs: with all transitions there, the
             * gradients of those sum to what those that have no weight lack. */
            double sum = 0, best = 0;
            for (size_t f = 0; f < problem.features.nstate; f++)
                sum += fabs(gradient[f]);
            assert_true(isfinite(sum) && sum > 0);
            uint16_t *found = calloc(problem.shard.ntokens, sizeof *found);
            assert_int_equal(objective_label(&problem.objective, &problem.shard, found),
                             DML_OK);
            for (size_t s = 0; s < 6; s++) {
                const uint16_t *given =
                    problem.corpus.labels + problem.corpus.token_at[s];
                best = reference_score(&problem, s, found + problem.corpus.token_at[s]);
                assert_true(best >= reference_score(&problem, s, given) - 1e-4);
            }
            free(found);
            free(gradient);
            problem_free(&problem);
        }
}

/* 10^5 tokens: nothing drifts, overflows or underflows. */
static void test_long_sentence(void **state)
{
    (void)state;
    for (size_t k = 0; set_at(k); k++) {
        struct problem problem;
        double loss, gradient[512];
        const struct problem_kind kind = {.nsentences = 1,
                                          .longest = 100000,
                                          .nattrs = 9,
                                          .nlabels = 5,
                                          .pairs = k % 2 == 1,
                                          .scale = 3};
        problem_make(&problem, 3, &kind, set_at(k), 1);
        assert_true(features_count(&problem.features) <= 512);
        assert_true(problem.shard.ntokens > 20000);
        assert_int_equal(objective_run(&problem.objective, NULL, 1, &loss, gradient),
                         DML_OK);
        check_near(loss, reference_loss(&problem), 10 * tolerance(set_at(k)), "loss");
        problem_free(&problem);
    }
}

/* Threads add up the same sums in another order. */
static void test_threads(void **state)
{
    (void)state;
    struct problem problem[3];
    double loss[3], gradient[3][4096];
    const struct problem_kind kind = {.nsentences = 50,
                                      .longest = 12,
                                      .nattrs = 60,
                                      .nlabels = 7,
                                      .valued = true,
                                      .pairs = true,
                                      .scale = 1};
    for (int i = 0; i < 3; i++) {
        problem_make(&problem[i], 5, &kind, kernels_find("c", 8), i + 1);
        assert_true(features_count(&problem[i].features) <= 4096);
        assert_int_equal(
            objective_run(&problem[i].objective, NULL, 50, &loss[i], gradient[i]),
            DML_OK);
        check_near(loss[i], loss[0], 1e-13, "loss");
        for (size_t f = 0; f < features_count(&problem[0].features); f++)
            check_near(gradient[i][f], gradient[0][f], 1e-12, "gradient");
    }
    for (int i = 0; i < 3; i++)
        problem_free(&problem[i]);
}

/* Transitions that f32 cannot hold apart are an error, not a wrong number. */
static void check_range(bool pairs, double factor)
{
    struct problem problem;
    double loss, gradient[4096];
    const struct problem_kind kind = {.nsentences = 50,
                                      .longest = 12,
                                      .nattrs = 60,
                                      .nlabels = 7,
                                      .pairs = pairs,
                                      .scale = 1};
    problem_make(&problem, 5, &kind, kernels_find("c", 4), 1);
    assert_true(features_count(&problem.features) <= 4096);
    size_t first = pairs ? problem.features.nstate + problem.features.ntrans : 0;
    for (size_t i = first; i < features_count(&problem.features); i++)
        problem.weights[i] *= factor;
    objective_set(&problem.objective, problem.weights);
    assert_int_equal(objective_run(&problem.objective, NULL, 50, &loss, gradient),
                     DML_ENUMERIC);
    assert_non_null(strstr(problem.job.error, "too far apart"));
    problem_free(&problem);
}

static void test_out_of_range(void **state)
{
    (void)state;
    check_range(false, 1e38);
    check_range(true, 1e3);
    check_range(true, 1e38);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enumeration),   cmocka_unit_test(test_nbest),
        cmocka_unit_test(test_gradient),      cmocka_unit_test(test_many_labels),
        cmocka_unit_test(test_long_sentence), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_out_of_range),
    };
    return cmocka_run_group_tests_name("crf_objective", tests, NULL, NULL);
}
