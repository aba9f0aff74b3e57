/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command lines of dml-cnn: what is understood, and the one line that says what is not;
 * and files that are whole or absent.
 */
#include "../../apps/common/outfile.h"
#include "options.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_WORDS 16

/* Parse "dml-cnn train" followed by words; the list ends with NULL. */
static enum cli_result parse(const char *const *words, struct cnn_options *options,
                             char error[CLI_TEXT])
{
    char *argv[MAX_WORDS + 3] = {(char *)"dml-cnn", (char *)"train"};
    int argc = 2;
    for (; *words; words++)
        argv[argc++] = (char *)*words;
    return cli_parse(&cnn_train_command, argc, argv, 2, options, error);
}

#define PARSE(options, error, ...) \
    parse((const char *const[]){__VA_ARGS__, NULL}, options, error)

static void defaults_are_those_of_the_help(void **state)
{
    (void)state;
    struct cnn_options options;
    char error[CLI_TEXT];
    assert_int_equal(parse((const char *const[]){NULL}, &options, error), CLI_OK);
    assert_string_equal(options.net, "small");
    assert_int_equal(options.batch, 128);
    assert_int_equal(options.accumulate, 1);
    assert_int_equal(options.threads, CLI_AUTO);
    assert_true(options.momentum == 0.9);
    assert_true(options.dropout == CLI_AUTO);
    assert_false(options.augment || options.nesterov || options.quiet);
    assert_null(options.report);
}

static void options_are_understood(void **state)
{
    (void)state;
    struct cnn_options options;
    char error[CLI_TEXT];
    assert_int_equal(PARSE(&options, error, "--net", "vgg", "--batch=64", "--augment",
                           "--lr", "1e-2", "--threads", "auto", "--report", "r.json",
                           "--epo", "7"),
                     CLI_OK);
    assert_string_equal(options.net, "vgg");
    assert_int_equal(options.batch, 64);
    assert_int_equal(options.epochs, 7);
    assert_true(options.augment && options.lr == 1e-2);
    assert_string_equal(options.report, "r.json");
    /* A second time: nothing is left from the first. */
    assert_int_equal(PARSE(&options, error, "--quiet"), CLI_OK);
    assert_true(options.quiet && !options.augment);
    assert_int_equal(PARSE(&options, error, "--help"), CLI_HELP);
    assert_int_equal(PARSE(&options, error, "--batch", "64", "-h"), CLI_HELP);
}

static void auto_is_of_the_rule_and_scaled(void **state)
{
    (void)state;
    struct cnn_options options;
    char error[CLI_TEXT];
    assert_int_equal(PARSE(&options, error, "--batch", "1024"), CLI_OK);
    assert_int_equal(cnn_rule(&options), DML_OPTIM_SGD);
    assert_true(cnn_rate(&options) == 0.05 && cnn_weight_decay(&options) == 5e-4);
    assert_int_equal(PARSE(&options, error, "--optimizer", "lamb", "--batch", "1024",
                           "--scale-lr", "sqrt", "--lr", "0.5", "--schedule",
                           "onecycle"),
                     CLI_OK);
    assert_int_equal(cnn_rule(&options), DML_OPTIM_LAMB);
    assert_int_equal(cnn_shape(&options), DML_LR_ONECYCLE);
    assert_true(cnn_rate(&options) == 1);
    assert_true(cnn_weight_decay(&options) == CLI_AUTO);
    assert_int_equal(PARSE(&options, error, "--batch", "1024", "--scale-lr", "linear",
                           "--lr", "0.5", "--weight-decay", "0"),
                     CLI_OK);
    assert_true(cnn_rate(&options) == 2 && cnn_weight_decay(&options) == 0);
}

static void mistakes_are_named_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *line;
    } mistakes[] = {
        {{"--foo"}, "unknown option --foo; see dml-cnn train --help"},
        {{"--foo=3"}, "unknown option --foo=3; see dml-cnn train --help"},
        {{"-x"}, "unknown option -x; see dml-cnn train --help"},
        {{"--mo", "1"}, "unknown option --mo; see dml-cnn train --help"},
        {{"--batch"}, "option --batch needs a value; see dml-cnn train --help"},
        {{"--quiet=1"}, "option --quiet=1 takes no value; see dml-cnn train --help"},
        {{"extra"}, "unexpected argument \"extra\"; see dml-cnn train --help"},
        {{"--batch", "many"},
         "--batch needs a whole number from 1 to 10000000, not \"many\"; see dml-cnn "
         "train --help"},
        {{"--batch", "0"},
         "--batch needs a whole number from 1 to 10000000, not \"0\"; see dml-cnn "
         "train "
         "--help"},
        {{"--batch", "1.5"},
         "--batch needs a whole number from 1 to 10000000, not \"1.5\"; see dml-cnn "
         "train --help"},
        {{"--epochs", "auto"},
         "--epochs needs a whole number from 1 to 1000000, not \"auto\"; see dml-cnn "
         "train --help"},
        {{"--lr", "nan"},
         "--lr needs a number from 0 to 1000000, not \"nan\"; see dml-cnn train "
         "--help"},
        {{"--lr", "-1"},
         "--lr needs a number from 0 to 1000000, not \"-1\"; see dml-cnn train --help"},
        {{"--net", "big"},
         "--net is one of small|vgg|resnet20|resnet50, "
         "not \"big\"; see dml-cnn train "
         "--help"},
        {{"--net", "small|vgg"},
         "--net is one of small|vgg|resnet20|resnet50, not \"small|vgg\"; see dml-cnn "
         "train "
         "--help"},
        {{"--report", ""},
         "--report needs a FILE, not an empty string; see dml-cnn train --help"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct cnn_options options;
        char error[CLI_TEXT];
        assert_int_equal(parse(mistakes[i].words, &options, error), CLI_BAD);
        assert_string_equal(error, mistakes[i].line);
    }
}

static void every_option_stands_in_the_help(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    cli_help(&cnn_train_command, out);
    fclose(out);
    for (size_t i = 0; i < cnn_train_command.noptions; i++) {
        const struct cli_option *option = &cnn_train_command.options[i];
        char word[64];
        snprintf(word, sizeof word, "  --%s ", option->name);
        assert_non_null(strstr(text, word));
        snprintf(word, sizeof word, "[%s]", option->fallback ? option->fallback : "");
        assert_true(!option->fallback || strstr(text, word));
    }
    assert_non_null(strstr(text, "examples:"));
    assert_non_null(strstr(text, "exit status:"));
    for (const char *line = text; *line; line++) {
        size_t length = strcspn(line, "\n");
        assert_true(length <= 88);
        line += length;
    }
    free(text);
}

static void options_read_as_they_were_understood(void **state)
{
    (void)state;
    struct cnn_options options;
    char error[CLI_TEXT], text[CLI_TEXT];
    assert_int_equal(PARSE(&options, error, "--lr", "0.25", "--quiet"), CLI_OK);
    for (size_t i = 0; i < cnn_train_command.noptions; i++) {
        const struct cli_option *option = &cnn_train_command.options[i];
        cli_option_text(option, &options, text);
        if (strcmp(option->name, "lr") == 0)
            assert_string_equal(text, "--lr 0.25");
        if (strcmp(option->name, "quiet") == 0)
            assert_string_equal(text, "--quiet");
        if (strcmp(option->name, "augment") == 0)
            assert_string_equal(text, "(no --augment)");
        if (strcmp(option->name, "data") == 0)
            assert_string_equal(text, "(no --data)");
    }
}

static void milestones_must_increase(void **state)
{
    (void)state;
    double epochs[3];
    assert_int_equal(cnn_parse_milestones("10,15", epochs, 3), 2);
    assert_true(epochs[0] == 10 && epochs[1] == 15);
    assert_int_equal(cnn_parse_milestones("0.5", epochs, 3), 1);
    static const char *const wrong[] = {"15,10", "10,10", "0",      "-1",
                                        "x",     "1,,2",  "1,2,3,4"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(cnn_parse_milestones(wrong[i], epochs, 3), -1);
}

/* ---- files that are whole or absent --------------------------------------------- */

static void files_appear_when_complete(void **state)
{
    (void)state;
    char dir[] = "/tmp/dml-outfile-XXXXXX", path[64], error[CLI_TEXT];
    struct outfile out;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/result", dir);
    assert_int_equal(outfile_open(&out, path, error, sizeof error), DML_OK);
    fputs("done", out.file);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(outfile_commit(&out, error, sizeof error), DML_OK);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(outfile_open(&out, path, error, sizeof error), DML_OK);
    outfile_cancel(&out);
    outfile_cancel(&out);
    assert_int_equal(rmdir(dir), 0); /* nothing is left */

    assert_int_equal(outfile_open(&out, path, error, sizeof error), DML_EIO);
    assert_non_null(strstr(error, path));
    assert_non_null(strstr(error, "No such file"));
    assert_int_equal(outfile_open(&out, "/tmp", error, sizeof error), DML_EIO);
    assert_non_null(strstr(error, "Is a directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_help),
        cmocka_unit_test(options_are_understood),
        cmocka_unit_test(auto_is_of_the_rule_and_scaled),
        cmocka_unit_test(mistakes_are_named_in_one_line),
        cmocka_unit_test(every_option_stands_in_the_help),
        cmocka_unit_test(options_read_as_they_were_understood),
        cmocka_unit_test(milestones_must_increase),
        cmocka_unit_test(files_appear_when_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
