/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One sentence at a time: the kernels for chains, and those for chains with scores of
 * pairs where the sentence has such. A sentence without any is computed as if the model
 * had none.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

void *bench_alloc(size_t bytes)
{
    size_t rounded = (bytes / ALIGNMENT + 1) * ALIGNMENT;
    void *memory = aligned_alloc(ALIGNMENT, rounded);
    if (memory)
        memset(memory, 0, rounded);
    return memory;
}

static size_t count_edges(const struct tokens *tokens)
{
    return tokens->edge_at ? tokens->edge_at[tokens->count] - tokens->edge_at[0] : 0;
}

static bool reserve_pairs(struct bench *bench, const struct kernels *kernels,
                          size_t pad, size_t edges)
{
    if (edges <= bench->pair_room)
        return true;
    size_t room = 2 * bench->pair_room > edges ? 2 * bench->pair_room : edges + 64;
    size_t matrix = pad * pad * kernels->bytes;
    room = (room + kernels->lanes - 1) / kernels->lanes * kernels->lanes;
    free(bench->pair_memory);
    bench->pair_room = 0;
    bench->pair_memory =
        bench_alloc(2 * matrix + room * (sizeof(double) + kernels->bytes));
    if (!bench->pair_memory)
        return false;
    char *at = bench->pair_memory;
    bench->pairs.forward = at;
    bench->pairs.backward = at + matrix;
    bench->pairs.kept = (double *)(void *)(at + 2 * matrix);
    bench->pairs.scores = at + 2 * matrix + room * sizeof(double);
    bench->pair_room = room;
    return true;
}

bool bench_reserve(struct bench *bench, const struct kernels *kernels, size_t pad,
                   const struct tokens *tokens)
{
    size_t count = tokens->count;
    if (!reserve_pairs(bench, kernels, pad, count_edges(tokens)))
        return false;
    if (count <= bench->room)
        return true;
    size_t room = 2 * bench->room > count ? 2 * bench->room : count + 64;
    size_t row = pad * kernels->bytes, all = room * row;
    free(bench->memory);
    bench->room = 0;
    bench->memory = bench_alloc(3 * all + row + room * kernels->bytes);
    if (!bench->memory)
        return false;
    char *at = bench->memory;
    bench->s = at;
    bench->alpha = at + all;
    bench->beta = at + 2 * all;
    bench->scale = at + 3 * all;
    bench->room = room;
    return true;
}

void bench_free(struct bench *bench)
{
    free(bench->memory);
    free(bench->pair_memory);
    *bench = (struct bench){0};
}

void bench_scores(struct bench *bench, const struct kernels *kernels,
                  const struct chain *chain, const struct tokens *tokens)
{
    kernels->scores(chain, tokens, bench->s);
    if (count_edges(tokens) > 0)
        kernels->pair_scores(chain, tokens, &bench->pairs);
}

double bench_gold(const struct bench *bench, const struct kernels *kernels,
                  const struct chain *chain, const struct tokens *tokens,
                  const uint16_t *labels)
{
    double sum = kernels->gold(chain, tokens->count, bench->s, labels);
    if (count_edges(tokens) == 0)
        return sum;
    for (size_t t = 1; t < tokens->count; t++)
        for (size_t i = tokens->edge_at[t]; i < tokens->edge_at[t + 1]; i++)
            if (tokens->edges[i].from == labels[t - 1] &&
                tokens->edges[i].to == labels[t]) {
                /* It is the sum over all edges of the transition. */
                sum +=
                    bench_number(kernels, bench->pairs.scores, i - tokens->edge_at[0]);
                break;
            }
    return sum;
}

void bench_best(struct bench *bench, const struct kernels *kernels,
                const struct chain *chain, const struct tokens *tokens,
                uint16_t *labels)
{
    if (count_edges(tokens) > 0)
        kernels->best_pairs(chain, tokens, &bench->pairs, bench->s, bench->alpha,
                            labels);
    else
        kernels->viterbi(chain, tokens->count, bench->s, bench->alpha, labels);
}

double bench_sum(struct bench *bench, const struct kernels *kernels,
                 const struct chain *chain, const struct tokens *tokens, double *edges)
{
    if (count_edges(tokens) > 0)
        return kernels->sum_pairs(chain, tokens, &bench->pairs, bench->s, bench->alpha,
                                  bench->beta, bench->scale, edges);
    return kernels->forward_backward(chain, tokens->count, bench->s, bench->alpha,
                                     bench->beta, bench->scale, edges);
}

void bench_scatter(struct bench *bench, const struct kernels *kernels,
                   const struct chain *chain, const struct tokens *tokens,
                   const uint16_t *labels, double *grad)
{
    if (count_edges(tokens) > 0)
        kernels->scatter_pairs(chain, tokens, &bench->pairs, bench->s, bench->alpha,
                               labels, grad);
    kernels->subtract(chain, tokens->count, bench->beta, labels);
    kernels->scatter(chain, tokens, bench->beta, grad);
}
