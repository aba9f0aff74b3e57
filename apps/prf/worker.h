/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that grows trees; see worker.c. */
#ifndef PRF_WORKER_H
#define PRF_WORKER_H

#include "forest.h"
#include "permute.h"

/* What a thread owns. */
struct worker {
    struct grower *grower;
    struct tree tree;
    int64_t *importance, *ignored; /* [F] */
    uint32_t *rows, *leaves;       /* [N] out of bag */
    struct permute permute;
    unsigned char *record;
    size_t record_room;
};

/* False when memory is short; free it all the same. */
bool worker_make(struct worker *worker, const struct forest *forest);
void worker_free(struct worker *worker);

/* Grow a tree, with the forest's team if it has one. False when memory or disk is full,
 * or the team's messages fail. */
bool worker_grow(struct forest *forest, struct worker *worker, uint64_t number);

/* A tree that was grown before, from its record: casts its votes, and keeps it where it
 * belongs to this rank. NULL, or what is wrong. */
const char *worker_take(struct forest *forest, struct worker *worker, uint64_t number,
                        const unsigned char *record, size_t bytes);

#endif
