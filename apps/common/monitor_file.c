/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file of metrics: a thread rewrites it, from what all ranks of the node leave in
 * shared memory. It needs none of them for that, not even its own rank's main thread,
 * so a job that hangs is still told about; and nothing is sent (doc/adr/0013).
 */
#include "monitor_internal.h"
#include "outfile.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

double monitor_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- one rewrite ------------------------------------------------------------------
 */

static void take_waits(const dml_rank_state *state, double now_s,
                       struct monitor_past *past, struct metrics_rank *rank)
{
    double wait_s = fmax(state->waited_s + state->waits_s, past->wait_s);
    double passed_s = now_s - past->clock_s;
    if (past->clock_s > 0 && passed_s > 0)
        past->wait_ratio = fmin((wait_s - past->wait_s) / passed_s, 1);
    past->clock_s = now_s;
    past->wait_s = wait_s;
    rank->wait_s = wait_s;
    rank->wait_ratio = past->wait_ratio;
    rank->waits_s = state->waits_s;
    rank->waits_in = state->waits_s > 0 ? (double)state->waits_in : 0;
    if (state->peer >= 0)
        rank->peer = state->peer;
}

static void take_steps(const struct monitor_note *note, struct monitor_past *past,
                       struct metrics_rank *rank)
{
    const struct monitor_values *values = &note->values;
    if (past->train_s <= 0) {
        past->step = note->first_step;
        past->train_s = note->first_train_s;
    }
    if (values->step > past->step)
        past->step_s =
            (values->train_s - past->train_s) / (double)(values->step - past->step);
    past->step = values->step;
    past->train_s = values->train_s;
    rank->steps = (double)values->step;
    rank->step_s = past->step_s;
    rank->sent = (double)note->sent;
    rank->received = (double)note->received;
    rank->resident = (double)note->resident;
    rank->peak = (double)note->peak;
}

/* False: it has not begun, and there is no note of it. */
static bool take_rank(const struct monitor *monitor, size_t i,
                      struct monitor_note *note)
{
    const struct monitor_file *file = &monitor->file;
    struct metrics_rank *rank = &file->ranks[i];
    struct monitor_past *past = &file->past[i];
    dml_rank_state state;
    metrics_clear_rank(rank);
    rank->rank = file->of[i];
    if (dml_comm_get_state(monitor->job->comm, file->of[i], &state) != DML_OK)
        return false;
    memcpy(note, state.note, sizeof *note);
    snprintf(rank->host, sizeof rank->host, "%s", state.host);
    snprintf(rank->operation, sizeof rank->operation, "%.*s",
             (int)strcspn(state.what, " "), state.what);
    rank->number = (double)state.operation;
    rank->stopped = strchr("TtXZ", state.process) != NULL;
    take_waits(&state, monitor_now_s(), past, rank);
    if (state.notes > 0)
        take_steps(note, past, rank);
    return state.notes > 0;
}

/* What rank 0 has left. */
static void take_job(const struct monitor_note *note, struct metrics_job *about)
{
    const struct monitor_values *values = &note->values;
    double now_s = monitor_now_s();
    about->elapsed_s = now_s - note->begin_s;
    about->progress = values->progress;
    double done = values->progress - note->first_progress;
    if (done > 0)
        about->remaining_s = about->elapsed_s * (1 - values->progress) / done;
    about->epoch = values->epoch;
    if (values->nsteps > 0)
        about->planned = (double)values->nsteps;
    about->samples = values->samples > 0 ? (double)values->samples : NAN;
    about->loss = values->loss;
    about->rate = values->rate;
    about->test_value = values->test_value;
    if (note->snapshot_s > 0)
        about->snapshot_age_s = now_s - note->snapshot_s;
    about->snapshots = (double)note->snapshots;
    about->failed_snapshots = (double)note->failed_snapshots;
}

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Under the lock. */
static dml_status rewrite(struct monitor *monitor, char *error, size_t error_bytes)
{
    struct monitor_file *file = &monitor->file;
    struct outfile out;
    struct metrics_job about;
    metrics_clear_job(&about);
    memcpy(about.app, monitor->about.app, sizeof about.app);
    memcpy(about.run, monitor->about.run, sizeof about.run);
    memcpy(about.version, monitor->about.version, sizeof about.version);
    memcpy(about.state, monitor->about.state, sizeof about.state);
    about.ranks = monitor->job->nranks;
    about.period_s = file->every_s;
    for (size_t i = 0; i < file->nranks; i++) {
        struct monitor_note note = {0};
        bool begun = take_rank(monitor, i, &note);
        if (file->whole && i == 0 && begun)
            take_job(&note, &about);
    }
    dml_status status = outfile_open(&out, file->path, error, error_bytes);
    if (status != DML_OK)
        return status;
    out.fleeting = true;
    metrics_write(out.file, &about, file->whole, file->ranks, file->nranks,
                  monitor->job->rank, wall_s());
    return outfile_commit(&out, error, error_bytes);
}

/* Training goes on without the file; that is told once. */
static void rewrite_and_tell(struct monitor *monitor)
{
    struct monitor_file *file = &monitor->file;
    char error[CLI_TEXT];
    bool failed = rewrite(monitor, error, sizeof error) != DML_OK;
    if (failed && !file->failing) {
        fprintf(stderr,
                "%s: warning: --metrics: %s (the job goes on, and tries again)\n",
                monitor->job->app, error);
        monitor_event(monitor->job, "warning",
                      json_pack("{s:o}", "text", eventlog_text(error)));
    }
    file->failing = failed;
}

void monitor_file_rewrite(struct monitor *monitor)
{
    if (!monitor->file.running)
        return;
    pthread_mutex_lock(&monitor->file.lock);
    rewrite_and_tell(monitor);
    pthread_mutex_unlock(&monitor->file.lock);
}

/* ---- the thread -------------------------------------------------------------------
 */

static void *rewrite_often(void *arg)
{
    struct monitor *monitor = arg;
    struct monitor_file *file = &monitor->file;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    pthread_mutex_lock(&file->lock);
    while (!file->stop) {
        double next = (double)until.tv_nsec + 1e9 * fmod(file->every_s, 1);
        until.tv_sec += (time_t)file->every_s + (next >= 1e9);
        until.tv_nsec = (long)(next >= 1e9 ? next - 1e9 : next);
        while (!file->stop &&
               pthread_cond_timedwait(&file->wake, &file->lock, &until) == 0)
            continue;
        if (!file->stop)
            rewrite_and_tell(monitor);
    }
    pthread_mutex_unlock(&file->lock);
    return NULL;
}

/* Signals are the main thread's. */
static bool start(struct monitor *monitor)
{
    struct monitor_file *file = &monitor->file;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    file->running = pthread_create(&file->thread, NULL, rewrite_often, monitor) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return file->running;
}

/* ---- begin and end ----------------------------------------------------------------
 */

/* The file of the ranks that begin with this one: of rank 0 as it was given; else with
 * the rank's number before what the name ends in: run.prom, run-4.prom. */
static char *path_of(const char *path, int rank)
{
    size_t room = strlen(path) + 16;
    char *own = malloc(room);
    if (!own)
        return NULL;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t stem = dot && dot != name ? (size_t)(dot - path) : strlen(path);
    if (rank == 0)
        snprintf(own, room, "%s", path);
    else
        snprintf(own, room, "%.*s-%d%s", (int)stem, path, rank, path + stem);
    return own;
}

/* Ranks whose state this one can read. */
static void find_ranks(struct monitor *monitor)
{
    struct monitor_file *file = &monitor->file;
    dml_rank_state state;
    for (int i = 0; i < monitor->job->nranks; i++)
        if (dml_comm_get_state(monitor->job->comm, i, &state) == DML_OK)
            file->of[file->nranks++] = i;
}

static dml_status prepare(struct monitor *monitor, const char *path)
{
    struct job *job = monitor->job;
    struct monitor_file *file = &monitor->file;
    size_t n = (size_t)job->nranks;
    file->of = calloc(n, sizeof *file->of);
    file->ranks = calloc(n, sizeof *file->ranks);
    file->past = calloc(n, sizeof *file->past);
    if (!file->of || !file->ranks || !file->past)
        return job_fail(job, DML_ENOMEM, "out of memory");
    find_ranks(monitor);
    if (file->of[0] != job->rank)
        return DML_OK; /* that one writes for this one, too */
    for (size_t i = 0; i < n; i++)
        file->past[i].step_s = file->past[i].wait_ratio = NAN;
    file->whole = job->rank == 0;
    file->path = path_of(path, job->rank);
    return file->path ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory");
}

dml_status monitor_file_open(struct monitor *monitor, const char *path, double every_s)
{
    struct job *job = monitor->job;
    struct monitor_file *file = &monitor->file;
    char error[CLI_TEXT - 32];
    pthread_condattr_t monotonic;
    file->every_s = every_s;
    pthread_mutex_init(&file->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&file->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    dml_status status = prepare(monitor, path);
    if (status != DML_OK || !file->path)
        return status;
    status = rewrite(monitor, error, sizeof error);
    if (status != DML_OK)
        return job_fail(job, status, "--metrics: %s", error);
    return start(monitor) ? DML_OK
                          : job_fail(job, DML_ENOMEM, "--metrics: no more threads");
}

void monitor_file_lock(struct monitor *monitor, bool lock)
{
    if (monitor->file.every_s <= 0)
        return;
    if (lock)
        pthread_mutex_lock(&monitor->file.lock);
    else
        pthread_mutex_unlock(&monitor->file.lock);
}

void monitor_file_close(struct monitor *monitor, bool remove)
{
    struct monitor_file *file = &monitor->file;
    struct stat info;
    if (file->running) {
        pthread_mutex_lock(&file->lock);
        file->stop = true;
        pthread_cond_signal(&file->wake);
        pthread_mutex_unlock(&file->lock);
        pthread_join(file->thread, NULL);
        if (!remove)
            rewrite_and_tell(monitor);
        else if (lstat(file->path, &info) == 0 && S_ISREG(info.st_mode))
            unlink(file->path);
    }
    if (file->every_s > 0) {
        pthread_cond_destroy(&file->wake);
        pthread_mutex_destroy(&file->lock);
    }
    free(file->of);
    free(file->ranks);
    free(file->past);
    free(file->path);
    *file = (struct monitor_file){0};
}
