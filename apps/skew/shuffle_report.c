/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a job: a table of phases, and the report.
 *
 * Two times stand for the whole. The makespan is the wall clock of the slowest rank.
 * The virtual makespan is the sum over the phases of the largest processor time of any
 * rank: what the job would take with a processor for each rank and no waiting, and the
 * one to compare where ranks outnumber processors. Of the exchange's processor time
 * what was spent waiting is taken off.
 */
#include "../common/report.h"
#include "shuffle.h"

#include <stdlib.h>
#include <string.h>

enum { SUM, MOST, NSTATS };

struct totals {
    double wall[NSTATS][NPHASES], cpu[NSTATS][NPHASES];
    double records[NSTATS]; /* that a rank has in the end */
    double bytes[NSTATS];   /* sent to other ranks */
    double wait[NSTATS], seconds[NSTATS], memory[NSTATS];
};

enum { NVALUES = 2 * NPHASES + 5 };

static dml_status gather(struct shuffle *s, struct totals *t)
{
    double own[NVALUES], all[NSTATS][NVALUES], seconds = 0;
    for (int p = 0; p < NPHASES; p++) {
        double cpu_s = s->cpu_s[p];
        if (p == EXCHANGE)
            cpu_s = cpu_s > s->exchange.wait_s ? cpu_s - s->exchange.wait_s : 0;
        own[p] = s->wall_s[p];
        own[NPHASES + p] = cpu_s;
        seconds += s->wall_s[p];
    }
    double *rest = own + 2 * NPHASES;
    rest[0] = (double)s->exchange.records_received;
    rest[1] = (double)s->exchange.bytes_moved;
    rest[2] = s->exchange.wait_s;
    rest[3] = seconds;
    rest[4] = (double)report_peak_rss_bytes();
    static const dml_op ops[NSTATS] = {DML_SUM, DML_MAX};
    for (int k = 0; k < NSTATS; k++) {
        SKEW_TRY(job_note(s->job, dml_allreduce(own, all[k], NVALUES, DML_F64, ops[k],
                                                s->job->comm)));
        memcpy(t->wall[k], all[k], sizeof t->wall[k]);
        memcpy(t->cpu[k], all[k] + NPHASES, sizeof t->cpu[k]);
        rest = all[k] + 2 * NPHASES;
        t->records[k] = rest[0];
        t->bytes[k] = rest[1];
        t->wait[k] = rest[2];
        t->seconds[k] = rest[3];
        t->memory[k] = rest[4];
    }
    return DML_OK;
}

static double virtual_s(const struct totals *t)
{
    double sum = 0;
    for (int p = 0; p < NPHASES; p++)
        sum += t->cpu[MOST][p];
    return sum;
}

static double imbalance(const struct totals *t, int nranks)
{
    return t->records[SUM] > 0 ? t->records[MOST] * nranks / t->records[SUM] : 1;
}

static const char *phase_name(const struct shuffle *s, int phase)
{
    static const char *const names[] = {"read", "sample", "plan", "exchange"};
    return phase < WORK ? names[phase] : s->work;
}

static void print(const struct shuffle *s, const struct totals *t)
{
    int nranks = s->job->nranks;
    double plan_s = t->wall[MOST][SAMPLE] + t->wall[MOST][PLAN];
    printf("%s of %llu records on %d ranks by %s: verified\n", s->work,
           (unsigned long long)s->total, nranks, s->options->planner);
    printf("%-10s %12s %12s %14s\n", "phase", "slowest s", "mean s", "most cpu s");
    for (int p = 0; p < NPHASES; p++)
        printf("%-10s %12.4f %12.4f %14.4f\n", phase_name(s, p), t->wall[MOST][p],
               t->wall[SUM][p] / nranks, t->cpu[MOST][p]);
    printf("makespan %.4f s; virtual makespan (processor time, a processor for each "
           "rank) %.4f s\n",
           t->seconds[MOST], virtual_s(t));
    printf("records max/mean %.4f (planned %.4f); %.1f MB between ranks; sampling and "
           "plan %.1f %% of the makespan\n",
           imbalance(t, nranks), s->info.imbalance, 1e-6 * t->bytes[SUM],
           t->seconds[MOST] > 0 ? 100 * plan_s / t->seconds[MOST] : 0);
}

static dml_status write(struct shuffle *s, const struct totals *t)
{
    struct job *job = s->job;
    double n = job->nranks, comm_s = t->wall[SUM][PLAN] + t->wall[SUM][EXCHANGE];
    json_t *phases = json_object();
    for (int p = 0; p < NPHASES; p++)
        json_object_set_new(phases, phase_name(s, p),
                            json_pack("{s:f, s:f, s:f}", "seconds", t->wall[MOST][p],
                                      "mean_seconds", t->wall[SUM][p] / n,
                                      "cpu_seconds", t->cpu[MOST][p]));
    json_t *extra = json_pack(
        "{s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:I, s:o}", "command", s->work, "planner",
        s->options->planner, "records", (json_int_t)s->total, "makespan_seconds",
        t->seconds[MOST], "virtual_makespan_seconds", virtual_s(t), "planned_imbalance",
        s->info.imbalance, "rate", s->options->rate, "split_keys",
        (json_int_t)s->info.split_keys, "phases", phases);
    struct report report = {
        .app = "dml-skew",
        .ranks = job->nranks,
        .threads = 1,
        .seed = (uint64_t)s->options->seed,
        .train_seconds = t->seconds[MOST],
        .samples_per_second =
            t->seconds[MOST] > 0 ? (double)s->total / t->seconds[MOST] : 0,
        .test_metric = "imbalance",
        .test_value = imbalance(t, job->nranks),
        .bytes_sent = t->bytes[SUM],
        .comm_seconds = comm_s / n,
        .compute_seconds = (t->seconds[SUM] - comm_s) / n,
        .wait_seconds = t->wait[SUM] / n,
        .peak_rss_bytes = (int64_t)t->memory[MOST],
    };
    return report_write(&s->report, &report, extra, job->error, sizeof job->error);
}

dml_status shuffle_report(struct shuffle *s)
{
    struct totals t;
    SKEW_TRY(job_agree(s->job, gather(s, &t)));
    if (s->job->rank == 0 && !s->options->quiet)
        print(s, &t);
    dml_status status = DML_OK;
    if (s->report.file)
        status = write(s, &t);
    return job_agree(s->job, status);
}
