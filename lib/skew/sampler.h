/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sampler from within: exact totals (tally.c), which records are kept (choose.c,
 * block.c), and what is kept of them (sampler.c).
 */
#ifndef DML__SKEW_SAMPLER_H
#define DML__SKEW_SAMPLER_H

#include "skew/skew_internal.h"

/* A record that was kept, where single records must be told apart. */
struct dml__kept {
    struct dml__key key;
    double weight;
};

struct dml_sampler {
    dml_ctx *ctx;
    dml_sampler_opts opts;
    uint64_t step;    /* s = ceil(1/rate) */
    uint64_t seen;    /* records so far */
    uint64_t next;    /* number of the next record that is kept; unused by SORTED */
    uint64_t draws;   /* random numbers taken */
    uint64_t samples; /* kept so far; of the reservoir: in it */
    double weight;    /* so far, in the order of the stream; 0 if weights are counts */

    uint64_t *counts;   /* [buckets] records; only if weights are counts */
    double *sums;       /* [buckets] weights; else */
    uint8_t *registers; /* [buckets] of HyperLogLog */

    struct dml__map map;     /* what was kept, by key; not of the reservoir */
    struct dml__kept *pool;  /* reservoir: [opts.reservoir] */
    double threshold;        /* reservoir: W of Li's algorithm L */
    struct dml__text *text;  /* strings of pool, or of block */
    struct dml__kept *block; /* SORTED: [dml__block_size()] */
    size_t block_used;
    uint32_t *order; /* SORTED: [dml__block_size()] */
    void *scratch;   /* SORTED: for dml__sort_keys() */
};

double dml__sampler_draw(dml_sampler *sampler); /* uniform in [0, 1) */

static inline double dml__weight_of(const dml_sampler *sampler, const double *values,
                                    size_t index)
{
    switch (sampler->opts.weight) {
    case DML_WEIGHT_VALUE:
        return values[index];
    case DML_WEIGHT_SQUARE:
        return values[index] * values[index];
    case DML_WEIGHT_COUNT:
    default:
        return 1;
    }
}

/* tally.c: count all records of a batch. */
void dml__tally(dml_sampler *sampler, const dml_keys *keys, const double *values);
double dml__tally_weight(const dml_sampler *sampler, size_t bucket);

/* choose.c: set "next" at the start, and after record "next" was kept. */
void dml__choose_first(dml_sampler *sampler);
void dml__choose_next(dml_sampler *sampler);

/* block.c: DML_SAMPLE_SORTED. What is taken of a block goes to a map. */
size_t dml__block_size(const dml_sampler *sampler);
bool dml__block_add(dml_sampler *sampler, const dml_keys *keys, const double *values);
/* Take from the block as it is, which stays. */
bool dml__block_take(dml_sampler *sampler, struct dml__map *map, uint64_t *samples);

/* Count one kept record into a map. */
bool dml__map_count(struct dml__map *map, const struct dml__key *key, double weight,
                    uint64_t hash_seed);

#endif
