/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scores from features, and gradients back to them, for the type "real"; part of
 * kernels_tmpl.h.
 */
/* ---- scores ---------------------------------------------------------------------- */

INLINE void F(score_token)(const struct chain *chain, const struct tokens *tokens,
                           size_t t, real *s, size_t width, size_t block)
{
    const real *weights = chain->weights, *bias = chain->bias;
    size_t pad = chain->pad;
    for (size_t k = 0; k < width; k += block) {
        vec sum[4];
        for (size_t b = 0; b < block; b++)
            sum[b] = F(load)(bias + (k + b) * LANES);
        for (size_t i = tokens->row_at[t]; i < tokens->row_at[t + 1]; i++) {
            const real *row = weights + tokens->rows[i] * pad + k * LANES;
            real value = tokens->row_values ? (real)tokens->row_values[i] : 1;
            for (size_t b = 0; b < block; b++)
                sum[b] += value * F(load)(row + b * LANES);
        }
        for (size_t b = 0; b < block; b++)
            F(store)(s + (k + b) * LANES, sum[b]);
    }
    for (size_t i = tokens->cell_at[t]; i < tokens->cell_at[t + 1]; i++) {
        uint32_t cell = tokens->cells[i];
        real value = tokens->cell_values ? (real)tokens->cell_values[i] : 1;
        __builtin_prefetch(weights + tokens->cells[i + KERNELS_AHEAD]);
        s[tokens->cell_labels[i]] += value * weights[cell];
    }
}

/* What a width's block is: the width itself up to 4 vectors, 1 beyond, unless 4 fit. */
#define BY_WIDTH(width, CALL) \
    switch (width) {          \
    case 1:                   \
        CALL(1, 1);           \
        break;                \
    case 2:                   \
        CALL(2, 2);           \
        break;                \
    case 3:                   \
        CALL(3, 3);           \
        break;                \
    case 4:                   \
        CALL(4, 4);           \
        break;                \
    default:                  \
        CALL(width, 1);       \
    }

static void F(scores)(const struct chain *chain, const struct tokens *tokens, void *out)
{
    size_t width = chain->pad / LANES;
    real *s = out;
#define CALL(w, b)                             \
    for (size_t t = 0; t < tokens->count; t++) \
    F(score_token)(chain, tokens, t, s + t * chain->pad, w, b)
    BY_WIDTH(width, CALL)
#undef CALL
}

static double F(gold)(const struct chain *chain, size_t count, const void *scores,
                      const uint16_t *labels)
{
    const real *s = scores;
    double sum = 0;
    for (size_t t = 0; t < count; t++)
        if (labels[t] != UINT16_MAX)
            sum += (double)s[t * chain->pad + labels[t]];
    return sum;
}

static void F(subtract)(const struct chain *chain, size_t count, void *marginals,
                        const uint16_t *labels)
{
    real *p = marginals;
    for (size_t t = 0; t < count; t++)
        if (labels[t] != UINT16_MAX)
            p[t * chain->pad + labels[t]] -= 1;
}

/* ---- scatter --------------------------------------------------------------------- */

INLINE void F(scatter_token)(const struct chain *chain, const struct tokens *tokens,
                             size_t t, const real *p, double *grad, size_t width)
{
    size_t pad = chain->pad;
    for (size_t i = tokens->row_at[t]; i < tokens->row_at[t + 1]; i++) {
        double *row = grad + tokens->rows[i] * pad;
        const double *later = grad + tokens->rows[i + KERNELS_AHEAD] * pad;
        for (size_t k = 0; k < width * LANES; k += 64 / sizeof(double))
            __builtin_prefetch(later + k, 1);
        real value = tokens->row_values ? (real)tokens->row_values[i] : 1;
        for (size_t k = 0; k < width; k++)
            F(add_f64)(row + k * LANES, value * F(load)(p + k * LANES));
    }
    for (size_t i = tokens->cell_at[t]; i < tokens->cell_at[t + 1]; i++) {
        uint32_t cell = tokens->cells[i];
        double value = tokens->cell_values ? (double)tokens->cell_values[i] : 1;
        __builtin_prefetch(grad + tokens->cells[i + KERNELS_AHEAD], 1);
        grad[cell] += value * (double)p[tokens->cell_labels[i]];
    }
}

static void F(scatter)(const struct chain *chain, const struct tokens *tokens,
                       const void *marginals, double *grad)
{
    size_t width = chain->pad / LANES;
    const real *p = marginals;
#define CALL(w, b)                             \
    for (size_t t = 0; t < tokens->count; t++) \
    F(scatter_token)(chain, tokens, t, p + t * chain->pad, grad, w)
    BY_WIDTH(width, CALL)
#undef CALL
}
