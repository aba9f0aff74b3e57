/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known on a communicator about its collectives: what was asked for, what was
 * measured, what was chosen.
 */
#ifndef DML__SELECT_H
#define DML__SELECT_H

#include "collectives/coll_internal.h"
#include "collectives/table.h"

/* Sizes that are measured: 16 B, then four times the one before, to 4 MiB. */
enum { DML__NPOINTS = 10, DML__NALGS = 20, DML__CACHE = 256 };

struct dml__cached {
    uint64_t key;
    const struct dml__alg *alg;
};

/* What was measured, the same on all ranks; kept for later communicators of the same
 * processes too (tuned.c). */
struct dml__tuned {
    bool has_model;
    /* Measured, or never to be; [1]: with device memory. */
    bool settled[2][DML_NCOLLS];
    /* The same with memory of dml_alloc, for "shared". */
    bool settled_shared[DML_NCOLLS];
    double spent_s[2]; /* seconds spent on measuring */
    struct dml__model model;
    /* Seconds of the slowest rank; 0 where not measured. */
    double seconds[DML_NCOLLS][DML__NALGS][DML__NPOINTS];
};

/* What was asked for, of one collective. */
struct dml__forced {
    const struct dml__alg *alg[2]; /* [1]: with device memory; NULL: automatic */
    const char *wrong;             /* the names, where they mean nothing; else NULL */
    const char *by;                /* whom */
    bool told[2];                  /* to the log */
};

struct dml__coll_state {
    struct dml__forced forced[DML_NCOLLS];
    bool host_only; /* of libdml's own communicators: buffers are not looked at */
    struct dml__rule *rules; /* [nrules] of the tuning table */
    size_t nrules;
    struct dml__tuned tuned;
    struct dml__cached cache[DML__CACHE];
    unsigned char calls[2][DML_NCOLLS]; /* blocking ones, see dml__count_call() */
};

/* Made at first use; NULL: the error is recorded. */
struct dml__coll_state *dml__coll_state(dml_comm *comm);

/* Is nothing left to choose? */
bool dml__is_forced(const struct dml__coll_state *state, dml_coll coll, bool on_device);

/* Counts a blocking call of a collective, on all ranks; true: it may measure. At the
 * first one, of either kind of memory, what the context knows is taken over.
 * Collective. */
bool dml__count_call(const struct dml__call *call, struct dml__coll_state *state);

/* Measures alpha, beta and gamma into *model, within "limit_s". Collective. */
dml_status dml__model_measure(dml_comm *comm, double limit_s, struct dml__model *model);

/* Times the algorithms of a collective within "limit_s". Collective. */
dml_status dml__time_algorithms(dml_comm *comm, dml_coll coll, bool on_device,
                                double limit_s, struct dml__tuned *tuned);

/* Runs each path for device memory once: what that finds and connects lasts, and would
 * not be what a call costs. Collective. */
dml_status dml__warm_paths(dml_comm *comm, dml_coll coll);

/* Seconds by the formula, with the measured model if there is one. */
double dml__formula_s(const dml_comm *comm, const struct dml__tuned *tuned,
                      const struct dml__alg *alg, double bytes);

/* The largest point up to "point" that was timed, or -1. */
int dml__timed_below(const double *seconds, int point);

/* Predicted seconds of algorithm number "alg", by measurement or formula. */
double dml__predict_s(const dml_comm *comm, dml_coll coll, size_t alg, double bytes);

/* Nothing is left to measure for a collective, with the memory that there is. */
bool dml__is_settled(const dml_comm *comm, const struct dml__tuned *tuned,
                     dml_coll coll, bool on_device);

/* Are there measurements, so that predictions are more than formulas? */
bool dml__was_timed(const struct dml__tuned *tuned, dml_coll coll, bool on_device);

/* Bytes of point i. */
double dml__point_bytes(int i);

#endif
