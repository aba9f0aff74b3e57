/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of dml-skew's commands; see options.c. */
#ifndef SKEW_OPTIONS_H
#define SKEW_OPTIONS_H

#include "../common/cli.h"

#include <stdbool.h>
#include <stdint.h>

/* Of all commands; each uses some. Strings are borrowed from argv. */
struct skew_options {
    const char *data, *format, *key, *as, *planner, *sample;
    const char *weight, *cost;
    const char *json, *report, *out, *order;
    int64_t ranks, seed, entries, budget_mib, max_bytes;
    int64_t records, keys, payload;
    double rate, zipf, work_ns;
    bool quiet;
};

extern const struct cli_command skew_compare_command, skew_plan_command,
    skew_sort_command, skew_count_command, skew_make_command;

#endif
