/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of dml-cnn's commands; see options.c. */
#ifndef CNN_OPTIONS_H
#define CNN_OPTIONS_H

#include "../common/checkpoint.h"
#include "../common/cli.h"
#include "../common/monitor.h"

#include <stdbool.h>

struct cnn_options {
    const char *data, *net, *optimizer, *scale_lr, *schedule, *milestones;
    const char *compress, *precision, *options;       /* options: see option_file.c */
    const char *layout, *balance, *capacity, *uneven; /* see layout.c */
    const char *device, *kernels, *graph;             /* see gpu.h, trainer_graph.c */
    const char *report, *curve, *model;
    int64_t epochs, batch, base_batch, accumulate, max_steps, seed, threads;
    double lr, end_lr, momentum, low_momentum, weight_decay, beta1, beta2, eps, trust,
        trust_max;
    double clip_norm, warmup_epochs, power, dropout;
    bool nesterov, shard_optimizer, augment, quiet;
    struct checkpoint_options checkpoint;
    struct monitor_options monitor;
};

extern const struct cli_command cnn_train_command, cnn_test_command;

/* The rule of --optimizer. */
dml_optim_rule cnn_rule(const struct cnn_options *options);

/* --lr and --weight-decay, or what they stand for when "auto"; the rate is scaled from
 * the base batch to the batch as --scale-lr says. */
double cnn_rate(const struct cnn_options *options);
double cnn_weight_decay(const struct cnn_options *options);

/* The shape of --schedule. */
dml_lr_shape cnn_shape(const struct cnn_options *options);

/* "10,15" as increasing numbers; returns how many, or -1. */
int cnn_parse_milestones(const char *text, double *milestones, int room);

#endif
