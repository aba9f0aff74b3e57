/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-prf: random forests trained in parallel over MPI.
 */
#include "../common/app.h"
#include "commands.h"

#include <omp.h>

static const struct command {
    const struct cli_command *cli;
    dml_status (*run)(const struct prf_run *run);
} commands[] = {
    {&prf_train_command, prf_train},
    {&prf_predict_command, prf_predict},
    {&prf_info_command, prf_info},
    {&prf_export_command, prf_export},
};
#define NCOMMANDS (sizeof commands / sizeof commands[0])

static const struct cli_command *command(size_t i)
{
    return i < NCOMMANDS ? commands[i].cli : NULL;
}

static dml_status run(struct job *job, size_t i, const void *options)
{
    struct prf_run run = {.job = job, .options = options};
    int share = job_default_threads();
    run.threads = run.options->threads < 1 ? share : (int)run.options->threads;
    omp_set_num_threads(run.threads);
    return commands[i].run(&run);
}

int main(int argc, char **argv)
{
    struct prf_options options = {0};
    return app_main(
        &(struct app){.name = "dml-prf",
                      .command = command,
                      .run = run,
                      .options = &options,
                      .help =
                          "Try dml-prf train --help, or: mpirun -n 2 dml-prf train"},
        argc, argv);
}
