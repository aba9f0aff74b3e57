/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of dml-skew. Options are parsed, equal on all ranks, and the job has
 * begun; what a command returns is the same on all ranks, and its line was printed. */
#ifndef SKEW_COMMANDS_H
#define SKEW_COMMANDS_H

#include "../common/job.h"
#include "options.h"

struct skew_run {
    struct job *job;
    const struct skew_options *options;
};

dml_status skew_compare(const struct skew_run *run);
dml_status skew_plan(const struct skew_run *run);
dml_status skew_sort(const struct skew_run *run);
dml_status skew_count(const struct skew_run *run);
dml_status skew_make(const struct skew_run *run);

/* Return what is not DML_OK; only in functions that own nothing yet. */
#define SKEW_TRY(call)                  \
    do {                                \
        dml_status skew_tried = (call); \
        if (skew_tried != DML_OK)       \
            return skew_tried;          \
    } while (0)

#endif
