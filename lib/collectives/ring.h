/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The two phases of a ring, written one window at a time, from which the ring
 * algorithms are put together.
 *
 * Blocks are long, caches are not: a window is a few segments of every block,
 * and goes through a whole phase before the next window starts it. The partial sums of
 * a window then stay in the second-level cache, and while one segment is reduced the
 * others travel.
 */
#ifndef DML__RING_H
#define DML__RING_H

#include "collectives/coll_internal.h"

struct dml__ring {
    const struct dml__call *call;
    dml_request *request;
    int rank, nranks, left, right;
    size_t segment, window; /* elements of a block */
    size_t nwindows;
    char *own;     /* where this rank's block of the result goes */
    int nsegments; /* of a window */
    /* [nsegments], by parity of the step: partial sums, last step that reads one, step
     * that completes one. */
    char *slot[2][DML__NET_WINDOW_SEGMENTS];
    int slot_user[2][DML__NET_WINDOW_SEGMENTS];
    int partial[2][DML__NET_WINDOW_SEGMENTS];
    int result[DML__NET_WINDOW_SEGMENTS]; /* completes a segment of own block */
    int *reader; /* [P][nsegments] last step that reads this input, for in-place */
};

/* False when out of memory. own: see above; slots are only made for reductions. */
bool dml__ring_init(struct dml__ring *ring, const struct dml__call *call,
                    dml_request *request, char *own);

/* Phase 1 for window w: own block's window becomes the reduction over all ranks. */
void dml__ring_reduce(struct dml__ring *ring, size_t w);

/* Phase 2 for window w: every rank's own block travels round the ring into recv. first:
 * where own block lies (recv, or the send buffer of an all-gather). */
void dml__ring_gather(struct dml__ring *ring, size_t w, const char *first);

#endif
