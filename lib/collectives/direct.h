/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two phases of the direct (pairwise) algorithms, one window at a time.
 */
#ifndef DML__DIRECT_H
#define DML__DIRECT_H

#include "collectives/coll_internal.h"

struct dml__direct {
    const struct dml__call *call;
    dml_request *request;
    int rank, nranks;
    size_t window; /* elements of a block */
    size_t nwindows;
    char *own;      /* where this rank's block of the result goes */
    char *terms[2]; /* [P][window] received terms, by parity of the window */
    char *sum[2];   /* [window] the running sum */
    int free_at[2]; /* step after which terms and sum of that parity are free */
    int result;     /* step that completes the window of own block */
    char *scaled;   /* [total] own terms as accumulators, or NULL: they travel as is */
    int *sent;      /* [P] step that read the input of block i, for in-place */
    const char **slots; /* [P] a window's terms, and */
    int *received;      /* [P] the steps after which they are there */
};

/* False when out of memory. */
bool dml__direct_init(struct dml__direct *direct, const struct dml__call *call,
                      dml_request *request, char *own);

/* Phase 1 for window w: own block's window becomes the reduction over all ranks. */
void dml__direct_reduce(struct dml__direct *direct, size_t w);

/* Phase 2 for window w: every rank sends its own block's window to all others. */
void dml__direct_gather(struct dml__direct *direct, size_t w, const char *first);

/* The same to the root alone. */
void dml__direct_collect(struct dml__direct *direct, size_t w, int root);

#endif
