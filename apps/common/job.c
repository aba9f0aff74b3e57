/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Begin, agreement and end of a distributed app; see job.h.
 */
#include "job.h"

#include "dml/mpi.h"

#include "monitor.h"
#include "outfile.h"
#include "stop.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPEAKER_S  2
#define ABORT_S    5
#define SHRINK_S   30
#define FINALIZE_S 5

static const char *launcher_rank_text(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                        "SLURM_PROCID"};
    const char *text = NULL;
    for (size_t i = 0; !text && i < sizeof names / sizeof names[0]; i++)
        text = getenv(names[i]);
    return text;
}

int job_launcher_rank(void)
{
    const char *text = launcher_rank_text();
    return text ? atoi(text) : 0;
}

bool job_is_launched(void)
{
    return launcher_rank_text() != NULL;
}

/* Once: failures that were agreed on may be agreed on again on their way out. */
static void print_error(const struct job *job, bool name_rank)
{
    if (job->error[0] == '\0')
        return;
    if (name_rank)
        fprintf(stderr, "%s: rank %d: %s\n", job->app, job->rank, job->error);
    else
        fprintf(stderr, "%s: %s\n", job->app, job->error);
}

dml_status job_fail(struct job *job, dml_status status, const char *format, ...)
{
    char text[sizeof job->error]; /* the line before may be part of this one */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(job->error, text, sizeof text);
    return status;
}

dml_status job_note(struct job *job, dml_status status)
{
    if (status >= 0)
        return status;
    dml_error error = {0};
    if (job->ctx)
        dml_ctx_last_error(job->ctx, &error);
    return job_fail(job, status, "%s",
                    error.status == status ? error.text : dml_status_str(status));
}

dml_status job_note_option(struct job *job, dml_status status, const char *option)
{
    return job_note(job, status) < 0
               ? job_fail(job, status, "%s: %s", option, job->error)
               : status;
}

/* As libdml's own log, and into the job's. */
static void log_line(void *user, dml_log_level level, const char *line)
{
    fprintf(stderr, "dml: %s\n", line);
    monitor_library(user, level, line);
}

dml_status job_begin(struct job *job, const char *app)
{
    /* Open MPI sets its variables in a process that it starts alone, too. */
    *job = (struct job){.app = app, .nranks = 1, .launcher_rank = job_launcher_rank()};
    int provided = 0;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided) != MPI_SUCCESS) {
        fprintf(stderr, "%s: MPI does not start; is the right mpirun used?\n", app);
        return DML_ECOMM;
    }
    job->mpi_begun = true;
    stop_divert();
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = log_line;
    opts.log_user = job;
    dml_status status = dml_ctx_create(&opts, &job->ctx);
    if (status != DML_OK)
        status = job_fail(job, status, "cannot start: %s (check DML_ISA)",
                          dml_status_str(status));
    else
        status = job_note(job, dml_comm_from_mpi(job->ctx, MPI_COMM_WORLD, &job->comm));
    if (status != DML_OK) {
        /* Without a communicator nobody can agree: one process speaks for all. The
         * others give it time, because a launcher ends it as soon as one of them has
         * failed. The one that is missing may be the speaker: then the next. */
        const int before = job->launcher_rank < 2 ? job->launcher_rank : 2;
        sleep(SPEAKER_S * (unsigned)before);
        if (before == 0 || status == DML_ETIMEOUT)
            print_error(job, false);
        return status;
    }
    job->rank = dml_comm_rank(job->comm);
    job->nranks = dml_comm_size(job->comm);
    return DML_OK;
}

/* MPI_Abort may itself wait for a host that is lost. */
static void end_all(void)
{
    alarm(ABORT_S);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* The line that the lowest failing rank prints, for rank 0's log. */
static dml_status tell_monitor(struct job *job, int rank, dml_status status)
{
    char text[CLI_TEXT];
    if (!job->monitor)
        return DML_OK;
    memcpy(text, job->error, sizeof text);
    dml_status sent = dml_bcast(text, sizeof text, DML_U8, rank, job->comm);
    if (sent == DML_OK)
        monitor_failure(job, rank, status, text);
    return sent;
}

/* After these nobody can be told anything over the job's communicator. */
static bool is_of_messages(dml_status status)
{
    return status == DML_ECOMM || status == DML_ETIMEOUT || status == DML_EPEER;
}

/* Those that are left make a communicator. Should one of them end over that, MPI may
 * wait for it: then the job ends. */
static void shrink(struct job *job)
{
    dml_status status = DML_EPEER;
    char why[CLI_TEXT];
    snprintf(why, sizeof why, "%s", job->error);
    alarm(SHRINK_S);
    while (status == DML_EPEER)
        status = dml_comm_shrink(job->comm, &job->left);
    alarm(0);
    if (status != DML_OK) {
        (void)job_note(job, status);
        print_error(job, true);
        end_all();
    }
    int nranks = dml_comm_size(job->left);
    job->lost += job->nranks - nranks;
    if (dml_comm_rank(job->left) == 0)
        fprintf(stderr, "%s: %s; goes on with %d rank%s\n", job->app, why, nranks,
                nranks > 1 ? "s" : "");
}

dml_status job_keep_going(struct job *job)
{
    if (!dml_comm_can_shrink())
        return job_fail(job, DML_EUNSUPPORTED,
                        "--on-failure shrink needs an MPI library with ULFM that was "
                        "started with it: Open MPI 5 by mpirun --with-ft ulfm");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    job->goes_on = true;
    return DML_OK;
}

bool job_go_on(struct job *job, dml_status status)
{
    if (status != DML_EPEER || !job->left)
        return false;
    monitor_leave(job);
    dml_comm_destroy(job->comm);
    job->comm = job->left;
    job->left = NULL;
    job->rank = dml_comm_rank(job->comm);
    job->nranks = dml_comm_size(job->comm);
    job->error[0] = '\0';
    return true;
}

dml_status job_agree(struct job *job, dml_status mine)
{
    if (job->left) /* it is known already */
        return DML_EPEER;
    /* The lowest failing rank; and 1 when all failed: then the cause is common, and the
     * line names no rank. */
    int32_t lowest[2] = {mine == DML_OK ? job->nranks : job->rank, mine != DML_OK};
    int32_t status = mine;
    dml_status sent = mine;
    if (!is_of_messages(mine))
        sent = dml_allreduce(DML_IN_PLACE, lowest, 2, DML_I32, DML_MIN, job->comm);
    if (sent == DML_OK && lowest[0] == job->nranks)
        return DML_OK;
    if (sent == DML_OK)
        sent = dml_bcast(&status, 1, DML_I32, lowest[0], job->comm);
    if (sent == DML_OK)
        sent = tell_monitor(job, lowest[0], (dml_status)status);
    if (sent != DML_OK) {
        if (mine == DML_OK)
            (void)job_note(job, sent);
        if (sent == DML_EPEER && job->goes_on) {
            shrink(job);
            return DML_EPEER;
        }
        if (sent != DML_ETIMEOUT) /* libdml has printed a report, on one rank */
            print_error(job, true);
        alarm(ABORT_S);
        monitor_failure(job, job->rank, sent, job->error);
        end_all();
    }
    if (lowest[0] == job->rank)
        print_error(job, lowest[1] == 0);
    job->error[0] = '\0';
    return (dml_status)status;
}

/* ---- options over ranks --------------------------------------------------------- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u; /* FNV-1a */
    while (*text++);
    return hash;
}

static uint64_t hash_options(const struct cli_command *command, const void *values)
{
    uint64_t hash = hash_text(0xcbf29ce484222325u, command->name);
    char text[CLI_TEXT];
    for (size_t i = 0; i < command->noptions; i++) {
        cli_option_text(&command->options[i], values, text);
        hash = hash_text(hash, text);
    }
    return hash;
}

/* The first option that differs from rank 0's; all ranks take part in every broadcast.
 */
static dml_status find_difference(struct job *job, const struct cli_command *command,
                                  const void *values)
{
    dml_status found = DML_OK;
    for (size_t i = 0; i < command->noptions; i++) {
        char mine[CLI_TEXT] = "", first[CLI_TEXT];
        cli_option_text(&command->options[i], values, mine);
        memcpy(first, mine, sizeof first);
        dml_status status = dml_bcast(first, sizeof first, DML_U8, 0, job->comm);
        if (status != DML_OK)
            return job_note(job, status);
        if (found == DML_OK && strcmp(first, mine) != 0)
            found =
                job_fail(job, DML_EMISMATCH,
                         "started with %.150s, but rank 0 with %.150s: give all ranks "
                         "the same options",
                         mine, first);
    }
    return found;
}

dml_status job_same_options(struct job *job, const struct cli_command *command,
                            const void *values)
{
    /* Signed, because DML_ALLREDUCE=mpi refuses to order unsigned numbers. */
    int64_t hash = (int64_t)hash_options(command, values), least = 0, most = 0;
    dml_status status = dml_allreduce(&hash, &least, 1, DML_I64, DML_MIN, job->comm);
    if (status == DML_OK)
        status = dml_allreduce(&hash, &most, 1, DML_I64, DML_MAX, job->comm);
    if (status != DML_OK)
        return job_agree(job, job_note(job, status));
    if (least == most)
        return DML_OK;
    return job_agree(job, find_difference(job, command, values));
}

dml_status job_same_value(struct job *job, uint64_t value, const char *text)
{
    uint64_t first = value;
    dml_status status = job_note(job, dml_bcast(&first, 1, DML_U64, 0, job->comm));
    if (status == DML_OK && first != value)
        status = job_fail(job, DML_EMISMATCH, "%s", text);
    return job_agree(job, status);
}

/* ---- threads -------------------------------------------------------------------- */

int job_default_threads(void)
{
    /* A processor that k ranks of the node may use counts 1/k for each of them. */
    int sharing[CPU_SETSIZE] = {0};
    double share = 0;
    cpu_set_t mine;
    CPU_ZERO(&mine);
    if (sched_getaffinity(0, sizeof mine, &mine) != 0)
        CPU_SET(0, &mine);
    for (int i = 0; i < CPU_SETSIZE; i++)
        sharing[i] = CPU_ISSET(i, &mine) ? 1 : 0;
    MPI_Comm node = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Allreduce(MPI_IN_PLACE, sharing, CPU_SETSIZE, MPI_INT, MPI_SUM, node);
    MPI_Comm_free(&node);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &mine))
            share += 1.0 / sharing[i];
    int threads = (int)(share + 1e-9);
    return threads > 0 ? threads : 1;
}

int job_end_alone(const char *app)
{
    char error[CLI_TEXT];
    if (stdout_commit(error, sizeof error) == DML_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", app, error);
    return 1;
}

/* Would words and files that gave this status be refused again? */
static bool is_refused(dml_status status)
{
    return status == DML_EINVAL || status == DML_EMISMATCH || status == DML_EFORMAT ||
           status == DML_EUNSUPPORTED || status == DML_ELAUNCH;
}

static volatile sig_atomic_t exit_status;

static void leave(int number)
{
    (void)number;
    _exit(exit_status);
}

/* MPI_Finalize may wait for ever for a rank that has ended: see doc/adr/0012. What this
 * process had to do is done, so it leaves without, and its exit status still counts. */
static void finalize(const struct job *job, int code)
{
    if (job->goes_on) {
        fflush(NULL);
        exit_status = code;
        signal(SIGALRM, leave);
        alarm(FINALIZE_S);
    }
    MPI_Finalize();
}

int job_end(struct job *job, dml_status status)
{
    if (status == DML_OK) {
        /* What was printed may still be on its way, and fail there. */
        status = stdout_commit(job->error, sizeof job->error);
        if (status != DML_OK)
            print_error(job, job->nranks > 1);
    }
    monitor_over(job, status);
    int code = status == DML_OK ? (job->requeue ? JOB_REQUEUE : 0)
                                : (is_refused(status) ? JOB_REFUSED : 1);
    bool alone = !job->comm;
    dml_comm_destroy(job->comm);
    dml_ctx_destroy(job->ctx);
    monitor_close(job);
    if (job->mpi_begun) {
        if (is_of_messages(status) || (alone && status != DML_ELAUNCH && code != 0))
            end_all();
        finalize(job, code);
    }
    return code;
}
