/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel table: every loop over vectors that must run at memory bandwidth.
 *
 * One reference set in plain C is complete; AVX2 and AVX-512 sets start as a copy of it
 * and replace entries. Callers ask the context for the table, never the processor.
 *
 * A reduction is a sum of terms with a way in and a way out, so that 16-bit types can
 * be accumulated in f32, averages divided, and terms scaled, without a special case in
 * any algorithm (doc/adr/0003):
 *
 *     acc  = load(x)            T -> A
 *     acc  = fold(acc, x)       A, T -> A     acc op load(x), without storing load(x)
 *     acc  = merge(acc, acc)    A, A -> A
 *     y    = store(acc)         A -> T
 *
 * T is the element type, A the accumulator: f32 for f16 and bf16, else T itself.
 *
 * Contract of every dml__vec_fn: n elements, any alignment, n may be 0; dst may be
 * exactly a (or b where both have dst's type) but must not overlap them in part.
 */
#ifndef DML__KERNELS_H
#define DML__KERNELS_H

#include "core/core.h"
#include "kernels/optim_element.h"

/* dst = f(a, b; arg). Unused operands are NULL, and arg 0. */
typedef void dml__vec_fn(void *dst, const void *a, const void *b, size_t n, double arg);

#define DML__NREDUCE 4 /* sum prod min max: the operations with a loop of their own */

struct dml__kernels {
    const char *name; /* "c", "avx2", "avx512" */

    dml__vec_fn *merge[DML_NDTYPES][DML__NREDUCE];  /* A = A op A */
    dml__vec_fn *fold[DML_NDTYPES][DML__NREDUCE];   /* A = A op T */
    dml__vec_fn *fold_scaled[DML_NDTYPES];          /* A = A + arg * T */
    dml__vec_fn *load_scaled[DML_NDTYPES];          /* A = arg * T (arg 1: widen) */
    dml__vec_fn *store_div[DML_NDTYPES];            /* T = A / arg (arg 1: narrow) */
    dml__vec_fn *reduce[DML_NDTYPES][DML__NREDUCE]; /* T = T op T, rounded once */

    void (*axpy_f32)(size_t n, float a, const float *x, float *y);
    void (*scale_f32)(size_t n, float a, float *x);
    double (*sumsq_f32)(size_t n, const float *x);
    /* sumsq_f32 of both in one go. */
    void (*two_sumsq_f32)(size_t n, const float *x, const float *y, double sums[2]);
    bool (*finite_f32)(size_t n, const float *x); /* no NaN, no infinity */
    /* Cut to [-limit, limit]; NaN and infinity stay as they are. */
    void (*clip_f32)(size_t n, float limit, float *x);
    /* velocity may be NULL when nothing is carried. */
    void (*sgd_f32)(size_t n, float *w, const float *g, float *velocity,
                    const struct dml__sgd_args *args);
    /* m, v and w in one go. */
    void (*adam_f32)(size_t n, float *w, const float *g, float *m, float *v,
                     const struct dml__adam_args *args);
    /* m and v; sums: of the squares of the step that w would take at rate 1, and of w.
     * The same bits as sumsq_f32 of each. */
    void (*moments_f32)(size_t n, const float *w, const float *g, float *m, float *v,
                        double sums[2], const struct dml__adam_args *args);
    /* w moves by rate times that step, computed anew from m and v. */
    void (*move_f32)(size_t n, float *w, const float *m, const float *v,
                     const struct dml__adam_args *args);
};

/* The accumulator type of an element type: f32 for f16 and bf16, else the type itself.
 */
dml_dtype dml__acc_dtype(dml_dtype dtype);

/* The sets this processor can run, best last; NULL past the end. */
const struct dml__kernels *dml__kernels_usable(size_t index);

/* By name, or "auto" for the best; NULL when unknown or not usable here. */
const struct dml__kernels *dml__kernels_find(const char *name);

#endif
