/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-skew: plans for skewed keys, compared; and jobs over MPI that use them.
 */
#include "../common/app.h"
#include "commands.h"

static const struct command {
    const struct cli_command *cli;
    dml_status (*run)(const struct skew_run *run);
} commands[] = {
    {&skew_compare_command, skew_compare}, {&skew_plan_command, skew_plan},
    {&skew_sort_command, skew_sort},       {&skew_count_command, skew_count},
    {&skew_make_command, skew_make},
};
#define NCOMMANDS (sizeof commands / sizeof commands[0])

static const struct cli_command *command(size_t i)
{
    return i < NCOMMANDS ? commands[i].cli : NULL;
}

static dml_status run(struct job *job, size_t i, const void *options)
{
    struct skew_run run = {.job = job, .options = options};
    return commands[i].run(&run);
}

int main(int argc, char **argv)
{
    struct skew_options options = {0};
    return app_main(&(struct app){.name = "dml-skew",
                                  .command = command,
                                  .run = run,
                                  .options = &options,
                                  .help = "Try dml-skew compare --help. doc/skew.md "
                                          "says which planner to use when."},
                    argc, argv);
}
