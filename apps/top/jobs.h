/* SPDX-License-Identifier: BSD-3-Clause */
/* Jobs and their ranks, out of files of metrics; see jobs.c. */
#ifndef TOP_JOBS_H
#define TOP_JOBS_H

#include "../common/metrics.h"
#include "promfile.h"

#include <stdbool.h>

#define TOP_JOBS  64
#define TOP_RANKS ((int)1 << 17) /* of one job */

struct top_rank {
    struct metrics_rank figures;
    double stamp_s;                  /* when it was written; NaN: unknown */
    double sent_rate, received_rate; /* bytes per second; NaN: unknown */
    bool stale, blamed;              /* its file; others wait for it */
    int nwaiting;                    /* that many ranks, the longest */
    double longest_s;
    int waits_for; /* a rank that it waits for; -1: nobody, or unknown */
};

struct top_job {
    struct metrics_job figures;
    double stamp_s;
    bool stale;
    struct top_rank *ranks; /* [nranks] by rank */
    size_t nranks, room;
    int *place; /* [nplaces] of a rank's number: 1 + its index; 0: none */
    int nplaces;
};

struct top_jobs {
    struct top_job *jobs; /* [njobs] in the order of their files */
    size_t njobs;
};

/* Adds what a file holds. False: it is left out from where "error" says. */
bool jobs_read(struct top_jobs *jobs, const char *path, char error[PROM_ERROR]);

/* The same of text [bytes + 1], which ends in a zero and is changed. */
bool jobs_parse(struct top_jobs *jobs, char *text, size_t bytes,
                char error[PROM_ERROR]);

/* When all files have been read: who is stale, who waits for whom, how fast bytes move
 * since the reading before (NULL: since the job's begin). now_s: since 1970. */
void jobs_judge(struct top_jobs *jobs, const struct top_jobs *before, double now_s);

void jobs_free(struct top_jobs *jobs);

#endif
