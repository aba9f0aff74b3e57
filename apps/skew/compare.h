/* SPDX-License-Identifier: BSD-3-Clause */
/* What planners make of a list of keys; see compare.c. */
#ifndef SKEW_COMPARE_H
#define SKEW_COMPARE_H

#include "input.h"

#include <jansson.h>

/* One planner's result. */
struct trial {
    dml_plan_info plan;
    dml_balance balance; /* of the loads, as records were routed */
    double load_error;   /* half the sum over ranks of |predicted - real share| */
    double moved_bytes;  /* of keys that leave the rank where they lie */
    double plan_s, route_s;
    double *loads; /* [parts] records, or what they cost */
};

/* What is known before any planner is asked. */
struct estimate {
    dml_histogram *merged;
    dml_histogram_info info;
    dml_histogram_error error;
    size_t largest_bytes; /* that a rank tells the others */
    double sample_s;      /* of the slowest rank */
    double merge_s;
};

/* Simulate the ranks' sampling, one after the other, and judge the result. */
dml_status estimate_make(struct job *job, const struct skew_options *options,
                         const struct key_list *list, struct estimate *e);
void estimate_free(struct estimate *e);

/* Ask one planner; trial->loads is allocated. */
dml_status trial_run(struct job *job, const struct skew_options *options,
                     const struct key_list *list, const struct estimate *e,
                     dml_planner planner, struct trial *trial);

#endif
