/* SPDX-License-Identifier: BSD-3-Clause */
/* The report that every app writes for --report: one JSON object, the same keys for
 * all; see report.c. */
#ifndef APPS_REPORT_H
#define APPS_REPORT_H

#include "outfile.h"

#include <jansson.h>

/* Keys that every report has. Sums or maxima over the ranks, as said. */
struct report {
    const char *app;
    int ranks;
    int threads; /* of one rank */
    uint64_t seed;
    double train_seconds;      /* without reading data and testing */
    double samples_per_second; /* over all ranks */
    const char *test_metric;
    double test_value;
    double bytes_sent;      /* payload bytes, sum over ranks */
    double comm_seconds;    /* inside communication calls, mean over ranks */
    double compute_seconds; /* mean over ranks */
    double wait_seconds;    /* blocked in communication calls, mean over ranks */
    int64_t peak_rss_bytes; /* maximum over ranks */
};

/* Write and commit. "extra" holds an app's own keys; taken (freed here), may be NULL.
 */
dml_status report_write(struct outfile *out, const struct report *report, json_t *extra,
                        char *error, size_t error_bytes);

/* Largest resident memory of this process so far. */
int64_t report_peak_rss_bytes(void);

/* What this process holds now, but for files and memory that it shares; 0 where Linux's
 * /proc is not there. */
int64_t report_private_bytes(void);

#endif
