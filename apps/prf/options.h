/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of dml-prf's commands; see options.c. */
#ifndef PRF_OPTIONS_H
#define PRF_OPTIONS_H

#include "../common/checkpoint.h"
#include "../common/job.h"
#include "../common/monitor.h"
#include "schema.h"
#include "split.h"

#define PRF_PATH 1024

/* Of all commands; each reads those it has. */
struct prf_options {
    const char *data, *test, *format, *label, *task, *categories, *weights;
    int64_t test_every, train_rows;
    int64_t trees, mtry, min_leaf, max_depth, seed;
    double sample_fraction;
    const char *criterion, *importance, *vote, *partition, *rows;
    int64_t table_ranks, table_mib, threads;
    const char *model, *report, *importance_file, *out, *to;
    bool probabilities, quiet;
    struct checkpoint_options checkpoint;
    struct monitor_options monitor;
};

extern const struct cli_command prf_train_command, prf_predict_command,
    prf_info_command, prf_export_command;

/* Where the data are: --data, or where they usually lie. Fails if an output is of them.
 */
dml_status options_find_data(struct job *job, const struct cli_command *command,
                             const struct prf_options *options, char path[PRF_PATH]);

enum task_kind options_task(const struct prf_options *options);
enum criterion options_criterion(const struct prf_options *options, bool regression);

#endif
