/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sentences shared out over ranks by T L^2: all of them, in order, and no share larger
 * than the mean by more than one sentence.
 */
#include "dml/rng.h"

#include "shares.h"
#include "unit.h"

#include <stdlib.h>

enum { SENTENCES = 3000, LABELS = 22 };

/* One in a hundred is long. */
static size_t length(uint64_t seed, size_t i)
{
    double u = dml_rng_uniform(seed, 1, 2 * i), v = dml_rng_uniform(seed, 1, 2 * i + 1);
    return 1 + (size_t)(v * (u < 0.01 ? 2000 : 40));
}

static void check_shares(struct job *job, const struct corpus *corpus, size_t parts,
                         size_t longest)
{
    size_t bounds[9];
    assert_int_equal(shares_cut(job, corpus, LABELS, parts, bounds), DML_OK);
    assert_int_equal(bounds[0], 0);
    assert_int_equal(bounds[parts], corpus->nsentences);
    size_t all = corpus->token_at[corpus->nsentences];
    for (size_t p = 0; p < parts; p++) {
        assert_true(bounds[p] <= bounds[p + 1]);
        size_t tokens = corpus->token_at[bounds[p + 1]] - corpus->token_at[bounds[p]];
        if (tokens > all / parts + longest)
            fail_msg("part %zu of %zu has %zu of %zu tokens", p, parts, tokens, all);
    }
}

static void test_shares(void **state)
{
    static const size_t counts[] = {1, 2, 3, 4, 8};
    struct job job = {.app = "test", .ctx = *state};
    size_t *token_at = calloc(SENTENCES + 1, sizeof *token_at);
    for (uint64_t seed = 1; seed <= 5; seed++) {
        size_t longest = 0;
        for (size_t i = 0; i < SENTENCES; i++) {
            size_t tokens = length(seed, i);
            token_at[i + 1] = token_at[i] + tokens;
            longest = tokens > longest ? tokens : longest;
        }
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            struct corpus corpus = {.nsentences = SENTENCES, .token_at = token_at};
            check_shares(&job, &corpus, counts[k], longest);
            corpus.nsentences = 2; /* fewer sentences than ranks */
            check_shares(&job, &corpus, counts[k], longest);
        }
    }
    free(token_at);
}

static int start(void **state)
{
    dml_ctx *ctx = NULL;
    dml_status status = dml_ctx_create(NULL, &ctx);
    *state = ctx;
    return status == DML_OK ? 0 : -1;
}

static int end(void **state)
{
    dml_ctx_destroy(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shares)};
    return cmocka_run_group_tests_name("crf_shares", tests, start, end);
}
