/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sampling of sorted blocks: of a block of records in the order of their keys every
 * s-th is kept, after a random start below s. A record is kept with probability 1/s; a
 * range of keys that holds m of the block's records gets m/s of the sample to within
 * one, where independent draws would be off by sqrt(m/s). It is one level of the
 * compactors from which mergeable quantile summaries are built (Agarwal et al. 2012).
 */
#include "skew/sampler.h"

/* Wide enough that a block's sample has some records of each of 64 parts; the scratch
 * for sorting it still fits a second-level cache. */
enum { BLOCK_RECORDS = 16384 };

size_t dml__block_size(const dml_sampler *sampler)
{
    uint64_t steps = (BLOCK_RECORDS + sampler->step - 1) / sampler->step;
    return steps > 1 ? (size_t)(steps * sampler->step) : BLOCK_RECORDS;
}

bool dml__block_take(dml_sampler *sampler, struct dml__map *map, uint64_t *samples)
{
    size_t used = sampler->block_used;
    uint64_t start = (uint64_t)(dml__sampler_draw(sampler) * (double)sampler->step);
    if (start >= used)
        return true;
    dml__sort_keys(sampler->opts.kind, &sampler->block->key, sizeof *sampler->block,
                   used, sampler->order, sampler->scratch);
    for (uint64_t i = start; i < used; i += sampler->step) {
        const struct dml__kept *kept = &sampler->block[sampler->order[i]];
        if (!dml__map_count(map, &kept->key, kept->weight, sampler->opts.hash_seed))
            return false;
        ++*samples;
    }
    return true;
}

bool dml__block_add(dml_sampler *sampler, const dml_keys *keys, const double *values)
{
    const size_t full = dml__block_size(sampler);
    for (size_t i = 0; i < keys->count; i++) {
        struct dml__kept *kept = &sampler->block[sampler->block_used];
        kept->key = dml__keys_at(keys, i);
        kept->weight = dml__weight_of(sampler, values, i);
        if (keys->kind == DML_KEY_BYTES) {
            kept->key.data = dml__text_keep(sampler->ctx, &sampler->text,
                                            kept->key.data, kept->key.count);
            if (kept->key.data == NULL)
                return false;
        }
        if (++sampler->block_used < full)
            continue;
        if (!dml__block_take(sampler, &sampler->map, &sampler->samples))
            return false;
        sampler->block_used = 0;
        dml__text_free(sampler->text);
        sampler->text = NULL;
    }
    return true;
}
