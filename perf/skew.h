/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of dml-perf-skew share.
 */
#ifndef PERF_SKEW_H
#define PERF_SKEW_H

#include "dml/dml.h"

#include <stdbool.h>
#include <stdio.h>

enum { SKEW_MOST = 32 };

/* Order of the records in the stream. */
enum skew_order { SKEW_SHUFFLED, SKEW_CLUSTERED, SKEW_SORTED, SKEW_NORDERS };

struct skew_options {
    dml_ctx *ctx;
    size_t records, keys;
    double rate;
    size_t entries; /* of the histogram that planners get; 0: all */
    uint64_t seed;
    int repeats; /* samples drawn for each error of estimation */
    double exponents[SKEW_MOST];
    int nexponents;
    size_t parts[SKEW_MOST];
    int nparts;
    bool orders[SKEW_NORDERS];
    FILE *json; /* or NULL */
};

/* A stream. */
struct skew_data {
    double exponent;
    enum skew_order order;
    uint64_t *keys;   /* [records] */
    uint64_t *counts; /* [options.keys] records of each key */
    dml_histogram *exact;
    double heaviest; /* records of the heaviest key */
};

/* How often a bound that was asked for held. */
struct skew_tally {
    int held, level, missed;
};

struct skew_verdict {
    struct skew_tally ksrp_bound, sorted_bound, krhp_bound, ksrp_below, sorted_below,
        krhp_below_whole, krhp_below_split, step_clustered, step_shuffled;
};

const char *skew_order_name(enum skew_order order);
void skew_need(const struct skew_options *o, const char *what, dml_status status);
void *skew_alloc(size_t count, size_t bytes);
double skew_cpu_s(void);

/* skew_data.c: draw the records of an exponent, then put them into an order. */
void skew_draw(const struct skew_options *o, struct skew_data *data);
void skew_arrange(const struct skew_options *o, struct skew_data *data,
                  enum skew_order order);

/* skew_estimate.c: errors of estimation per sampler. */
dml_histogram *skew_sample(const struct skew_options *o, const struct skew_data *data,
                           dml_sample_method method, size_t buckets, uint64_t seed,
                           double *seconds);
void skew_estimate(const struct skew_options *o, const struct skew_data *data,
                   struct skew_verdict *verdict);

/* skew_plans.c: quality of the plans, by routing every record. */
void skew_plans(const struct skew_options *o, const struct skew_data *data,
                struct skew_verdict *verdict);

#endif
