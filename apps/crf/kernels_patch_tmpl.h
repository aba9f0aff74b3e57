/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Matrices that differ from token to token in few places, for the type "real"; part of
 * kernels_tmpl.h. One copy of the matrix is kept: the entries of a token are changed
 * before it is used, and put back after. So a token costs what its edges are, not L^2
 * more.
 */
struct F(patch) {
    const struct tokens *tokens;
    const real *scores;          /* [edges]: factors, or terms where "add" */
    const real *whole, *whole_t; /* [P][P] a matrix, and transposed */
    real *forward, *backward;    /* copies of both */
    size_t pad;
    bool add;
};

/* An edge's entry of the matrix at its token. */
INLINE real F(patched)(const struct F(patch) * patch, const struct edge *edge,
                       real score)
{
    real whole = patch->whole[edge->from * patch->pad + edge->to];
    return patch->add ? whole + score : whole * score;
}

/* The entries of token t are changed, or put back. An entry that has several edges is
 * written several times, with one value. */
INLINE void F(patch_forward)(const struct F(patch) * patch, size_t t, bool change)
{
    const struct tokens *tokens = patch->tokens;
    const real *scores = patch->scores - tokens->edge_at[0];
    for (size_t i = tokens->edge_at[t]; i < tokens->edge_at[t + 1]; i++) {
        const struct edge *edge = &tokens->edges[i];
        size_t at = edge->from * patch->pad + edge->to;
        patch->forward[at] =
            change ? F(patched)(patch, edge, scores[i]) : patch->whole[at];
    }
}

INLINE void F(patch_backward)(const struct F(patch) * patch, size_t t, bool change)
{
    const struct tokens *tokens = patch->tokens;
    const real *scores = patch->scores - tokens->edge_at[0];
    for (size_t i = tokens->edge_at[t]; i < tokens->edge_at[t + 1]; i++) {
        const struct edge *edge = &tokens->edges[i];
        size_t at = edge->to * patch->pad + edge->from;
        patch->backward[at] =
            change ? F(patched)(patch, edge, scores[i]) : patch->whole_t[at];
    }
}

/* Copies of a matrix and its transposed one, nothing changed yet. */
INLINE struct F(patch)
    F(patch_begin)(const struct chain *chain, const struct tokens *tokens,
                   const struct pairs *pairs, const real *whole, const real *whole_t,
                   bool add)
{
    size_t bytes = chain->pad * chain->pad * sizeof(real);
    memcpy(pairs->forward, whole, bytes);
    memcpy(pairs->backward, whole_t, bytes);
    return (struct F(patch)){.tokens = tokens,
                             .scores = pairs->scores,
                             .whole = whole,
                             .whole_t = whole_t,
                             .forward = pairs->forward,
                             .backward = pairs->backward,
                             .pad = chain->pad,
                             .add = add};
}
