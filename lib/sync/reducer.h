/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of lib/sync share about a reducer.
 */
#ifndef DML__REDUCER_H
#define DML__REDUCER_H

#include "dml/coll.h"
#include "dml/sync.h"

#include "core/core.h"

/* How a bucket's tensors lie in memory; all ranks use the same way for a bucket. */
enum dml__layout {
    DML__APART,     /* anywhere: reduced as a list of pieces */
    DML__ASCENDING, /* one after the other, in the bucket's order */
    DML__DESCENDING /* one after the other, in the reverse order */
};

struct dml__exchange;
struct dml__compression;
struct dml__sync_device;

struct dml__bucket {
    size_t first, n; /* members are order[first .. first + n - 1] */
    dml_dtype dtype;
    size_t count; /* elements */
    enum dml__layout layout;
    char *data;           /* [count] what is reduced, where the tensors lie together */
    dml_piece *pieces;    /* [n] where they lie apart */
    bool on_device;       /* all tensors; what lies apart is copied there: */
    char *packed;         /* [count] device memory; NULL where that is not needed */
    bool to_unpack;       /* when the request is complete */
    size_t pending;       /* members not yet ready in this step */
    dml_request *request; /* of the plain average */
    int kind;             /* enum dml__tensor_kind */
    struct dml__exchange *exchange; /* NULL: always a plain average */
    bool compressed;                /* where the step allows it */
    bool coded;                     /* in this step */
    int started;                    /* stages of this step */
    const char *why;
};

struct dml__slot {
    size_t bucket; /* that the tensor is in */
    bool ready, on_device;
};

/* BROKEN: a step failed, and the ranks no longer agree. */
enum dml__reducer_state { DML__CLOSED, DML__ACCUMULATING, DML__REDUCING, DML__BROKEN };

struct dml_reducer {
    dml_comm *comm;
    dml_reducer_opts opts;
    size_t ngrads;
    dml_tensor *grads;     /* [ngrads] names are in "names" */
    char *names;           /* all names, each with its zero */
    size_t *order;         /* [ngrads] tensors, grouped by bucket */
    uint64_t *ready_order; /* [ngrads] as seen in the first step that reduces */
    size_t nready;
    struct dml__slot *slots; /* [ngrads] */
    struct dml__bucket *buckets;
    size_t nbuckets;
    size_t next;                     /* what launch.c does next in this step */
    dml_status launched;             /* the error that ended this step's launches */
    dml_piece *pieces;               /* [ngrads] in "order", for buckets */
    struct dml__sync_device *device; /* NULL: no tensor lies on one */
    struct dml__compression *compression; /* NULL: no codec */
    enum dml__reducer_state state;
    dml_reducer_stats stats;
};

/* For messages. */
static inline const char *dml__tensor_name(const dml_tensor *tensor)
{
    return tensor->name != NULL ? tensor->name : "no name";
}

/* Make the buckets for tensors becoming ready in the given order. Collective. */
dml_status dml__buckets_plan(dml_reducer *reducer, const uint64_t *ready_order);
void dml__buckets_free(dml_reducer *reducer);

/* Starts whatever can start in this step, in an order that is the same on all ranks;
 * with "wait" it waits for what has to be complete first. */
dml_status dml__launch(dml_reducer *reducer, bool wait);
/* Waits for a bucket of this step; when all its stages went well, its data are the
 * average. */
dml_status dml__complete(dml_reducer *reducer, struct dml__bucket *bucket);

/* Take what a step has left in flight that failed: the communicator has ended, so that
 * nobody is waited for. */
void dml__abandon(dml_reducer *reducer);

/* DML_EMISMATCH on all ranks when tensors differ between ranks. Collective. */
dml_status dml__verify_tensors(const dml_tensor *tensors, size_t n, dml_comm *comm,
                               const char *where);

/* A number that tells bytes apart, going on from an earlier one (FNV-1a). */
uint64_t dml__hash(uint64_t hash, const void *data, size_t bytes);

/* Have all ranks the same number? Its upper 52 bits are compared. Collective. */
dml_status dml__same_everywhere(dml_comm *comm, uint64_t hash, bool *same);

/* Small broadcast by the non-blocking call, which never stops to measure. The data may
 * lie on the stack: MPI sees a copy, which outlives a failure. Collective. */
dml_status dml__bcast_now(void *data, size_t bytes, int root, dml_comm *comm);

#endif
