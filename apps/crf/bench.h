/* SPDX-License-Identifier: BSD-3-Clause */
/* What is done with one sentence, and room for its arrays; see bench.c. */
#ifndef CRF_BENCH_H
#define CRF_BENCH_H

#include "kernels.h"

struct bench {
    void *s, *alpha, *beta, *scale;
    void *memory;
    size_t room; /* tokens */
    struct pairs pairs;
    void *pair_memory;
    size_t pair_room; /* edges */
};

/* Room for a sentence. Once a bench is used with one P and set of kernels, it stays
 * with them. False when memory is short. */
bool bench_reserve(struct bench *bench, const struct kernels *kernels, size_t pad,
                   const struct tokens *tokens);
void bench_free(struct bench *bench);

/* The scores of labels and of transitions: first. */
void bench_scores(struct bench *bench, const struct kernels *kernels,
                  const struct chain *chain, const struct tokens *tokens);

/* A labelling's score but for A; after bench_scores(). */
double bench_gold(const struct bench *bench, const struct kernels *kernels,
                  const struct chain *chain, const struct tokens *tokens,
                  const uint16_t *labels);

/* The best labelling; after bench_scores(), which stay. */
void bench_best(struct bench *bench, const struct kernels *kernels,
                const struct chain *chain, const struct tokens *tokens,
                uint16_t *labels);

/* log Z, marginals into beta, edges as kernels' forward_backward(); after
 * bench_scores(), which are overwritten. */
double bench_sum(struct bench *bench, const struct kernels *kernels,
                 const struct chain *chain, const struct tokens *tokens, double *edges);

/* grad[slots] += expected less observed uses; after bench_sum(). */
void bench_scatter(struct bench *bench, const struct kernels *kernels,
                   const struct chain *chain, const struct tokens *tokens,
                   const uint16_t *labels, double *grad);

/* A number of an array of the kernels' type. */
static inline double bench_number(const struct kernels *kernels, const void *array,
                                  size_t i)
{
    return kernels->bytes == sizeof(float) ? (double)((const float *)array)[i]
                                           : ((const double *)array)[i];
}

/* Zeroed and aligned to vectors; NULL when memory is short. */
void *bench_alloc(size_t bytes);

#endif
