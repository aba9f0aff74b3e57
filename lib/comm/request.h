/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a request consists of: shared by the files that write, run and complete it.
 */
#ifndef DML__REQUEST_H
#define DML__REQUEST_H

#include "comm/comm_internal.h"
#include "comm/trace.h"

enum dml__kind { DML__SEND, DML__RECV, DML__LOCAL, DML__NKINDS };

/* Messages in flight per request and lane; more would only lengthen each MPI_Testsome.
 * Each lane has its own share: receives waiting for the peers must not keep this rank's
 * sends, for which the peers wait, from starting. */
enum { DML__LANE_INFLIGHT = 16, DML__MAX_INFLIGHT = DML__LANE_INFLIGHT * 3 };

struct dml__step {
    dml__local_fn *fn;  /* LOCAL; of a RECV that folds what arrives, else NULL */
    dml__task_fn *task; /* LOCAL step that waits for others; dst is its state */
    void *dst;          /* LOCAL, RECV */
    void *staging;      /* RECV that folds: where MPI puts the message */
    const void *a;      /* LOCAL, SEND; of a task that is repeated its first state */
    const void *b;      /* LOCAL, RECV that folds */
    size_t n;     /* bytes of a message or a task's state, elements of local work */
    size_t moved; /* bytes of a message given to a channel or to MPI so far */
    int inflight; /* pieces of it that MPI has and has not finished */
    double arg;
    int after[2];
    int next; /* in the same lane, or DML__NO_STEP */
    int peer;
    unsigned char kind;
    unsigned char item_bytes, b_bytes; /* RECV that folds: of what arrives, and of b */
    bool unordered;                    /* a task that later ones do not wait for */
    bool after_all; /* waits for every step before it; there are only such after it */
    bool native;    /* a LOCAL step that starts request->native instead of calling fn */
    bool done;
};

struct dml__scratch {
    void *memory;
    size_t bytes;
};

struct dml_request {
    dml_comm *comm;
    dml_request *next;      /* in the active list or the pool */
    dml_request *next_kept; /* in the list of persistent ones */
    MPI_Comm channel;
    int tag;
    struct dml__op record; /* of the collective (roll.h); seq 0: a message */
    dml_status status;     /* of what has happened so far */
    bool complete;
    bool started;    /* and not yet waited for */
    bool persistent; /* made by dml_coll_init: the caller starts and frees it */
    bool on_device;  /* persistent, and it waits for the stream of a device */
    bool uses_mpi;   /* for any of its steps, now or later */

    struct dml__step *steps;
    int nsteps, capacity, ndone;
    int gate;               /* what a step waits for that is told nothing else */
    int ntasks, tasks_left; /* tasks of it, those not finished */
    int first[DML__NKINDS]; /* step of each lane */
    int head[DML__NKINDS];  /* first one not started */
    int tail[DML__NKINDS];  /* last one */

    int lane_inflight[DML__NKINDS];
    int ninflight;
    int nleft; /* in flight when it failed: MPI may still use its memory and buffers */
    MPI_Request inflight[DML__MAX_INFLIGHT];
    int inflight_step[DML__MAX_INFLIGHT];
    size_t inflight_at[DML__MAX_INFLIGHT]; /* where in the step's message a piece is */

    struct dml__scratch *scratch; /* kept when the request returns to the pool */
    int scratch_capacity, scratch_used;

    struct dml__traced traced;
    struct dml__call native; /* the one native step's call */
    int *native_counts;
};

/* Is it an algorithm of the MPI library's? That is one step, which moves on in any call
 * of MPI. */
static inline bool dml__request_native(const dml_request *r)
{
    return r->nsteps > 0 && r->steps[0].native;
}

/* The public function that made it, for messages. */
void dml__request_where(const dml_request *r, char *text, size_t room);

#endif
