/* SPDX-License-Identifier: BSD-3-Clause */
/* What an L1 term changes in L-BFGS; see owlqn.c. All vectors are [count]. */
#ifndef CRF_OWLQN_H
#define CRF_OWLQN_H

#include <stddef.h>

/* The one-sided derivative of f + l1 |x| along which it falls fastest, from the
 * gradient of f; 0 where it falls neither way. */
void owlqn_pseudo(size_t count, double l1, const double *x, const double *gradient,
                  double *pseudo);

/* Elements of the direction that lead uphill are dropped. */
void owlqn_align(size_t count, const double *pseudo, double *direction);

/* A step does not cross 0: where it would, it ends there. */
void owlqn_stay(size_t count, const double *x, const double *pseudo, double *next);

/* Sum of |x|. */
double owlqn_sum(size_t count, const double *x);

#endif
