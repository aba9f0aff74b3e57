/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --checkpoint, --checkpoint-every, --checkpoint-keep and --resume, the same in every
 * application: the folder and its rules, when a snapshot is due, signals that end the
 * job with one, and options that must be those of the job that is gone on with. What is
 * in a snapshot is the application's.
 */
#ifndef APPS_CHECKPOINT_H
#define APPS_CHECKPOINT_H

#include "job.h"
#include "outfile.h"
#include "progress.h"

#include <jansson.h>

/* What the options say; a member of the application's options. */
struct checkpoint_options {
    const char *dir, *every, *resume;
    const char *on_failure; /* NULL: the application cannot go on with fewer ranks */
    int64_t keep;
};

/* Lines of an application's table of options; "offset" is of the structure above. */
#define CHECKPOINT_OPTIONS(offset)                                                     \
    {"checkpoints",                                                                    \
     "checkpoint",                                                                     \
     CLI_STRING,                                                                       \
     (offset) + offsetof(struct checkpoint_options, dir),                              \
     NULL,                                                                             \
     "DIR",                                                                            \
     0,                                                                                \
     0,                                                                                \
     "write snapshots into this folder, which all ranks see; SIGTERM and SIGUSR1 "     \
     "write one and end the job with status 75 (doc/checkpoints.md)"},                 \
        {NULL,                                                                         \
         "checkpoint-every",                                                           \
         CLI_STRING,                                                                   \
         (offset) + offsetof(struct checkpoint_options, every),                        \
         "5m",                                                                         \
         "N|Ns|Nm|Nh",                                                                 \
         0,                                                                            \
         0,                                                                            \
         "after every N steps (dml-prf: trees; dml-crf: iterations of lbfgs, else "    \
         "batches), or after N seconds, minutes or hours"},                            \
        {NULL,                                                                         \
         "checkpoint-keep",                                                            \
         CLI_INT,                                                                      \
         (offset) + offsetof(struct checkpoint_options, keep),                         \
         "3",                                                                          \
         "N",                                                                          \
         1,                                                                            \
         1e6,                                                                          \
         "snapshots that are kept; older ones are removed"},                           \
    {                                                                                  \
        NULL, "resume", CLI_STRING,                                                    \
            (offset) + offsetof(struct checkpoint_options, resume), NULL, "auto|PATH", \
            0, 0,                                                                      \
            "go on from a snapshot; auto: from the newest whole one in --checkpoint, " \
            "or from the start where there is none"                                    \
    }

/* For applications that can go on with the ranks that are left; after the above. */
#define CHECKPOINT_SHRINK_OPTION(offset)                                               \
    {                                                                                  \
        NULL, "on-failure", CLI_CHOICE,                                                \
            (offset) + offsetof(struct checkpoint_options, on_failure), "abort",       \
            "abort|shrink", 0, 0,                                                      \
            "when a rank has ended, end the job, or go on without it from the newest " \
            "snapshot (needs --checkpoint, and an MPI with ULFM: mpirun --with-ft "    \
            "ulfm)"                                                                    \
    }

struct checkpoint {
    struct job *job;
    dml_ckpt *writer; /* NULL without --checkpoint */
    double seconds;   /* in which training waited for snapshots */
    bool resume;      /* --resume was given */
    /* --checkpoint-every: one of them is 0. For applications whose steps may be longer
     * or shorter. */
    uint64_t every_steps;
    double every_s;
};

/* Does the job go on with fewer ranks when one has ended? */
bool checkpoint_shrinks(const struct checkpoint_options *options);

/* Are the options in order? Not collective. */
dml_status checkpoint_check(struct job *job, const struct checkpoint_options *options);

/* Opens the folder for writing, and the snapshot to go on from: *snapshot is NULL where
 * the job starts anew. Collective, agreed. Close in any case. */
dml_status checkpoint_open(struct job *job, const struct checkpoint_options *options,
                           struct checkpoint *checkpoint, dml_snapshot **snapshot);
void checkpoint_close(struct checkpoint *checkpoint);

/* What a snapshot is made of. */
struct checkpoint_parts {
    const struct cli_command *command; /* its options, with their */
    const void *values;
    struct outfile *curve; /* open on rank 0, or on none; NULL: there is none */
    struct progress *progress;
    /* Puts the rest. Collective, agreed. */
    dml_status (*save)(void *user, dml_ckpt *writer);
    void *user;
};

/* Begin where the snapshot ended: the curve so far, and a line that tells it, or that
 * the job starts anew where the snapshot is NULL. Collective, agreed. */
dml_status checkpoint_go_on(const struct checkpoint *checkpoint,
                            const struct checkpoint_parts *parts,
                            const dml_snapshot *snapshot);

/* After every step: takes a snapshot where one is due. *stop, where a signal ended the
 * job and its snapshot is there; then job->requeue is set, too. A snapshot that failed
 * is told on standard error. Collective, agreed. */
dml_status checkpoint_after_step(struct checkpoint *checkpoint,
                                 const struct checkpoint_parts *parts, uint64_t step,
                                 bool *stop);

/* Wait for the last one. With "needed" it is an error if it failed. Collective,
 * agreed. */
dml_status checkpoint_wait(struct checkpoint *checkpoint, bool needed);

/* Are the options that change what is computed those of the snapshot? Not collective.
 */
dml_status checkpoint_same_options(struct job *job, const dml_snapshot *snapshot,
                                   const struct cli_command *command,
                                   const void *values);

/* A number of a snapshot, and between which a job can have left it. */
struct checkpoint_counter {
    const char *name;
    double found, least, most;
};

/* The first one that is not between them is told. Not collective. */
dml_status checkpoint_counters(struct job *job, const dml_snapshot *snapshot,
                               const struct checkpoint_counter *counters, size_t n);

/* Seconds beyond any job's; clocks are trusted no further. */
#define CHECKPOINT_MOST_S 1e15

/* For the report: how many, how long, how large. With --checkpoint only. */
json_t *checkpoint_report(const struct checkpoint *checkpoint);

/* ---- parts of the above, see checkpoint.c -----------------------------------------
 */

/* Is a snapshot to be taken now, and is the job to end with it? Collective. */
dml_status checkpoint_poll(struct checkpoint *checkpoint, uint64_t step, bool *due,
                           bool *stop);

/* Around the application's dml_ckpt_add_*() calls. The first puts the options, too. */
dml_status checkpoint_begin(struct checkpoint *checkpoint, uint64_t step,
                            const struct cli_command *command, const void *values);
dml_status checkpoint_commit(struct checkpoint *checkpoint);

#endif
