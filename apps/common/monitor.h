/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --metrics, --metrics-every and --log-json, the same in every application: how the job
 * is doing, for programs that watch it (doc/monitoring.md). Calls on a job that is not
 * monitored do nothing.
 */
#ifndef APPS_MONITOR_H
#define APPS_MONITOR_H

#include "job.h"

#include <jansson.h>

/* What the options say; a member of the application's options. */
struct monitor_options {
    const char *metrics, *log;
    double every_s;
};

/* Lines of an application's table of options; "offset" is of the structure above. */
#define MONITOR_OPTIONS(offset)                                                        \
    {"monitoring",                                                                     \
     "metrics",                                                                        \
     CLI_OUTPUT,                                                                       \
     (offset) + offsetof(struct monitor_options, metrics),                             \
     NULL,                                                                             \
     "FILE",                                                                           \
     0,                                                                                \
     0,                                                                                \
     "rewrite this file with figures of all ranks while the job runs, for Prometheus " \
     "and dml-top; other nodes write FILE with a rank's number in its name "           \
     "(doc/monitoring.md)"},                                                           \
        {NULL,                                                                         \
         "metrics-every",                                                              \
         CLI_REAL,                                                                     \
         (offset) + offsetof(struct monitor_options, every_s),                         \
         "5",                                                                          \
         "S",                                                                          \
         0.05,                                                                         \
         86400,                                                                        \
         "seconds between two rewrites"},                                              \
    {                                                                                  \
        NULL, "log-json", CLI_OUTPUT,                                                  \
            (offset) + offsetof(struct monitor_options, log), NULL, "[FILE]", 0, 0,    \
            "append what happens to this file, a JSON object a line; without FILE, "   \
            "or -, to standard output, in place of the lines for people"               \
    }

/* Where the training is. NaN: unknown, or there is none. */
struct monitor_values {
    uint64_t step, nsteps; /* done; at the end, 0: unknown */
    uint64_t samples;      /* over all ranks */
    double train_s;        /* seconds in steps */
    double epoch, progress, loss, rate, test_value;
};

/* All of them unknown. */
void monitor_values_init(struct monitor_values *values);

/* Do lines for people belong on standard output? */
bool monitor_leaves_stdout(const struct monitor_options *options);

/* Opens what the options name; job_end() closes it. values: of the command's options.
 * Again after monitor_leave(), on the communicator that is the job's then. Collective,
 * agreed. */
dml_status monitor_open(struct job *job, const struct cli_command *command,
                        const void *values, const struct monitor_options *options);

/* After every step, and before the first: cheap. The values of all ranks are known from
 * then on, those of rank 0 as the job's. By one thread at a time. */
void monitor_step(struct job *job, const struct monitor_values *values);

/* A line of --log-json with the newest values; name: "step", "epoch". */
void monitor_log_step(struct job *job, const char *name);

/* A line of --log-json, on rank 0. "more" is taken. Threads: any. */
void monitor_event(struct job *job, const char *event, json_t *more);

/* A snapshot was committed, or failed for this reason. */
void monitor_snapshot(struct job *job, uint64_t step, dml_status status,
                      const char *text);

/* ---- for job.c --------------------------------------------------------------------
 */

/* A line of libdml's log. Threads: any. */
void monitor_library(struct job *job, dml_log_level level, const char *line);

/* This is why the job fails; rank: whose line it is. */
void monitor_failure(struct job *job, int rank, dml_status status, const char *text);

/* The job's communicator is about to be destroyed: nothing reads of it any more. Not
 * collective, nor are the next two. */
void monitor_leave(struct job *job);

/* The same, for good: the metrics' last state. */
void monitor_over(struct job *job, dml_status status);

/* The log's last line; when nothing is left that may log. */
void monitor_close(struct job *job);

#endif
