/* SPDX-License-Identifier: BSD-3-Clause */
/* Minimising a smooth function, with an L1 term or without; see lbfgs.c. */
#ifndef CRF_LBFGS_H
#define CRF_LBFGS_H

#include "dml/ckpt.h"

#include "../common/job.h"
#include "kernels.h"

struct lbfgs_state;
struct lbfgs_search;

/*
 * The vector is spread over the ranks: each has "count" of its elements, and a function
 * that adds numbers up over the ranks. All ranks make the same calls, and get the same
 * numbers, so that they take the same decisions.
 */
struct lbfgs_problem {
    void *user;
    size_t count;                 /* elements here; may be 0 */
    size_t first, total;          /* place of the first, and elements on all ranks */
    const dml_snapshot *snapshot; /* to go on from, or NULL: x is the start */
    /* *value and gradient[count] at x[count]. */
    dml_status (*evaluate)(void *user, const double *x, double *value,
                           double *gradient);
    /* values[n] become sums over the ranks. */
    dml_status (*sum)(void *user, double *values, size_t n);
    /* After each iteration; *stop ends the search. */
    dml_status (*progress)(void *user, const struct lbfgs_state *state, const double *x,
                           bool *stop);
    /* After each iteration that is not the last, and progress(): a moment for
     * lbfgs_save(); *stop ends the search. NULL: nothing is done. */
    dml_status (*between)(void *user, struct lbfgs_search *search, bool *stop);
};

struct lbfgs_opts {
    size_t memory;         /* pairs kept; 6 is usual */
    size_t max_iterations; /* 0: no limit */
    double epsilon;        /* converged when |gradient| < epsilon max(1, |x|) */
    size_t period;         /* converged when the value fell by less than delta of */
    double delta;          /* itself over so many iterations; 0: not looked at */
    double l1;             /* weight of the sum of |x|, which is part of the value */
};

enum lbfgs_end {
    LBFGS_CONVERGED, /* by epsilon or delta */
    LBFGS_LIMIT,     /* max_iterations */
    LBFGS_STOPPED,   /* by progress() */
    LBFGS_STUCK      /* no step makes the value smaller: rounding */
};

struct lbfgs_state {
    size_t iteration, evaluations;
    double value;    /* with the L1 term */
    double gradient; /* norm; with L1, of the pseudo-gradient */
    double norm;     /* of x */
    double step;
    enum lbfgs_end end;
};

/* x[count] is the start and becomes the best point. */
dml_status lbfgs_minimise(const struct lbfgs_problem *problem,
                          const struct lbfgs_opts *opts, const struct kernels *kernels,
                          struct job *job, double *x, struct lbfgs_state *state);

/* Puts the search as it is into a snapshot: this rank's part of the vectors, which
 * another number of ranks can read, and all numbers. Not collective. */
dml_status lbfgs_save(const struct lbfgs_search *search, dml_ckpt *writer);

#endif
