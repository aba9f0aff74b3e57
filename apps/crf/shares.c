/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sharing out sentences by what they cost, T L^2 for T tokens and L labels, with
 * libdml's planner of ranges: parts are sentences that follow each other in the file,
 * because words that follow each other there share attributes.
 */
#include "shares.h"

#include <stdlib.h>

/* What all sentences weigh, exactly: every one is counted. */
static dml_status weigh(struct job *job, const dml_keys *keys, const double *weights,
                        dml_histogram **histogram)
{
    dml_sampler_opts opts;
    dml_sampler *sampler = NULL;
    dml_sampler_opts_init(&opts);
    opts.rate = 1;
    opts.weight = DML_WEIGHT_VALUE;
    dml_status status = dml_sampler_create(job->ctx, &opts, &sampler);
    if (status == DML_OK)
        status = dml_sampler_add(sampler, keys, weights);
    if (status == DML_OK)
        status = dml_sampler_finish(sampler, histogram);
    dml_sampler_destroy(sampler);
    return job_note(job, status);
}

static dml_status plan(struct job *job, const dml_histogram *histogram, size_t parts,
                       const dml_keys *keys, uint32_t *part)
{
    dml_plan_opts opts;
    dml_plan *made = NULL;
    dml_plan_opts_init(&opts);
    opts.whole_keys = true;
    opts.min_samples = 1;
    dml_status status =
        dml_plan_create(job->ctx, DML_PLAN_KSRP, parts, histogram, &opts, &made);
    if (status == DML_OK)
        status = dml_plan_route(made, keys, NULL, 0, part);
    dml_plan_destroy(made);
    return job_note(job, status);
}

dml_status shares_cut(struct job *job, const struct corpus *corpus, size_t nlabels,
                      size_t parts, size_t *bounds)
{
    size_t n = corpus->nsentences;
    uint64_t *numbers = malloc((n + 1) * sizeof *numbers);
    double *weights = malloc((n + 1) * sizeof *weights);
    uint32_t *part = calloc(n + 1, sizeof *part);
    dml_histogram *histogram = NULL;
    dml_status status = DML_OK;
    if (!numbers || !weights || !part)
        status = job_fail(job, DML_ENOMEM, "out of memory");
    for (size_t i = 0; status == DML_OK && i < n; i++) {
        double tokens = (double)(corpus->token_at[i + 1] - corpus->token_at[i]);
        numbers[i] = i;
        weights[i] = tokens * (double)nlabels * (double)nlabels;
    }
    const dml_keys keys = {.kind = DML_KEY_U64, .count = n, .u64 = numbers};
    if (status == DML_OK)
        status = weigh(job, &keys, weights, &histogram);
    if (status == DML_OK)
        status = plan(job, histogram, parts, &keys, part);
    for (size_t p = 0; status == DML_OK && p <= parts; p++)
        bounds[p] = 0;
    for (size_t i = 0; status == DML_OK && i < n; i++)
        bounds[part[i] + 1]++;
    for (size_t p = 0; status == DML_OK && p < parts; p++)
        bounds[p + 1] += bounds[p];
    dml_histogram_destroy(histogram);
    free(numbers);
    free(weights);
    free(part);
    return status;
}
