/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of lib/skew know of each other: how a key is held and compared, the
 * map from keys to weights, and what a histogram is.
 */
#ifndef DML__SKEW_INTERNAL_H
#define DML__SKEW_INTERNAL_H

#include "dml/skew.h"

#include "core/core.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

/* ---- keys --------------------------------------------------------------------------
 */

/* An integer is its own head. A string's head is its first 8 bytes, the first the most
 * significant, zeros beyond its end: heads decide most comparisons. */
struct dml__key {
    uint64_t head;
    const unsigned char *data; /* [count]; NULL for integers */
    uint32_t count;
};

struct dml__key dml__key_of_bytes(const void *data, size_t count);

/* Below, equal or above 0, as memcmp. */
int dml__key_compare(dml_key_kind kind, const struct dml__key *a,
                     const struct dml__key *b);

static inline bool dml__key_equal(const struct dml__key *a, const struct dml__key *b)
{
    return a->head == b->head && a->count == b->count &&
           (a->count <= 8 || memcmp(a->data, b->data, a->count) == 0);
}

/* Key "index" of a batch. */
struct dml__key dml__keys_at(const dml_keys *keys, size_t index);

uint64_t dml__key_hash(dml_key_kind kind, const struct dml__key *key, uint64_t seed);

/* Refuses a batch of another kind, or without its array, or with a string too long. */
dml_status dml__keys_check(const dml_ctx *ctx, const char *where, dml_key_kind kind,
                           const dml_keys *keys);

/*
 * The order of keys: order[i] is the index of the i-th smallest, equal keys in the
 * order of their indices. The keys lie stride_bytes apart; count is below 2^32. scratch
 * has dml__sort_bytes(count), which is SIZE_MAX when that does not fit.
 */
size_t dml__sort_bytes(size_t count);
void dml__sort_keys(dml_key_kind kind, const struct dml__key *keys, size_t stride_bytes,
                    size_t count, uint32_t *order, void *scratch);

/* ---- keys and their weights --------------------------------------------------------
 */

/* An entry of a histogram, and of a map on the way to one. */
struct dml__entry {
    struct dml__key key;
    uint64_t hash;
    double weight;
    double tail;      /* weight of unlisted keys not far below this one */
    uint64_t samples; /* DML__EXACT: nothing is estimated */
};

#define DML__EXACT UINT64_MAX

/* Grows as keys are added; keeps copies of strings. Zeroed, then dml__map_open(). */
struct dml__map {
    dml_ctx *ctx;
    dml_key_kind kind;
    struct dml__entry *entries; /* [room], count in use, in the order they came */
    size_t count, room;
    uint32_t *slots; /* [nslots] 1 + index into entries, or 0; open addressing */
    size_t nslots;
    struct dml__text *text; /* chunks that hold the strings */
};

bool dml__map_open(struct dml__map *map, dml_ctx *ctx, dml_key_kind kind);
void dml__map_close(struct dml__map *map);

/* The key's entry, added with zeros if it had none; NULL: out of memory. Valid until
 * the next call. */
struct dml__entry *dml__map_add(struct dml__map *map, const struct dml__key *key,
                                uint64_t hash);

/* The key's entry or NULL. */
struct dml__entry *dml__map_find(const struct dml__map *map, const struct dml__key *key,
                                 uint64_t hash);

/* Strings of a stream, kept in chunks that never move. */
const unsigned char *dml__text_keep(dml_ctx *ctx, struct dml__text **text,
                                    const unsigned char *data, size_t count);
void dml__text_free(struct dml__text *text);

/* Indices of entries, the heaviest first; equal ones in their order. */
bool dml__sort_by_weight(dml_ctx *ctx, const struct dml__entry *entries, size_t count,
                         uint32_t *order);

/* ---- histograms --------------------------------------------------------------------
 */

struct dml_histogram {
    dml_ctx *ctx;
    dml_key_kind kind;
    uint64_t hash_seed;
    uint64_t records, samples;
    double weight;
    double unseen;              /* weight that no entry stands for */
    struct dml__entry *entries; /* [count] in the order of their keys */
    size_t count;
    unsigned char *text; /* the entries' strings */
    size_t text_bytes;
    size_t nbuckets;    /* a power of two */
    double *buckets;    /* [nbuckets] weight by the first bits of the hash; exact */
    uint8_t *registers; /* [nbuckets] of HyperLogLog: see dml__hash_rank() */
};

/* An empty histogram with room for count entries and their strings; NULL: no memory. */
dml_histogram *dml__histogram_new(dml_ctx *ctx, dml_key_kind kind, size_t count,
                                  size_t text_bytes, size_t nbuckets);

/* Take the entries of a map, sorted. False: no memory. "made" gets a histogram without
 * totals. */
bool dml__histogram_of_map(const struct dml__map *map, size_t nbuckets,
                           dml_histogram **made);

/* Copy a key's string to where "text" points, and step on; integers stay as they are.
 */
void dml__key_move(struct dml__key *key, unsigned char **text);

/* Keys in the stream, estimated. */
double dml__histogram_distinct(const dml_histogram *histogram);

/* A sum of weights that is also finite when it is made in another order. */
static inline bool dml__sum_fits(double sum)
{
    return sum <= 0.99 * DBL_MAX;
}

/* Are all sums of its weights finite? */
bool dml__histogram_fits(const dml_histogram *histogram);

/* Bytes that dml_histogram_pack() writes. */
size_t dml__histogram_pack_bytes(const dml_histogram *histogram);

/* Bucket of a hash; nbuckets a power of two. */
static inline size_t dml__bucket_of(uint64_t hash, unsigned shift)
{
    return shift >= 64 ? 0 : (size_t)(hash >> shift);
}

/* 64 - log2(nbuckets). */
static inline unsigned dml__bucket_shift(size_t nbuckets)
{
    return 64u - (unsigned)__builtin_ctzll((unsigned long long)nbuckets);
}

/* HyperLogLog's rank: 1 + zeros that lead the hash behind the bucket's bits. */
static inline uint8_t dml__hash_rank(uint64_t hash, unsigned shift)
{
    uint64_t rest = hash << (64 - shift) | 1;
    return (uint8_t)(1 + __builtin_clzll(rest));
}

#endif
