/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quality of the plans that planners make of one sample: every record is routed, and
 * the loads are counted.
 */
#include "skew.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A way to plan; the first six are the planners by their numbers. */
static const struct way {
    const char *name;
    dml_planner planner;
    bool whole, sorted;
} ways[] = {
    {"hash", DML_PLAN_HASH, false, false},
    {"range", DML_PLAN_RANGE, false, false},
    {"scid", DML_PLAN_SCID, false, false},
    {"libra", DML_PLAN_LIBRA, false, false},
    {"krhp", DML_PLAN_KRHP, false, false},
    {"ksrp", DML_PLAN_KSRP, false, false},
    {"scid whole", DML_PLAN_SCID, true, false},
    {"libra whole", DML_PLAN_LIBRA, true, false},
    {"ksrp sorted", DML_PLAN_KSRP, false, true},
};
enum {
    NWAYS = sizeof ways / sizeof *ways,
    SCID_WHOLE = 6,
    LIBRA_WHOLE = 7,
    KSRP_SORTED = 8
};

struct result {
    dml_balance balance;
    double plan_ms, route_ns;
    dml_plan_info info;
};

static struct result try_way(const struct skew_options *o, const struct skew_data *data,
                             const struct way *way, size_t parts,
                             const dml_histogram *histogram, uint32_t *to,
                             double *loads)
{
    struct result result = {0};
    dml_plan_opts opts;
    dml_plan_opts_init(&opts);
    opts.whole_keys = way->whole;
    /* As many keys as the others are told of. */
    opts.libra_heavy = opts.libra_random = o->entries / 2;
    dml_plan *plan = NULL;
    double start = skew_cpu_s();
    skew_need(o, "dml_plan_create",
              dml_plan_create(o->ctx, way->planner, parts, histogram, &opts, &plan));
    result.plan_ms = (skew_cpu_s() - start) * 1e3;
    const dml_keys keys = {DML_KEY_U64, o->records, data->keys, NULL};
    start = skew_cpu_s();
    skew_need(o, "dml_plan_route", dml_plan_route(plan, &keys, NULL, 0, to));
    result.route_ns = (skew_cpu_s() - start) / (double)o->records * 1e9;
    memset(loads, 0, parts * sizeof *loads);
    for (size_t i = 0; i < o->records; i++)
        loads[to[i]]++;
    skew_need(o, "dml_balance_of",
              dml_balance_of(o->ctx, loads, NULL, parts, &result.balance));
    dml_plan_get_info(plan, &result.info);
    dml_plan_destroy(plan);
    return result;
}

static void note(struct skew_tally *tally, bool held)
{
    if (held)
        tally->held++;
    else
        tally->missed++;
}

/* Is one imbalance below another? Counted loads of keys that are split vary by the draw
 * of their records: within three standard deviations of a load two plans are level. */
static void note_below(struct skew_tally *tally, double mine, double peer, double mean)
{
    double noise = 3 / sqrt(mean);
    if (mine < peer)
        tally->held++;
    else if (mine < peer + noise)
        tally->level++;
    else
        tally->missed++;
}

static void judge(const struct skew_data *data, const struct result *results,
                  double mean, double ksrp_bound, double krhp_bound,
                  struct skew_verdict *verdict)
{
    double ksrp = results[DML_PLAN_KSRP].balance.imbalance;
    double krhp = results[DML_PLAN_KRHP].balance.imbalance;
    double sorted = results[KSRP_SORTED].balance.imbalance;
    note(&verdict->ksrp_bound, ksrp <= ksrp_bound);
    note(&verdict->sorted_bound, sorted <= ksrp_bound);
    note(&verdict->krhp_bound, krhp <= krhp_bound);
    if (data->exponent < 0.8 - 1e-9)
        return;
    for (int w = 0; w < DML_PLAN_KRHP; w++) {
        double peer = results[w].balance.imbalance;
        bool splits = w == DML_PLAN_SCID || w == DML_PLAN_LIBRA;
        note_below(&verdict->ksrp_below, ksrp, peer, mean);
        note_below(&verdict->sorted_below, sorted, peer, mean);
        note_below(splits ? &verdict->krhp_below_split : &verdict->krhp_below_whole,
                   krhp, peer, mean);
    }
    for (int w = SCID_WHOLE; w <= LIBRA_WHOLE; w++)
        note_below(&verdict->krhp_below_whole, krhp, results[w].balance.imbalance,
                   mean);
}

static void write_line(const struct skew_options *o, const struct skew_data *data,
                       size_t parts, const struct way *way, const struct result *r)
{
    if (o->json == NULL)
        return;
    json_t *line =
        json_pack("{s:s, s:s, s:f, s:i, s:s, s:f, s:f, s:f, s:f, s:f, s:i, s:i}",
                  "what", "plan", "order", skew_order_name(data->order), "exponent",
                  data->exponent, "parts", (int)parts, "planner", way->name,
                  "imbalance", r->balance.imbalance, "cv", r->balance.cv, "predicted",
                  r->info.imbalance, "plan_ms", r->plan_ms, "route_ns", r->route_ns,
                  "table", (int)r->info.table, "plan_bytes", (int)r->info.pack_bytes);
    json_dumpf(line, o->json, JSON_COMPACT);
    fputc('\n', o->json);
    json_decref(line);
}

static void print_row(const char *title, const struct result *results, int what)
{
    printf("%s", title);
    for (int w = 0; w < NWAYS; w++) {
        const struct result *r = &results[w];
        const double value[] = {r->balance.imbalance, r->balance.cv, r->plan_ms,
                                r->route_ns};
        printf(" %11.*f", what < 2 ? 4 : 2, value[what]);
    }
}

void skew_plans(const struct skew_options *o, const struct skew_data *data,
                struct skew_verdict *verdict)
{
    uint32_t *to = skew_alloc(o->records, sizeof *to);
    double *loads = skew_alloc(1 << 16, sizeof *loads);
    dml_histogram *sampled[2];
    const dml_sample_method methods[2] = {DML_SAMPLE_STEP, DML_SAMPLE_SORTED};
    for (int i = 0; i < 2; i++) {
        sampled[i] = skew_sample(o, data, methods[i], 4096, o->seed + 100, NULL);
        if (o->entries > 0)
            skew_need(o, "dml_histogram_shorten",
                      dml_histogram_shorten(sampled[i], o->entries));
    }
    dml_histogram_info info;
    dml_histogram_get_info(sampled[0], &info);
    printf("  %-12s", "imbalance");
    for (int w = 0; w < NWAYS; w++)
        printf(" %11s", ways[w].name);
    printf("   ksrp must be <= , krhp must be <=\n");
    for (int p = 0; p < o->nparts; p++) {
        struct result results[NWAYS];
        size_t parts = o->parts[p];
        for (int w = 0; w < NWAYS; w++) {
            results[w] =
                try_way(o, data, &ways[w], parts, sampled[ways[w].sorted], to, loads);
            write_line(o, data, parts, &ways[w], &results[w]);
        }
        double samples = (double)info.samples / (double)parts;
        double mean = (double)o->records / (double)parts;
        double ksrp_bound = 1 + 3 / sqrt(samples);
        double krhp_bound = fmax(1, data->heaviest / mean) + 0.05;
        char title[32];
        snprintf(title, sizeof title, "  %3zu parts   ", parts);
        print_row(title, results, 0);
        printf("   %.4f %.4f\n", ksrp_bound, krhp_bound);
        print_row("       cv     ", results, 1);
        printf("\n");
        print_row("       plan ms", results, 2);
        printf("\n");
        print_row("       ns/rec ", results, 3);
        printf("\n");
        judge(data, results, mean, ksrp_bound, krhp_bound, verdict);
    }
    dml_histogram_destroy(sampled[0]);
    dml_histogram_destroy(sampled[1]);
    free(loads);
    free(to);
}
