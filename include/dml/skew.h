/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file skew.h
 * Skewed keys: what a rank learns of its records' keys in one pass. plan.h turns it
 * into a plan of which part gets which key; rebalance.h corrects the plan by measured
 * speed.
 *
 *     dml_sampler_create(ctx, &opts, &sampler);     // opts.stream = rank
 *     for each batch of records: dml_sampler_add(sampler, &keys, values);
 *     dml_sampler_finish(sampler, &histogram);
 *     dml_histogram_pack(...); all-gather; dml_histogram_unpack(...) for each rank;
 *     dml_histogram_merge(ctx, all, nranks, &merged);   // the same on every rank
 *     dml_plan_create(ctx, DML_PLAN_KSRP, nranks, merged, NULL, &plan);   // likewise
 *
 * A sampler keeps a small share of the records, and exact totals of all: number,
 * weight, and weight per bucket of the keys' hash. The histogram estimates from both
 * what each key weighs. A key that was sampled a few times only is part of the tail:
 * its weight counts, but it is not taken for the weight of that one key.
 *
 * A NULL where an object or a result belongs is DML_EINVAL. Where no status is returned
 * the answer is then NULL or all zeros; only routing of single records needs its plan.
 * Weights whose sum is too large for a double are refused, too.
 *
 * Nothing here communicates. All functions are deterministic: equal arguments in equal
 * order give equal bits on machines with IEEE 754 doubles. Threads: an object is used
 * by one thread at a time; different objects by any. const objects may be read by many
 * threads at once.
 *
 * Sources: Tang, Zhang, Li and Li, "An intermediate data partition algorithm for skew
 * mitigation in Spark" (SKRSP), IEEE TCC 2018, of which the abstract was to be had:
 * step sampling; the rest follows doc/skew.md.
 */
#ifndef DML_SKEW_H
#define DML_SKEW_H

#include "dml/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- keys --------------------------------------------------------------------------
 */

/** What a key is. */
typedef enum dml_key_kind {
    DML_KEY_U64 = 0,  /**< an unsigned 64-bit integer */
    DML_KEY_BYTES = 1 /**< a string of any bytes, zeros too; ordered as memcmp does, a
                           prefix before what it begins */
} dml_key_kind;

/** One key of kind DML_KEY_BYTES. */
typedef struct dml_bytes {
    const void *data; /**< may be NULL when count is 0 */
    size_t count;     /**< bytes, below 2^32 */
} dml_bytes;

/** A batch of keys, borrowed until the call returns. */
typedef struct dml_keys {
    dml_key_kind kind;
    size_t count;           /**< keys; 0 is legal */
    const uint64_t *u64;    /**< [count] if kind is DML_KEY_U64, else ignored */
    const dml_bytes *bytes; /**< [count] if kind is DML_KEY_BYTES, else ignored */
} dml_keys;

/** Key of a signed integer: keeps the order. Pure; any thread. @since 0.3 */
DML_API uint64_t dml_key_of_i64(int64_t value);

/** Inverse of dml_key_of_i64(). Pure; any thread. @since 0.3 */
DML_API int64_t dml_key_to_i64(uint64_t key);

/** Key of a double: keeps the order; -0 and 0 are one key; every NaN is one key, after
 * infinity. Pure; any thread. @since 0.3 */
DML_API uint64_t dml_key_of_f64(double value);

/** Inverse of dml_key_of_f64() (0 for -0). Pure; any thread. @since 0.3 */
DML_API double dml_key_to_f64(uint64_t key);

/** 64-bit hash of a key; the same on all machines. Not for cryptography. Pure; any
 * thread. Source: XXH3 (Collet) of the key's 8 bytes, low byte first. @since 0.3 */
DML_API uint64_t dml_hash_u64(uint64_t key, uint64_t seed);

/** The same of a string. Pure; any thread. @since 0.3 */
DML_API uint64_t dml_hash_bytes(const void *data, size_t count, uint64_t seed);

/* ---- samplers ----------------------------------------------------------------------
 */

/** X(NAME, number, "name"): how the records that are kept are chosen. */
#define DML_SAMPLE_MAP(X)        \
    X(STEP, 0, "step")           \
    X(SORTED, 1, "sorted")       \
    X(RESERVOIR, 2, "reservoir") \
    X(RANDOM, 3, "random")

/**
 * - STEP: one record, at random, of every s = ceil(1/rate) in a row; of a last short
 *   step the one drawn, or none if it was not reached. Every record is kept with
 *   probability 1/s, and the sample is spread evenly over the stream.
 * - SORTED: blocks of some thousand records are sorted by key, and the s-th, 2s-th ...
 *   after a random start are kept: also probability 1/s each, and within a block the
 *   sample has each key, and each range of keys, in its share to within one record. The
 *   best for ranges; costs some 10 ns a record (more for strings).
 * - RESERVOIR: "reservoir" records, each set of so many equally likely (Li 1994).
 * - RANDOM: every record independently with probability rate.
 */
typedef enum dml_sample_method {
#define DML_SAMPLE_ENUM(NAME, number, name) DML_SAMPLE_##NAME = (number),
    DML_SAMPLE_MAP(DML_SAMPLE_ENUM)
#undef DML_SAMPLE_ENUM
} dml_sample_method;

/** What a record weighs, given the value that dml_sampler_add() gets with it. */
typedef enum dml_weight {
    DML_WEIGHT_COUNT = 0, /**< 1; values are ignored and may be NULL */
    DML_WEIGHT_VALUE = 1, /**< the value: the caller's cost, or a sequence's length */
    DML_WEIGHT_SQUARE = 2 /**< its square: length squared, as attention costs */
} dml_weight;

/** Options of a sampler. Fill with dml_sampler_opts_init(). */
typedef struct dml_sampler_opts {
    size_t size;              /**< sizeof(dml_sampler_opts), set by the initialiser */
    dml_key_kind kind;        /**< default DML_KEY_U64; equal on all ranks */
    dml_sample_method method; /**< default DML_SAMPLE_STEP */
    double rate;              /**< share kept, in (0, 1]; default 0.033; 1 counts all */
    uint64_t reservoir; /**< records kept by DML_SAMPLE_RESERVOIR; default 65536 */
    dml_weight weight;  /**< default DML_WEIGHT_COUNT; equal on all ranks */
    uint64_t seed;      /**< of the choice of records; default 1 */
    uint64_t stream;    /**< a number of its own for each rank; default 0 */
    uint64_t hash_seed; /**< of the keys' hash; default 1; equal on all ranks */
    size_t buckets;     /**< of the hash, whose totals are exact: a power of two
                             from 1 to 65536; default 4096; equal on all ranks.
                             1 keeps the overall totals alone, and then only the
                             keys that are kept are looked at */
} dml_sampler_opts;

typedef struct dml_sampler dml_sampler;
typedef struct dml_histogram dml_histogram;

/** Set all defaults. Not collective. Any thread. @since 0.3 */
DML_API void dml_sampler_opts_init(dml_sampler_opts *opts);

/** Name of a method, "step"; NULL for unknown numbers. Static. Pure. @since 0.3 */
DML_API const char *dml_sample_method_name(dml_sample_method method);

/**
 * Make a sampler. Not collective.
 * @param[in]  opts     NULL for the defaults; copied.
 * @param[out] sampler  returned; free with dml_sampler_destroy().
 * @return DML_OK | DML_EINVAL (an option) | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_sampler_create(dml_ctx *ctx, const dml_sampler_opts *opts,
                                      dml_sampler **sampler);

/** Free; NULL is a no-op. Not collective. @since 0.3 */
DML_API void dml_sampler_destroy(dml_sampler *sampler);

/**
 * Show the sampler the next records of the stream. How a stream is cut into calls makes
 * no difference. Not collective.
 * @param[in] keys    borrowed until return; strings that are kept are copied.
 * @param[in] values  [keys->count] finite and not negative (their squares, too); NULL
 *                    only for DML_WEIGHT_COUNT.
 * @return DML_OK | DML_EINVAL (kind; a value: it and its index are named; the sum of
 * all values so far; nothing of the call is taken) | DML_ENOMEM (the sampler can only
 * be destroyed).  @since 0.3
 */
DML_API dml_status dml_sampler_add(dml_sampler *sampler, const dml_keys *keys,
                                   const double *values);

/**
 * The estimate so far; records may be added afterwards. Not collective.
 * @param[out] histogram  returned; free with dml_histogram_destroy().
 * @return DML_OK | DML_EINVAL (NULL) | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_sampler_finish(dml_sampler *sampler, dml_histogram **histogram);

/* ---- histograms --------------------------------------------------------------------
 */

/** What a histogram holds. */
typedef struct dml_histogram_info {
    dml_key_kind kind;
    uint64_t records;   /**< of the stream; exact */
    double weight;      /**< of all of them; exact (to the rounding of sums) */
    uint64_t samples;   /**< records kept */
    size_t entries;     /**< keys listed */
    double tail;        /**< weight estimated for keys that are not listed */
    double unseen;      /**< weight of which nothing was sampled */
    double distinct;    /**< keys in the stream: an estimate, to about
                             1/sqrt(buckets); with fewer than 16 buckets from the keys
                             that were sampled once and twice (Chao 1984) */
    size_t buckets;     /**< of the hash; 1: overall totals alone */
    size_t pack_bytes;  /**< what dml_histogram_pack() writes */
    uint64_t hash_seed; /**< of the keys' hash */
} dml_histogram_info;

/** One listed key. */
typedef struct dml_histogram_entry {
    uint64_t u64;     /**< the key, if of kind DML_KEY_U64 */
    dml_bytes bytes;  /**< the key, if of kind DML_KEY_BYTES; lives as the histogram */
    double weight;    /**< estimate for this key */
    double tail;      /**< weight of keys near it that are not listed */
    uint64_t samples; /**< times it was kept; UINT64_MAX: the weight is exact */
} dml_histogram_entry;

/** Free; NULL is a no-op. Not collective. @since 0.3 */
DML_API void dml_histogram_destroy(dml_histogram *histogram);

/** Totals. Not collective. @since 0.3 */
DML_API void dml_histogram_get_info(const dml_histogram *histogram,
                                    dml_histogram_info *info);

/** Entry @p index, in the order of the keys. Not collective.
 * @return DML_OK | DML_EINVAL (index).  @since 0.3 */
DML_API dml_status dml_histogram_entry_at(const dml_histogram *histogram, size_t index,
                                          dml_histogram_entry *entry);

/**
 * The estimate for the union of streams, such as the ranks'. Sums are made in the order
 * given, so the result is the same wherever it is computed. Merging in another order or
 * nesting gives the same up to the rounding of sums: the same bits where weights are
 * integers, as exact counts are. Not collective.
 * @param[in] parts  [count], at least one, of equal kind, hash seed and buckets.
 * @return DML_OK | DML_EINVAL | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_histogram_merge(dml_ctx *ctx, const dml_histogram *const *parts,
                                       size_t count, dml_histogram **merged);

/**
 * Keep @p entries keys at most: half of them the heaviest; the weight of the others is
 * gathered in the other half, at keys that cut it into equal pieces, and never carried
 * past one of the heaviest. Before sending; merging does not shorten. Does nothing if
 * there are no more. Not collective.
 * @return DML_OK | DML_EINVAL (entries below 2) | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_histogram_shorten(dml_histogram *histogram, size_t entries);

/**
 * Write it as bytes, little endian, with a checksum. Not collective.
 * @param[out] bytes     [capacity]
 * @param      capacity  at least dml_histogram_info.pack_bytes.
 * @return DML_OK | DML_EINVAL (capacity).  @since 0.3
 */
DML_API dml_status dml_histogram_pack(const dml_histogram *histogram, void *bytes,
                                      size_t capacity);

/** Read what dml_histogram_pack() wrote; strangers' bytes are refused, not believed.
 * Not collective.
 * @return DML_OK | DML_EFORMAT (the offset is named) | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_histogram_unpack(dml_ctx *ctx, const void *bytes, size_t count,
                                        dml_histogram **histogram);

/**
 * Weights for joining two streams by key: c_A + c_B + omega c_A c_B, where the product
 * stands for the output. Tails are taken as evenly spread over their distinct keys, and
 * of the keys that are not listed on both sides as many as can be are taken to be
 * common. Not collective.
 * @param omega  weight of one output record; finite and not negative.
 * @return DML_OK | DML_EINVAL | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_histogram_join(dml_ctx *ctx, const dml_histogram *a,
                                      const dml_histogram *b, double omega,
                                      dml_histogram **joined);

/** How far an estimate is from the truth. */
typedef struct dml_histogram_error {
    double total_variation; /**< half the sum over keys of |share estimated - true|; the
                                 estimate's tail is spread evenly over the distinct keys
                                 that it estimates for it */
    double top20; /**< mean over the 20 heaviest keys of |estimate/true - 1| */
} dml_histogram_error;

/**
 * Compare an estimate with an exact histogram (rate 1, not shortened). Not collective.
 * @param min_samples  keys sampled less often belong to the tail; 0: the default, 8.
 * @return DML_OK | DML_EINVAL (kinds differ, or exact holds no weight) | DML_ENOMEM.
 * @since 0.3
 */
DML_API dml_status dml_histogram_compare(const dml_histogram *estimate,
                                         const dml_histogram *exact,
                                         uint64_t min_samples,
                                         dml_histogram_error *error);

#ifdef __cplusplus
}
#endif
#endif
