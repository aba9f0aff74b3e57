/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One complete set of kernels. Meson compiles this file once per instruction set, with
 * DML__SET as the set's name and the compiler's flags for it; without such flags it is
 * the reference. The compiler vectorises most loops; where it cannot, half_block.h has
 * the instructions.
 *
 * All sets give the same bits (a NaN's payload apart): Meson forbids the compiler to
 * fuse a * b + c, and no loop depends on how many elements a register holds.
 *
 * Everything here is static but the table, so that no function compiled for one
 * processor can be linked into code that runs on another.
 */
#include "kernels/kernels.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define JOIN_(a, b) a##_##b
#define JOIN(a, b)  JOIN_(a, b)
#define FN(name)    JOIN(name, NAME)

/* No iteration reads what another writes, though dst may be exactly a or b. */
#define INDEPENDENT _Pragma("omp simd")

static inline const void *at(const void *p, size_t bytes)
{
    return (const char *)p + bytes;
}

static inline void *to(void *p, size_t bytes)
{
    return (char *)p + bytes;
}

/* True for powers of two whose inverse is a normal f32. */
static inline bool inverse_is_exact(double divisor)
{
    int exponent = 0;
    return fabs(frexp(divisor, &exponent)) == 0.5 && exponent > -100 && exponent < 100;
}

/* ---- types that are their own accumulator ------------------------------------------
 */

#define TEMPLATE "kernels/plain_tmpl.h"
#include "core/plain_types.h"
#undef TEMPLATE

/* ---- 16-bit floats -----------------------------------------------------------------
 */

#include "kernels/half_block.h"

#define NAME F16
#include "kernels/half_tmpl.h"

#define NAME BF16
#include "kernels/half_tmpl.h"

/* ---- f32 loops and the table -------------------------------------------------------
 */

#include "kernels/f32_loops.h"
#include "kernels/optim_loops.h"

#define TABLE_(set) dml__kernels_##set
#define TABLE(set)  TABLE_(set)
#define TEXT_(set)  #set
#define TEXT(set)   TEXT_(set)

#define FOUR(stem, N)                                                   \
    {                                                                   \
        stem##_sum_##N, stem##_prod_##N, stem##_min_##N, stem##_max_##N \
    }

/* A row per type: the stem of its fold, which is reduce where nothing is widened, and
 * its accumulator. */
#define ROWS(X)         \
    X(F32, reduce, F32) \
    X(F64, reduce, F64) \
    X(F16, fold, F32)   \
    X(BF16, fold, F32)  \
    X(I8, reduce, I8)   \
    X(U8, reduce, U8)   \
    X(I32, reduce, I32) \
    X(I64, reduce, I64) \
    X(U64, reduce, U64)

#define ROW_MERGE(N, stem, A)       [DML_##N] = FOUR(reduce, A),
#define ROW_FOLD(N, stem, A)        [DML_##N] = FOUR(stem, N),
#define ROW_REDUCE(N, stem, A)      [DML_##N] = FOUR(reduce, N),
#define ROW_FOLD_SCALED(N, stem, A) [DML_##N] = fold_scaled_##N,
#define ROW_LOAD_SCALED(N, stem, A) [DML_##N] = load_scaled_##N,
#define ROW_STORE_DIV(N, stem, A)   [DML_##N] = store_div_##N,

extern const struct dml__kernels TABLE(DML__SET);

const struct dml__kernels TABLE(DML__SET) = {
    .name = TEXT(DML__SET),
    .merge = {ROWS(ROW_MERGE)},
    .fold = {ROWS(ROW_FOLD)},
    .fold_scaled = {ROWS(ROW_FOLD_SCALED)},
    .load_scaled = {ROWS(ROW_LOAD_SCALED)},
    .store_div = {ROWS(ROW_STORE_DIV)},
    .reduce = {ROWS(ROW_REDUCE)},
    .axpy_f32 = axpy_f32,
    .scale_f32 = scale_f32,
    .sumsq_f32 = sumsq_f32,
    .two_sumsq_f32 = two_sumsq_f32,
    .finite_f32 = finite_f32,
    .clip_f32 = clip_f32,
    .sgd_f32 = sgd_f32,
    .adam_f32 = adam_f32,
    .moments_f32 = moments_f32,
    .move_f32 = move_f32,
};
