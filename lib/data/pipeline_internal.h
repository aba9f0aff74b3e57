/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the pipeline share. One lock guards all that threads change; rows
 * of a batch that is being filled, and buffers that hold records, belong to one thread
 * at a time.
 */
#ifndef DML__PIPELINE_INTERNAL_H
#define DML__PIPELINE_INTERNAL_H

#include "dml/pipeline.h"

#include "core/core.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- who gets how many rows of which step (pipeline_shards.c) ----------------- */

typedef struct dml__shards {
    uint64_t count; /* N */
    uint64_t batch; /* B */
    int rank, nranks;
    dml_uneven uneven;
    uint64_t *held; /* [nranks] records of each rank; NULL: ranks own none, and cut up
                       the batches of the global order */
    uint64_t steps; /* of an epoch */
    size_t rows;    /* most records of this rank in a step; at least 1 */
} dml__shards;

/* Sets steps and rows from the other members. */
void dml__shards_plan(dml__shards *shards);

/* Records [begin, end) of a rank in a step: places in the rank's order of the epoch, or
 * in the global order when ranks own none. */
void dml__shards_cut(const dml__shards *shards, int rank, uint64_t step,
                     uint64_t *begin, uint64_t *end);

/* Records in a step of the ranks below "ranks". */
uint64_t dml__shards_below(const dml__shards *shards, int ranks, uint64_t step);

/* ---- order of the epochs (pipeline_order.c) ----------------------------------- */

/*
 * Two orders: that of the epoch which is being read, and the next one, which a thread
 * of its own makes meanwhile. Epoch e is in place e % 2. Without shuffling there is one
 * order and no thread.
 */
typedef struct dml__order {
    uint64_t seed;
    bool shuffle;
    uint32_t count;      /* N */
    uint32_t length;     /* records of this rank, or N */
    uint64_t *own;       /* bits of this rank's records; NULL: all */
    uint32_t *places[2]; /* [N], of which length are used afterwards */
    uint64_t epochs[2];  /* what is in places; UINT64_MAX: nothing */
} dml__order;

bool dml__order_alloc(dml_ctx *ctx, dml__order *order);
void dml__order_free(dml__order *order);
size_t dml__order_bytes(const dml__order *order);

/* The order of an epoch, NULL if it is not there yet. */
const uint32_t *dml__order_get(const dml__order *order, uint64_t epoch);

/* The epoch to be made next when "epoch" is being read; false: nothing to do. */
bool dml__order_wants(const dml__order *order, uint64_t epoch, uint64_t *make);

/* Fills the place of an epoch; takes long for many records: without the lock. */
void dml__order_make(dml__order *order, uint64_t epoch);

/* ---- batches and work --------------------------------------------------------- */

typedef struct dml__batch_slot {
    void *fields[DML_PIPELINE_FIELDS];
    uint64_t *records; /* [rows] */
    bool *bad;         /* [rows] could not be read or decoded */
    size_t count;      /* records */
    size_t total;      /* rows to be read: count, or all with padding */
    size_t next;       /* first row that no thread has taken */
    size_t left;       /* rows that are not finished */
    size_t busy;       /* pieces of work that threads hold */
    size_t dirty;      /* rows from the front that may not be zero */
    uint64_t epoch, step;
    bool done;

    size_t nbad;
    size_t bad_row; /* the first of them, of which the next two tell */
    dml_status bad_status;
    char why[3 * DML_PIPELINE_WHY];
} dml__batch_slot;

/* Neighbouring rows of one batch: what a thread takes at once. */
typedef struct dml__piece {
    unsigned generation;
    size_t slot;
    size_t row, count;
} dml__piece;

/* A piece that has been read. */
typedef struct dml__load {
    dml__piece piece;
    char *bytes;         /* [piece_rows][max_bytes] */
    dml_record *records; /* [piece_rows]; data NULL: could not be read */
} dml__load;

struct dml_pipeline {
    dml_ctx *ctx;
    dml_record_source source;
    dml_pipeline_opts opts;
    dml__shards shards;
    size_t piece_rows; /* most rows of a piece */
    size_t nloads;
    size_t memory_bytes;

    /* Constant pointers to memory that is handed round. */
    dml__batch_slot *slots; /* [depth + 1] */
    dml__load *loads;       /* [nloads]; with readers = 0 one for each decode thread */
    size_t *spare;          /* [nloads] stack of loads that are free */
    size_t *queue;          /* [nloads] ring of loads that wait for a decode thread */
    pthread_t *threads;
    int nthreads;

    pthread_mutex_t lock; /* guards all that follows */
    pthread_cond_t work;  /* waits: a thread that wants a piece of work */
    pthread_cond_t read;  /* waits: a decode thread that wants a load */
    pthread_cond_t ready; /* waits: the caller */
    pthread_cond_t turn;  /* waits: the thread that makes orders */
    dml__order order;
    size_t nspare, queue_first, nqueued;
    size_t head;             /* slot of the oldest batch that was not handed out */
    size_t live;             /* batches begun and not handed out */
    uint64_t epoch, step;    /* of the batch to be begun next */
    dml_pipeline_state next; /* of the batch to be handed out next */
    bool stop, warned;
    atomic_uint generation; /* written under the lock; looked at without */
    dml_pipeline_stats stats;
    uint64_t ready_sum;
};

/* ---- memory (pipeline_memory.c) -------------------------------------------------- */

/* Decides on pieces and loads, so that all fits p->opts.memory_bytes. */
dml_status dml__pipeline_plan_memory(dml_pipeline *p, const char *where);

/* Release in any case, at any stage. */
dml_status dml__pipeline_allocate(dml_pipeline *p, const char *where);
void dml__pipeline_release(dml_pipeline *p);

/* ---- threads (pipeline_work.c) ------------------------------------------------ */

void *dml__pipeline_read(void *pipeline);
void *dml__pipeline_decode(void *pipeline);
void *dml__pipeline_shuffle(void *pipeline);

/* Drops all that was begun, and goes on at p->epoch and p->step. Lock held. */
void dml__pipeline_restart(dml_pipeline *p);

#endif
