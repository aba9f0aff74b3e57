/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of libdml-mpi.so share. The library is preloaded into an MPI program:
 * its MPI_* functions run on libdml where they can and are MPI's own (PMPI_*) where
 * they cannot. It stands outside libdml, uses the public headers only, and holds a copy
 * of libdml whose own MPI calls are PMPI calls (see meson.build), so that neither they
 * nor libdml's threads ever come back here.
 *
 * The rule behind every choice in this folder: whether a call runs on libdml must be
 * the same on all ranks, so only values that MPI promises to be equal on all ranks may
 * decide. What one rank alone can see (a negative count, an invalid handle) is an error
 * of the program, which is MPI's to report.
 */
#ifndef DML__SHIM_H
#define DML__SHIM_H

#include "dml/coll.h"
#include "dml/ctx.h"
#include "dml/mpi.h"

#include <stdbool.h>
#include <stddef.h>

#define DML__SHIM_API __attribute__((visibility("default")))

/* X(NAME, "name in DML_MPI_SKIP", "MPI function"): what is intercepted. */
#define DML__SHIM_MAP(X)                                                        \
    X(ALLREDUCE, "allreduce", "MPI_Allreduce")                                  \
    X(IALLREDUCE, "iallreduce", "MPI_Iallreduce")                               \
    X(REDUCE_SCATTER, "reduce_scatter", "MPI_Reduce_scatter")                   \
    X(REDUCE_SCATTER_BLOCK, "reduce_scatter_block", "MPI_Reduce_scatter_block") \
    X(ALLGATHER, "allgather", "MPI_Allgather")                                  \
    X(ALLGATHERV, "allgatherv", "MPI_Allgatherv")                               \
    X(BCAST, "bcast", "MPI_Bcast")                                              \
    X(REDUCE, "reduce", "MPI_Reduce")                                           \
    X(BARRIER, "barrier", "MPI_Barrier")

enum dml__shim_fn {
#define DML__SHIM_ENUM(NAME, name, function) DML__SHIM_##NAME,
    DML__SHIM_MAP(DML__SHIM_ENUM)
#undef DML__SHIM_ENUM
        DML__SHIM_NFNS
};

/* ---- communicators (attach.c) ------------------------------------------------------
 */

struct dml__shim_started; /* async.c */

/* What hangs on an MPI communicator as an attribute. */
struct dml__shim_comm {
    dml_comm *dml;    /* NULL: everything on this communicator passes through */
    dml_comm *async;  /* for MPI_Iallreduce: a thread progresses it. NULL: passes */
    unsigned enabled; /* bit fn: this function runs on libdml; equal on all ranks */
    int rank, size;
    size_t *counts; /* [size] for the calls with blocks of different sizes */
    void *staging;  /* grows to what derived types needed so far */
    size_t staging_bytes;
    MPI_Comm user; /* the communicator this hangs on */
    struct dml__shim_comm *prev, *next;
    struct dml__shim_started *first, *last; /* under way on async, oldest first */
    struct dml__shim_comm *next_busy;       /* among those on which any is */
};

/*
 * The libdml side of a communicator if this call runs on libdml, else NULL: then the
 * caller must make MPI's own call. possible: the arguments allow it. Collective over
 * comm at the first call with "possible" on it, except for MPI_Iallreduce, which must
 * not wait: that one passes through on communicators without an earlier call.
 */
struct dml__shim_comm *dml__shim_use(enum dml__shim_fn fn, MPI_Comm comm,
                                     bool possible);

/* What a function that ran on libdml returns: a failure goes to the communicator's
 * error handler. Counts the call. */
int dml__shim_result(enum dml__shim_fn fn, const struct dml__shim_comm *c,
                     dml_status status);

/* For a blocking call that this rank cannot take part in: ends it on all ranks, which
 * would wait for this one, and with it the use of the communicator. Counts the call. */
void dml__shim_refuse(enum dml__shim_fn fn, const struct dml__shim_comm *c,
                      const char *why);

/* MPI's code for a failure of libdml, which is reported on stderr; 0 for none. */
int dml__shim_code(enum dml__shim_fn fn, const dml_comm *dml, dml_status status);

/* ---- what was started (async.c) ----------------------------------------------------
 */

/* Completes MPI's requests of what libdml has completed: how many, or -1 when nothing
 * was under way. Any thread that may call MPI. */
int dml__shim_complete(void);

/* Waits until nothing is under way on a communicator that is about to end. */
void dml__shim_finish(const struct dml__shim_comm *c);

/* What a thread does between two looks at what it waits for; *looks begins with 0. */
void dml__shim_rest(unsigned *looks);

/* ---- types and operations (table.c) ------------------------------------------------
 */

/* How libdml reduces a pair of MPI's type and operation; false: it does not. */
bool dml__shim_reduction(MPI_Datatype type, MPI_Op op, dml_dtype *dtype,
                         dml_op *dml_op_out);

/* Where libdml finds the input. Programs that pass one buffer as input and output,
 * which MPI forbids and some MPI libraries accept, are understood as MPI_IN_PLACE. */
const void *dml__shim_input(const void *send, const void *recv);

/* False for buffers that MPI would refuse, as far as one rank can see. */
bool dml__shim_buffers_ok(const void *send, const void *recv, bool empty);

/* Where the elements of a type lie. */
struct dml__shim_layout {
    size_t bytes;    /* of data in one element */
    MPI_Aint extent; /* from one element to the next */
    bool plain;      /* one after the other without gaps, as in a C array */
};

/* False when type is no type. */
bool dml__shim_layout(MPI_Datatype type, struct dml__shim_layout *layout);

/* Functions named in a list such as "bcast,reduce" ("all": all of them) as bits. An
 * unknown name is reported on stderr. list may be NULL. */
unsigned dml__shim_parse(const char *list);

/* ---- counters (stats.c) ------------------------------------------------------------
 */

/* Counts one call of a function, run on libdml or passed through. */
void dml__shim_count(enum dml__shim_fn fn, bool on_libdml);

/* The MPI function's name. */
const char *dml__shim_name(enum dml__shim_fn fn);

/* Prints the sums over all ranks on rank 0's stderr if a rank has DML_MPI_STATS=1.
 * Collective over MPI_COMM_WORLD. */
void dml__shim_print(void);

#endif
