/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exact totals of a stream: weight by the first bits of the keys' hash, and the longest
 * run of zeros behind those bits, from which HyperLogLog (Flajolet et al. 2007)
 * estimates the number of distinct keys.
 */
#include "skew/hash.h"
#include "skew/sampler.h"

static inline void note_rank(uint8_t *registers, size_t bucket, uint8_t rank)
{
    if (rank > registers[bucket])
        registers[bucket] = rank;
}

static void tally_counts_u64(dml_sampler *sampler, const uint64_t *keys, size_t count)
{
    const uint64_t seed = sampler->opts.hash_seed;
    const unsigned shift = dml__bucket_shift(sampler->opts.buckets);
    uint64_t *counts = sampler->counts;
    uint8_t *registers = sampler->registers;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = hash_u64(keys[i], seed);
        size_t bucket = hash >> shift;
        counts[bucket]++;
        note_rank(registers, bucket, dml__hash_rank(hash, shift));
    }
}

static void tally_any(dml_sampler *sampler, const dml_keys *keys, const double *values)
{
    const uint64_t seed = sampler->opts.hash_seed;
    const unsigned shift = dml__bucket_shift(sampler->opts.buckets);
    for (size_t i = 0; i < keys->count; i++) {
        uint64_t hash =
            keys->kind == DML_KEY_U64
                ? hash_u64(keys->u64[i], seed)
                : hash_bytes(keys->bytes[i].data, keys->bytes[i].count, seed);
        size_t bucket = hash >> shift;
        if (sampler->opts.weight == DML_WEIGHT_COUNT)
            sampler->counts[bucket]++;
        else
            sampler->sums[bucket] += dml__weight_of(sampler, values, i);
        note_rank(sampler->registers, bucket, dml__hash_rank(hash, shift));
    }
}

void dml__tally(dml_sampler *sampler, const dml_keys *keys, const double *values)
{
    bool counts = sampler->opts.weight == DML_WEIGHT_COUNT;
    if (sampler->opts.buckets > 1 && counts && keys->kind == DML_KEY_U64) {
        tally_counts_u64(sampler, keys->u64, keys->count);
    } else if (sampler->opts.buckets > 1) {
        tally_any(sampler, keys, values);
    } else if (counts) {
        sampler->counts[0] += keys->count;
    } else {
        for (size_t i = 0; i < keys->count; i++)
            sampler->sums[0] += dml__weight_of(sampler, values, i);
    }
}

double dml__tally_weight(const dml_sampler *sampler, size_t bucket)
{
    return sampler->counts != NULL ? (double)sampler->counts[bucket]
                                   : sampler->sums[bucket];
}
