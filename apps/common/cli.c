/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command lines from one table, over getopt_long; see cli.h. Defaults are read by the
 * same code as arguments.
 */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPTIONS 64
#define HELP_VALUE  (MAX_OPTIONS + 256)

/* What a value that is left out stands for. */
static char stdout_word[] = "-";

static enum cli_result bad(const struct cli_command *command, char error[CLI_TEXT],
                           const char *format, ...)
{
    char text[CLI_TEXT - 64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(error, CLI_TEXT, "%s; see %s %s --help", text, command->app,
             command->name);
    return CLI_BAD;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (length > 0 && !strchr(text, '|') && strncmp(at, text, length) == 0 &&
            (at[length] == '|' || at[length] == '\0'))
            return true;
    }
    return false;
}

/* A number within the option's limits, or "auto" where that is the default. */
static bool read_number(const struct cli_option *option, const char *text, void *target)
{
    bool may_auto = option->fallback && strcmp(option->fallback, "auto") == 0;
    bool automatic = may_auto && strcmp(text, "auto") == 0;
    char *end = NULL;
    errno = 0;
    if (option->kind == CLI_INT) {
        long long number = automatic ? CLI_AUTO : strtoll(text, &end, 10);
        *(int64_t *)target = number;
        if (automatic)
            return true;
        return end != text && *end == '\0' && errno == 0 &&
               (double)number >= option->min && (double)number <= option->max;
    }
    double number = automatic ? CLI_AUTO : strtod(text, &end);
    *(double *)target = number;
    if (automatic)
        return true;
    return end != text && *end == '\0' && isfinite(number) && number >= option->min &&
           number <= option->max;
}

static enum cli_result store(const struct cli_command *command,
                             const struct cli_option *option, const char *text,
                             void *values, char error[CLI_TEXT])
{
    void *target = (char *)values + option->offset;
    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)target = true;
        return CLI_OK;
    case CLI_STRING:
    case CLI_INPUT:
    case CLI_OUTPUT:
        if (text[0] == '\0')
            return bad(command, error, "--%s needs a %s, not an empty string",
                       option->name, option->argument);
        *(const char **)target = text;
        return CLI_OK;
    case CLI_CHOICE:
        *(const char **)target = text;
        if (is_choice(option->argument, text))
            return CLI_OK;
        return bad(command, error, "--%s is one of %s, not \"%.40s\"", option->name,
                   option->argument, text);
    case CLI_INT:
    case CLI_REAL:
        if (read_number(option, text, target))
            return CLI_OK;
        return bad(command, error, "--%s needs %s from %.15g to %.15g, not \"%.40s\"",
                   option->name,
                   option->kind == CLI_INT ? "a whole number" : "a number", option->min,
                   option->max, text);
    }
    return bad(command, error, "--%s cannot be read", option->name);
}

static void set_defaults(const struct cli_command *command, void *values)
{
    char ignored[CLI_TEXT];
    for (size_t i = 0; i < command->noptions; i++) {
        const struct cli_option *option = &command->options[i];
        void *target = (char *)values + option->offset;
        if (option->kind == CLI_FLAG)
            *(bool *)target = false;
        else if (option->fallback)
            (void)store(command, option, option->fallback, values, ignored);
        else
            *(const char **)target = NULL;
    }
}

/* May its value be left out? */
static bool is_optional(const struct cli_option *option)
{
    return option->argument && option->argument[0] == '[';
}

/* getopt's table; an option's value is its index. */
static void fill_table(const struct cli_command *command,
                       struct option table[MAX_OPTIONS + 2])
{
    for (size_t i = 0; i < command->noptions; i++) {
        const struct cli_option *option = &command->options[i];
        int takes = option->kind == CLI_FLAG ? no_argument
                    : is_optional(option)    ? optional_argument
                                             : required_argument;
        table[i] = (struct option){option->name, takes, NULL, (int)i + 256};
    }
    table[command->noptions] = (struct option){"help", no_argument, NULL, HELP_VALUE};
    table[command->noptions + 1] = (struct option){0};
}

/* Can it be an option's value, and not the next option? */
static bool is_word(const char *text)
{
    return text[0] != '-' || text[1] == '\0';
}

enum cli_result cli_parse(const struct cli_command *command, int argc, char **argv,
                          int first, void *values, char error[CLI_TEXT])
{
    struct option table[MAX_OPTIONS + 2];
    fill_table(command, table);
    set_defaults(command, values);
    error[0] = '\0';
    opterr = 0;
    optind = 0; /* start anew: the caller's argv begins one before "first" */
    int count = argc - first + 1;
    char **args = argv + first - 1;
    for (;;) {
        int at = optind > 0 ? optind : 1;
        /* '+' stops at the first operand; ':' tells a missing argument apart. */
        int got = getopt_long(count, args, "+:h", table, NULL);
        const char *text = at < count ? args[at] : "";
        if (got == -1)
            break;
        if (got == 'h' || got == HELP_VALUE)
            return CLI_HELP;
        if (got == ':')
            return bad(command, error, "option %.60s needs a value", text);
        if (got == '?' && optopt >= 256)
            return bad(command, error, "option %.60s takes no value", text);
        if (got == '?')
            return bad(command, error, "unknown option %.60s", text);
        const struct cli_option *option = &command->options[got - 256];
        if (!optarg && is_optional(option))
            optarg =
                optind < count && is_word(args[optind]) ? args[optind++] : stdout_word;
        enum cli_result result =
            store(command, option, optarg ? optarg : "", values, error);
        if (result != CLI_OK)
            return result;
    }
    if (optind < count)
        return bad(command, error, "unexpected argument \"%.60s\"", args[optind]);
    return CLI_OK;
}

/* ---- help ----------------------------------------------------------------------- */

#define HELP_COLUMN 30
#define HELP_WIDTH  88

/* Words of "text" from HELP_COLUMN on; "column" is where the cursor stands. */
static void print_wrapped(FILE *out, const char *text, int column)
{
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n");
            column = 0;
        }
        int pad = column < HELP_COLUMN ? HELP_COLUMN - column : 1;
        fprintf(out, "%*s%.*s", pad, "", length, text);
        column += pad + length;
        text += length + (text[length] == ' ');
    }
    fprintf(out, "\n");
}

static void print_option(FILE *out, const struct cli_option *option)
{
    char left[CLI_TEXT], right[CLI_TEXT];
    snprintf(left, sizeof left, "  --%s %s", option->name,
             option->argument ? option->argument : "");
    if (option->fallback)
        snprintf(right, sizeof right, "%s [%s]", option->help, option->fallback);
    else
        snprintf(right, sizeof right, "%s", option->help);
    int column = fprintf(out, "%s", left);
    if (column >= HELP_COLUMN) {
        fprintf(out, "\n");
        column = 0;
    }
    print_wrapped(out, right, column);
}

void cli_help(const struct cli_command *command, FILE *out)
{
    fprintf(out, "usage: %s %s [options]\n\n%s\n", command->app, command->name,
            command->summary);
    for (size_t i = 0; i < command->noptions; i++) {
        if (command->options[i].group)
            fprintf(out, "\n%s:\n", command->options[i].group);
        print_option(out, &command->options[i]);
    }
    fprintf(out, "  --help                      this text\n");
    fprintf(out, "\nDefaults stand in [brackets]; names may be cut short while they "
                 "are unique.\n\n");
    if (command->more) {
        command->more(out);
        fprintf(out, "\n");
    }
    fprintf(out, "examples:\n%s", command->examples);
    fprintf(out,
            "\nexit status: 0 when the work is done; after any failure 1, or 64 where "
            "words\nor what is in files is refused, with one line on standard error "
            "that says what,\nwhere and what to do.\n");
}

/* The shortest of two notations that reads back as the same number. */
static void real_text(const char *name, double number, char text[CLI_TEXT])
{
    char digits[40];
    snprintf(digits, sizeof digits, "%.15g", number);
    if (strtod(digits, NULL) != number)
        snprintf(digits, sizeof digits, "%.17g", number);
    snprintf(text, CLI_TEXT, "--%s %s", name, digits);
}

void cli_option_text(const struct cli_option *option, const void *values,
                     char text[CLI_TEXT])
{
    const void *target = (const char *)values + option->offset;
    const char *string;
    switch (option->kind) {
    case CLI_FLAG:
        snprintf(text, CLI_TEXT, *(const bool *)target ? "--%s" : "(no --%s)",
                 option->name);
        return;
    case CLI_STRING:
    case CLI_INPUT:
    case CLI_OUTPUT:
    case CLI_CHOICE:
        string = *(const char *const *)target;
        snprintf(text, CLI_TEXT, string ? "--%s %.400s" : "(no --%s)", option->name,
                 string);
        return;
    case CLI_INT:
        snprintf(text, CLI_TEXT, "--%s %" PRId64, option->name,
                 *(const int64_t *)target);
        return;
    case CLI_REAL:
        real_text(option->name, *(const double *)target, text);
        return;
    }
}
