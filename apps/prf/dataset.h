/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Training and test rows as all ranks of a group see them: binned, in shared memory,
 * with the votes that trees cast on them. See dataset.c.
 */
#ifndef PRF_DATASET_H
#define PRF_DATASET_H

#include "group.h"
#include "options.h"
#include "schema.h"
#include "table.h"

/* Votes on rows. All are sums of whole numbers, so that their order is free. */
struct votes {
    size_t nrows;
    _Atomic int64_t *sum;      /* [n][K] shares in 65535ths; regression: [n] targets */
    _Atomic int64_t *weighted; /* likewise, times the tree's weight; or NULL */
    _Atomic int32_t *count;    /* [n] trees that voted */
};

/* What is true of the rows that are voted on; what is not there is NULL. */
struct vote_truth {
    size_t nclasses; /* 0: regression */
    const uint16_t *label;
    const int32_t *target;
    const int64_t *far; /* targets that may lie outside the range of an int32_t */
};

/* In shared memory, too. */
struct progress_counts {
    _Atomic uint64_t next, end; /* trees of this group's round */
    _Atomic uint64_t done;      /* finished ones */
    _Atomic int failed;         /* a rank ran out of memory: all stop */
};

struct dataset {
    struct schema schema;     /* on leaders */
    bool sharded;             /* all that has rows has those of this rank alone */
    struct table train, test; /* test.by_column is NULL; its label K: not seen */
    double target_variance, weight_scale;
    struct votes oob, test_votes;
    struct vote_truth train_truth, test_truth;
    struct progress_counts *counts;
};

/* Collective, agreed; on failure the line has been printed. */
dml_status dataset_open(struct group *group, const struct prf_options *options,
                        struct dataset *set);
void dataset_close(struct dataset *set);

#endif
