/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Begin and end of every app: MPI, context and communicator, and the agreement that
 * lets all ranks fail together. After every stage that may fail on one rank alone, all
 * ranks call job_agree(): the lowest failing rank prints its one line and all leave
 * with the same error, so nobody waits for somebody who is gone.
 */
#ifndef APPS_JOB_H
#define APPS_JOB_H

#include "cli.h"

#include <stdatomic.h>
#include <stdbool.h>

struct monitor;

struct job {
    const char *app;
    dml_ctx *ctx;
    dml_comm *comm;
    int rank, nranks;
    int launcher_rank; /* see job_launcher_rank(); read before MPI changes it */
    bool mpi_begun;
    bool requeue;                      /* ended early, with a snapshot to go on from */
    _Atomic(struct monitor *) monitor; /* monitor.h; NULL: none */
    bool goes_on;         /* with the ranks that are left, when one has ended */
    dml_comm *left;       /* of those: from the moment it was made to job_go_on() */
    int lost;             /* ranks so far */
    char error[CLI_TEXT]; /* this rank's line, for job_agree() */
};

/* The number that the launcher gave this process, 0 without one: known before, and
 * without, MPI. Only number 0 should print what all processes would print. */
int job_launcher_rank(void);

/* Was this process started by mpirun or the like, so that others may wait for it? */
bool job_is_launched(void);

/* The exit status of a process that has printed, and needed no MPI. */
int job_end_alone(const char *app);

/* Initialise MPI and make context and communicator. On failure the line is printed. */
dml_status job_begin(struct job *job, const char *app);

/* Record a failure and return it: "return job_fail(job, DML_EIO, "...")". */
dml_status job_fail(struct job *job, dml_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Record the context's last error, or the status's text when it has none, and return
 * the status; DML_OK passes. */
dml_status job_note(struct job *job, dml_status status);
/* The same with the option before it that the user may change. */
dml_status job_note_option(struct job *job, dml_status status, const char *option);

/* Collective: DML_OK when "mine" is DML_OK on all ranks; else the lowest failing rank
 * prints its line, and its status is returned on all. */
dml_status job_agree(struct job *job, dml_status mine);

/*
 * From here on the job goes on when a rank has ended. Then job_agree() makes a
 * communicator of the ranks that are left and returns DML_EPEER on all of them. They
 * free whatever they have made, with the old communicator still in its place, and call
 * job_go_on(), which puts the new one there; then they begin again from their newest
 * snapshot. Fails where MPI cannot go on. Not collective.
 */
dml_status job_keep_going(struct job *job);

/* Is "status" that of a job that goes on? Then it does, with fewer ranks. */
bool job_go_on(struct job *job, dml_status status);

/* Collective: the same options on all ranks? The first rank that differs from rank 0
 * prints the first option that does, with both values. Collective. */
dml_status job_same_options(struct job *job, const struct cli_command *command,
                            const void *values);

/* Collective: is a number equal on all ranks? If not, the first rank that differs from
 * rank 0 prints "text", and DML_EMISMATCH is returned on all. */
dml_status job_same_value(struct job *job, uint64_t value, const char *text);

/* Threads for this rank: the processors it may run on, shared with the other ranks of
 * the node that may run on the same ones. Collective over all processes. */
int job_default_threads(void);

/* Exit status of a job that wants to be started again: EX_TEMPFAIL of sysexits.h. */
#define JOB_REQUEUE 75

/* Of a job whose words or files are wrong, so that it would fail again: EX_USAGE. */
#define JOB_REFUSED 64

/* End MPI. Returns the exit status for main(): 0 for DML_OK, or JOB_REQUEUE where that
 * was asked for; JOB_REFUSED; else 1; and 1 when what was printed could not be written.
 * After a failure of message passing itself the whole job is aborted, because others
 * may wait. */
int job_end(struct job *job, dml_status status);

#endif
