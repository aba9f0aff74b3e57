/* SPDX-License-Identifier: BSD-3-Clause */
/* What a search by L-BFGS keeps from iteration to iteration; see lbfgs.c. */
#ifndef CRF_LBFGS_SEARCH_H
#define CRF_LBFGS_SEARCH_H

#include "lbfgs.h"

#define MAX_MEMORY   64
#define PERIOD_LIMIT 64

struct lbfgs_search {
    const struct lbfgs_problem *problem;
    const struct lbfgs_opts *opts;
    const struct kernels *kernels;
    struct job *job;
    struct lbfgs_state *state;
    size_t memory, kept, oldest; /* pairs: room, number, index of the oldest */
    double *block;               /* all vectors below */
    double *x, *next_x;          /* [count] each; x is the caller's */
    double *gradient, *next;     /* of the smooth part, here and at next_x */
    double *pseudo; /* what the direction starts from: gradient, or OWL-QN's */
    double *direction;
    double *s[MAX_MEMORY], *y[MAX_MEMORY];
    /* Dot products: pairs by their place, the gradient last. */
    double ss[MAX_MEMORY][MAX_MEMORY], sy[MAX_MEMORY][MAX_MEMORY];
    double yy[MAX_MEMORY][MAX_MEMORY], gs[MAX_MEMORY], gy[MAX_MEMORY];
    double gg, slope;
    double past[PERIOD_LIMIT];
};

/* Sets all of it, once it has its memory, from problem->snapshot. Not collective. */
dml_status lbfgs_load(struct lbfgs_search *search);

#endif
