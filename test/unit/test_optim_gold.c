/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Twenty steps of every optimizer against test/gold/optim.txt, which an independent
 * script wrote in double precision, in every kernel set, whose bits must agree.
 */
#include "optim_fixture.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 20, MAX_CASES = 64, LINE = 4096 };

struct gold_case {
    char name[64];
    dml_optim_rule rule;
    dml_optim_opts opts;
    bool shown[STEPS + 1];
    double w[STEPS + 1][FIVE][FIVE_MOST];
};

static struct gold_case *cases;
static size_t ncases;

static dml_optim_rule rule_named(const char *name)
{
    static const char *const names[] = {
#define NAME(NAME, number, name) [number] = name,
        DML_OPTIM_MAP(NAME)
#undef NAME
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return (dml_optim_rule)i;
    fail_msg("no rule is called %s", name);
    return DML_OPTIM_SGD;
}

static void set_option(dml_optim_opts *opts, const char *name, double value)
{
#define NUMBER(field)                           \
    {                                           \
#field, offsetof(dml_optim_opts, field) \
    }
    static const struct {
        const char *name;
        size_t offset;
    } numbers[] = {NUMBER(momentum),  NUMBER(weight_decay), NUMBER(beta1),
                   NUMBER(beta2),     NUMBER(eps),          NUMBER(trust),
                   NUMBER(trust_max), NUMBER(clip_norm),    NUMBER(clip_value)};
#undef NUMBER
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0) {
            memcpy((char *)opts + numbers[i].offset, &value, sizeof value);
            return;
        }
    if (strcmp(name, "nesterov") == 0)
        opts->nesterov = value != 0;
    else if (strcmp(name, "velocity") == 0)
        opts->velocity = (dml_velocity)value;
    else if (strcmp(name, "momentum_correction") == 0)
        opts->momentum_correction = value != 0;
    else if (strcmp(name, "bias_correction") == 0)
        opts->bias_correction = value != 0;
    else
        fail_msg("no option is called %s", name);
}

/* "case NAME RULE OPTION=VALUE..." */
static void read_case(char *line)
{
    assert_true(ncases < MAX_CASES);
    struct gold_case *c = &cases[ncases++];
    char *save, *word = strtok_r(line, " \n", &save);
    assert_string_equal(word, "case");
    snprintf(c->name, sizeof c->name, "%s", strtok_r(NULL, " \n", &save));
    c->rule = rule_named(strtok_r(NULL, " \n", &save));
    dml_optim_opts_init(&c->opts, c->rule);
    while ((word = strtok_r(NULL, " \n", &save)) != NULL) {
        char *value = strchr(word, '=');
        assert_non_null(value);
        *value++ = '\0';
        set_option(&c->opts, word, strtod(value, NULL));
    }
}

/* "STEP TENSOR VALUE..." */
static void read_values(char *at)
{
    assert_true(ncases > 0);
    struct gold_case *c = &cases[ncases - 1];
    long step = strtol(at, &at, 10), tensor = strtol(at, &at, 10);
    assert_in_range(step, 1, STEPS);
    assert_in_range(tensor, 0, FIVE - 1);
    c->shown[step] = true;
    for (size_t i = 0; i < five_counts[tensor]; i++) {
        char *end;
        c->w[step][tensor][i] = strtod(at, &end);
        assert_true(end != at);
        at = end;
    }
}

static int read_fixture(void **state)
{
    (void)state;
    static char line[LINE];
    cases = calloc(MAX_CASES, sizeof *cases);
    FILE *file = fopen(OPTIM_FIXTURE, "r");
    if (cases == NULL || file == NULL) {
        fprintf(stderr, "cannot read %s\n", OPTIM_FIXTURE);
        return -1;
    }
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "case", 4) == 0)
            read_case(line);
        else
            read_values(line);
    fclose(file);
    return 0;
}

static int free_fixture(void **state)
{
    (void)state;
    free(cases);
    return 0;
}

static double compare(const struct gold_case *c, const struct five *f, int step)
{
    double worst = 0;
    for (size_t t = 0; t < FIVE; t++)
        for (size_t i = 0; i < five_counts[t]; i++) {
            double want = c->w[step][t][i], error = fabs(f->w[t][i] - want);
            if (!(error <= 1e-6 * fmax(1, fabs(want))))
                fail_msg("%s, step %d, %s, element %zu: %.9g, not %.9g", c->name, step,
                         f->params[t].name, i, f->w[t][i], want);
            worst = fmax(worst, error / fmax(1, fabs(want)));
        }
    return worst;
}

static double follow(const struct gold_case *c, dml_ctx *ctx, struct five *f)
{
    double worst = 0;
    five_start(f);
    dml_optim *optim = make_optim(ctx, c->rule, f->params, FIVE, &c->opts);
    for (int step = 1; step <= STEPS; step++) {
        five_gradients(f, (size_t)step);
        assert_int_equal(dml_optim_step(optim, five_rate(c->rule, step)), DML_OK);
        if (c->shown[step])
            worst = fmax(worst, compare(c, f, step));
    }
    dml_optim_destroy(optim);
    return worst;
}

static void all_follow_the_fixture(void **state)
{
    (void)state;
    static struct five first, other;
    bool seen[NRULES] = {false};
    assert_true(ncases >= 20);
    double worst = 0;
    for (size_t k = 0; k < ncases; k++) {
        dml_ctx *ctx;
        seen[cases[k].rule] = true;
        assert_true(cases[k].shown[STEPS]);
        for (size_t set = 0; (ctx = context_of_set(set)) != NULL; set++) {
            struct five *f = set == 0 ? &first : &other;
            worst = fmax(worst, follow(&cases[k], ctx, f));
            if (memcmp(f->w, first.w, sizeof f->w) != 0)
                fail_msg("%s: %s has other bits", cases[k].name, dml_ctx_isa(ctx));
            dml_ctx_destroy(ctx);
        }
    }
    for (size_t i = 0; i < sizeof seen; i++)
        assert_true(seen[i]);
    print_message("%zu cases, largest error %.2g of 1e-6\n", ncases, worst);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_follow_the_fixture),
    };
    return cmocka_run_group_tests(tests, read_fixture, free_fixture);
}
