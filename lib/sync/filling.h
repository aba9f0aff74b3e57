/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the plans of a reducer and of sharded training have in common: tensors are taken
 * one after the other, those of a kind go into one bucket until it is large enough, and
 * a bucket whose tensors lie one after the other in memory is not copied.
 */
#ifndef DML__FILLING_H
#define DML__FILLING_H

#include <stdbool.h>
#include <stddef.h>

/* Kinds are types, or pairs of types, and what a codec makes of them. */
enum { DML__MOST_KINDS = 64 };

struct dml__filling {
    size_t bucket_bytes, first_bucket_bytes; /* at which a bucket is closed */
    bool is_open[DML__MOST_KINDS];           /* has the kind an open bucket? */
    size_t open[DML__MOST_KINDS];            /* its number */
    size_t filled[DML__MOST_KINDS];          /* bytes in it */
    size_t n;                                /* buckets so far */
};

/* The number of the bucket of the next tensor, of this kind and so many bytes. */
size_t dml__filling_put(struct dml__filling *f, size_t kind, size_t bytes);

/* Tensors that should lie one after the other: begins as all zero. */
struct dml__run {
    char *start, *end; /* NULL: no tensor of any bytes yet */
};

/* False when the tensor does not lie behind the last one. */
bool dml__run_goes_on(struct dml__run *run, void *data, size_t bytes);

#endif
