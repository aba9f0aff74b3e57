/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command lines from one table: what an option is called, where its value goes, its
 * default and its help stand in one place, so that --help, the parser and the
 * comparison over ranks cannot disagree.
 */
#ifndef APPS_CLI_H
#define APPS_CLI_H

#include "dml/dml.h"

#include <stddef.h>
#include <stdio.h>

enum cli_kind {
    CLI_FLAG,   /* bool; no argument */
    CLI_STRING, /* const char *, borrowed from argv; NULL when not given and no default
                 */
    CLI_INPUT,  /* as CLI_STRING: a file that is read; "-", where a command knows it, is
                   standard input */
    CLI_OUTPUT, /* as CLI_STRING: a file that is written; "-": standard output */
    CLI_INT,    /* int64_t */
    CLI_REAL,   /* double */
    CLI_CHOICE  /* const char *, one of "a|b|c" */
};

/* One option. Numbers whose default is "auto" accept that word, as CLI_AUTO. */
struct cli_option {
    const char *group; /* heading in --help; NULL: as the option before */
    const char *name;  /* without "--" */
    enum cli_kind kind;
    size_t offset;        /* of the target in the options struct */
    const char *fallback; /* default, as it would be typed; NULL: none */
    const char *argument; /* "DIR", or a CLI_CHOICE's "a|b|c"; NULL for flags; "[FILE]":
                             it may be left out, and is "-" then */
    double min, max;      /* of numbers, inclusive */
    const char *help;
};

#define CLI_AUTO (-1)

struct cli_command {
    const char *app;     /* "dml-cnn" */
    const char *name;    /* "train" */
    const char *summary; /* one sentence */
    const struct cli_option *options;
    size_t noptions;
    const char *examples;    /* lines, each ending in a newline */
    void (*more)(FILE *out); /* prints what else --help has to say; may be NULL */
};

#define CLI_TEXT 512 /* room for one error line or one option's text */

enum cli_result { CLI_OK, CLI_HELP, CLI_BAD };

/*
 * Fill the struct "values" from defaults and argv[first ...]. On CLI_BAD error holds
 * one line. Options may be written "--name value", "--name=value", and shortened while
 * unique.
 */
enum cli_result cli_parse(const struct cli_command *command, int argc, char **argv,
                          int first, void *values, char error[CLI_TEXT]);

void cli_help(const struct cli_command *command, FILE *out);

/* "--name value" as it was understood; "(no --name)" where there is none. */
void cli_option_text(const struct cli_option *option, const void *values,
                     char text[CLI_TEXT]);

#endif
