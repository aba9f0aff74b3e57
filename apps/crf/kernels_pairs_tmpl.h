/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chains whose transitions' scores differ from token to token: A(y', y) + d_t(y', y),
 * where d_t is the sum of the weights that a token's attributes have for the pair; for
 * the type "real", part of kernels_tmpl.h. With f_t = exp(d_t)
 *
 *     P(y', y at t) = alpha_{t-1}(y') E(y', y) f_t(y', y) v_t(y)
 *
 * so that E is still the last factor of the pairs' sums.
 */
static void F(pair_scores)(const struct chain *chain, const struct tokens *tokens,
                           const struct pairs *pairs)
{
    const real *weights = chain->weights;
    size_t first = tokens->edge_at[0], all = tokens->edge_at[tokens->count];
    real *scores = pairs->scores;
    for (size_t t = 0; t < tokens->count; t++)
        for (size_t i = tokens->edge_at[t], end = tokens->edge_at[t + 1]; i < end;) {
            const struct edge *edge = &tokens->edges[i];
            size_t begin = i;
            real sum = 0;
            do {
                real value = tokens->edge_values ? (real)tokens->edge_values[i] : 1;
                __builtin_prefetch(weights + tokens->edges[i + KERNELS_AHEAD].slot);
                sum += value * weights[tokens->edges[i].slot];
                i++;
            } while (i < end && tokens->edges[i].from == edge->from &&
                     tokens->edges[i].to == edge->to);
            for (; begin < i; begin++)
                scores[begin - first] = sum;
        }
    for (size_t i = all - first; i % LANES != 0; i++)
        scores[i] = 0;
}

/* d becomes f; false when one is too large for the type, or no number. */
INLINE bool F(exponentiate_pairs)(real *d, size_t n)
{
    vec most = {0}, sum = {0};
    real parts[LANES];
    bool good = true;
    for (size_t i = 0; i < n; i += LANES) {
        vec v = F(load)(d + i);
        most = vmax(most, v);
        sum += v;
        F(store)(d + i, F(exp)(v));
    }
    F(store)(parts, most);
    for (size_t i = 0; i < LANES; i++)
        good = good && parts[i] <= -EXP_LIMIT;
    return good && isfinite(F(sum)(sum));
}

/* Pairs' sums over t of alpha_{t-1}(i) f_t(i, j) v_t(j): a product for all pairs, and
 * over what it adds to a token's edges, the right number. (To take that back instead
 * would lose its digits where f is small.) */
INLINE void F(outer_pairs)(const struct chain *chain, const struct tokens *tokens,
                           const struct pairs *pairs, const real *alpha, const real *v,
                           double *edges, size_t width)
{
    size_t pad = chain->pad, first = tokens->edge_at[0];
    const real *f = (const real *)pairs->scores;
    for (size_t t = 1; t < tokens->count; t++) {
        const real *a = alpha + (t - 1) * pad, *b = v + t * pad;
        for (size_t i = tokens->edge_at[t]; i < tokens->edge_at[t + 1]; i++)
            pairs->kept[i - first] =
                edges[tokens->edges[i].from * pad + tokens->edges[i].to];
        for (size_t i = 0; i < chain->labels; i++)
            for (size_t k = 0; k < width; k++)
                F(add_f64)(edges + i * pad + k * LANES, a[i] * F(load)(b + k * LANES));
        for (size_t i = tokens->edge_at[t]; i < tokens->edge_at[t + 1]; i++) {
            size_t from = tokens->edges[i].from, to = tokens->edges[i].to;
            edges[from * pad + to] =
                pairs->kept[i - first] + (double)(a[from] * f[i - first] * b[to]);
        }
    }
}

INLINE double F(sentence_pairs)(const struct chain *chain, const struct tokens *tokens,
                                const struct pairs *pairs, real *s, real *alpha,
                                real *beta, real *scale, double *edges, size_t width)
{
    size_t pad = chain->pad, count = tokens->count;
    if (!F(exponentiate_pairs)(pairs->scores,
                               tokens->edge_at[count] - tokens->edge_at[0]))
        return (double)NAN;
    const struct F(patch) patch = F(patch_begin)(chain, tokens, pairs, chain->exp_trans,
                                                 chain->exp_trans_t, false);
    struct chain copy = *chain;
    copy.exp_trans = pairs->forward;
    copy.exp_trans_t = pairs->backward;
    double z = F(exponentiate)(s, count, pad, width);
    z += F(recursions)(&copy, &patch, count, s, alpha, beta, scale, width);
    z += (double)(count - 1) * chain->shift;
    F(marginals)(count, pad, s, alpha, beta, scale, width);
    if (edges)
        F(outer_pairs)(chain, tokens, pairs, alpha, s, edges, width);
    return z;
}

static double F(sum_pairs)(const struct chain *chain, const struct tokens *tokens,
                           const struct pairs *pairs, void *s, void *alpha, void *beta,
                           void *scale, double *edges)
{
    size_t width = chain->pad / LANES;
    double z = 0;
#define CALL(w, b) \
    z = F(sentence_pairs)(chain, tokens, pairs, s, alpha, beta, scale, edges, w)
    BY_WIDTH(width, CALL)
#undef CALL
    return z;
}

static void F(scatter_pairs)(const struct chain *chain, const struct tokens *tokens,
                             const struct pairs *pairs, const void *s,
                             const void *alphas, const uint16_t *labels, double *grad)
{
    const real *v = s, *alpha = alphas, *whole = chain->exp_trans;
    const real *f = (const real *)pairs->scores - tokens->edge_at[0];
    size_t pad = chain->pad;
    for (size_t t = 1; t < tokens->count; t++)
        for (size_t i = tokens->edge_at[t]; i < tokens->edge_at[t + 1]; i++) {
            const struct edge *edge = &tokens->edges[i];
            __builtin_prefetch(grad + tokens->edges[i + KERNELS_AHEAD].slot, 1);
            real p = whole[edge->from * pad + edge->to] * f[i];
            p *= alpha[(t - 1) * pad + edge->from] * v[t * pad + edge->to];
            bool seen = labels[t - 1] == edge->from && labels[t] == edge->to;
            double value = tokens->edge_values ? (double)tokens->edge_values[i] : 1;
            grad[edge->slot] += value * ((double)p - (seen ? 1 : 0));
        }
}

static double F(best_pairs)(const struct chain *chain, const struct tokens *tokens,
                            const struct pairs *pairs, const void *scores, void *room,
                            uint16_t *labels)
{
    size_t width = chain->pad / LANES, pad = chain->pad, count = tokens->count;
    const real *s = scores, *trans_t = pairs->backward;
    const struct F(patch) patch =
        F(patch_begin)(chain, tokens, pairs, chain->trans, chain->trans_t, true);
    struct chain copy = *chain;
    copy.trans = pairs->forward;
    real *delta = room;
    memcpy(delta, s, pad * sizeof *delta);
    for (size_t t = 1; t < count; t++) {
        F(patch_forward)(&patch, t, true);
#define CALL(w, b) \
    F(best)(&copy, delta + (t - 1) * pad, s + t * pad, delta + t * pad, w, b)
        BY_WIDTH(width, CALL)
#undef CALL
        F(patch_forward)(&patch, t, false);
    }
    size_t label = F(argmax)(delta + (count - 1) * pad, NULL, chain->labels);
    double score = (double)delta[(count - 1) * pad + label];
    labels[count - 1] = (uint16_t)label;
    for (size_t t = count - 1; t > 0; t--) {
        F(patch_backward)(&patch, t, true);
        label = F(argmax)(delta + (t - 1) * pad, trans_t + label * pad, chain->labels);
        F(patch_backward)(&patch, t, false);
        labels[t - 1] = (uint16_t)label;
    }
    return score;
}
