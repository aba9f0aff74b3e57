/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main function of an app of commands: "dml-crf train --data FILE ...", alone or as
 * one of many ranks.
 */
#ifndef APPS_APP_H
#define APPS_APP_H

#include "job.h"

struct app {
    const char *name; /* "dml-crf" */
    /* A command's table of options, by number from 0 on; NULL after the last. An option
     * named "options" in it stands for those in files, see option_file.h. */
    const struct cli_command *(*command)(size_t i);
    /* Runs it on all ranks, which have the same options. Collective. */
    dml_status (*run)(struct job *job, size_t i, const void *options);
    void *options;           /* zeroed: the struct that command lines fill */
    const char *help;        /* ends what --help without a command prints */
    void (*more)(FILE *out); /* prints what comes before that; may be NULL */
};

/* Returns the process's exit status. Before a command is run, its files are compared:
 * those of options of kind CLI_OUTPUT with each other, with those of kind CLI_INPUT,
 * and with files of options. */
int app_main(const struct app *app, int argc, char **argv);

/* Refuse a command one of whose outputs is this file, which would be destroyed; "what"
 * it is stands in the message: "part of the data". For files that a command finds
 * itself; on the rank that writes. NULL is no file. */
dml_status app_keep(struct job *job, const struct cli_command *command,
                    const void *options, const char *path, const char *what);

#endif
