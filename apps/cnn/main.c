/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-cnn: convolutional networks trained data-parallel over MPI.
 */
#include "commands.h"
#include "option_file.h"

#include <omp.h>
#include <string.h>

static const struct command {
    const struct cli_command *cli;
    dml_status (*run)(const struct cnn_run *run);
} commands[] = {
    {&cnn_train_command, cnn_train},
    {&cnn_test_command, cnn_test},
};
#define NCOMMANDS (sizeof commands / sizeof commands[0])

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; name && i < NCOMMANDS; i++)
        if (strcmp(commands[i].cli->name, name) == 0)
            return &commands[i];
    return NULL;
}

static void print_usage(FILE *out)
{
    fprintf(out, "usage: dml-cnn COMMAND [options]\n\ncommands:\n");
    for (size_t i = 0; i < NCOMMANDS; i++)
        fprintf(out, "  %-7s %s\n", commands[i].cli->name, commands[i].cli->summary);
    fprintf(out, "\nnets:\n");
    for (size_t i = 0; nets_at(i); i++)
        fprintf(out, "  %-9s %s\n", nets_at(i)->name, nets_at(i)->text);
    fprintf(out, "\nTry dml-cnn train --help, or: mpirun -n 2 dml-cnn train\n");
}

static void print_help(const struct command *command)
{
    if (command)
        cli_help(command->cli, stdout);
    else
        print_usage(stdout);
}

/* All ranks have understood their command lines: compare them, set threads, work. */
static dml_status run_command(struct job *job, const struct command *command,
                              bool wants_help, struct cnn_options *options)
{
    struct cnn_run run = {.job = job, .options = options};
    CNN_TRY(job_same_value(job, command ? (uint64_t)(command - commands) : NCOMMANDS,
                           "started with another command than rank 0: give all ranks "
                           "the same command"));
    CNN_TRY(job_same_value(
        job, wants_help,
        wants_help
            ? "started with --help, but rank 0 without: give all ranks the same options"
            : "started without --help, but rank 0 with it: give all ranks the same "
              "options"));
    if (wants_help) {
        if (job->rank == 0)
            print_help(command);
        return DML_OK;
    }
    CNN_TRY(job_same_options(job, command->cli, options));
    int share = job_default_threads();
    run.threads = options->threads == CLI_AUTO ? share : (int)options->threads;
    omp_set_num_threads(run.threads);
    return command->run(&run);
}

/* The command line with the words of option files; what is not understood is told in
 * error. */
static enum cli_result parse(const struct command *command, int argc, char **argv,
                             struct option_words *words, struct cnn_options *options,
                             char error[CLI_TEXT])
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (command && !option_words_read(words, argc, argv, error))
        return CLI_BAD;
    if (command)
        return cli_parse(command->cli, words->argc, words->argv, 2, options, error);
    if (name && (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0))
        return CLI_HELP;
    if (name)
        snprintf(error, CLI_TEXT, "unknown command \"%.60s\"; see dml-cnn --help",
                 name);
    else
        snprintf(error, CLI_TEXT, "which command? see dml-cnn --help");
    return CLI_BAD;
}

int main(int argc, char **argv)
{
    const struct command *command = find_command(argc > 1 ? argv[1] : NULL);
    struct cnn_options options = {0};
    struct option_words words = {0};
    char error[CLI_TEXT] = "";
    enum cli_result parsed = parse(command, argc, argv, &words, &options, error);

    /* Help needs no MPI; but under a launcher other ranks may wait for this one. */
    if (parsed == CLI_HELP && !job_is_launched()) {
        print_help(command);
        option_words_free(&words);
        return 0;
    }
    struct job job;
    dml_status status = job_begin(&job, "dml-cnn");
    if (status == DML_OK)
        status = job_agree(
            &job, parsed == CLI_BAD ? job_fail(&job, DML_EINVAL, "%s", error) : DML_OK);
    if (status == DML_OK)
        status = run_command(&job, command, parsed == CLI_HELP, &options);
    option_words_free(&words);
    return job_end(&job, status);
}
