/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of sharded training share: buckets, and where each rank's part lies.
 *
 * A bucket is a vector of whole tensors of one type, cut into P parts in rank order;
 * every tensor is in one bucket, so that a rank has at most one piece of it.
 */
#ifndef DML__SHARD_H
#define DML__SHARD_H

#include "dml/coll.h"
#include "dml/shard.h"

#include "core/core.h"

struct dml__shard_bucket {
    size_t first,
        n;        /* members are order[first .. first + n - 1], in the vector's order */
    size_t count; /* elements */
    dml_dtype dtype, grad_dtype;
    size_t *counts; /* [P] elements of each rank's part */
    size_t begin;   /* where this rank's part begins */
    bool grads_packed, params_packed;
    char *grads;  /* [count] this rank's gradients: packed, or the callers' memory, of
                     which only is read */
    char *spare;  /* [count] the same with zeros for what was not ready, in steps in
                     which the callers' memory will not do; NULL before the first */
    char *params; /* [count] likewise */
    char *part_grads; /* [counts[rank]] averages of this rank's part */
    size_t pending;   /* members for which it must still wait in this step */
    size_t nready;    /* members whose gradient became ready in this step */
    dml_request *scatter, *gather;
    bool gathering; /* parameters may not be read yet */
    bool queued;    /* ... until the device's stream comes to: */
    void *gathered; /* a mark of it (device.h), or NULL */
};

struct dml__shard_slot {
    size_t bucket; /* that the tensor is in */
    size_t start;  /* of the tensor within the bucket's vector, in elements */
    bool ready;
};

/* BROKEN: a step failed, and the ranks no longer agree. */
enum dml__shard_state { DML__SHARD_CLOSED, DML__SHARD_OPEN, DML__SHARD_BROKEN };

struct dml__sync_device;

struct dml_sharded {
    dml_comm *comm;
    struct dml__sync_device *device; /* where all tensors lie; NULL: on the host */
    dml_sharded_opts opts;
    size_t grain; /* tensors are cut at multiples of so many elements */
    size_t n;
    dml_param *params;             /* [n] names are the optimizer's */
    size_t *order;                 /* [n] tensors, grouped by bucket */
    struct dml__shard_slot *slots; /* [n] */
    struct dml__shard_bucket *buckets;
    size_t nbuckets, next; /* next: the first bucket not started in this step */
    size_t *counts;        /* [nbuckets][P] of all buckets */
    size_t *piece_counts; /* [2][P] room for counts and places of one tensor's pieces */
    char *packed, *parts; /* memory of packed vectors, and of part_grads */
    dml_optim *optim;     /* of this rank's pieces */
    enum dml__shard_state state;
    dml_sharded_stats stats;
};

/* Buckets, cuts and memory, from params, opts and grain. Collective; on failure
 * dml__shard_plan_free() is still due. */
dml_status dml__shard_plan(dml_sharded *sharded, const char *where);
void dml__shard_plan_free(dml_sharded *sharded);

/* The piece of a tensor that a rank has: "count" elements from "first" on. */
void dml__shard_piece(const dml_sharded *sharded, size_t param, int rank, size_t *first,
                      size_t *count);

/* "param" is a tensor's number: DML_OK, or DML_EINVAL with a text. */
dml_status dml__shard_check_index(const dml_sharded *sharded, size_t param,
                                  const char *where);

#endif
