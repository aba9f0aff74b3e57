/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of dml-crf's commands; see options.c. */
#ifndef CRF_OPTIONS_H
#define CRF_OPTIONS_H

#include "../common/checkpoint.h"
#include "../common/monitor.h"

#include <stdbool.h>

struct crf_options {
    const char *data, *train, *dev, *test, *format, *template, *trainer, *precision,
        *exchange;
    const char *model, *start, *report, *curve, *metric;
    int64_t label, hash_bits, max_iterations, epochs, batch, memory, period, patience;
    int64_t seed, threads, nbest;
    double min_count, c1, c2, delta, epsilon, rate;
    bool marginals, quiet;
    struct checkpoint_options checkpoint;
    struct monitor_options monitor;
};

extern const struct cli_command crf_train_command, crf_tag_command, crf_eval_command,
    crf_dump_command, crf_convert_command;

#endif
