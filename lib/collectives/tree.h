/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How ranks are numbered in trees and in algorithms of log2 P steps.
 */
#ifndef DML__TREE_H
#define DML__TREE_H

/* Steps after which 2^steps >= n: log2 n, rounded up. */
static inline int dml__log2(int n)
{
    int steps = 0;
    while (n > 1 << steps)
        steps++;
    return steps;
}

/*
 * The binomial tree over numbers 0 ... P-1 with root 0: a number's parent is itself
 * without its lowest set bit, its children are itself plus each power of two below that
 * bit, as far as there are such numbers.
 */
struct dml__binomial {
    int number;
    int low; /* the lowest set bit; of the root a power of two past all numbers */
    int parent;
};

static inline struct dml__binomial dml__binomial(int number, int nranks)
{
    int low = 1;
    while (low < nranks && (number & low) == 0)
        low *= 2;
    return (struct dml__binomial){number, low, number != 0 ? number - low : 0};
}

#endif
