/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-crf: linear-chain conditional random fields trained data-parallel over MPI.
 */
#include "../common/app.h"
#include "commands.h"

static const struct command {
    const struct cli_command *cli;
    dml_status (*run)(const struct crf_run *run);
} commands[] = {
    {&crf_train_command, crf_train},     {&crf_tag_command, crf_tag},
    {&crf_eval_command, crf_eval},       {&crf_dump_command, crf_dump},
    {&crf_convert_command, crf_convert},
};
#define NCOMMANDS (sizeof commands / sizeof commands[0])

static const struct cli_command *command(size_t i)
{
    return i < NCOMMANDS ? commands[i].cli : NULL;
}

static dml_status run(struct job *job, size_t i, const void *options)
{
    struct crf_run run = {.job = job, .options = options};
    int share = job_default_threads();
    run.threads = run.options->threads == CLI_AUTO ? share : (int)run.options->threads;
    return commands[i].run(&run);
}

int main(int argc, char **argv)
{
    struct crf_options options = {0};
    return app_main(
        &(struct app){.name = "dml-crf",
                      .command = command,
                      .run = run,
                      .options = &options,
                      .help =
                          "Try dml-crf train --help, or: mpirun -n 2 dml-crf train"},
        argc, argv);
}
