/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams of keys with Zipf's law: key number k (from 1) has probability ~ k^-z. Keys
 * are a permutation of 0 to keys - 1, so that a key's place in the order says nothing
 * of its weight.
 */
#include "skew.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256 }; /* records of one key in a row in clustered streams */

void skew_draw(const struct skew_options *o, struct skew_data *data)
{
    double *until = skew_alloc(o->keys, sizeof *until);
    uint32_t *guide = skew_alloc(o->keys + 1, sizeof *guide);
    uint32_t *names = skew_alloc(o->keys, sizeof *names);
    double sum = 0;
    for (size_t k = 0; k < o->keys; k++)
        until[k] = sum += pow((double)k + 1, -data->exponent);
    /* guide[g]: the first key whose interval reaches g/keys. */
    size_t k = 0;
    for (size_t g = 0; g < o->keys; g++) {
        while (until[k] / sum * (double)o->keys <= (double)g && k + 1 < o->keys)
            k++;
        guide[g] = (uint32_t)k;
    }
    dml_rng_permutation(o->seed, 1, (uint32_t)o->keys, names);
    memset(data->counts, 0, o->keys * sizeof *data->counts);
    for (size_t i = 0; i < o->records; i++) {
        double draw = dml_rng_uniform(o->seed, 2, i);
        k = guide[(size_t)(draw * (double)o->keys)];
        while (k + 1 < o->keys && until[k] < draw * sum)
            k++;
        data->keys[i] = names[k];
        data->counts[names[k]]++;
    }
    data->heaviest = 0;
    for (k = 0; k < o->keys; k++)
        data->heaviest = fmax(data->heaviest, (double)data->counts[k]);
    free(names);
    free(guide);
    free(until);
}

static void sort_by_key(const struct skew_options *o, struct skew_data *data)
{
    size_t at = 0;
    for (size_t k = 0; k < o->keys; k++)
        for (uint64_t i = 0; i < data->counts[k]; i++)
            data->keys[at++] = k;
}

static void shuffle(const struct skew_options *o, struct skew_data *data)
{
    for (size_t i = o->records; i > 1; i--) {
        size_t j = (size_t)(dml_rng_uniform(o->seed, 3, i) * (double)i);
        uint64_t swap = data->keys[i - 1];
        data->keys[i - 1] = data->keys[j];
        data->keys[j] = swap;
    }
}

/* Blocks of at most BLOCK records of a key, in random order. */
static void cluster(const struct skew_options *o, struct skew_data *data)
{
    size_t nblocks = 0;
    for (size_t k = 0; k < o->keys; k++)
        nblocks += (data->counts[k] + BLOCK - 1) / BLOCK;
    uint64_t *keys = skew_alloc(nblocks, sizeof *keys);
    uint32_t *order = skew_alloc(nblocks, sizeof *order);
    uint64_t *left = skew_alloc(o->keys, sizeof *left);
    size_t block = 0, at = 0;
    for (size_t k = 0; k < o->keys; k++) {
        left[k] = data->counts[k];
        for (uint64_t i = 0; i < data->counts[k]; i += BLOCK)
            keys[block++] = k;
    }
    dml_rng_permutation(o->seed, 4, (uint32_t)nblocks, order);
    for (block = 0; block < nblocks; block++) {
        uint64_t key = keys[order[block]];
        uint64_t here = left[key] < BLOCK ? left[key] : BLOCK;
        left[key] -= here;
        for (; here > 0; here--)
            data->keys[at++] = key;
    }
    free(left);
    free(order);
    free(keys);
}

void skew_arrange(const struct skew_options *o, struct skew_data *data,
                  enum skew_order order)
{
    data->order = order;
    if (order == SKEW_CLUSTERED) {
        cluster(o, data);
    } else {
        sort_by_key(o, data);
        if (order == SKEW_SHUFFLED)
            shuffle(o, data);
    }
}
