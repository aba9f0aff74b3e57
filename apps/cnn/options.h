/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of dml-cnn's commands; see options.c. */
#ifndef CNN_OPTIONS_H
#define CNN_OPTIONS_H

#include "../common/cli.h"

#include <stdbool.h>

struct cnn_options {
    const char *data, *net, *schedule, *milestones;
    const char *report, *curve, *model;
    int64_t epochs, batch, accumulate, max_steps, seed, threads;
    double lr, momentum, weight_decay, warmup_epochs, dropout;
    bool nesterov, augment, quiet;
};

extern const struct cli_command cnn_train_command, cnn_test_command;

/* "10,15" as increasing numbers; returns how many, or -1. */
int cnn_parse_milestones(const char *text, double *milestones, int room);

#endif
