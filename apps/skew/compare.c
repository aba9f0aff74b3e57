/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-skew compare and plan: tables for people, and JSON for scripts/plot.
 */
#include "compare.h"

#include "../common/outfile.h"

#include <stdlib.h>
#include <string.h>

/* One process simulates all ranks. */
static dml_status check_alone(struct job *job)
{
    if (job->nranks == 1)
        return DML_OK;
    return job_agree(job, job_fail(job, DML_EINVAL,
                                   "plan and compare simulate their ranks (--ranks) in "
                                   "one process: start them without mpirun"));
}

static json_t *trial_json(const struct trial *trial, size_t ranks, size_t told_bytes)
{
    json_t *loads = json_array();
    for (size_t r = 0; r < ranks; r++)
        json_array_append_new(loads, json_real(trial->loads[r]));
    return json_pack(
        "{s:s, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:b, s:I, s:I, s:o}", "planner",
        dml_planner_name(trial->plan.planner), "imbalance", trial->balance.imbalance,
        "cv", trial->balance.cv, "predicted_imbalance", trial->plan.imbalance,
        "load_error", trial->load_error, "moved_bytes", (json_int_t)trial->moved_bytes,
        "plan_seconds", trial->plan_s, "route_seconds", trial->route_s, "ordered",
        trial->plan.ordered, "split_keys", (json_int_t)trial->plan.split_keys,
        "told_bytes",
        (json_int_t)(trial->plan.planner == DML_PLAN_HASH ? 0 : told_bytes), "loads",
        loads);
}

static json_t *head_json(const struct skew_options *options,
                         const struct key_list *list, const struct estimate *e)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s?, s:s, s:I, s:I, s:f, s:I, s:I, s:s, s:f, s:f, s:f, "
        "s:f, s:[]}",
        "app", "dml-skew", "data", options->data, "key", options->key, "weight",
        options->weight, "cost",
        options->cost     ? options->cost
        : options->weight ? "value"
                          : "count",
        "records", (json_int_t)list->count, "distinct_keys",
        (json_int_t)e->info.entries, "rate", options->rate, "samples",
        (json_int_t)e->info.samples, "ranks", (json_int_t)options->ranks, "sample",
        options->sample, "total_variation", e->error.total_variation, "top20_error",
        e->error.top20, "sample_seconds", e->sample_s, "merge_seconds", e->merge_s,
        "planners");
}

/* Opened before the work, so that a path that cannot be written is found early. */
static dml_status write_json(struct job *job, struct outfile *out, const json_t *json)
{
    if (json_dumpf(json, out->file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) != 0)
        return job_fail(job, DML_ENUMERIC, "cannot write the figures as JSON");
    fputc('\n', out->file);
    return outfile_commit(out, job->error, sizeof job->error);
}

static void print_head(const struct skew_options *options, const struct key_list *list,
                       const struct estimate *e)
{
    printf("%s, key %s: %zu records, %zu keys; %lld ranks; %s sampling, rate %g: %llu "
           "samples\n",
           options->data, options->key, list->count, e->info.entries,
           (long long)options->ranks, options->sample, options->rate,
           (unsigned long long)e->info.samples);
    if (options->weight)
        printf("load: column %s%s\n", options->weight,
               options->cost && strcmp(options->cost, "square") == 0 ? ", squared"
                                                                     : "");
    printf("estimate: total variation %.4f, error of the 20 heaviest keys %.4f; "
           "sampling %.1f ms, merging %.1f ms, %zu bytes told by a rank\n\n",
           e->error.total_variation, e->error.top20, 1e3 * e->sample_s,
           1e3 * e->merge_s, e->largest_bytes);
}

static void print_trial(const struct trial *t, size_t records)
{
    double per = records > 0 ? 1e9 / (double)records : 0;
    printf("%-8s %9.4f %9.4f %10.4f %10.5f %12.0f %8.2f %8.1f %7zu\n",
           dml_planner_name(t->plan.planner), t->balance.imbalance, t->balance.cv,
           t->plan.imbalance, t->load_error, t->moved_bytes, 1e3 * t->plan_s,
           per * t->route_s, t->plan.split_keys);
}

static void print_loads(const struct trial *t, size_t ranks, bool weighed)
{
    static const char bar[] = "########################################";
    double most = t->balance.imbalance * t->balance.total / (double)ranks;
    printf("\n%6s %14s %9s\n", "rank", weighed ? "load" : "records", "of share");
    for (size_t r = 0; r < ranks; r++) {
        double share =
            t->balance.total > 0 ? t->loads[r] * (double)ranks / t->balance.total : 0;
        int cells = most > 0 ? (int)(t->loads[r] / most * (double)(sizeof bar - 1)) : 0;
        printf("%6zu %14.0f %9.4f %.*s\n", r, t->loads[r], share, cells, bar);
    }
}

/* The planners from "first" to "last". */
static dml_status run_trials(const struct skew_run *run, const struct key_list *list,
                             const struct estimate *e, int first, int last,
                             json_t *planners)
{
    size_t ranks = (size_t)run->options->ranks;
    printf("%-8s %9s %9s %10s %10s %12s %8s %8s %7s\n", "planner", "max/mean", "cv",
           "predicted", "load error", "bytes moved", "plan ms", "ns/route", "split");
    for (int p = first; p <= last; p++) {
        struct trial trial;
        dml_status status =
            trial_run(run->job, run->options, list, e, (dml_planner)p, &trial);
        if (status == DML_OK) {
            print_trial(&trial, list->count);
            if (first == last)
                print_loads(&trial, ranks, run->options->weight != NULL);
            json_array_append_new(planners,
                                  trial_json(&trial, ranks, e->largest_bytes));
        }
        free(trial.loads);
        SKEW_TRY(status);
    }
    return DML_OK;
}

static dml_status show(const struct skew_run *run, struct outfile *out, int first,
                       int last)
{
    struct key_list list = {0};
    struct estimate e = {0};
    json_t *json = NULL;
    dml_status status = key_list_read(run->job, run->options, &list);
    if (status == DML_OK && list.count == 0)
        status = job_fail(run->job, DML_EFORMAT, "%s: holds no record to look at",
                          run->options->data);
    if (status == DML_OK)
        status = estimate_make(run->job, run->options, &list, &e);
    if (status == DML_OK) {
        json = head_json(run->options, &list, &e);
        print_head(run->options, &list, &e);
        status =
            run_trials(run, &list, &e, first, last, json_object_get(json, "planners"));
    }
    if (status == DML_OK && out->file)
        status = write_json(run->job, out, json);
    json_decref(json);
    estimate_free(&e);
    key_list_free(&list);
    return status;
}

static dml_status start(const struct skew_run *run, int first, int last)
{
    struct outfile out = {0};
    dml_status status = DML_OK;
    SKEW_TRY(check_alone(run->job));
    if (run->options->json)
        status = outfile_open(&out, run->options->json, run->job->error,
                              sizeof run->job->error);
    if (status == DML_OK)
        status = show(run, &out, first, last);
    outfile_cancel(&out);
    return job_agree(run->job, status);
}

dml_status skew_compare(const struct skew_run *run)
{
    return start(run, 0, DML_NPLANNERS - 1);
}

dml_status skew_plan(const struct skew_run *run)
{
    dml_planner planner = DML_PLAN_HASH;
    SKEW_TRY(job_agree(
        run->job,
        job_note(run->job,
                 dml_planner_parse(run->job->ctx, run->options->planner, &planner))));
    return start(run, (int)planner, (int)planner);
}
