/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How well a sample tells what keys weigh: every sampler at equal size, and with the
 * exact totals of all records.
 */
#include "skew.h"

#include <jansson.h>
#include <math.h>

dml_histogram *skew_sample(const struct skew_options *o, const struct skew_data *data,
                           dml_sample_method method, size_t buckets, uint64_t seed,
                           double *seconds)
{
    enum { BATCH = 1 << 16 };
    dml_sampler_opts opts;
    dml_sampler_opts_init(&opts);
    opts.method = method;
    /* All keep what the step sampler keeps. */
    opts.rate = 1 / ceil(1 / o->rate);
    opts.reservoir = (uint64_t)((double)o->records * opts.rate);
    opts.buckets = buckets;
    opts.seed = seed;
    dml_sampler *sampler = NULL;
    dml_histogram *histogram = NULL;
    skew_need(o, "dml_sampler_create", dml_sampler_create(o->ctx, &opts, &sampler));
    double start = skew_cpu_s();
    for (size_t i = 0; i < o->records; i += BATCH) {
        size_t count = o->records - i < BATCH ? o->records - i : BATCH;
        const dml_keys keys = {DML_KEY_U64, count, data->keys + i, NULL};
        skew_need(o, "dml_sampler_add", dml_sampler_add(sampler, &keys, NULL));
    }
    skew_need(o, "dml_sampler_finish", dml_sampler_finish(sampler, &histogram));
    if (seconds != NULL)
        *seconds = skew_cpu_s() - start;
    dml_sampler_destroy(sampler);
    return histogram;
}

/* Mean errors over the samples drawn, and the variances of these means. */
struct errors {
    dml_histogram_error mean, variance;
    double mrecords_s;
};

static struct errors errors_of(const struct skew_options *o,
                               const struct skew_data *data, dml_sample_method method,
                               size_t buckets)
{
    struct errors e = {0};
    double least = INFINITY, n = o->repeats, tv = 0, top = 0;
    for (int i = 0; i < o->repeats; i++) {
        double seconds = 0;
        dml_histogram_error error;
        dml_histogram *h = skew_sample(o, data, method, buckets,
                                       o->seed + 100 + (uint64_t)i, &seconds);
        skew_need(o, "dml_histogram_compare",
                  dml_histogram_compare(h, data->exact, 0, &error));
        dml_histogram_destroy(h);
        e.mean.total_variation += error.total_variation / n;
        e.mean.top20 += error.top20 / n;
        tv += error.total_variation * error.total_variation / n;
        top += error.top20 * error.top20 / n;
        least = fmin(least, seconds);
    }
    if (n > 1) {
        e.variance.total_variation =
            fmax(0, tv - e.mean.total_variation * e.mean.total_variation) / (n - 1);
        e.variance.top20 = fmax(0, top - e.mean.top20 * e.mean.top20) / (n - 1);
    }
    e.mrecords_s = (double)o->records / least / 1e6;
    return e;
}

/* On shuffled streams samples of equal size are equally good, so the means may differ
 * by chance: three standard deviations of their difference are allowed there. */
static bool below(double mean, double variance, double peer, double peer_variance,
                  bool level)
{
    return level ? mean <= peer + 3 * sqrt(variance + peer_variance) : mean < peer;
}

static void judge(const struct skew_data *data, const struct errors *errors,
                  struct skew_verdict *verdict)
{
    bool level = data->order == SKEW_SHUFFLED;
    struct skew_tally *tally =
        level ? &verdict->step_shuffled : &verdict->step_clustered;
    const struct errors *step = &errors[DML_SAMPLE_STEP];
    const dml_sample_method peers[] = {DML_SAMPLE_RESERVOIR, DML_SAMPLE_RANDOM};
    for (int i = 0; i < 2; i++) {
        const struct errors *peer = &errors[peers[i]];
        bool held =
            below(step->mean.total_variation, step->variance.total_variation,
                  peer->mean.total_variation, peer->variance.total_variation, level) &&
            below(step->mean.top20, step->variance.top20, peer->mean.top20,
                  peer->variance.top20, level);
        if (held)
            tally->held++;
        else
            tally->missed++;
    }
}

void skew_estimate(const struct skew_options *o, const struct skew_data *data,
                   struct skew_verdict *verdict)
{
    enum { BUCKETS = 4096, METHODS = 4 };
    struct errors errors[METHODS];
    printf("  estimate:");
    for (int m = 0; m < METHODS; m++) {
        const char *name = dml_sample_method_name((dml_sample_method)m);
        errors[m] = errors_of(o, data, (dml_sample_method)m, BUCKETS);
        printf("  %s tv %.4f top20 %.4f (%.0f M/s)", name,
               errors[m].mean.total_variation, errors[m].mean.top20,
               errors[m].mrecords_s);
        if (o->json == NULL)
            continue;
        json_t *line = json_pack(
            "{s:s, s:s, s:f, s:s, s:f, s:f, s:f}", "what", "estimate", "order",
            skew_order_name(data->order), "exponent", data->exponent, "sampler", name,
            "total_variation", errors[m].mean.total_variation, "top20",
            errors[m].mean.top20, "mrecords_s", errors[m].mrecords_s);
        json_dumpf(line, o->json, JSON_COMPACT);
        fputc('\n', o->json);
        json_decref(line);
    }
    printf("\n");
    judge(data, errors, verdict);
}
