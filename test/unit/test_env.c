/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Variables of the environment: a value that libdml does not know is as good as none,
 * and is told once.
 */
#include "dml/ctx.h"

#include "core/core.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The lines that a context logged. */
struct heard {
    int n;
    char last[512];
};

static void listen(void *user, dml_log_level level, const char *line)
{
    struct heard *heard = user;
    (void)level;
    heard->n++;
    snprintf(heard->last, sizeof heard->last, "%s", line);
}

/* Is a value taken? Where not, one line names it. */
static void check_value(const char *name, const char *value, bool taken)
{
    struct heard heard = {0};
    char variable[64], told[64];
    dml_ctx_opts opts;
    dml_ctx *ctx = NULL;
    snprintf(variable, sizeof variable, "DML_%s", name);
    snprintf(told, sizeof told, "DML_%s=%s is ignored; use ", name, value);
    setenv(variable, value, 1);
    dml_ctx_opts_init(&opts);
    opts.log = listen;
    opts.log_user = &heard;
    assert_int_equal(dml_ctx_create(&opts, &ctx), DML_OK);
    unsetenv(variable);
    const char *found = dml__ctx_env(ctx, name);
    dml__ctx_check_env(ctx);
    dml__ctx_check_env(ctx);
    if (taken) {
        assert_string_equal(found, value);
        assert_int_equal(heard.n, 0);
    } else {
        assert_null(found);
        assert_int_equal(heard.n, 1);
        assert_non_null(strstr(heard.last, told));
    }
    dml_ctx_destroy(ctx);
}

static void test_words(void **state)
{
    (void)state;
    check_value("PROGRESS", "patient", true);
    check_value("PROGRESS", "Thread", false);
    check_value("PROGRESS", "pol", false);
    check_value("PROGRESS", "poll ", false);
    check_value("PROGRESS", "poll thread", false);
    check_value("REPRODUCIBLE", "0", true);
    check_value("REPRODUCIBLE", "yes", false);
    check_value("LOG", "warning", false);
    check_value("ALLREDUCE", "anything", true); /* judged where it is used */
}

static void test_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        check_value("TIMEOUT_S", ((const char *[]){"0", "0.5", "1e3", "600"})[i], true);
    for (int i = 0; i < 5; i++)
        check_value("TIMEOUT_S", ((const char *[]){"-1", "inf", "nan", "5x", "x"})[i],
                    false);
    for (int i = 0; i < 4; i++)
        check_value("NODES", ((const char *[]){"2", "0", "0,0,1", "7,7"})[i], true);
    for (int i = 0; i < 6; i++)
        check_value("NODES",
                    ((const char *[]){"-1,0", "0,,1", "two", ",", "0,", "9999999"})[i],
                    false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
