/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-cnn: convolutional networks trained data-parallel over MPI.
 */
#include "../common/app.h"
#include "commands.h"

#include <omp.h>

static const struct command {
    const struct cli_command *cli;
    dml_status (*run)(const struct cnn_run *run);
} commands[] = {
    {&cnn_train_command, cnn_train},
    {&cnn_test_command, cnn_test},
};
#define NCOMMANDS (sizeof commands / sizeof commands[0])

static const struct cli_command *command(size_t i)
{
    return i < NCOMMANDS ? commands[i].cli : NULL;
}

static dml_status run(struct job *job, size_t i, const void *options)
{
    struct cnn_run run = {.job = job, .options = options};
    int share = job_default_threads();
    run.threads = run.options->threads == CLI_AUTO ? share : (int)run.options->threads;
    omp_set_num_threads(run.threads);
    return commands[i].run(&run);
}

static void print_nets(FILE *out)
{
    fprintf(out, "\nnets:\n");
    for (size_t i = 0; nets_at(i); i++)
        fprintf(out, "  %-9s %s\n", nets_at(i)->name, nets_at(i)->text);
}

int main(int argc, char **argv)
{
    struct cnn_options options = {0};
    return app_main(
        &(struct app){.name = "dml-cnn",
                      .command = command,
                      .run = run,
                      .options = &options,
                      .help = "Try dml-cnn train --help, or: mpirun -n 2 dml-cnn train",
                      .more = print_nets},
        argc, argv);
}
