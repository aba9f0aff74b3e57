/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One collective of one size: its buffers, its call by libdml and by MPI, its values.
 */
#ifndef DML_PERF_COLL_H
#define DML_PERF_COLL_H

#include "dml/mpi.h"

#include "perf_options.h"

/* The MPI library, as it is or with one algorithm forced. */
struct perf_peer {
    const char *name;
    MPI_Comm mpi;
};

struct perf_coll {
    const struct perf_options *o;
    dml_comm *comm;
    dml_comm *ordered; /* the same ranks in reproducible mode, or NULL */
    MPI_Comm mpi;
    MPI_Op half_op;               /* of 16-bit floats, made here: MPI has none */
    const struct perf_peer *peer; /* [npeers]; the first is MPI as it is */
    size_t npeers;
    int rank, nranks;
    size_t element; /* bytes */
    size_t count;   /* the argument of the call: of the vector, or of one block */
    size_t bytes;   /* "size": the vector, or the blocks of all ranks */
    size_t send_len, recv_len; /* elements of this rank's buffers */
};

/* Give c the largest count whose size is at most `bytes`, but at least 1. */
void perf_coll_shape(struct perf_coll *c, size_t bytes);

bool perf_coll_reduces(dml_coll coll);

/* busbw / algbw, as nccl-tests define it. */
double perf_coll_bus_factor(dml_coll coll, int nranks);

/* MPI has this type and operation, and its int counts suffice. */
bool perf_coll_mpi_can(const struct perf_coll *c);

dml_status perf_coll_dml(const struct perf_coll *c, dml_comm *comm, const void *send,
                         void *recv);
void perf_coll_mpi(const struct perf_coll *c, MPI_Comm mpi, const void *send,
                   void *recv);

/* The operation on 16-bit floats that a user of MPI would write (perf_half.c). */
MPI_Op perf_half_op(dml_dtype dtype, dml_op op);

/* Write the inputs of an iteration; the receive buffer gets other bytes. */
void perf_coll_fill(const struct perf_coll *c, void *send, void *recv,
                    size_t iteration);

/* Elements of the result that are not what they must be. */
size_t perf_coll_wrong(const struct perf_coll *c, const void *recv, size_t iteration);

#endif
