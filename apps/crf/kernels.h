/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loops in which training and tagging spend their time, one set per instruction set
 * and type of number (f32, f64); see kernels_tmpl.h for the mathematics.
 *
 * L labels are padded to P, a multiple of KERNELS_PAD and of the vector's length.
 * Arrays of T tokens have P numbers a token; what lies in the padding is 0 or never
 * used.
 */
#ifndef CRF_KERNELS_H
#define CRF_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNELS_PAD 8
/* Rows and cells are fetched early: so many entries follow a list's last one. */
#define KERNELS_AHEAD 32

/* What all sentences of one evaluation share. Numbers are of the set's type. */
struct chain {
    size_t labels, pad;      /* L, P */
    const void *weights;     /* [rows][P], then cells */
    const void *bias;        /* [P]: 0, and in the padding a very small number */
    const void *trans;       /* [P][P] A: score of a label after the row's label */
    const void *trans_t;     /* [P][P] the same, transposed */
    const void *exp_trans;   /* [P][P] exp(A - shift), 0 in the padding */
    const void *exp_trans_t; /* [P][P] transposed */
    double shift;            /* the largest score in A */
};

/* A weight that an attribute of a token adds to the score of a transition into it. */
struct edge {
    uint16_t from, to; /* labels of the token before and of this one */
    uint32_t slot;
};

/* The features of one sentence. Token t has rows[row_at[t]] .. rows[row_at[t + 1] - 1],
 * each an attribute's weights for all labels, and cells likewise, each the weight of
 * one label. */
struct tokens {
    size_t count; /* T */
    const size_t *row_at, *cell_at;
    const uint32_t *rows, *cells;
    const uint16_t *cell_labels;           /* of each of cells */
    const float *row_values, *cell_values; /* NULL: all are 1 */
    const size_t *edge_at;                 /* as row_at; NULL: there are none */
    const struct edge *edges;              /* a token's sorted by from and to */
    const float *edge_values;
};

/* Of one sentence, N edges: what they add to A at single tokens, and what kernels need
 * to look at A with that added. */
struct pairs {
    void *scores;             /* [N, up to a whole vector] of the edge's transition */
    void *forward, *backward; /* [P][P] */
    double *kept;             /* [N] */
};

struct kernels {
    const char *isa; /* as dml_ctx_isa() says */
    size_t lanes;    /* of a vector */
    size_t bytes;    /* of a number: 4 or 8 */

    /* s[T][P]: scores of the labels at each token. */
    void (*scores)(const struct chain *chain, const struct tokens *tokens, void *s);

    /* The labelling's score at the tokens, without transitions, in f64; tokens of
     * unknown label (UINT16_MAX) count nothing. */
    double (*gold)(const struct chain *chain, size_t count, const void *s,
                   const uint16_t *labels);

    /* p(t, label of t) -= 1: marginals become the gradient. */
    void (*subtract)(const struct chain *chain, size_t count, void *p,
                     const uint16_t *labels);

    /* From s, which is overwritten: log Z is returned, beta becomes the labels'
     * marginal probabilities, and what makes those of pairs is added to edges[P][P],
     * where not NULL: multiply it by exp_trans at the end. Not finite when scores are
     * too far apart for the type. alpha, beta: [T][P]; scale: [T + P]. */
    double (*forward_backward)(const struct chain *chain, size_t count, void *s,
                               void *alpha, void *beta, void *scale, double *edges);

    /* grad[slots] += p[T][P], along the features. */
    void (*scatter)(const struct chain *chain, const struct tokens *tokens,
                    const void *p, double *grad);

    /* The best labelling into labels[T]; its score is returned. delta: [T][P]. */
    double (*viterbi)(const struct chain *chain, size_t count, const void *s,
                      void *delta, uint16_t *labels);

    /* The same with transitions that differ from token to token. First the transitions'
     * scores, from the weights: */
    void (*pair_scores)(const struct chain *chain, const struct tokens *tokens,
                        const struct pairs *pairs);

    /* Then either of these. The sum turns pairs' scores into their exp; what it adds to
     * edges has that in it, too. */
    double (*sum_pairs)(const struct chain *chain, const struct tokens *tokens,
                        const struct pairs *pairs, void *s, void *alpha, void *beta,
                        void *scale, double *edges);
    double (*best_pairs)(const struct chain *chain, const struct tokens *tokens,
                         const struct pairs *pairs, const void *s, void *delta,
                         uint16_t *labels);

    /* grad[slots] += probabilities of the edges' pairs, - 1 where labels have them;
     * after sum_pairs(), all arrays as that left them. */
    void (*scatter_pairs)(const struct chain *chain, const struct tokens *tokens,
                          const struct pairs *pairs, const void *s, const void *alpha,
                          const uint16_t *labels, double *grad);

    /* f64 vectors, whatever the set's type: x . y, and y += a x. */
    double (*dot)(size_t count, const double *x, const double *y);
    void (*axpy)(size_t count, double a, const double *x, double *y);
};

/* The set for an instruction set's name and a type's bytes; never NULL: the one in
 * plain C is there for all. */
const struct kernels *kernels_find(const char *isa, size_t bytes);

/* P for L labels. */
size_t kernels_pad(const struct kernels *kernels, size_t labels);

#endif
