/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Structures shared by the files of lib/comm only.
 */
#ifndef DML__COMM_INTERNAL_H
#define DML__COMM_INTERNAL_H

#include "dml/mpi.h"

#include "comm/comm.h"
#include "comm/node.h"
#include "comm/progress.h"
#include "comm/sched.h"

#include <mpi.h>

struct dml__roll;  /* roll.h */
struct dml__shm;   /* shm.h */
struct dml__trace; /* trace.h */

struct dml_comm {
    dml_ctx *ctx;
    int rank, size;
    int node_rank, node_size;
    int nnodes;
    int *node_of; /* [size] see dml__comm_nodes */
    bool crowded;
    cpu_set_t node_cpus;    /* that ranks of this machine may run on */
    bool blocks;            /* waits inside MPI (DML_WAIT=block) */
    dml_status broken;      /* why no further call is possible, or DML_OK */
    MPI_Comm coll;          /* schedules and MPI's own collectives */
    MPI_Comm p2p;           /* dml_send and dml_recv, whose tags are the caller's */
    int tag_max;            /* largest that MPI takes */
    int machine;            /* lowest rank of those on this machine, as MPI sees it */
    struct dml__roll *roll; /* who is where */
    MPI_Comm node_mpi;      /* the ranks of this node, in this order */
    struct dml__node *node; /* what they share, or NULL */
    struct dml__shm *shm;   /* channels within the node, or NULL */
    struct dml__segment *segments; /* dml_alloc's, newest first (alloc.c) */
    unsigned next_segment;         /* number of the next, the same on all ranks */
    int nsymmetric;                /* segments that the node's ranks really share */
    bool tasks_may_run;  /* no earlier collective has a task left (sched_run.c) */
    dml_request *active; /* started and not complete, oldest first */
    dml_request *pool;   /* ready for reuse */
    dml_request *left;   /* failed with MPI requests in flight */
    dml_request *kept;   /* persistent, whatever they are at */
    double *scales; /* [nscales] of the pre-multiplied sums; NaN marks a free one */
    size_t nscales;
    char *tuning; /* [tuning_bytes] name and text of the tuning table, or NULL */
    size_t tuning_bytes;
    struct dml__coll_state *coll_state;
    void (*coll_state_destroy)(struct dml__coll_state *);
    void *gpu; /* lib/gpu's */
    void (*gpu_destroy)(void *);
    const void *exchange; /* the one that is open (lib/exchange), or NULL */
    uint64_t nexchanges;  /* made so far, the same on all ranks */
    dml_comm_stats stats;
    struct dml__lock lock;    /* by those who progress it meanwhile */
    struct dml__trace *trace; /* NULL: nothing is recorded (trace.h) */
};

/* Name of the private MPI communicators: debuggers show it, and libdml-mpi.so leaves
 * collectives on them to MPI. */
#define DML__MPI_NAME "libdml"

/* Handles of pre-multiplied sums start here. */
enum { DML__OP_FIRST_USER = 64 };

/* Map an MPI error code to a status, with MPI's own text in the last error. */
dml_status dml__mpi_fail(const dml_comm *comm, const char *where, int code);

/* Duplicates the caller's communicator. Collective.
 * @param lasts  *owned may stay until the process ends: after an error MPI may still
 * write it. If not, this waits for ever.
 * @return DML_OK | DML_ETIMEOUT (a rank does not come) | DML_ECOMM. */
dml_status dml__comm_dup(dml_ctx *ctx, MPI_Comm mpi_comm, bool lasts, MPI_Comm *owned);
/* Whether MPI's own blocking calls wait (DML_WAIT=block), as simulators need it. */
bool dml__waits_by_mpi(const dml_ctx *ctx);

/* Makes a communicator of a duplicate or part of another, which it then owns.
 * Collective.
 * @param comm    memory for it, or NULL: then it fails on all ranks.
 * @param parent  the other, or NULL. */
dml_status dml__comm_wrap(dml_ctx *ctx, dml_comm *comm, MPI_Comm owned,
                          const dml_comm *parent, dml_comm **out);

/* Starts the native step's MPI request. Buffers of int counts come from "scratch". */
int dml__native_start(const struct dml__call *call, int *scratch, MPI_Request *mpi);

/* Reads the tuning table on rank 0 for all; takes a parent's (tuning.c). */
dml_status dml__comm_read_tuning(dml_comm *comm);
dml_status dml__comm_take_tuning(dml_comm *comm, const dml_comm *parent);

/* Refuses to run as N jobs of one rank (launch.c). */
dml_status dml__launch_check(dml_ctx *ctx, const char *where);

/* Progress every active schedule once; true when anything moved. */
bool dml__comm_poll(dml_comm *comm);

/* Wait inside MPI until something in flight ends; false when nothing is. */
bool dml__comm_block(dml_comm *comm);

/* Complete every pending collective. Messages may stay pending: up to 16 GiB of each
 * are posted, and MPI progresses those by itself. */
dml_status dml__comm_drain(dml_comm *comm);

/* Ends all that is pending, and the communicator, with an error. */
void dml__comm_abandon(dml_comm *comm, dml_status status);

/* dml__comm_max as one of enum dml__what (ledger.h). */
dml_status dml__comm_agree(dml_comm *comm, int what, double *values, int count);

void dml__sched_pool_free(dml_comm *comm);

/*
 * Have these requests ended? Asked when a communicator that failed is destroyed: what
 * MPI may still read or write then (a message that could not be cancelled, a collective
 * whose other ranks come late) is not freed. It stays until the process ends, which is
 * all that is left to do after such a failure; MPI offers no other moment from which on
 * it is certain not to be used.
 */
bool dml__mpi_ended(int n, MPI_Request *requests);

/* Finds out where the ranks are (layout.c). Collective; fails on all ranks or none of a
 * node. */
dml_status dml__comm_find_node(dml_comm *comm);

/* Map the desks of the node's ranks. Collective over the node, whose ranks all succeed
 * or all go without (then *node stays NULL and messages go through MPI). rank_of [node
 * size]: their ranks in the communicator. */
dml_status dml__node_open(dml_ctx *ctx, MPI_Comm mpi, const int *rank_of,
                          struct dml__node **node);
void dml__node_close(struct dml__node *node);

/* Give back what the caller did not: memory of dml_alloc. */
void dml__segments_free(dml_comm *comm);

#endif
