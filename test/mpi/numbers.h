/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers for the tests of reductions: inputs that every rank can compute for every
 * other rank, and the reduction of them done serially with an error bound.
 *
 * Written without libdml's conversions and kernels, so that a mistake in those cannot
 * hide here.
 */
#ifndef DML_TEST_NUMBERS_H
#define DML_TEST_NUMBERS_H

#include "dml_test.h"

/* The operations of the tests: dml_op, and a stand-in for pre-multiplied sums. */
#define OP_PREMUL    ((dml_op)DML_NOPS)
#define NUMBERS_NOPS (DML_NOPS + 1)

const char *numbers_op_name(dml_op op);
bool numbers_is_float(dml_dtype dtype);

/* The factor of a rank in a pre-multiplied sum: a power of two for integers, so that
 * the product is exact in f64 before it is cut. */
double numbers_scale(dml_dtype dtype, int rank);

/* dst[i] = element first + i of a rank's input. */
void numbers_fill(void *dst, size_t first, size_t count, dml_dtype dtype, dml_op op,
                  uint64_t seed, int rank);

/* A reduced vector: exact bytes, or values with a bound on the error of each. */
struct numbers_ref {
    size_t count;
    dml_dtype dtype;
    unsigned char *bytes; /* [count * element], or NULL when the result is rounded */
    long double *value;   /* [count], or NULL */
    long double *bound;   /* [count], or NULL */
};

/*
 * Reduce elements 0 .. count-1 of all ranks' inputs one after the other.
 *
 * With u the unit roundoff of the accumulator (f32 for the 16-bit types) any order of
 * P-1 additions errs by at most (P-1) u sum |x_i|, P-1 products by (P-1) u |prod x_i|
 * (Higham 2002, section 4.2, to first order, hence the 1 % added); avg rounds once
 * more, a pre-multiplied term twice (factor and product), and a 16-bit result by half
 * a unit in its last place.
 */
void numbers_reduce(struct numbers_ref *ref, size_t count, dml_dtype dtype, dml_op op,
                    uint64_t seed, int nranks);
void numbers_free(struct numbers_ref *ref);

/* Compare got[count] with elements first .. of the reference. */
bool numbers_check(struct dml_test *t, const struct numbers_ref *ref, size_t first,
                   const void *got, size_t count);

/* Value of an element of a float type. */
long double numbers_value(dml_dtype dtype, const void *element);

#endif
