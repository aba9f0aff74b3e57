/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known on a communicator about its collectives: what was asked for, what was
 * measured, what was chosen.
 */
#ifndef DML__SELECT_H
#define DML__SELECT_H

#include "collectives/coll_internal.h"

/* Sizes that are measured: 16 B, then four times the one before, to 4 MiB. */
enum { DML__NPOINTS = 10, DML__NALGS = 16, DML__CACHE = 256 };

struct dml__cached {
    uint64_t key;
    const struct dml__alg *alg;
};

struct dml__coll_state {
    const char *forced[DML_NCOLLS]; /* NULL: automatic */
    const char *forced_by[DML_NCOLLS];
    bool settled[DML_NCOLLS]; /* measured, or never to be */
    /* Seconds, the slowest rank's median; 0 where not measured. */
    double seconds[DML_NCOLLS][DML__NALGS][DML__NPOINTS];
    struct dml__cached cache[DML__CACHE];
};

/* Made at first use; NULL when out of memory. */
struct dml__coll_state *dml__coll_state(dml_comm *comm);

/* Predicted seconds of algorithm number "alg", by measurement or formula. */
double dml__predict_s(const dml_comm *comm, dml_coll coll, size_t alg, double bytes);

/* Are there measurements, so that predictions are more than formulas? */
bool dml__was_timed(const struct dml__coll_state *state, dml_coll coll);

/* Bytes of point i. */
double dml__point_bytes(int i);

#endif
