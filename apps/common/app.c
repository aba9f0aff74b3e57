/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a command line to a command that all ranks run: a rank that was given another
 * one than rank 0, or cannot read its own, ends the job with one line.
 */
#include "app.h"

#include "option_file.h"
#include "paths.h"
#include "process.h"
#include "stop.h"
#include "version.h"

#include <string.h>

/* The number of a command; when there is none of that name, that of all commands. */
static size_t find_command(const struct app *app, const char *name)
{
    size_t i = 0;
    while (app->command(i) && !(name && strcmp(app->command(i)->name, name) == 0))
        i++;
    return i;
}

enum wish { WISH_WORK, WISH_HELP, WISH_VERSION };

/* In place of a command. */
static bool is_version(const char *name)
{
    return name && strcmp(name, "--version") == 0;
}

static void print_help(const struct app *app, size_t command)
{
    if (app->command(command)) {
        cli_help(app->command(command), stdout);
        return;
    }
    printf("usage: %s COMMAND [options]\n\ncommands:\n", app->name);
    for (size_t i = 0; app->command(i); i++)
        printf("  %-8s %s\n", app->command(i)->name, app->command(i)->summary);
    printf("\n  --help    this text; after a command, its options\n"
           "  --version of the program, libdml and MPI, and whether there is CUDA\n");
    if (app->more)
        app->more(stdout);
    printf("\n%s\n", app->help);
}

static void print_wish(const struct app *app, size_t command, enum wish wish)
{
    if (wish == WISH_VERSION)
        version_print(app->name);
    else
        print_help(app, command);
}

/* The file that an option names; NULL: none. */
static const char *file_of(const struct cli_option *option, const void *options)
{
    bool in = option->kind == CLI_INPUT, out = option->kind == CLI_OUTPUT;
    if (!in && !out)
        return NULL;
    const char *path = *(const char *const *)((const char *)options + option->offset);
    if (path && strcmp(path, "-") == 0)
        return in ? "/dev/stdin" : "/dev/stdout";
    return path;
}

/* As app_keep(); an output is not compared with itself. */
static dml_status keep(struct job *job, const struct cli_command *command,
                       const void *options, const struct cli_option *own,
                       const char *path, const char *what)
{
    for (size_t i = 0; i < command->noptions; i++) {
        const struct cli_option *option = &command->options[i];
        const char *out = file_of(option, options);
        if (option != own && option->kind == CLI_OUTPUT && paths_same(out, path))
            return job_fail(job, DML_EINVAL,
                            "--%s: %.200s would be overwritten: it is %s; give another "
                            "path",
                            option->name, out, what);
    }
    return DML_OK;
}

dml_status app_keep(struct job *job, const struct cli_command *command,
                    const void *options, const char *path, const char *what)
{
    return keep(job, command, options, NULL, path, what);
}

static dml_status check_files(struct job *job, const struct cli_command *command,
                              const void *options, const struct option_words *words)
{
    char what[64];
    dml_status status = DML_OK;
    for (size_t i = 0; i < command->noptions && status == DML_OK; i++) {
        const struct cli_option *option = &command->options[i];
        snprintf(what, sizeof what, "--%s, too", option->name);
        status = keep(job, command, options, option, file_of(option, options), what);
    }
    for (int i = 0; i < words->ntexts && status == DML_OK; i++)
        status = app_keep(job, command, options, words->paths[i], "--options, too");
    return status;
}

/* All ranks have understood their command lines: compare them, work. */
static dml_status run_command(struct job *job, const struct app *app, size_t command,
                              const struct option_words *words, enum wish wish)
{
    static const char *const differs[] = {
        [WISH_WORK] = "started without --help or --version, but rank 0 with one of "
                      "them: give all ranks the same options",
        [WISH_HELP] =
            "started with --help, but rank 0 without: give all ranks the same options",
        [WISH_VERSION] = "started with --version, but rank 0 without: give all ranks "
                         "the same options",
    };
    dml_status status = job_same_value(
        job, command,
        "started with another command than rank 0: give all ranks the same command");
    if (status == DML_OK)
        status = job_same_value(job, wish, differs[wish]);
    if (status == DML_OK && wish != WISH_WORK && job->rank == 0)
        print_wish(app, command, wish);
    if (status != DML_OK || wish != WISH_WORK)
        return status;
    status = job_same_options(job, app->command(command), app->options);
    if (status == DML_OK) /* on the rank that writes */
        status = job_agree(job, job->rank == 0 ? check_files(job, app->command(command),
                                                             app->options, words)
                                               : DML_OK);
    return status == DML_OK ? app->run(job, command, app->options) : status;
}

/* The option that stands for those in files; NULL: the command has none. */
static const struct cli_option *option_files(const struct cli_command *command)
{
    for (size_t i = 0; i < command->noptions; i++)
        if (strcmp(command->options[i].name, "options") == 0)
            return &command->options[i];
    return NULL;
}

/* The options of a command with the words of files in their place. */
static enum cli_result parse_with_files(const struct app *app,
                                        const struct cli_command *command, int argc,
                                        char **argv, struct option_words *words,
                                        char error[CLI_TEXT])
{
    if (!option_words_read(words, argc, argv, error))
        return CLI_BAD;
    enum cli_result parsed =
        cli_parse(command, words->argc, words->argv, 2, app->options, error);
    /* Shortened, it was not seen as what it is. */
    size_t offset = option_files(command)->offset;
    if (parsed != CLI_OK || !*(const char **)((char *)app->options + offset))
        return parsed;
    snprintf(error, CLI_TEXT, "write --options in full");
    return CLI_BAD;
}

/* What is not understood is told in error. */
static enum cli_result parse(const struct app *app, size_t command, int argc,
                             char **argv, struct option_words *words,
                             char error[CLI_TEXT])
{
    const char *name = argc > 1 ? argv[1] : NULL;
    const struct cli_command *found = app->command(command);
    if (found && option_files(found))
        return parse_with_files(app, found, argc, argv, words, error);
    if (found)
        return cli_parse(found, argc, argv, 2, app->options, error);
    if (name &&
        (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0 || is_version(name)))
        return CLI_HELP;
    if (name)
        snprintf(error, CLI_TEXT, "unknown command \"%.60s\"; see %s --help", name,
                 app->name);
    else
        snprintf(error, CLI_TEXT, "which command? see %s --help", app->name);
    return CLI_BAD;
}

/* Will the command take snapshots, and one more when it is told to stop? */
static bool takes_snapshots(const struct app *app, size_t command)
{
    const struct cli_command *found = app->command(command);
    for (size_t i = 0; found && i < found->noptions; i++)
        if (strcmp(found->options[i].name, "checkpoint") == 0)
            return *(const char **)((char *)app->options + found->options[i].offset);
    return false;
}

int app_main(const struct app *app, int argc, char **argv)
{
    stop_catch();
    process_guard();
    size_t command = find_command(app, argc > 1 ? argv[1] : NULL);
    struct option_words words = {0};
    char error[CLI_TEXT] = "";
    enum cli_result parsed = parse(app, command, argc, argv, &words, error);
    enum wish wish = parsed != CLI_HELP                      ? WISH_WORK
                     : is_version(argc > 1 ? argv[1] : NULL) ? WISH_VERSION
                                                             : WISH_HELP;
    if (!takes_snapshots(app, command))
        stop_release();

    /* Help needs no MPI; but under a launcher other ranks may wait for this one. */
    if (wish != WISH_WORK && !job_is_launched()) {
        print_wish(app, command, wish);
        option_words_free(&words);
        return job_end_alone(app->name);
    }
    struct job job;
    dml_status status = job_begin(&job, app->name);
    /* What rank 0 has lacked, too, it has told, and ended the job. */
    if (status == DML_ENOMEM && job.launcher_rank != 0)
        fprintf(stderr, "%s: rank %d: %s\n", app->name, job.launcher_rank, job.error);
    if (status == DML_OK)
        status = job_agree(
            &job, parsed == CLI_BAD ? job_fail(&job, DML_EINVAL, "%s", error) : DML_OK);
    if (status == DML_OK)
        status = run_command(&job, app, command, &words, wish);
    option_words_free(&words);
    return job_end(&job, status);
}
