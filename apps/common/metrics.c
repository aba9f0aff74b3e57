/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metrics as text, in Prometheus' exposition format, version 0.0.4: HELP and TYPE of a
 * name, then its samples.
 */
#include "metrics.h"

#include <math.h>
#include <string.h>

#define FIGURE(member, name, type, help) \
    {name, type, help, offsetof(struct metrics_job, member)},
const struct metrics_figure metrics_of_job[] = {METRICS_JOB_MAP(FIGURE)};
#undef FIGURE
#define FIGURE(member, name, type, help) \
    {name, type, help, offsetof(struct metrics_rank, member)},
const struct metrics_figure metrics_of_rank[] = {METRICS_RANK_MAP(FIGURE)};
#undef FIGURE
const size_t metrics_njob = sizeof metrics_of_job / sizeof *metrics_of_job;
const size_t metrics_nrank = sizeof metrics_of_rank / sizeof *metrics_of_rank;

const char *const metrics_states[] = {"running", "finished", "stopped", "failed"};
const size_t metrics_nstates = sizeof metrics_states / sizeof *metrics_states;

static double *figure_at(void *base, const struct metrics_figure *figure)
{
    return (double *)(void *)((char *)base + figure->offset);
}

static double figure_of(const void *base, const struct metrics_figure *figure)
{
    return *(const double *)(const void *)((const char *)base + figure->offset);
}

void metrics_clear_job(struct metrics_job *job)
{
    *job = (struct metrics_job){0};
    for (size_t i = 0; i < metrics_njob; i++)
        *figure_at(job, &metrics_of_job[i]) = NAN;
}

void metrics_clear_rank(struct metrics_rank *rank)
{
    *rank = (struct metrics_rank){0};
    for (size_t i = 0; i < metrics_nrank; i++)
        *figure_at(rank, &metrics_of_rank[i]) = NAN;
}

static void put_label(FILE *out, const char *name, const char *text)
{
    fprintf(out, "%s=\"", name);
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || *text == '"')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

/* "name{app="dml-cnn",run="4711"": the closing brace is the caller's. */
static void begin_sample(FILE *out, const char *name, const struct metrics_job *about)
{
    fprintf(out, "%s{", name);
    put_label(out, "app", about->app);
    fputc(',', out);
    put_label(out, "run", about->run);
}

static void put_value(FILE *out, double value)
{
    if (isnan(value))
        fputs("} NaN\n", out);
    else if (isinf(value))
        fputs(value > 0 ? "} +Inf\n" : "} -Inf\n", out);
    else
        fprintf(out, "} %.15g\n", value);
}

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_job(FILE *out, const struct metrics_job *about)
{
    put_head(out, "dml_run_info", "gauge", "The job, in its labels.");
    begin_sample(out, "dml_run_info", about);
    fputc(',', out);
    put_label(out, "version", about->version);
    put_value(out, 1);
    put_head(out, "dml_run_state", "gauge", "1: this is what the job does.");
    for (size_t i = 0; i < metrics_nstates; i++) {
        begin_sample(out, "dml_run_state", about);
        fputc(',', out);
        put_label(out, "state", metrics_states[i]);
        put_value(out, strcmp(about->state, metrics_states[i]) == 0);
    }
    for (size_t i = 0; i < metrics_njob; i++) {
        const struct metrics_figure *figure = &metrics_of_job[i];
        if (isnan(figure_of(about, figure)))
            continue;
        put_head(out, figure->name, figure->type, figure->help);
        begin_sample(out, figure->name, about);
        put_value(out, figure_of(about, figure));
    }
}

static void begin_rank(FILE *out, const char *name, const struct metrics_job *about,
                       const struct metrics_rank *rank)
{
    begin_sample(out, name, about);
    fprintf(out, ",rank=\"%d\",", rank->rank);
    put_label(out, "host", rank->host);
}

static void put_ranks(FILE *out, const struct metrics_job *about,
                      const struct metrics_figure *figure,
                      const struct metrics_rank *ranks, size_t nranks)
{
    int begun = 0;
    for (size_t i = 0; i < nranks; i++) {
        double value = figure_of(&ranks[i], figure);
        if (isnan(value))
            continue;
        if (!begun++)
            put_head(out, figure->name, figure->type, figure->help);
        begin_rank(out, figure->name, about, &ranks[i]);
        put_value(out, value);
    }
}

static void put_operations(FILE *out, const struct metrics_job *about,
                           const struct metrics_rank *ranks, size_t nranks)
{
    int begun = 0;
    for (size_t i = 0; i < nranks; i++) {
        if (!ranks[i].operation[0])
            continue;
        if (!begun++)
            put_head(out, "dml_operation_info", "gauge",
                     "Kind of the newest collective call.");
        begin_rank(out, "dml_operation_info", about, &ranks[i]);
        fputc(',', out);
        put_label(out, "operation", ranks[i].operation);
        put_value(out, 1);
    }
}

void metrics_write(FILE *out, const struct metrics_job *about, bool whole,
                   const struct metrics_rank *ranks, size_t nranks, int writer,
                   double now_s)
{
    put_head(out, "dml_metrics_timestamp_seconds", "gauge",
             "When this file was written, since 1970.");
    begin_sample(out, "dml_metrics_timestamp_seconds", about);
    fprintf(out, ",writer=\"%d\"} %.3f\n", writer, now_s);
    if (whole)
        put_job(out, about);
    for (size_t i = 0; i < metrics_nrank; i++)
        put_ranks(out, about, &metrics_of_rank[i], ranks, nranks);
    put_operations(out, about, ranks, nranks);
}
