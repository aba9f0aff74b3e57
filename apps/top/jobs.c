/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Samples become jobs and ranks. The files of a job's nodes have the same labels app
 * and run; names that libdml does not write are passed over.
 */
#include "jobs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A job whose file is older than this many periods hangs or is gone; and so much for a
 * slow disk. */
#define STALE_PERIODS 3
#define STALE_S       2.0
#define PERIOD_S      5.0 /* where no file tells it */

/* What is known while one file is read. */
struct reading {
    struct top_jobs *jobs;
    double stamp_s;
};

static void copy_text(char *to, size_t room, const char *text)
{
    snprintf(to, room, "%s", text ? text : "");
}

static struct top_job *find_job(struct top_jobs *jobs, const struct prom_sample *sample)
{
    struct metrics_job names;
    copy_text(names.app, sizeof names.app, prom_label(sample, "app"));
    copy_text(names.run, sizeof names.run, prom_label(sample, "run"));
    for (size_t i = 0; i < jobs->njobs; i++)
        if (strcmp(jobs->jobs[i].figures.app, names.app) == 0 &&
            strcmp(jobs->jobs[i].figures.run, names.run) == 0)
            return &jobs->jobs[i];
    if (!jobs->jobs)
        jobs->jobs = calloc(TOP_JOBS, sizeof *jobs->jobs);
    if (!jobs->jobs || jobs->njobs == TOP_JOBS)
        return NULL;
    struct top_job *job = &jobs->jobs[jobs->njobs++];
    metrics_clear_job(&job->figures);
    memcpy(job->figures.app, names.app, sizeof names.app);
    memcpy(job->figures.run, names.run, sizeof names.run);
    job->stamp_s = NAN;
    return job;
}

/* "0" to "131071", or -1. */
static int rank_number(const char *text)
{
    char *end = NULL;
    size_t length = strlen(text);
    if (length == 0 || length > 6 || strspn(text, "0123456789") != length)
        return -1;
    long number = strtol(text, &end, 10);
    return number < TOP_RANKS ? (int)number : -1;
}

/* Room for one more of "bytes" bytes, or NULL. */
static void *grow(void *items, size_t count, size_t *room, size_t bytes)
{
    if (count < *room)
        return items;
    size_t wanted = *room ? 2 * *room : 16;
    void *larger = realloc(items, wanted * bytes);
    if (larger)
        *room = wanted;
    return larger;
}

static bool make_place(struct top_job *job, int number)
{
    if (number < job->nplaces)
        return true;
    int wanted = number < TOP_RANKS / 2 ? 2 * number + 16 : TOP_RANKS;
    int *place = realloc(job->place, (size_t)wanted * sizeof *place);
    if (!place)
        return false;
    memset(place + job->nplaces, 0, (size_t)(wanted - job->nplaces) * sizeof *place);
    job->place = place;
    job->nplaces = wanted;
    return true;
}

static struct top_rank *find_rank(struct top_job *job, int number)
{
    if (!make_place(job, number))
        return NULL;
    if (job->place[number] > 0)
        return &job->ranks[job->place[number] - 1];
    struct top_rank *ranks = grow(job->ranks, job->nranks, &job->room, sizeof *ranks);
    if (!ranks)
        return NULL;
    job->ranks = ranks;
    struct top_rank *rank = &ranks[job->nranks++];
    *rank = (struct top_rank){.stamp_s = NAN, .waits_for = -1};
    metrics_clear_rank(&rank->figures);
    rank->figures.rank = number;
    job->place[number] = (int)job->nranks;
    return rank;
}

static bool set_figure(const struct metrics_figure *figures, size_t nfigures,
                       const struct prom_sample *sample, void *base)
{
    for (size_t i = 0; i < nfigures; i++)
        if (strcmp(figures[i].name, sample->name) == 0) {
            memcpy((char *)base + figures[i].offset, &sample->value,
                   sizeof sample->value);
            return true;
        }
    return false;
}

static const char *take_rank(struct reading *reading, struct top_job *job,
                             const struct prom_sample *sample, const char *number)
{
    int k = rank_number(number);
    struct top_rank *rank = k >= 0 ? find_rank(job, k) : NULL;
    if (!rank)
        return k < 0 ? "a label \"rank\" that is none, or too large" : "no memory";
    const char *operation = prom_label(sample, "operation");
    copy_text(rank->figures.host, sizeof rank->figures.host,
              prom_label(sample, "host"));
    rank->stamp_s = reading->stamp_s;
    if (strcmp(sample->name, "dml_operation_info") == 0)
        copy_text(rank->figures.operation, sizeof rank->figures.operation, operation);
    else
        set_figure(metrics_of_rank, metrics_nrank, sample, &rank->figures);
    return NULL;
}

static const char *take(void *user, const struct prom_sample *sample)
{
    struct reading *reading = user;
    const char *number = prom_label(sample, "rank");
    if (strncmp(sample->name, "dml_", 4) != 0)
        return NULL;
    struct top_job *job = find_job(reading->jobs, sample);
    if (!job)
        return "too many jobs";
    if (number)
        return take_rank(reading, job, sample, number);
    if (strcmp(sample->name, "dml_metrics_timestamp_seconds") == 0)
        reading->stamp_s = sample->value;
    else if (strcmp(sample->name, "dml_run_info") == 0)
        copy_text(job->figures.version, sizeof job->figures.version,
                  prom_label(sample, "version"));
    else if (strcmp(sample->name, "dml_run_state") == 0 && sample->value > 0)
        copy_text(job->figures.state, sizeof job->figures.state,
                  prom_label(sample, "state"));
    else if (set_figure(metrics_of_job, metrics_njob, sample, &job->figures))
        job->stamp_s = reading->stamp_s;
    return NULL;
}

bool jobs_parse(struct top_jobs *jobs, char *text, size_t bytes, char error[PROM_ERROR])
{
    struct reading reading = {.jobs = jobs, .stamp_s = NAN};
    return prom_read(text, bytes, take, &reading, error);
}

bool jobs_read(struct top_jobs *jobs, const char *path, char error[PROM_ERROR])
{
    struct reading reading = {.jobs = jobs, .stamp_s = NAN};
    return prom_read_file(path, take, &reading, error);
}

static int compare_ranks(const void *a, const void *b)
{
    const struct top_rank *x = a, *y = b;
    return (x->figures.rank > y->figures.rank) - (x->figures.rank < y->figures.rank);
}

/* By rank; the places follow. */
static void sort(struct top_job *job)
{
    if (job->nranks > 0)
        qsort(job->ranks, job->nranks, sizeof *job->ranks, compare_ranks);
    for (size_t i = 0; i < job->nranks; i++)
        job->place[job->ranks[i].figures.rank] = (int)i + 1;
}

static bool is_over(const struct top_job *job)
{
    return job->figures.state[0] && strcmp(job->figures.state, "running") != 0;
}

/* Of a job that is over it does not matter who came last, nor who waited for its end.
 */
static void end_waits(struct top_job *job)
{
    for (size_t i = 0; i < job->nranks; i++) {
        struct metrics_rank *f = &job->ranks[i].figures;
        f->waits_s = f->stopped = 0;
        f->wait_ratio = NAN;
    }
}

/* ---- who is stale -----------------------------------------------------------------
 */

static void find_stale(struct top_job *job, double now_s)
{
    bool over = is_over(job);
    double period_s =
        isfinite(job->figures.period_s) ? job->figures.period_s : PERIOD_S;
    double limit_s = STALE_PERIODS * period_s + STALE_S;
    job->stale = !over && now_s - job->stamp_s > limit_s;
    for (size_t i = 0; i < job->nranks; i++)
        job->ranks[i].stale = !over && now_s - job->ranks[i].stamp_s > limit_s;
}

/* ---- who waits for whom -----------------------------------------------------------
 */

static bool waits(const struct top_rank *rank)
{
    return rank->figures.waits_s > 0 && !(rank->figures.stopped > 0) && !rank->stale;
}

/* Who keeps those waiting who wait in an operation: the rank that is furthest behind,
 * of those that are stopped, wherever that is, and of those that do not wait. Who waits
 * itself waits for somebody, too. */
struct absent {
    struct top_rank *stopped, *behind, *first;
};

static struct top_rank *further_behind(struct top_rank *a, struct top_rank *b)
{
    return a && !(b->figures.number < a->figures.number) ? a : b;
}

static struct absent find_absent(struct top_job *job)
{
    struct absent absent = {NULL, NULL, NULL};
    for (size_t i = 0; i < job->nranks; i++) {
        struct top_rank *rank = &job->ranks[i];
        if (rank->figures.stopped > 0 || rank->stale)
            absent.stopped = further_behind(absent.stopped, rank);
        else if (!waits(rank))
            absent.behind = further_behind(absent.behind, rank);
        if (!absent.first && !waits(rank))
            absent.first = rank;
    }
    return absent;
}

/* Where all have come, it is one that computes: operations move on in calls. */
static struct top_rank *find_missing(const struct absent *absent, double operation)
{
    struct top_rank *found = absent->stopped, *behind = absent->behind;
    if (behind && behind->figures.number < operation)
        found = found ? further_behind(found, behind) : behind;
    return found ? found : absent->first;
}

static struct top_rank *find_peer(struct top_job *job, double peer)
{
    if (!(peer >= 0 && peer < job->nplaces) || job->place[(int)peer] == 0)
        return NULL;
    return &job->ranks[job->place[(int)peer] - 1];
}

static void find_waits(struct top_job *job)
{
    const struct absent absent = find_absent(job);
    for (size_t i = 0; i < job->nranks; i++) {
        struct top_rank *rank = &job->ranks[i], *found = NULL;
        if (!waits(rank))
            continue;
        if (rank->figures.peer >= 0)
            found = find_peer(job, rank->figures.peer);
        else if (rank->figures.waits_in > 0)
            found = find_missing(&absent, rank->figures.waits_in);
        if (!found)
            continue;
        rank->waits_for = found->figures.rank;
        found->blamed = true;
        found->nwaiting++;
        found->longest_s = fmax(found->longest_s, rank->figures.waits_s);
    }
}

/* ---- how fast ---------------------------------------------------------------------
 */

static const struct top_job *same_job(const struct top_jobs *jobs,
                                      const struct top_job *job)
{
    for (size_t i = 0; jobs && i < jobs->njobs; i++)
        if (strcmp(jobs->jobs[i].figures.run, job->figures.run) == 0 &&
            strcmp(jobs->jobs[i].figures.app, job->figures.app) == 0)
            return &jobs->jobs[i];
    return NULL;
}

static void find_rates(struct top_job *job, const struct top_job *before)
{
    for (size_t i = 0; i < job->nranks; i++) {
        struct top_rank *rank = &job->ranks[i];
        int number = rank->figures.rank;
        int place = before && number < before->nplaces ? before->place[number] : 0;
        const struct top_rank *old = place > 0 ? &before->ranks[place - 1] : NULL;
        double passed_s = old ? rank->stamp_s - old->stamp_s : job->figures.elapsed_s;
        if (old && !(passed_s > 0)) { /* the same file as before */
            rank->sent_rate = old->sent_rate;
            rank->received_rate = old->received_rate;
            continue;
        }
        rank->sent_rate =
            (rank->figures.sent - (old ? old->figures.sent : 0)) / passed_s;
        rank->received_rate =
            (rank->figures.received - (old ? old->figures.received : 0)) / passed_s;
    }
}

void jobs_judge(struct top_jobs *jobs, const struct top_jobs *before, double now_s)
{
    for (size_t i = 0; i < jobs->njobs; i++) {
        struct top_job *job = &jobs->jobs[i];
        sort(job);
        find_stale(job, now_s);
        if (is_over(job))
            end_waits(job);
        else
            find_waits(job);
        find_rates(job, same_job(before, job));
    }
}

void jobs_free(struct top_jobs *jobs)
{
    for (size_t i = 0; i < jobs->njobs; i++) {
        free(jobs->jobs[i].ranks);
        free(jobs->jobs[i].place);
    }
    free(jobs->jobs);
    *jobs = (struct top_jobs){0};
}
