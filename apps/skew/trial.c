/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One planner at work on a file's keys, with simulated ranks: rank r has the r-th part
 * of the file, samples it with a stream of its own, and all that a real job would
 * gather is merged. Then every key is routed, and loads are counted.
 */
#include "compare.h"

#include <stdlib.h>
#include <time.h>

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The records that rank r of "ranks" has: from first_of(r) to first_of(r + 1). */
static size_t first_of(const struct key_list *list, size_t ranks, size_t r)
{
    return list->count / ranks * r + list->count % ranks * r / ranks;
}

/* Sampling of a part of the list; rate 1 counts all. */
static dml_status sample(struct job *job, const dml_sampler_opts *opts,
                         const struct key_list *list, size_t first, size_t count,
                         dml_histogram **histogram)
{
    dml_keys keys = key_list_part(list, first, count);
    const double *values = list->values ? list->values + first : NULL;
    dml_sampler *sampler = NULL;
    SKEW_TRY(job_note(job, dml_sampler_create(job->ctx, opts, &sampler)));
    dml_status status = dml_sampler_add(sampler, &keys, values);
    if (status == DML_OK)
        status = dml_sampler_finish(sampler, histogram);
    dml_sampler_destroy(sampler);
    return job_note(job, status);
}

/* All ranks' histograms, one after the other. */
static dml_status sample_ranks(struct job *job, const struct skew_options *options,
                               const struct key_list *list, struct estimate *e,
                               dml_histogram **parts)
{
    size_t ranks = (size_t)options->ranks;
    dml_sampler_opts opts = sampling_opts(options, list->kind);
    opts.weight = list->weight;
    for (size_t r = 0; r < ranks; r++) {
        size_t first = first_of(list, ranks, r);
        size_t count = first_of(list, ranks, r + 1) - first;
        double begin_s = now_s();
        opts.stream = r;
        opts.reservoir = (uint64_t)((double)count * options->rate) + 1;
        SKEW_TRY(sample(job, &opts, list, first, count, &parts[r]));
        if (options->entries > 0)
            SKEW_TRY(job_note(
                job, dml_histogram_shorten(parts[r], (size_t)options->entries)));
        double spent_s = now_s() - begin_s;
        e->sample_s = spent_s > e->sample_s ? spent_s : e->sample_s;
        dml_histogram_info info;
        dml_histogram_get_info(parts[r], &info);
        if (info.pack_bytes > e->largest_bytes)
            e->largest_bytes = info.pack_bytes;
    }
    double begin_s = now_s();
    SKEW_TRY(
        job_note(job, dml_histogram_merge(job->ctx, (const dml_histogram *const *)parts,
                                          ranks, &e->merged)));
    e->merge_s = now_s() - begin_s;
    return DML_OK;
}

/* The truth, beside which the estimate is put. */
static dml_status judge(struct job *job, const struct skew_options *options,
                        const struct key_list *list, struct estimate *e)
{
    dml_sampler_opts opts = sampling_opts(options, list->kind);
    opts.weight = list->weight;
    dml_histogram *exact = NULL;
    opts.rate = 1;
    opts.method = DML_SAMPLE_STEP;
    SKEW_TRY(sample(job, &opts, list, 0, list->count, &exact));
    dml_histogram_get_info(e->merged, &e->info);
    dml_histogram_info truth;
    dml_histogram_get_info(exact, &truth);
    e->info.distinct = truth.distinct;
    e->info.entries = truth.entries;
    dml_status status =
        job_note(job, dml_histogram_compare(e->merged, exact, 0, &e->error));
    dml_histogram_destroy(exact);
    return status;
}

dml_status estimate_make(struct job *job, const struct skew_options *options,
                         const struct key_list *list, struct estimate *e)
{
    *e = (struct estimate){0};
    size_t ranks = (size_t)options->ranks;
    dml_histogram **parts = calloc(ranks, sizeof(dml_histogram *));
    if (!parts)
        return job_fail(job, DML_ENOMEM, "no memory for %zu ranks", ranks);
    dml_status status = sample_ranks(job, options, list, e, parts);
    if (status == DML_OK)
        status = judge(job, options, list, e);
    for (size_t r = 0; r < ranks; r++)
        dml_histogram_destroy(parts[r]);
    free(parts);
    return status;
}

void estimate_free(struct estimate *e)
{
    dml_histogram_destroy(e->merged);
    e->merged = NULL;
}

/* ---- one planner ---------------------------------------------------------------- */

static double key_bytes(const struct key_list *list, size_t i)
{
    return list->kind == DML_KEY_U64 ? 8 : (double)list->bytes[i].count;
}

/* Route all keys and count where they go. */
static dml_status route(struct job *job, const struct key_list *list, size_t ranks,
                        const dml_plan *plan, struct trial *trial)
{
    enum { BATCH = 4096 };
    uint32_t parts[BATCH];
    size_t rank = 0;
    for (size_t at = 0; at < list->count; at += BATCH) {
        size_t n = list->count - at < BATCH ? list->count - at : BATCH;
        dml_keys keys = key_list_part(list, at, n);
        double begin_s = now_s();
        SKEW_TRY(job_note(job, dml_plan_route(plan, &keys, NULL, at, parts)));
        trial->route_s += now_s() - begin_s;
        for (size_t i = 0; i < n; i++) {
            while (at + i >= first_of(list, ranks, rank + 1))
                rank++;
            trial->loads[parts[i]] += key_list_cost(list, at + i);
            if (parts[i] != rank)
                trial->moved_bytes += key_bytes(list, at + i);
        }
    }
    return DML_OK;
}

static void compare_loads(struct trial *trial, const double *predicted, size_t ranks)
{
    double all = 0;
    for (size_t r = 0; r < ranks; r++)
        all += predicted[r];
    for (size_t r = 0; r < ranks && all > 0 && trial->balance.total > 0; r++) {
        double gap = predicted[r] / all - trial->loads[r] / trial->balance.total;
        trial->load_error += 0.5 * (gap < 0 ? -gap : gap);
    }
}

dml_status trial_run(struct job *job, const struct skew_options *options,
                     const struct key_list *list, const struct estimate *e,
                     dml_planner planner, struct trial *trial)
{
    size_t ranks = (size_t)options->ranks;
    dml_plan *plan = NULL;
    double begin_s = now_s();
    *trial = (struct trial){0};
    SKEW_TRY(job_note(
        job, dml_plan_create(job->ctx, planner, ranks, e->merged, NULL, &plan)));
    trial->plan_s = now_s() - begin_s;
    dml_plan_get_info(plan, &trial->plan);
    trial->loads = calloc(ranks, sizeof *trial->loads);
    dml_status status = DML_OK;
    if (!trial->loads)
        status = job_fail(job, DML_ENOMEM, "no memory for %zu loads", ranks);
    if (status == DML_OK)
        status = route(job, list, ranks, plan, trial);
    if (status == DML_OK)
        status = job_note(
            job, dml_balance_of(job->ctx, trial->loads, NULL, ranks, &trial->balance));
    if (status == DML_OK)
        compare_loads(trial, dml_plan_loads(plan), ranks);
    dml_plan_destroy(plan);
    return status;
}
