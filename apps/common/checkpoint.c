/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoints of applications; see checkpoint.h.
 */
#include "checkpoint.h"

#include "monitor.h"
#include "stop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPTIONS_SECTION "options"
#define MOST_OPTIONS    ((uint64_t)1 << 20) /* bytes of their text */

/* Options that may change from one part of a job to the next: where things are, what is
 * shown, how long it runs, and how ranks share work whose result does not depend on it.
 */
static const char *const free_options[] = {"data",
                                           "device",
                                           "kernels",
                                           "graph",
                                           "train",
                                           "dev",
                                           "test",
                                           "trees",
                                           "partition",
                                           "rows",
                                           "table-mib",
                                           "table-ranks",
                                           "importance-file",
                                           "max-steps",
                                           "max-iterations",
                                           "options",
                                           "metrics",
                                           "metrics-every",
                                           "log-json",
                                           "threads",
                                           "report",
                                           "curve",
                                           "model",
                                           "quiet",
                                           "checkpoint",
                                           "checkpoint-every",
                                           "checkpoint-keep",
                                           "on-failure",
                                           "resume"};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- options ----------------------------------------------------------------------
 */

/* "100", "30s", "5m" or "2h" as steps or seconds; the other is 0. */
static bool parse_every(const char *text, uint64_t *steps, double *seconds)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"s", 1}, {"m", 60}, {"h", 3600}};
    char *end = NULL;
    *steps = 0;
    *seconds = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    double number = strtod(text, &end);
    if (!(number > 0 && number <= 1e9))
        return false;
    if (*end == '\0') {
        *steps = (uint64_t)number;
        return (double)*steps == number;
    }
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0)
            *seconds = number * units[i].seconds;
    return *seconds > 0;
}

static bool is_auto(const struct checkpoint_options *options)
{
    return options->resume && strcmp(options->resume, "auto") == 0;
}

bool checkpoint_shrinks(const struct checkpoint_options *options)
{
    return options->on_failure && strcmp(options->on_failure, "shrink") == 0;
}

dml_status checkpoint_check(struct job *job, const struct checkpoint_options *options)
{
    uint64_t steps;
    double seconds;
    if (!parse_every(options->every, &steps, &seconds))
        return job_fail(job, DML_EINVAL,
                        "--checkpoint-every needs steps such as 100, or a time such as "
                        "30s, 5m or 2h, not \"%.40s\"",
                        options->every);
    if (is_auto(options) && !options->dir)
        return job_fail(job, DML_EINVAL,
                        "--resume auto looks in the folder of --checkpoint: give one, "
                        "or give --resume a snapshot");
    if (checkpoint_shrinks(options) &&
        (!options->dir || (options->resume && !is_auto(options))))
        return job_fail(job, DML_EINVAL,
                        "--on-failure shrink goes on from the newest snapshot in "
                        "--checkpoint: give a folder, and no --resume but auto");
    return DML_OK;
}

static bool is_free(const char *name)
{
    for (size_t i = 0; i < sizeof free_options / sizeof *free_options; i++)
        if (strcmp(name, free_options[i]) == 0)
            return true;
    return false;
}

/* The options that matter, a line each; to be freed. */
static char *options_text(const struct cli_command *command, const void *values)
{
    char *text = NULL, line[CLI_TEXT];
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return NULL;
    fprintf(out, "%s %s\n", command->app, command->name);
    for (size_t i = 0; i < command->noptions; i++) {
        if (is_free(command->options[i].name))
            continue;
        cli_option_text(&command->options[i], values, line);
        fprintf(out, "%s\n", line);
    }
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/* The next line of a text, cut out of it; NULL at its end. */
static char *next_line(char **text)
{
    char *line = *text, *end = line ? strchr(line, '\n') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    *text = end + 1;
    return line;
}

static dml_status compare(struct job *job, char *was, char *now)
{
    for (;;) {
        const char *before = next_line(&was), *here = next_line(&now);
        if (!before && !here)
            return DML_OK;
        if (!before || !here)
            return job_fail(job, DML_EMISMATCH,
                            "--resume: the snapshot is of a program with other "
                            "options: use the one that wrote it");
        if (strcmp(before, here) != 0)
            return job_fail(job, DML_EMISMATCH,
                            "--resume: the snapshot was made with %.150s, and now it "
                            "is %.150s: give the same options",
                            before, here);
    }
}

dml_status checkpoint_same_options(struct job *job, const dml_snapshot *snapshot,
                                   const struct cli_command *command,
                                   const void *values)
{
    dml_section_info info;
    dml_status status = dml_snapshot_find(snapshot, OPTIONS_SECTION, 0, &info);
    if (status != DML_OK || info.count > MOST_OPTIONS)
        return job_fail(job, DML_EFORMAT,
                        "--resume: the snapshot is not one of this program");
    char *was = calloc((size_t)info.count + 1, 1), *now = options_text(command, values);
    status = was && now ? DML_OK : job_fail(job, DML_ENOMEM, "out of memory");
    if (status == DML_OK)
        status = job_note(job, dml_snapshot_get_shared(snapshot, OPTIONS_SECTION, was,
                                                       (size_t)info.count));
    if (status == DML_OK)
        status = compare(job, was, now);
    free(now);
    free(was);
    return status;
}

dml_status checkpoint_counters(struct job *job, const dml_snapshot *snapshot,
                               const struct checkpoint_counter *counters, size_t n)
{
    dml_snapshot_info info;
    dml_snapshot_get_info(snapshot, &info);
    for (size_t i = 0; i < n; i++) {
        const struct checkpoint_counter *c = &counters[i];
        if (!(c->found >= c->least && c->found <= c->most)) /* nor NaN */
            return job_fail(job, DML_EFORMAT,
                            "--resume: %.200s: \"%s\" is %.15g, %.15g to %.15g "
                            "expected: it was changed; give --resume an older "
                            "snapshot, or start anew",
                            info.path, c->name, c->found, c->least, c->most);
    }
    return DML_OK;
}

/* ---- opening ----------------------------------------------------------------------
 */

/* As job_note() and job_agree(), with the option that gave the path. */
static dml_status note(struct job *job, const char *option, dml_status status)
{
    if (job_note(job, status) < 0)
        (void)job_fail(job, status, "%s: %.480s", option, job->error);
    return job_agree(job, status);
}

static dml_status open_snapshot(struct job *job,
                                const struct checkpoint_options *options,
                                dml_snapshot **snapshot)
{
    const char *path = is_auto(options) ? options->dir : options->resume;
    dml_status status = dml_snapshot_open(path, job->comm, snapshot);
    /* Nothing to go on from is no failure where a job may start or go on. */
    if (status == DML_EEND && is_auto(options))
        return DML_OK;
    return note(job, "--resume", status);
}

/* Snapshots of an earlier job would be mixed up with this one's. */
static dml_status refuse_old(struct job *job, const struct checkpoint_options *options)
{
    dml_snapshot *old = NULL;
    dml_status status = dml_snapshot_open(options->dir, job->comm, &old);
    dml_snapshot_close(old);
    if (status == DML_EEND)
        return DML_OK;
    if (status != DML_OK && status != DML_EFORMAT)
        return note(job, "--checkpoint", status);
    return job_agree(
        job, job_fail(job, DML_EINVAL,
                      "--checkpoint %.200s holds snapshots of an earlier job: go "
                      "on from them with --resume auto, or give another folder",
                      options->dir));
}

static dml_status open_writer(struct job *job, const struct checkpoint_options *options,
                              struct checkpoint *checkpoint)
{
    dml_ckpt_opts opts;
    dml_ckpt_opts_init(&opts);
    opts.keep = (int)options->keep;
    (void)parse_every(options->every, &opts.every_steps, &opts.every_s); /* checked */
    checkpoint->every_steps = opts.every_steps;
    checkpoint->every_s = opts.every_s;
    dml_status status =
        dml_ckpt_open(options->dir, &opts, job->comm, &checkpoint->writer);
    /* Where another rank's error is the cause, that one tells it. */
    return note(job, "--checkpoint", status);
}

dml_status checkpoint_open(struct job *job, const struct checkpoint_options *options,
                           struct checkpoint *checkpoint, dml_snapshot **snapshot)
{
    dml_status status = DML_OK;
    *checkpoint = (struct checkpoint){.job = job, .resume = options->resume != NULL};
    *snapshot = NULL;
    if (options->dir && !options->resume)
        status = refuse_old(job, options);
    /* With the lock first: nothing is removed or added while it is looked for. */
    if (status == DML_OK && options->dir)
        status = open_writer(job, options, checkpoint);
    if (status == DML_OK && options->resume)
        status = open_snapshot(job, options, snapshot);
    return status;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    dml_ckpt_close(checkpoint->writer);
    checkpoint->writer = NULL;
}

/* ---- while it runs ----------------------------------------------------------------
 */

/* For monitors; and of a failure a line on standard error. */
static void tell(const struct checkpoint *checkpoint, const dml_ckpt_news *news)
{
    const struct job *job = checkpoint->job;
    char rank[32] = "";
    if (news->finished)
        monitor_snapshot(checkpoint->job, news->step, news->status, news->text);
    if (!news->finished || news->status == DML_OK || job->rank != 0)
        return;
    if (job->nranks > 1)
        snprintf(rank, sizeof rank, "rank %d: ", news->rank);
    fprintf(stderr,
            "%s: warning: %sthe snapshot of step %llu is not there: %s (the job goes "
            "on, and snapshots before it stay)\n",
            job->app, rank, (unsigned long long)news->step, news->text);
}

dml_status checkpoint_poll(struct checkpoint *checkpoint, uint64_t step, bool *due,
                           bool *stop)
{
    dml_ckpt_news news;
    *due = *stop = false;
    if (!checkpoint->writer)
        return DML_OK;
    double start = now_s();
    dml_status status =
        dml_ckpt_poll(checkpoint->writer, step, stop_wanted() ? 1 : 0, &news);
    checkpoint->seconds += now_s() - start;
    if (status != DML_OK) { /* of messages: there is nothing to agree upon */
        (void)job_note(checkpoint->job, status);
        bool kept = status == DML_ETIMEOUT || status == DML_EPEER;
        return job_agree(checkpoint->job, kept ? status : DML_ECOMM);
    }
    tell(checkpoint, &news);
    *stop = news.wish > 0;
    *due = news.due || *stop;
    return DML_OK;
}

dml_status checkpoint_begin(struct checkpoint *checkpoint, uint64_t step,
                            const struct cli_command *command, const void *values)
{
    struct job *job = checkpoint->job;
    double start = now_s();
    dml_status status = job_note(job, dml_ckpt_begin(checkpoint->writer, step));
    char *text = status == DML_OK ? options_text(command, values) : NULL;
    if (status == DML_OK && !text)
        status = job_fail(job, DML_ENOMEM, "out of memory");
    if (status == DML_OK)
        status = job_note(job, dml_ckpt_add_shared(checkpoint->writer, OPTIONS_SECTION,
                                                   text, strlen(text)));
    free(text);
    checkpoint->seconds -= start; /* until the commit */
    return status;
}

dml_status checkpoint_commit(struct checkpoint *checkpoint)
{
    dml_status status = dml_ckpt_commit(checkpoint->writer);
    checkpoint->seconds += now_s();
    return job_note(checkpoint->job, status);
}

dml_status checkpoint_wait(struct checkpoint *checkpoint, bool needed)
{
    struct job *job = checkpoint->job;
    dml_ckpt_news news = {0};
    if (!checkpoint->writer)
        return DML_OK;
    dml_status status = job_note(job, dml_ckpt_wait(checkpoint->writer, &news));
    bool failed = status == DML_OK && news.finished && news.status != DML_OK;
    if (failed && needed)
        status =
            job_fail(job, news.status, "the last snapshot is not there: %s", news.text);
    else if (status == DML_OK)
        tell(checkpoint, &news);
    return job_agree(job, status);
}
