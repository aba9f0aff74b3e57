/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The figures of --metrics, by name: one table for those who write them and those who
 * read them (dml-top). Names, units and types follow Prometheus' conventions.
 */
#ifndef APPS_METRICS_H
#define APPS_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* X(member, name, type, help): of the whole job. NaN: there is none. */
#define METRICS_JOB_MAP(X)                                                            \
    X(ranks, "dml_ranks", "gauge", "Ranks of the job.")                               \
    X(period_s, "dml_rewrite_period_seconds", "gauge",                                \
      "Seconds between two rewrites of this file (--metrics-every).")                 \
    X(elapsed_s, "dml_elapsed_seconds", "gauge", "Seconds since this run began.")     \
    X(remaining_s, "dml_remaining_seconds", "gauge",                                  \
      "Seconds to the end at the pace of this run so far.")                           \
    X(progress, "dml_progress_ratio", "gauge", "Part of the work that is done.")      \
    X(epoch, "dml_epoch", "gauge", "Passes over the training set so far.")            \
    X(planned, "dml_planned_steps", "gauge",                                          \
      "Steps, iterations or trees at the end of the job.")                            \
    X(samples, "dml_samples_total", "counter", "Samples trained on, over all ranks.") \
    X(loss, "dml_loss", "gauge", "Training loss or objective.")                       \
    X(rate, "dml_learning_rate", "gauge", "Learning rate of the newest step.")        \
    X(test_value, "dml_test_value", "gauge",                                          \
      "Newest result of a test: the metric that the report names.")                   \
    X(snapshot_age_s, "dml_checkpoint_age_seconds", "gauge",                          \
      "Seconds since the newest snapshot was whole.")                                 \
    X(snapshots, "dml_checkpoints_total", "counter", "Snapshots of this run.")        \
    X(failed_snapshots, "dml_checkpoint_failures_total", "counter",                   \
      "Snapshots of this run that failed.")

/* The same of each rank, with labels rank and host. */
#define METRICS_RANK_MAP(X)                                                       \
    X(steps, "dml_steps_total", "counter",                                        \
      "Steps, iterations or trees that are done, as this rank knows.")            \
    X(step_s, "dml_step_seconds", "gauge",                                        \
      "Mean seconds of a step since the rewrite "                                 \
      "before.")                                                                  \
    X(wait_ratio, "dml_wait_ratio", "gauge",                                      \
      "Part of the time since the rewrite before in which it waited for others.") \
    X(wait_s, "dml_wait_seconds_total", "counter",                                \
      "Seconds in which it waited for others.")                                   \
    X(sent, "dml_sent_bytes_total", "counter", "Payload bytes sent.")             \
    X(received, "dml_received_bytes_total", "counter", "Payload bytes received.") \
    X(resident, "dml_resident_bytes", "gauge", "Memory in use.")                  \
    X(peak, "dml_peak_resident_bytes", "gauge", "Most memory that was in use.")   \
    X(number, "dml_operation_number", "gauge",                                    \
      "Number of the newest collective call on the job's communicator.")          \
    X(waits_s, "dml_waiting_seconds", "gauge",                                    \
      "So long it waits now and nothing has moved; 0: it does not wait.")         \
    X(waits_in, "dml_waiting_operation_number", "gauge",                          \
      "Number of the collective that it waits in.")                               \
    X(peer, "dml_waiting_peer_rank", "gauge", "Rank whose message it waits for.") \
    X(stopped, "dml_process_stopped", "gauge",                                    \
      "1: its process is stopped, or has ended.")

struct metrics_job {
#define METRICS_MEMBER(member, name, type, help) double member;
    METRICS_JOB_MAP(METRICS_MEMBER)
    char app[32], run[80], version[24], state[16];
};

struct metrics_rank {
    METRICS_RANK_MAP(METRICS_MEMBER)
#undef METRICS_MEMBER
    int rank;
    char host[64], operation[32]; /* kind of its newest collective, or "" */
};

/* A figure's name, and where it is in the structure above. */
struct metrics_figure {
    const char *name, *type, *help;
    size_t offset;
};

extern const struct metrics_figure metrics_of_job[], metrics_of_rank[];
extern const size_t metrics_njob, metrics_nrank;

/* What a job may be doing: a metric dml_run_state with a label for each. */
extern const char *const metrics_states[];
extern const size_t metrics_nstates;

/* All figures: NaN. */
void metrics_clear_job(struct metrics_job *job);
void metrics_clear_rank(struct metrics_rank *rank);

/* The file's text. whole: false where another file tells of the job; then this one
 * tells of the ranks alone. writer: the rank that writes; now_s: seconds since 1970. */
void metrics_write(FILE *out, const struct metrics_job *about, bool whole,
                   const struct metrics_rank *ranks, size_t nranks, int writer,
                   double now_s);

#endif
