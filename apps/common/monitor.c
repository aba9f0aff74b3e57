/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a job tells of itself while it runs; see monitor.h. Every rank leaves its values
 * where its node can read them; monitor_file.c makes the file of them.
 */
#include "monitor_internal.h"
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void monitor_values_init(struct monitor_values *values)
{
    *values = (struct monitor_values){
        .epoch = NAN, .progress = NAN, .loss = NAN, .rate = NAN, .test_value = NAN};
}

bool monitor_leaves_stdout(const struct monitor_options *options)
{
    return !options->log || strcmp(options->log, "-") != 0;
}

/* ---- the log ----------------------------------------------------------------------
 */

/* null where a number is not finite, which JSON does not know. */
static json_t *real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static void add_known(json_t *json, const char *name, double value)
{
    if (!isnan(value))
        json_object_set_new(json, name, real_or_null(value));
}

void monitor_event(struct job *job, const char *event, json_t *more)
{
    struct monitor *monitor = atomic_load(&job->monitor);
    if (!monitor || !monitor->log.path) {
        json_decref(more);
        return;
    }
    bool before = monitor->log.failing;
    int code = eventlog_write(&monitor->log, event, more);
    if (code != 0 && !before)
        fprintf(stderr,
                "%s: warning: --log-json: writing %s failed: %s (the job goes on)\n",
                job->app, monitor->log.path, strerror(code));
}

void monitor_log_step(struct job *job, const char *name)
{
    struct monitor *monitor = atomic_load(&job->monitor);
    if (!monitor || !monitor->log.path)
        return;
    const struct monitor_note *note = &monitor->note;
    const struct monitor_values *values = &note->values;
    json_t *json = json_pack("{s:I}", "step", (json_int_t)values->step);
    double steps = (double)(values->step - note->first_step);
    if (values->nsteps > 0)
        json_object_set_new(json, "steps", json_integer((json_int_t)values->nsteps));
    if (values->samples > 0)
        json_object_set_new(json, "samples", json_integer((json_int_t)values->samples));
    add_known(json, "epoch", values->epoch);
    add_known(json, "loss", values->loss);
    add_known(json, "learning_rate", values->rate);
    add_known(json, "test_value", values->test_value);
    if (steps > 0)
        add_known(json, "step_seconds",
                  (values->train_s - note->first_train_s) / steps);
    monitor_event(job, name, json);
}

void monitor_snapshot(struct job *job, uint64_t step, dml_status status,
                      const char *text)
{
    struct monitor *monitor = atomic_load(&job->monitor);
    if (!monitor)
        return;
    if (status == DML_OK) {
        monitor->note.snapshots++;
        monitor->note.snapshot_s = monitor_now_s();
        monitor_event(job, "snapshot", json_pack("{s:I}", "step", (json_int_t)step));
        return;
    }
    monitor->note.failed_snapshots++;
    monitor_event(job, "snapshot",
                  json_pack("{s:I, s:o}", "step", (json_int_t)step, "error",
                            eventlog_text(text)));
}

void monitor_library(struct job *job, dml_log_level level, const char *line)
{
    static const char *const events[] = {"error", "warning", "info", "debug"};
    monitor_event(job, events[level <= DML_LOG_DEBUG ? level : DML_LOG_DEBUG],
                  json_pack("{s:o}", "text", eventlog_text(line)));
}

static void set_state(struct monitor *monitor, const char *state)
{
    monitor_file_lock(monitor, true);
    snprintf(monitor->about.state, sizeof monitor->about.state, "%s", state);
    monitor_file_lock(monitor, false);
}

void monitor_failure(struct job *job, int rank, dml_status status, const char *text)
{
    struct monitor *monitor = atomic_load(&job->monitor);
    if (!monitor || monitor->failed)
        return;
    monitor->failed = true;
    set_state(monitor, "failed");
    monitor_event(job, "failure",
                  json_pack("{s:i, s:s, s:o}", "rank", rank, "status",
                            dml_status_name(status), "text", eventlog_text(text)));
    monitor_file_rewrite(monitor);
}

/* ---- values -----------------------------------------------------------------------
 */

/* Resident pages, now; 0 where Linux's /proc is not there. */
static uint64_t resident_bytes(void)
{
    unsigned long long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        return 0;
    if (fscanf(file, "%llu %llu", &all, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Looked at before every rewrite, as far as steps allow. */
static void look_at_memory(struct monitor *monitor)
{
    double now_s = monitor_now_s();
    if (now_s - monitor->memory_s < monitor->every_s / 2)
        return;
    monitor->memory_s = now_s;
    monitor->note.resident = resident_bytes();
    monitor->note.peak = (uint64_t)report_peak_rss_bytes();
}

void monitor_step(struct job *job, const struct monitor_values *values)
{
    struct monitor *monitor = atomic_load(&job->monitor);
    if (!monitor)
        return;
    struct monitor_note *note = &monitor->note;
    uint64_t words[sizeof *note / sizeof(uint64_t)];
    dml_comm_stats stats;
    if (!monitor->begun) {
        monitor->begun = true;
        note->first_step = values->step;
        note->first_train_s = values->train_s;
        note->first_progress = isnan(values->progress) ? 0 : values->progress;
        note->begin_s = monitor_now_s();
    }
    note->values = *values;
    if (!monitor->file.every_s)
        return;
    look_at_memory(monitor);
    dml_comm_get_stats(job->comm, &stats);
    note->sent = stats.bytes_sent;
    note->received = stats.bytes_received;
    memcpy(words, note, sizeof words);
    (void)dml_comm_set_note(job->comm, words, sizeof words / sizeof *words);
}

/* ---- begin and end ----------------------------------------------------------------
 */

/* Under Slurm its number of the job, so that a job that was started again goes on with
 * its series; else a name of this process. */
static void make_name(char run[80])
{
    const char *array = getenv("SLURM_ARRAY_JOB_ID");
    const char *task = getenv("SLURM_ARRAY_TASK_ID");
    const char *number = getenv("SLURM_JOB_ID");
    char host[48] = "";
    (void)gethostname(host, sizeof host - 1);
    if (array && task)
        snprintf(run, 80, "%.32s_%.32s", array, task);
    else if (number)
        snprintf(run, 80, "%.64s", number);
    else
        snprintf(run, 80, "%s-%ld", host, (long)getpid());
}

/* All ranks take rank 0's; the one that is there stays. Collective. */
static dml_status name_run(struct job *job, char run[80])
{
    if (run[0] == '\0')
        make_name(run);
    dml_status status = job_note(job, dml_bcast(run, 80, DML_U8, 0, job->comm));
    run[79] = '\0';
    return status;
}

/* An option as it was understood. */
static json_t *option_value(const struct cli_option *option, const void *values)
{
    const void *target = (const char *)values + option->offset;
    bool may_auto = option->fallback && strcmp(option->fallback, "auto") == 0;
    const char *text;
    switch (option->kind) {
    case CLI_FLAG:
        return json_boolean(*(const bool *)target);
    case CLI_INT:
        if (may_auto && *(const int64_t *)target == CLI_AUTO)
            return json_string("auto");
        return json_integer((json_int_t) * (const int64_t *)target);
    case CLI_REAL:
        if (may_auto && !(*(const double *)target > CLI_AUTO))
            return json_string("auto");
        return real_or_null(*(const double *)target);
    default:
        text = *(const char *const *)target;
        return text ? eventlog_text(text) : json_null();
    }
}

static json_t *list_options(const struct cli_command *command, const void *values)
{
    json_t *json = json_object();
    for (size_t i = 0; i < command->noptions; i++)
        json_object_set_new(json, command->options[i].name,
                            option_value(&command->options[i], values));
    return json;
}

static dml_status open_log(struct monitor *monitor, const struct cli_command *command,
                           const void *values, const char *path)
{
    struct job *job = monitor->job;
    if (!path || job->rank != 0 || monitor->log.path)
        return DML_OK;
    dml_status status =
        eventlog_open(&monitor->log, path, job->error, sizeof job->error);
    if (status != DML_OK)
        return status;
    int code = eventlog_write(
        &monitor->log, "start",
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:o}", "app", command->app, "command",
                  command->name, "version", dml_version(), "run", monitor->about.run,
                  "ranks", job->nranks, "pid", (json_int_t)getpid(), "options",
                  list_options(command, values)));
    if (code == 0)
        return DML_OK;
    return job_fail(job, DML_EIO, "--log-json: writing %.300s failed: %s; %s", path,
                    strerror(code), "give a file on a disk with room");
}

/* The monitor of a job that has none yet; NULL: no memory. */
static struct monitor *make_monitor(struct job *job, const struct cli_command *command,
                                    double every_s)
{
    struct monitor *monitor = calloc(1, sizeof *monitor);
    if (!monitor)
        return NULL;
    monitor->job = job;
    monitor->every_s = every_s;
    monitor->log.fd = -1;
    monitor_values_init(&monitor->note.values);
    snprintf(monitor->about.app, sizeof monitor->about.app, "%s", command->app);
    snprintf(monitor->about.version, sizeof monitor->about.version, "%s",
             dml_version());
    snprintf(monitor->about.state, sizeof monitor->about.state, "running");
    return monitor;
}

dml_status monitor_open(struct job *job, const struct cli_command *command,
                        const void *values, const struct monitor_options *options)
{
    if (!options->metrics && !options->log)
        return DML_OK;
    struct monitor *before = atomic_load(&job->monitor), *monitor = before;
    if (!before) /* else the job goes on with another communicator */
        monitor = make_monitor(job, command, options->every_s);
    dml_status status =
        job_agree(job, monitor ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory"));
    if (status != DML_OK) {
        if (!before)
            free(monitor);
        return status;
    }
    status = name_run(job, monitor->about.run);
    if (status == DML_OK)
        status = open_log(monitor, command, values, options->log);
    if (status == DML_OK && options->metrics)
        status = monitor_file_open(monitor, options->metrics, options->every_s);
    atomic_store(&job->monitor, monitor); /* so that a failure is in the log */
    status = job_agree(job, status);
    if (status != DML_OK)
        monitor_file_close(monitor, true);
    return status;
}

void monitor_leave(struct job *job)
{
    struct monitor *monitor = atomic_load(&job->monitor);
    /* A node's file is named by a rank, and ranks have other numbers then. */
    if (monitor)
        monitor_file_close(monitor, !monitor->file.whole);
}

void monitor_over(struct job *job, dml_status status)
{
    struct monitor *monitor = atomic_load(&job->monitor);
    if (!monitor)
        return;
    set_state(monitor, status != DML_OK ? "failed"
                       : job->requeue   ? "stopped"
                                        : "finished");
    monitor_file_close(monitor, false);
}

void monitor_close(struct job *job)
{
    struct monitor *monitor = atomic_load(&job->monitor);
    if (!monitor)
        return;
    const struct monitor_values *values = &monitor->note.values;
    json_t *json = json_pack("{s:s, s:I}", "state", monitor->about.state, "step",
                             (json_int_t)values->step);
    if (monitor->begun)
        json_object_set_new(json, "seconds",
                            json_real(monitor_now_s() - monitor->note.begin_s));
    add_known(json, "loss", values->loss);
    add_known(json, "test_value", values->test_value);
    monitor_event(job, "end", json);
    atomic_store(&job->monitor, NULL);
    eventlog_close(&monitor->log);
    free(monitor);
}
