/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which rank grows which tree.
 *
 * Within a group of ranks (a node) trees come from one counter in shared memory, so a
 * slow rank or thread takes fewer and nobody waits for more than one tree. Groups agree
 * in rounds: each hands out half of what is left, in proportion to the trees that each
 * group finished per second so far; the last round is at most two trees a thread. With
 * --checkpoint a round is about as many trees as are grown in ROUND_S, and ends where a
 * snapshot is due, because snapshots are taken between rounds.
 * Nothing of this shows in the forest, because a tree depends on its number alone.
 */
#include "forest.h"

#include "../common/monitor.h"
#include "../common/report.h"
#include "state.h"
#include "vote.h"
#include "worker.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <time.h>

/* Threads wait for the round's last tree, half a tree's time each: a small part of
 * this. A signal is seen after two rounds at most. */
#define ROUND_S 2.0

double forest_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- monitoring ----------------------------------------------------------------- */

void forest_publish(const struct forest *forest, double seconds, double value)
{
    uint64_t grown = atomic_load(&forest->set->counts->done);
    struct monitor_values values;
    monitor_values_init(&values);
    values.nsteps = forest->ntrees;
    values.step = forest->ntrees - forest->ntodo + grown;
    values.train_s = seconds;
    values.progress = (double)values.step / (double)forest->ntrees;
    values.test_value = value;
    monitor_step(forest->job, &values);
}

/* ---- rounds --------------------------------------------------------------------- */

/* Of the group that this rank belongs to. */
static void show(struct forest *forest, double begin, bool always)
{
    const struct dataset *set = forest->set;
    uint64_t grown = atomic_load(&set->counts->done), total = forest->ntrees;
    uint64_t left = forest->ntodo - grown, done = total - left;
    double now = forest_now_s();
    if (!forest->progress->shown ||
        (!always && (!forest->progress->bar || now - forest->progress->last_s < 0.5)))
        return;
    int64_t sums[VOTE_SUMS];
    vote_sum(&set->oob, false, 0, &set->train_truth, sums);
    struct vote_score score = vote_score(sums, set->train.label);
    char text[120];
    double left_s = (now - begin) * (double)left / (double)(grown + !grown);
    snprintf(text, sizeof text, "%llu of %llu trees, out of bag %s %.4f, %.0f s left",
             (unsigned long long)done, (unsigned long long)total,
             set->train.label ? "error" : "R2",
             set->train.label ? 1 - score.value : score.value, left_s);
    progress_bar(forest->progress, done, total, text);
}

/* Take trees until the round's are gone. Returns seconds of work. */
static double work(struct forest *forest, struct worker *worker, double begin)
{
    struct progress_counts *counts = forest->set->counts;
    double from = forest_now_s();
    while (!atomic_load(&counts->failed)) {
        uint64_t i = atomic_fetch_add(&counts->next, 1);
        if (i >= atomic_load(&counts->end))
            break;
        if (!worker_grow(forest, worker, forest->todo[i])) {
            atomic_store(&counts->failed, 1);
            break;
        }
        atomic_fetch_add(&counts->done, 1);
        if (omp_get_thread_num() == 0) {
            show(forest, begin, false);
            forest_publish(forest, forest_now_s() - begin, NAN);
        }
    }
    return forest_now_s() - from;
}

static dml_status grow_round(struct forest *forest, double begin)
{
    double busy = 0;
#pragma omp parallel num_threads(forest->threads) reduction(+ : busy)
    busy += work(forest, &forest->workers[omp_get_thread_num()], begin);
    forest->busy_s += busy / forest->threads;
    return job_agree(forest->job,
                     atomic_load(&forest->set->counts->failed)
                         ? job_fail(forest->job, DML_ENOMEM,
                                    "no memory or no room in /tmp for a tree")
                         : DML_OK);
}

/* How fast a group is. */
struct pace {
    double share;    /* trees per second so far; before the first, its ranks */
    double measured; /* the same; before the first, 0 */
};

/* Trees of the next round, after "first" ones. The same on all ranks. */
static uint64_t trees_of_round(const struct forest *forest, const struct pace *pace,
                               uint64_t first, uint64_t nthreads)
{
    const struct checkpoint *checkpoint = forest->checkpoint;
    uint64_t left = forest->ntodo - first;
    int ngroups = forest->group->ngroups;
    if (!checkpoint->writer)
        return ngroups == 1 || left <= 2 * nthreads ? left : (left + 1) / 2;
    double seconds = ROUND_S, speed = 0;
    if (checkpoint->every_s > 0 && checkpoint->every_s < seconds)
        seconds = checkpoint->every_s;
    for (int g = 0; g < ngroups; g++)
        speed += pace[g].measured;
    double trees = fmin(speed * seconds, (double)left);
    uint64_t now = trees > (double)nthreads ? (uint64_t)trees : nthreads;
    if (checkpoint->every_steps > 0) {
        uint64_t there = forest->ntrees - left;
        uint64_t rest = checkpoint->every_steps - there % checkpoint->every_steps;
        now = now < rest ? now : rest;
    }
    return now < left ? now : left;
}

/* This group's part of "now" trees from "first" on. Every group computes all groups'
 * parts. Returns the first tree after them. */
static uint64_t share_round(const struct forest *forest, const struct pace *pace,
                            uint64_t first, uint64_t now)
{
    const struct group *group = forest->group;
    struct progress_counts *counts = forest->set->counts;
    double sum = 0, before = 0;
    for (int g = 0; g < group->ngroups; g++)
        sum += pace[g].share;
    for (int g = 0; g < group->number; g++)
        before += pace[g].share;
    uint64_t from = first + (uint64_t)((double)now * before / sum);
    before += pace[group->number].share;
    uint64_t to = group->number + 1 == group->ngroups
                      ? first + now
                      : first + (uint64_t)((double)now * before / sum);
    if (group->rank == 0) {
        atomic_store(&counts->next, from);
        atomic_store(&counts->end, to);
    }
    return first + now;
}

static dml_status measure(const struct forest *forest, double begin, struct pace *pace)
{
    struct group *group = forest->group;
    dml_status status = DML_OK;
    uint64_t done = atomic_load(&forest->set->counts->done);
    double speed = (double)done / fmax(forest_now_s() - begin, 1e-9);
    struct pace mine = {done == 0 ? (double)group->nranks : speed, speed};
    if (group->leaders)
        status = dml_allgather(&mine, pace, sizeof mine / sizeof(double), DML_F64,
                               group->leaders);
    if (status == DML_OK)
        status = group_tell(group, pace, (size_t)group->ngroups * sizeof *pace);
    return job_note(forest->job, status);
}

/* Of all ranks. */
static dml_status count_threads(const struct forest *forest, uint64_t *nthreads)
{
    *nthreads = (uint64_t)forest->threads;
    return job_note(forest->job, dml_allreduce(DML_IN_PLACE, nthreads, 1, DML_U64,
                                               DML_SUM, forest->job->comm));
}

/* After so many trees, unless they are the last: *stop, where a signal ends the job. */
static dml_status between_trees(struct forest *forest, uint64_t grown, bool *stop)
{
    *stop = false;
    if (grown == forest->ntodo)
        return DML_OK;
    return checkpoint_after_step(forest->checkpoint, &forest->parts,
                                 forest->ntrees - forest->ntodo + grown, stop);
}

/* All ranks grow every tree together. */
static dml_status grow_together(struct forest *forest)
{
    double begin = forest_now_s();
    struct progress_counts *counts = forest->set->counts;
    dml_status status = DML_OK;
    bool stop = false;
    forest_publish(forest, 0, NAN);
    for (uint64_t i = 0; status == DML_OK && i < forest->ntodo && !stop; i++) {
        uint64_t number = forest->todo[i];
        if (!worker_grow(forest, &forest->workers[0], number))
            /* others may wait: DML_ECOMM ends them, too; a rank that is missing has
             * been told of by the library */
            status = job_fail(
                forest->job,
                forest->together.status == DML_ETIMEOUT ? DML_ETIMEOUT : DML_ECOMM,
                "tree %llu cannot be grown: %s", (unsigned long long)number,
                forest->job->error[0] ? forest->job->error : "no memory");
        if (forest->group->rank == 0)
            atomic_store(&counts->done, i + 1);
        show(forest, begin, false);
        forest_publish(forest, forest_now_s() - begin, NAN);
        if (status == DML_OK)
            status = between_trees(forest, i + 1, &stop);
    }
    status = job_agree(forest->job, status);
    group_wait(forest->group);
    forest->seconds = forest_now_s() - begin;
    forest->busy_s = forest->seconds - forest->together.seconds;
    return status;
}

static dml_status grow_rounds(struct forest *forest)
{
    double begin = forest_now_s();
    struct pace *pace = calloc((size_t)forest->group->ngroups, sizeof *pace);
    uint64_t nthreads = 0;
    dml_status status = job_agree(
        forest->job, pace ? DML_OK : job_fail(forest->job, DML_ENOMEM, "no memory"));
    if (status == DML_OK)
        status = count_threads(forest, &nthreads);
    uint64_t first = 0;
    bool stop = false;
    forest_publish(forest, 0, NAN);
    while (status == DML_OK && first < forest->ntodo && !stop) {
        status = measure(forest, begin, pace);
        if (status != DML_OK)
            break;
        first = share_round(forest, pace, first,
                            trees_of_round(forest, pace, first, nthreads));
        group_wait(forest->group);
        status = grow_round(forest, begin);
        group_wait(forest->group);
        if (status == DML_OK)
            status = between_trees(forest, first, &stop);
    }
    forest->seconds = forest_now_s() - begin;
    free(pace);
    return status;
}

/* ---- begin and end -------------------------------------------------------------- */

/* A team has one thread on each rank. */
int forest_workers(const struct forest *forest)
{
    return forest->params.team ? 1 : forest->threads;
}

dml_status forest_importance(const struct forest *forest, int64_t *sum)
{
    size_t nfeatures = forest->set->train.nfeatures;
    for (size_t f = 0; f < nfeatures; f++) {
        sum[f] = forest->importance[f];
        for (int t = 0; t < forest_workers(forest); t++)
            sum[f] += forest->workers[t].importance[f];
    }
    return job_note(forest->job, dml_allreduce(DML_IN_PLACE, sum, nfeatures, DML_I64,
                                               DML_SUM, forest->job->comm));
}

/* Importance over threads and ranks, and votes over groups. */
static dml_status gather(struct forest *forest)
{
    dml_status status = forest_importance(forest, forest->importance);
    if (status == DML_OK && !forest->set->sharded)
        status =
            vote_gather(forest->group, &forest->set->oob, forest->set->train.nclasses);
    spool_sort(&forest->spool);
    return job_agree(forest->job, status);
}

static dml_status prepare(struct forest *forest)
{
    struct job *job = forest->job;
    int nworkers = forest_workers(forest);
    forest->workers = calloc((size_t)nworkers, sizeof *forest->workers);
    forest->importance =
        calloc(forest->set->train.nfeatures, sizeof *forest->importance);
    forest->todo = calloc(forest->ntrees, sizeof *forest->todo);
    bool good = forest->workers && forest->importance && forest->todo;
    for (int t = 0; good && t < nworkers; t++)
        good = worker_make(&forest->workers[t], forest);
    dml_status status =
        good ? spool_open(job, &forest->spool)
             : job_fail(job, DML_ENOMEM, "no memory for %d threads", forest->threads);
    status = job_agree(job, status);
    return status == DML_OK ? state_load(forest) : status;
}

dml_status forest_grow(struct forest *forest)
{
    dml_status status = prepare(forest);
    if (status == DML_OK)
        status = forest->params.team ? grow_together(forest) : grow_rounds(forest);
    if (status == DML_OK)
        status = checkpoint_wait(forest->checkpoint, false);
    if (status == DML_OK && !forest->job->requeue)
        status = gather(forest);
    forest->private_bytes = report_private_bytes();
    if (status == DML_OK)
        forest->shared = grower_shared(forest->workers[0].grower);
    for (int t = 0; forest->workers && t < forest_workers(forest); t++)
        worker_free(&forest->workers[t]);
    free(forest->workers);
    forest->workers = NULL;
    return status;
}

void forest_free(struct forest *forest)
{
    together_close(&forest->together);
    spool_close(&forest->spool);
    free(forest->importance);
    free(forest->todo);
}
