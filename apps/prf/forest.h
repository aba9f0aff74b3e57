/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing a forest on all ranks and threads; see forest.c.
 */
#ifndef PRF_FOREST_H
#define PRF_FOREST_H

#include "../common/checkpoint.h"
#include "dataset.h"
#include "grow.h"
#include "spool.h"
#include "together.h"

struct forest {
    struct job *job;
    struct group *group;
    struct dataset *set;
    struct grow_params params;
    size_t ntrees;
    int threads;
    bool permutes;         /* importance by permutation */
    struct grow_team team; /* used where params.team points to it */
    struct together together;
    struct progress *progress;
    struct checkpoint *checkpoint;
    struct checkpoint_parts parts; /* of a snapshot; see state.c */
    const dml_snapshot *snapshot;  /* to go on from; NULL: begin anew */

    /* Of this rank. */
    struct worker *workers; /* [forest_workers()] while it grows */
    struct spool spool;
    uint64_t *todo; /* [ntodo] trees to be grown: all, or those a snapshot lacks */
    size_t ntodo;
    uint64_t fingerprint; /* of the data, where there are snapshots */
    /* [F] in units of 2^-32: of the snapshot's trees on rank 0, and at the end of all
     * trees on all ranks. */
    int64_t *importance;
    double seconds;    /* of growing, until the last rank was done */
    double busy_s;     /* of this rank's threads growing trees, their mean */
    double weight_sum; /* of the trees' votes, after forest_test() */
    struct grow_shared shared;
    int64_t private_bytes; /* of this rank while it grew: all but shared memory */
};

/* Grow all trees, but where a signal ends the job with a snapshot (job->requeue).
 * Collective, agreed. */
dml_status forest_grow(struct forest *forest);

/* Let the trees vote on the test rows. Collective, agreed. */
dml_status forest_test(struct forest *forest);

/* For monitors: the trees that this rank knows of, after so many seconds, and what the
 * forest is worth; NaN: not known yet. */
void forest_publish(const struct forest *forest, double seconds, double value);

/* Threads that grow trees. */
int forest_workers(const struct forest *forest);

/* sum [F]: importance of the trees that are there. Collective. */
dml_status forest_importance(const struct forest *forest, int64_t *sum);

void forest_free(struct forest *forest);

double forest_now_s(void);

#endif
