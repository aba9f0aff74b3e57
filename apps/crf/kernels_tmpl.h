/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Forward, backward and Viterbi over vectors of labels, for the type "real".
 *
 * With e_t(y) = exp(s_t(y) - max s_t) and E = exp(A - shift), alpha and beta are scaled
 * to sums of 1 at each token, each by itself, so that the two recursions run side by
 * side and neither waits for the other:
 *
 *     alpha_t = (alpha_{t-1} E) o e_t / c_t        beta_{t-1} ~ E (e_t o beta_t)
 *     log Z = sum of log c_t + max s_t + shift     p_t = alpha_t o beta_t / n_t
 *     P(y', y at t) = alpha_{t-1}(y') E(y', y) v_t(y),  v_t = e_t o beta_t / (c_t n_t)
 *
 * with n_t the sum of alpha_t o beta_t. The pairs' sum over t is a product of two
 * matrices, and E is a factor that comes last: see outer(). Source: Rabiner 1989,
 * section V.A (scaling); Sha and Pereira 2003.
 *
 * Widths of 1 to 4 vectors are compiled apart, so that their sums stay in registers;
 * wider ones go in blocks of 4.
 */
#define LANES      (VECTOR_BYTES / sizeof(real))
#define ROW_BLOCK  8 /* rows of pairs at a time, up to 2 vectors wide */
#define WIDE_BLOCK 4 /* and beyond */

INLINE vec F(load)(const real *at)
{
    vec v;
    memcpy(&v, at, sizeof v);
    return v;
}

INLINE void F(store)(real *at, vec v)
{
    memcpy(at, &v, sizeof v);
}

/* The sum of a vector's elements, by halves. */
INLINE real F(sum)(vec v)
{
    real parts[LANES];
    F(store)(parts, v);
    for (size_t n = LANES / 2; n > 0; n /= 2)
        for (size_t i = 0; i < n; i++)
            parts[i] += parts[i + n];
    return parts[0];
}

/* exp(x) for x <= 0, to the last bit or two; 0 below EXP_LIMIT. x = n ln 2 + r, then a
 * Taylor series in r, |r| <= ln 2 / 2. */
INLINE vec F(exp)(vec x)
{
    static const double inverse[] = {1,       1. / 2,  1. / 3, 1. / 4, 1. / 5,
                                     1. / 6,  1. / 7,  1. / 8, 1. / 9, 1. / 10,
                                     1. / 11, 1. / 12, 1. / 13};
    vec shifted = x * (real)1.44269504088896340736 + EXP_MAGIC;
    vec n = shifted - EXP_MAGIC;
    vec r = x - n * EXP_LN2_HIGH - n * EXP_LN2_LOW;
    vec p = 1 + r * (real)inverse[EXP_DEGREE - 1];
    for (int k = EXP_DEGREE - 1; k > 0; k--)
        p = 1 + p * r * (real)inverse[k - 1];
    ivec bits = (ivec)p + ((ivec)shifted << EXP_SHIFT);
    return (vec)(bits & (ivec)(x > EXP_LIMIT));
}

/* to[LANES] += v, in f64. */
INLINE void F(add_f64)(double *to, vec v)
{
#if SPLIT_SUMS
    union {
        vec whole;
        half_f32 half[2];
    } parts = {.whole = v};
    for (int h = 0; h < 2; h++) {
        vec_f64 sum;
        memcpy(&sum, to + h * LANES / 2, sizeof sum);
        sum += __builtin_convertvector(parts.half[h], vec_f64);
        memcpy(to + h * LANES / 2, &sum, sizeof sum);
    }
#else
    F(store)(to, F(load)(to) + v);
#endif
}

#include "kernels_features_tmpl.h"
#include "kernels_patch_tmpl.h"

/* ---- forward and backward -------------------------------------------------------- */

/* y[P] = x[P] M[P][P], one block of columns; rows are taken "apart" at a time, because
 * a sum waits for its last term. */
INLINE void F(times_block)(const real *x, const real *m, size_t rows, size_t pad,
                           real *y, size_t block, size_t apart)
{
    vec sum[8];
    for (size_t i = 0; i < block * apart; i++)
        sum[i] = (vec){0};
    for (size_t i = 0; i < rows; i += apart)
        for (size_t a = 0; a < apart; a++)
            for (size_t b = 0; b < block; b++)
                sum[a * block + b] += x[i + a] * F(load)(m + (i + a) * pad + b * LANES);
    for (size_t a = 1; a < apart; a++)
        for (size_t b = 0; b < block; b++)
            sum[b] += sum[a * block + b];
    for (size_t b = 0; b < block; b++)
        F(store)(y + b * LANES, sum[b]);
}

INLINE void F(times)(const real *x, const real *m, size_t labels, size_t pad, real *y,
                     size_t width)
{
    if (width == 1)
        F(times_block)(x, m, (labels + 7) / 8 * 8, pad, y, 1, 8);
    else if (width == 2)
        F(times_block)(x, m, (labels + 3) / 4 * 4, pad, y, 2, 4);
    else if (width == 3)
        F(times_block)(x, m, (labels + 1) / 2 * 2, pad, y, 3, 2);
    else
        for (size_t k = 0; k < width;) {
            bool four = width - k >= 4;
            if (four)
                F(times_block)
            (x, m + k * LANES, (labels + 1) / 2 * 2, pad, y + k * LANES, 4, 2);
            else F(times_block)(x, m + k * LANES, (labels + 7) / 8 * 8, pad,
                                y + k * LANES, 1, 8);
            k += four ? 4 : 1;
        }
}

/* a becomes a o b if b is given, then is scaled to a sum of 1; the sum is returned. */
INLINE real F(normalise)(real *a, const real *b, size_t width)
{
    vec sum = {0};
    for (size_t k = 0; k < width; k++) {
        vec v = F(load)(a + k * LANES);
        if (b)
            v *= F(load)(b + k * LANES);
        F(store)(a + k * LANES, v);
        sum += v;
    }
    real total = F(sum)(sum), factor = 1 / total;
    for (size_t k = 0; k < width; k++)
        F(store)(a + k * LANES, F(load)(a + k * LANES) * factor);
    return total;
}

/* s becomes e; the sum of the maxima is returned. */
INLINE double F(exponentiate)(real *s, size_t count, size_t pad, size_t width)
{
    double maxima = 0;
    for (size_t t = 0; t < count; t++) {
        real *at = s + t * pad;
        vec most = F(load)(at);
        for (size_t k = 1; k < width; k++)
            most = vmax(most, F(load)(at + k * LANES));
        real parts[LANES], largest;
        F(store)(parts, most);
        for (size_t n = LANES / 2; n > 0; n /= 2)
            for (size_t i = 0; i < n; i++)
                parts[i] = parts[i] > parts[i + n] ? parts[i] : parts[i + n];
        largest = parts[0];
        for (size_t k = 0; k < width; k++)
            F(store)(at + k * LANES, F(exp)(F(load)(at + k * LANES) - largest));
        maxima += (double)largest;
    }
    return maxima;
}

/* Both recursions, a token each in turn. scale[t] = c_t; beta is left as it is made.
 * The sum of log c_t is returned, its logarithms taken of products. With "patch" the
 * matrices of the chain are copies that differ from token to token. */
INLINE double F(recursions)(const struct chain *chain, const struct F(patch) * patch,
                            size_t count, const real *e, real *alpha, real *beta,
                            real *scale, size_t width)
{
    const real *forward = chain->exp_trans, *backward = chain->exp_trans_t;
    size_t labels = chain->labels, pad = chain->pad;
    double logs = 0, product;
    real *u = scale + count; /* [P] e_t o beta_t */
    real *last = beta + (count - 1) * pad;
    for (size_t k = 0; k < width; k++) {
        F(store)(last + k * LANES, (vec){0} + 1);
        F(store)(alpha + k * LANES, F(load)(e + k * LANES));
    }
    scale[0] = F(normalise)(alpha, NULL, width);
    product = (double)scale[0];
    for (size_t step = 1; step < count; step++) {
        real *a = alpha + step * pad;
        if (patch)
            F(patch_forward)(patch, step, true);
        F(times)(a - pad, forward, labels, pad, a, width);
        if (patch)
            F(patch_forward)(patch, step, false);
        scale[step] = F(normalise)(a, e + step * pad, width);

        size_t t = count - step;
        real *b = beta + (t - 1) * pad;
        for (size_t k = 0; k < width; k++)
            F(store)
        (u + k * LANES,
         F(load)(e + t * pad + k * LANES) * F(load)(beta + t * pad + k * LANES));
        if (patch)
            F(patch_backward)(patch, t, true);
        F(times)(u, backward, labels, pad, b, width);
        if (patch)
            F(patch_backward)(patch, t, false);
        F(normalise)(b, NULL, width);

        product *= (double)scale[step];
        if (!(product > 1e-200 && product < 1e200)) {
            logs += log(product);
            product = 1;
        }
    }
    return logs + log(product);
}

/* Pairs' sums over t of alpha_{t-1}(i) v_t(j), for "nrows" rows i and "block" vectors
 * of columns j: kept in registers all along the sentence. */
INLINE void F(outer_block)(const real *alpha, const real *v, size_t count, size_t pad,
                           double *edges, size_t nrows, size_t block)
{
    vec sum[16];
    for (size_t i = 0; i < nrows * block; i++)
        sum[i] = (vec){0};
    for (size_t t = 1; t < count; t++) {
        const real *row = alpha + (t - 1) * pad, *column = v + t * pad;
        for (size_t i = 0; i < nrows; i++)
            for (size_t b = 0; b < block; b++)
                sum[i * block + b] += row[i] * F(load)(column + b * LANES);
    }
    for (size_t i = 0; i < nrows; i++)
        for (size_t b = 0; b < block; b++)
            F(add_f64)(edges + i * pad + b * LANES, sum[i * block + b]);
}

INLINE void F(outer)(const struct chain *chain, const real *alpha, const real *v,
                     size_t count, double *edges, size_t width)
{
    size_t pad = chain->pad;
    for (size_t i = 0; i < chain->labels; i += ROW_BLOCK)
        for (size_t k = 0; k < width;) {
            size_t left = width - k;
            double *to = edges + i * pad + k * LANES;
            const real *from = alpha + i, *column = v + k * LANES;
            if (width <= 2 || left == 2) {
                if (left == 1)
                    F(outer_block)(from, column, count, pad, to, ROW_BLOCK, 1);
                else
                    F(outer_block)(from, column, count, pad, to, ROW_BLOCK, 2);
                k += left;
                continue;
            }
            size_t block = left >= 4 ? 4 : left == 3 ? 3 : 1;
            for (size_t h = 0; h < ROW_BLOCK; h += WIDE_BLOCK) {
                if (block == 4)
                    F(outer_block)
                (from + h, column, count, pad, to + h * pad, WIDE_BLOCK, 4);
                else if (block == 3) F(outer_block)(from + h, column, count, pad,
                                                    to + h * pad, WIDE_BLOCK, 3);
                else F(outer_block)(from + h, column, count, pad, to + h * pad,
                                    WIDE_BLOCK, 1);
            }
            k += block;
        }
}

/* beta becomes the marginals p, and e becomes v. */
INLINE void F(marginals)(size_t count, size_t pad, real *e, const real *alpha,
                         real *beta, const real *scale, size_t width)
{
    for (size_t t = 0; t < count; t++) {
        real *b = beta + t * pad, *v = e + t * pad;
        const real *a = alpha + t * pad;
        vec sum = {0};
        for (size_t k = 0; k < width; k++)
            sum += F(load)(a + k * LANES) * F(load)(b + k * LANES);
        real inverse = 1 / F(sum)(sum), pairs = inverse / scale[t];
        for (size_t k = 0; k < width; k++) {
            vec beta_k = F(load)(b + k * LANES);
            F(store)(v + k * LANES, F(load)(v + k * LANES) * beta_k * pairs);
            F(store)(b + k * LANES, F(load)(a + k * LANES) * beta_k * inverse);
        }
    }
}

INLINE double F(sentence)(const struct chain *chain, size_t count, real *s, real *alpha,
                          real *beta, real *scale, double *edges, size_t width)
{
    size_t pad = chain->pad;
    double z = F(exponentiate)(s, count, pad, width);
    z += F(recursions)(chain, NULL, count, s, alpha, beta, scale, width);
    z += (double)(count - 1) * chain->shift;
    F(marginals)(count, pad, s, alpha, beta, scale, width);
    if (edges)
        F(outer)(chain, alpha, s, count, edges, width);
    return z;
}

static double F(forward_backward)(const struct chain *chain, size_t count, void *s,
                                  void *alpha, void *beta, void *scale, double *edges)
{
    size_t width = chain->pad / LANES;
    double z = 0;
#define CALL(w, b) z = F(sentence)(chain, count, s, alpha, beta, scale, edges, w)
    BY_WIDTH(width, CALL)
#undef CALL
    return z;
}

/* ---- Viterbi --------------------------------------------------------------------- */

/* y(j) = s(j) + max over i of x(i) + A(i, j), one block of columns. */
INLINE void F(best_block)(const real *x, const real *a, const real *s, size_t labels,
                          size_t pad, real *y, size_t block)
{
    vec even[4], odd[4];
    for (size_t b = 0; b < block; b++)
        even[b] = odd[b] = x[0] + F(load)(a + b * LANES);
    for (size_t i = 1; i < labels; i += 2) {
        size_t j = i + 1 < labels ? i + 1 : i;
        for (size_t b = 0; b < block; b++) {
            odd[b] = vmax(odd[b], x[i] + F(load)(a + i * pad + b * LANES));
            even[b] = vmax(even[b], x[j] + F(load)(a + j * pad + b * LANES));
        }
    }
    for (size_t b = 0; b < block; b++)
        F(store)(y + b * LANES, vmax(even[b], odd[b]) + F(load)(s + b * LANES));
}

INLINE void F(best)(const struct chain *chain, const real *x, const real *s, real *y,
                    size_t width, size_t block)
{
    const real *a = chain->trans;
    for (size_t k = 0; k < width; k += block)
        F(best_block)
    (x, a + k * LANES, s + k * LANES, chain->labels, chain->pad, y + k * LANES, block);
}

/* The first of the labels with the largest x(i) + a(i); a may be NULL. */
INLINE size_t F(argmax)(const real *x, const real *a, size_t labels)
{
    size_t best = 0;
    real most = x[0] + (a ? a[0] : 0);
    for (size_t i = 1; i < labels; i++) {
        real score = x[i] + (a ? a[i] : 0);
        best = score > most ? i : best;
        most = score > most ? score : most;
    }
    return best;
}

static double F(viterbi)(const struct chain *chain, size_t count, const void *scores,
                         void *room, uint16_t *labels)
{
    size_t width = chain->pad / LANES, pad = chain->pad;
    const real *s = scores, *trans_t = chain->trans_t;
    real *delta = room;
    memcpy(delta, s, pad * sizeof *delta);
#define CALL(w, b)                     \
    for (size_t t = 1; t < count; t++) \
    F(best)(chain, delta + (t - 1) * pad, s + t * pad, delta + t * pad, w, b)
    BY_WIDTH(width, CALL)
#undef CALL
    size_t label = F(argmax)(delta + (count - 1) * pad, NULL, chain->labels);
    double score = (double)delta[(count - 1) * pad + label];
    labels[count - 1] = (uint16_t)label;
    for (size_t t = count - 1; t > 0; t--) {
        label = F(argmax)(delta + (t - 1) * pad, trans_t + label * pad, chain->labels);
        labels[t - 1] = (uint16_t)label;
    }
    return score;
}

#include "kernels_pairs_tmpl.h"

extern const struct kernels NAME3(kernels_, CRF_SET, F());
const struct kernels NAME3(kernels_, CRF_SET, F()) = {
    .isa = NAME_OF(CRF_SET),
    .lanes = LANES,
    .bytes = sizeof(real),
    .scores = F(scores),
    .gold = F(gold),
    .subtract = F(subtract),
    .forward_backward = F(forward_backward),
    .scatter = F(scatter),
    .viterbi = F(viterbi),
    .pair_scores = F(pair_scores),
    .sum_pairs = F(sum_pairs),
    .best_pairs = F(best_pairs),
    .scatter_pairs = F(scatter_pairs),
    .dot = dot_f64,
    .axpy = axpy_f64,
};

#undef LANES
#undef BY_WIDTH
#undef ROW_BLOCK
#undef WIDE_BLOCK
