/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One instruction set's kernels: the template, in f32 and in f64. Compiled once per
 * set, with CRF_SET its name.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#define INLINE          static inline __attribute__((always_inline))
#define PASTE3(a, b, c) a##b##c
#define NAME3(a, b, c)  PASTE3(a, b, c)
#define STRING(text)    #text
#define NAME_OF(text)   STRING(text)

typedef float vec_f32 __attribute__((vector_size(VECTOR_BYTES)));
typedef double vec_f64 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t ivec_f32 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t ivec_f64 __attribute__((vector_size(VECTOR_BYTES)));
typedef float half_f32 __attribute__((vector_size(VECTOR_BYTES / 2)));

/* Larger of a and b, element by element. */
INLINE vec_f32 max_f32(vec_f32 a, vec_f32 b)
{
#if defined(__AVX512F__)
    return (vec_f32)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec_f32)_mm256_max_ps((__m256)a, (__m256)b);
#else
    ivec_f32 first = (ivec_f32)(a > b);
    return (vec_f32)(((ivec_f32)a & first) | ((ivec_f32)b & ~first));
#endif
}

INLINE vec_f64 max_f64(vec_f64 a, vec_f64 b)
{
#if defined(__AVX512F__)
    return (vec_f64)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
    return (vec_f64)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
    ivec_f64 first = (ivec_f64)(a > b);
    return (vec_f64)(((ivec_f64)a & first) | ((ivec_f64)b & ~first));
#endif
}

/* Four sums, because one would wait for itself. */
static double dot_f64(size_t count, const double *x, const double *y)
{
    enum { LANES = VECTOR_BYTES / sizeof(double), STEP = 4 * LANES };
    vec_f64 sum[4] = {{0}}, a, b;
    double total = 0;
    size_t i = 0;
    for (; i + STEP <= count; i += STEP)
        for (size_t k = 0; k < 4; k++) {
            memcpy(&a, x + i + k * LANES, sizeof a);
            memcpy(&b, y + i + k * LANES, sizeof b);
            sum[k] += a * b;
        }
    sum[0] += sum[1] + sum[2] + sum[3];
    for (size_t k = 0; k < LANES; k++)
        total += sum[0][k];
    for (; i < count; i++)
        total += x[i] * y[i];
    return total;
}

static void axpy_f64(size_t count, double a, const double *x, double *y)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] += a * x[i];
}

/* ---- f32 ------------------------------------------------------------------------- */

#define real         float
#define vec          vec_f32
#define ivec         ivec_f32
#define iword        int32_t
#define vmax         max_f32
#define F(name)      NAME3(name, _, f32)
#define EXP_LIMIT    -86.0f
#define EXP_MAGIC    12582912.0f /* 1.5 * 2^23: adding it rounds to a whole number */
#define EXP_SHIFT    23
#define EXP_LN2_HIGH 0.693359375f
#define EXP_LN2_LOW  -2.12194440e-4f
#define EXP_DEGREE   7
#define SPLIT_SUMS   1
#include "kernels_tmpl.h"
#undef real
#undef vec
#undef ivec
#undef iword
#undef vmax
#undef F
#undef EXP_LIMIT
#undef EXP_MAGIC
#undef EXP_SHIFT
#undef EXP_LN2_HIGH
#undef EXP_LN2_LOW
#undef EXP_DEGREE
#undef SPLIT_SUMS

/* ---- f64 ------------------------------------------------------------------------- */

#define real         double
#define vec          vec_f64
#define ivec         ivec_f64
#define iword        int64_t
#define vmax         max_f64
#define F(name)      NAME3(name, _, f64)
#define EXP_LIMIT    -706.0
#define EXP_MAGIC    6755399441055744.0 /* 1.5 * 2^52 */
#define EXP_SHIFT    52
#define EXP_LN2_HIGH 0.693147180369123816490
#define EXP_LN2_LOW  1.90821492927058770002e-10
#define EXP_DEGREE   13
#define SPLIT_SUMS   0
#include "kernels_tmpl.h"
