/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One collective call described by data, its buffers, and what must be in them after.
 *
 * A case says what is computed; a call says how (blocking or not, in place or not, by
 * libdml or by MPI). Any call of a case must leave the same bytes: the receive buffer
 * is compared whole, guard bytes and gaps between blocks included.
 */
#ifndef DML_TEST_COLL_CASE_H
#define DML_TEST_COLL_CASE_H

#include "numbers.h"

/* The ranks a case runs on: all, or a part of them. */
struct coll_env {
    struct dml_test *t;
    dml_comm *comm;
    MPI_Comm mpi;
    int rank, nranks;
    dml_op premul_float, premul_integer; /* made with numbers_scale() */
};

/* Whose memory the buffers are: malloc's, dml_alloc's, or dml_alloc's on even ranks. */
enum coll_memory { COLL_PRIVATE, COLL_SYMMETRIC, COLL_MIXED, COLL_NMEMORIES };

struct coll_case {
    dml_coll coll;
    enum coll_memory memory;
    bool uneven; /* the v-variant: blocks of different sizes, some of them empty */
    bool gaps;   /* v-variant with blocks in reverse order and gaps between them */
    dml_dtype dtype;
    dml_op op;    /* may be OP_PREMUL */
    size_t count; /* elements of the vector, or of a block (uneven: about that) */
    int root;
    uint64_t seed;
};

struct coll_call {
    bool async, in_place;
    bool by_mpi;       /* MPI's own, as a check of the reference */
    unsigned misalign; /* bytes by which the buffers miss their alignment */
};

#define COLL_GUARD 64

/* A case made ready on this rank. */
struct coll_plan {
    struct coll_env *env;
    struct coll_case c;
    size_t bytes; /* per element */
    size_t counts[DML_TEST_MAX_RANKS], displs[DML_TEST_MAX_RANKS];
    size_t total;                      /* elements of all blocks */
    size_t extent;                     /* the same with the gaps */
    size_t send_len, recv_len;         /* elements of this rank's buffers */
    size_t reduced, reduced_first;     /* reductions: elements got here, and which */
    struct numbers_ref ref;            /* reductions: the whole vector */
    unsigned char *send, *send_before; /* [COLL_GUARD + ... + COLL_GUARD] */
    unsigned char *recv, *want;
    void *shared_send, *shared_recv; /* what dml_alloc gave */
};

bool coll_reduces(dml_coll coll);
bool coll_has_blocks(dml_coll coll); /* has a v-variant */
bool coll_has_root(dml_coll coll);

void coll_env_open(struct coll_env *env, struct dml_test *t, dml_comm *comm,
                   MPI_Comm mpi);
/* Nodes that the ranks lie on, pretended ones included. */
int coll_nodes(const struct coll_env *env);
void coll_env_close(struct coll_env *env);

void coll_plan_open(struct coll_plan *p, struct coll_env *env,
                    const struct coll_case *c);
void coll_plan_close(struct coll_plan *p);

/* Fill the buffers, and say what the call has to be given. */
void coll_fill(struct coll_plan *p, const struct coll_call *call, const void **send,
               void **recv);

/* Fill the buffers, and start the call (a blocking one also ends here). */
dml_status coll_start(struct coll_plan *p, const struct coll_call *call,
                      dml_request **request);

/* Compare all buffers with what must be there after the call. */
bool coll_check(struct coll_plan *p, const struct coll_call *call);

/* Where a call left this rank's result, and its length in bytes. */
const unsigned char *coll_result(const struct coll_plan *p,
                                 const struct coll_call *call, size_t *bytes);

/* MPI has the type and the operation, and can be relied on for them. Not to be called
 * in place, where MPI may overwrite more than libdml. */
bool coll_mpi_can(const struct coll_plan *p);

/* The calls themselves; both fill no buffer and check nothing. */
dml_status coll_call_dml(const struct coll_plan *p, const void *send, void *recv,
                         dml_request **request);
dml_status coll_init_dml(const struct coll_plan *p, const void *send, void *recv,
                         dml_request **request);
void coll_call_mpi(const struct coll_plan *p, const void *send, void *recv);

#endif
