/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Viterbi with the N best ways into each label, kept sorted: O(T L^2 N). Equal scores
 * go by label, so that the order is always the same.
 */
#include "nbest.h"

#include <math.h>
#include <string.h>

static size_t count_edges(const struct tokens *tokens)
{
    return tokens->edge_at ? tokens->edge_at[tokens->count] - tokens->edge_at[0] : 0;
}

bool nbest_copy(struct nbest *nbest, const struct kernels *kernels,
                const struct chain *chain, const struct tokens *tokens,
                const struct bench *bench)
{
    size_t count = tokens->count, labels = chain->labels, edges = count_edges(tokens);
    if (!GROW(nbest->s, nbest->s_room, count * labels) ||
        !GROW(nbest->pairs, nbest->pairs_room, edges + 1))
        return false;
    for (size_t t = 0; t < count; t++)
        for (size_t j = 0; j < labels; j++)
            nbest->s[t * labels + j] =
                bench_number(kernels, bench->s, t * chain->pad + j);
    for (size_t i = 0; i < edges; i++)
        nbest->pairs[i] = bench_number(kernels, bench->pairs.scores, i);
    return true;
}

/* Put a way with its score where it belongs among at most n; the number kept. */
static size_t insert(double *scores, uint32_t *from, size_t kept, size_t n,
                     double score, uint32_t way)
{
    if (kept == n && !(score > scores[n - 1]))
        return kept;
    size_t at = kept < n ? kept++ : n - 1;
    for (; at > 0 && scores[at - 1] < score; at--) {
        scores[at] = scores[at - 1];
        from[at] = from[at - 1];
    }
    scores[at] = score;
    from[at] = way;
    return kept;
}

/* The best ways into label j at token t > 0. */
static void best_into(struct nbest *nbest, size_t labels, size_t n, size_t t, size_t j)
{
    const double *trans = nbest->trans;
    const double *before = nbest->delta + (t - 1) * labels * n;
    double *scores = nbest->delta + (t * labels + j) * n;
    uint32_t *from = nbest->from + (t * labels + j) * n;
    size_t kept = 0;
    for (size_t i = 0; i < labels; i++)
        for (size_t k = 0; k < n && before[i * n + k] > -INFINITY; k++)
            kept =
                insert(scores, from, kept, n, before[i * n + k] + trans[i * labels + j],
                       (uint32_t)(i * n + k));
    for (size_t k = 0; k < kept; k++)
        scores[k] += nbest->s[t * labels + j];
    for (; kept < n; kept++)
        scores[kept] = -INFINITY;
}

static void trace(struct nbest *nbest, size_t labels, size_t count, size_t n,
                  size_t rank, uint32_t way)
{
    for (size_t t = count; t-- > 0;) {
        nbest->labels[rank * count + t] = (uint16_t)(way / n);
        way = nbest->from[t * labels * n + way];
    }
}

/* What the edges of token t add to transitions, put into trans; or A again. An edge's
 * score is all that its transition gets. */
static void patch(struct nbest *nbest, const double *whole, const struct tokens *tokens,
                  size_t labels, size_t t, bool change)
{
    if (!tokens->edge_at)
        return;
    for (size_t i = tokens->edge_at[t]; i < tokens->edge_at[t + 1]; i++) {
        size_t at = tokens->edges[i].from * labels + tokens->edges[i].to;
        double score = change ? nbest->pairs[i - tokens->edge_at[0]] : 0;
        nbest->trans[at] = whole[at] + score;
    }
}

bool nbest_run(struct nbest *nbest, const double *trans, const struct tokens *tokens,
               size_t labels, size_t n)
{
    size_t count = tokens->count, cells = count * labels * n;
    uint32_t ways[1024];
    if (n > sizeof ways / sizeof *ways ||
        !GROW(nbest->delta, nbest->delta_room, cells) ||
        !GROW(nbest->from, nbest->from_room, cells) ||
        !GROW(nbest->score, nbest->score_room, n) ||
        !GROW(nbest->trans, nbest->trans_room, labels * labels) ||
        !GROW(nbest->labels, nbest->labels_room, n * count))
        return false;
    memcpy(nbest->trans, trans, labels * labels * sizeof *trans);
    memset(nbest->from, 0, cells * sizeof *nbest->from);
    for (size_t j = 0; j < labels; j++)
        for (size_t k = 0; k < n; k++)
            nbest->delta[j * n + k] = k == 0 ? nbest->s[j] : -INFINITY;
    for (size_t t = 1; t < count; t++) {
        patch(nbest, trans, tokens, labels, t, true);
        for (size_t j = 0; j < labels; j++)
            best_into(nbest, labels, n, t, j);
        patch(nbest, trans, tokens, labels, t, false);
    }
    const double *last = nbest->delta + (count - 1) * labels * n;
    nbest->found = 0;
    for (size_t i = 0; i < labels * n; i++)
        if (last[i] > -INFINITY)
            nbest->found =
                insert(nbest->score, ways, nbest->found, n, last[i], (uint32_t)i);
    for (size_t k = 0; k < nbest->found; k++)
        trace(nbest, labels, count, n, k, ways[k]);
    return true;
}

void nbest_free(struct nbest *nbest)
{
    free(nbest->s);
    free(nbest->pairs);
    free(nbest->trans);
    free(nbest->delta);
    free(nbest->from);
    free(nbest->score);
    free(nbest->labels);
    *nbest = (struct nbest){0};
}
