/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams with Zipf's law for the tests of lib/skew, and shorthands. Needs: ctx.
 */
#ifndef SKEW_HELP_H
#define SKEW_HELP_H

#include "dml/dml.h"

#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dml_ctx *ctx;

static int open_ctx(void **state)
{
    (void)state;
    return dml_ctx_create(NULL, &ctx) == DML_OK ? 0 : -1;
}

static int close_ctx(void **state)
{
    (void)state;
    dml_ctx_destroy(ctx);
    return 0;
}

#define ok(call) assert_int_equal((call), DML_OK)

/* Why the last call on ctx failed must say this. */
static inline void says(const char *text)
{
    dml_error error;
    dml_ctx_last_error(ctx, &error);
    if (strstr(error.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, text);
}

/* records keys below nkeys; key k with probability ~ (k + 1)^-exponent, scrambled if
 * asked for. To be freed. */
static inline uint64_t *zipf(size_t records, size_t nkeys, double exponent,
                             uint64_t seed, bool scrambled)
{
    double *until = malloc(nkeys * sizeof *until), sum = 0;
    uint64_t *keys = malloc((records > 0 ? records : 1) * sizeof *keys);
    assert_non_null(until);
    assert_non_null(keys);
    for (size_t k = 0; k < nkeys; k++)
        until[k] = sum += pow((double)k + 1, -exponent);
    for (size_t i = 0; i < records; i++) {
        double draw = dml_rng_uniform(seed, 77, i) * sum;
        size_t low = 0, high = nkeys - 1;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (until[middle] < draw)
                low = middle + 1;
            else
                high = middle;
        }
        keys[i] = scrambled ? dml_hash_u64(low, 5) : low;
    }
    free(until);
    return keys;
}

static inline dml_keys as_keys(const uint64_t *u64, size_t count)
{
    return (dml_keys){.kind = DML_KEY_U64, .count = count, .u64 = u64};
}

/* The histogram of a stream; opts may be NULL. */
static inline dml_histogram *sample(const dml_sampler_opts *opts, const uint64_t *u64,
                                    size_t count)
{
    dml_sampler *sampler = NULL;
    dml_histogram *histogram = NULL;
    const dml_keys keys = as_keys(u64, count);
    ok(dml_sampler_create(ctx, opts, &sampler));
    ok(dml_sampler_add(sampler, &keys, NULL));
    ok(dml_sampler_finish(sampler, &histogram));
    dml_sampler_destroy(sampler);
    return histogram;
}

static inline dml_sampler_opts sampler_opts(dml_sample_method method, double rate)
{
    dml_sampler_opts opts;
    dml_sampler_opts_init(&opts);
    opts.method = method;
    opts.rate = rate;
    return opts;
}

static inline dml_histogram *exact_of(const uint64_t *u64, size_t count)
{
    dml_sampler_opts opts = sampler_opts(DML_SAMPLE_STEP, 1);
    return sample(&opts, u64, count);
}

static inline dml_histogram_info info_of(const dml_histogram *histogram)
{
    dml_histogram_info info;
    dml_histogram_get_info(histogram, &info);
    return info;
}

/* Weight plus tail of all entries and what is unseen. */
static inline double mass_of(const dml_histogram *histogram)
{
    dml_histogram_info info = info_of(histogram);
    double sum = info.tail;
    for (size_t i = 0; i < info.entries; i++) {
        dml_histogram_entry entry;
        ok(dml_histogram_entry_at(histogram, i, &entry));
        sum += entry.weight;
    }
    return sum;
}

/* Of one key; 0 if it is not listed. */
static inline double weight_of(const dml_histogram *h, uint64_t key)
{
    for (size_t i = 0; i < info_of(h).entries; i++) {
        dml_histogram_entry entry;
        ok(dml_histogram_entry_at(h, i, &entry));
        if (entry.u64 == key)
            return entry.weight;
    }
    return 0;
}

static inline void *packed(const dml_histogram *histogram, size_t *bytes)
{
    *bytes = info_of(histogram).pack_bytes;
    void *memory = malloc(*bytes);
    assert_non_null(memory);
    ok(dml_histogram_pack(histogram, memory, *bytes));
    return memory;
}

/* The seed of a test that draws: $SEED or the default; printed. */
static inline uint64_t seed_of(const char *test, uint64_t usual)
{
    const char *text = getenv("SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : usual;
    printf("%s: SEED=%llu\n", test, (unsigned long long)seed);
    return seed;
}

#endif
