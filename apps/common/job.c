/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Begin, agreement and end of a distributed app; see job.h.
 */
#include "job.h"

#include "dml/mpi.h"

#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPEAKER_S 2
#define ABORT_S   5

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

static void print_error(const struct job *job, bool name_rank)
{
    if (name_rank)
        fprintf(stderr, "%s: rank %d: %s\n", job->app, job->rank, job->error);
    else
        fprintf(stderr, "%s: %s\n", job->app, job->error);
}

dml_status job_fail(struct job *job, dml_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(job->error, sizeof job->error, format, args);
    va_end(args);
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
    dml_status status = dml_ctx_create(NULL, &job->ctx);
    if (status != DML_OK)
        status = job_fail(job, status, "cannot start: %s (check DML_ISA)",
                          dml_status_str(status));
    else
        status = job_note(job, dml_comm_from_mpi(job->ctx, MPI_COMM_WORLD, &job->comm));
    if (status != DML_OK) {
        /* Without a communicator nobody can agree: one process speaks for all. The
         * others give it time, because a launcher ends it as soon as one of them has
         * failed. */
        if (job->launcher_rank == 0)
            print_error(job, false);
        else
            sleep(SPEAKER_S);
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

dml_status job_agree(struct job *job, dml_status mine)
{
    /* The lowest failing rank; and 1 when all failed: then the cause is common, and the
     * line names no rank. */
    int32_t lowest[2] = {mine == DML_OK ? job->nranks : job->rank, mine != DML_OK};
    int32_t status = mine;
    dml_status sent = mine;
    if (mine != DML_ECOMM && mine != DML_ETIMEOUT)
        sent = dml_allreduce(DML_IN_PLACE, lowest, 2, DML_I32, DML_MIN, job->comm);
    if (sent == DML_OK && lowest[0] == job->nranks)
        return DML_OK;
    if (sent == DML_OK)
        sent = dml_bcast(&status, 1, DML_I32, lowest[0], job->comm);
    if (sent != DML_OK) {
        if (mine == DML_OK)
            (void)job_note(job, sent);
        if (sent != DML_ETIMEOUT) /* libdml has printed a report, on one rank */
            print_error(job, true);
        end_all();
    }
    if (lowest[0] == job->rank)
        print_error(job, lowest[1] == 0);
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

int job_end(struct job *job, dml_status status)
{
    int code = status == DML_OK ? 0 : 1;
    bool alone = !job->comm;
    dml_comm_destroy(job->comm);
    dml_ctx_destroy(job->ctx);
    if (job->mpi_begun) {
        if (status == DML_ECOMM || status == DML_ETIMEOUT ||
            (alone && status != DML_ELAUNCH && code != 0))
            end_all();
        MPI_Finalize();
    }
    return code;
}
