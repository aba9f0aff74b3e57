/* SPDX-License-Identifier: BSD-3-Clause */
/* What dml-perf prints: the method, a table, and JSON lines. */
#ifndef DML_PERF_REPORT_H
#define DML_PERF_REPORT_H

#include "perf_measure.h"

#include <stdio.h>

struct perf_report {
    FILE *json;      /* of rank 0, or NULL */
    char path[4096]; /* written beside the name asked for, and renamed at the end */
    bool in_place;   /* but a device or a pipe is what it is, and must stay it */
};

/* Collective: gathers the ranks' places, then rank 0 prints the head. */
void perf_report_head(const struct perf_coll *c);

void perf_report_row(struct perf_report *report, const struct perf_coll *c,
                     const struct perf_result *result, const char *algorithm);

/* Rank 0 only. False: errno says why. */
bool perf_report_open(struct perf_report *report, const struct perf_options *o);
bool perf_report_close(struct perf_report *report, const struct perf_options *o,
                       bool keep);

#endif
