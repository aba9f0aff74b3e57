/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finished trees of one rank, on disk without a name: memory does not grow with the
 * number of trees, and a run that is killed leaves nothing behind. See spool.c.
 */
#ifndef PRF_SPOOL_H
#define PRF_SPOOL_H

#include "../common/job.h"
#include "tree.h"

#include <stdio.h>

struct spool_entry {
    uint64_t number; /* of the tree */
    uint64_t offset, bytes;
};

struct spool {
    FILE *file;
    struct spool_entry *entry; /* [n] ascending by number after spool_sort() */
    size_t n, room;
    uint64_t end;
    bool at_end; /* the file is there: nothing was read since */
};

dml_status spool_open(struct job *job, struct spool *spool);
void spool_close(struct spool *spool);

/* One thread at a time. False when disk or memory is full. */
bool spool_add(struct spool *spool, uint64_t number, const unsigned char *record,
               size_t bytes);

void spool_sort(struct spool *spool);

/* Bytes of the file, whose records lie in the order of entries that were not sorted.
 * False when they cannot be read. One thread at a time. */
bool spool_read(struct spool *spool, uint64_t offset, void *data, size_t bytes);

/* The record of entry i; free(3) it. NULL: cannot be read. One thread at a time. */
unsigned char *spool_get(struct spool *spool, size_t i);

#endif
