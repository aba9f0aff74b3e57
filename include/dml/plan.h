/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file plan.h
 * Partition plans: which part (rank, reducer, shard) gets a record, by its key. All
 * planners stand in one table and behind one interface; the same histogram and options
 * give the same plan, byte for byte, so ranks that hold the same merged histogram need
 * no broadcast.
 *
 * Two families. Plans by hash (hash, scid, krhp) look a key up in a table of
 * exceptions, then take the part of its hash's bucket. Plans by range (range, libra,
 * ksrp) compare with sorted bounds: every key of part j is before every key of part j +
 * 1, so sorting the parts sorts the whole. Planners that split give the records of one
 * key to several parts in fixed shares, by the hash of the record's number; plans by
 * range to parts in a row. Where all records of a key must meet (a join, a sum that is
 * not associative), use a planner that does not split, or forbid it in the options.
 *
 * Nothing here communicates; deterministic. Threads: a plan does not change once made,
 * so any number of threads may route by it.
 */
#ifndef DML_PLAN_H
#define DML_PLAN_H

#include "dml/skew.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * X(NAME, number, "name", keeps the order of keys, splits keys, "what it does").
 * Sources: hash and range as Spark's HashPartitioner and RangePartitioner do it; scid:
 * Tang et al., FGCS 78 (2018), of which the abstract was to be had; libra: Chen et al.,
 * TPDS 26 (2015), likewise; krhp, ksrp: after SKRSP, see skew.h.
 */
#define DML_PLANNER_MAP(X)                                                         \
    X(HASH, 0, "hash", false, false, "the key's hash")                             \
    X(RANGE, 1, "range", true, false, "bounds at equal steps of sampled weight")   \
    X(SCID, 2, "scid", false, true, "keys by weight fill one part after another")  \
    X(LIBRA, 3, "libra", true, true, "bounds from heavy and some other keys")      \
    X(KRHP, 4, "krhp", false, false, "hash, and a table of keys moved to balance") \
    X(KSRP, 5, "ksrp", true, true, "bounds that cut within a key's weight")

typedef enum dml_planner {
#define DML_PLANNER_ENUM(NAME, number, name, ordered, splits, text) \
    DML_PLAN_##NAME = (number),
    DML_PLANNER_MAP(DML_PLANNER_ENUM)
#undef DML_PLANNER_ENUM
} dml_planner;
#define DML_NPLANNERS 6

/** Options of a plan. Fill with dml_plan_opts_init(). */
typedef struct dml_plan_opts {
    size_t size;              /**< sizeof(dml_plan_opts), set by the initialiser */
    const double *capacities; /**< [parts] what each part can take, relative to the
                                   others: positive, finite, from 1.5e-303 of the
                                   largest on; borrowed until return;
                                   NULL (default): all equal. range ignores them for its
                                   bounds, as Spark does */
    bool whole_keys;          /**< forbid planners that split keys to do so; default
                                   false */
    size_t table;             /**< krhp, scid: most keys in the table of exceptions;
                                   default 0: all that weigh a 16th of a part's share
                                   (krhp), all that were sampled (scid) */
    uint64_t min_samples;     /**< a key sampled less often is part of the tail; default
                                   8, a standard error of 35 % */
    size_t libra_heavy;       /**< libra: heaviest keys that it is told of; default 0:
                                   20 for each part */
    size_t libra_random;      /**< libra: others, at random; default 0: 20 for each */
} dml_plan_opts;

typedef struct dml_plan dml_plan;

/** What a plan is. */
typedef struct dml_plan_info {
    dml_planner planner;
    dml_key_kind kind;
    size_t parts;
    bool ordered;      /**< by range: sorting the parts sorts the whole */
    size_t bounds;     /**< by range: at most parts - 1; else 0 */
    size_t table;      /**< by hash: keys in the table of exceptions; else 0 */
    size_t split_keys; /**< keys whose records go to several parts */
    double weight;     /**< of the stream, as the histogram had it */
    double imbalance;  /**< predicted: see dml_balance */
    double cv;         /**< predicted: likewise */
    size_t pack_bytes; /**< what dml_plan_pack() writes */
} dml_plan_info;

/** Set all defaults. Not collective. Any thread. @since 0.3 */
DML_API void dml_plan_opts_init(dml_plan_opts *opts);

/** Name of a planner, "ksrp"; NULL for unknown numbers. Static. Pure. @since 0.3 */
DML_API const char *dml_planner_name(dml_planner planner);

/** The planner of a name. Not collective.
 * @return DML_OK | DML_EINVAL (unknown: the text lists all).  @since 0.3 */
DML_API dml_status dml_planner_parse(dml_ctx *ctx, const char *name,
                                     dml_planner *planner);

/**
 * Make a plan. Not collective; ranks that need the same plan pass the same histogram
 * and options. Cost: some milliseconds for 10^5 keys and 64 parts; krhp looks at as
 * many parts as there are different capacities for each bucket that it moves, which is
 * some 30 ms for 1024 parts that all differ, and seconds for 16384.
 * @param parts      1 to 65536; may exceed the number of keys.
 * @param histogram  borrowed until return; may hold nothing: then keys are unknown, and
 *                   plans by range send all to the first part.
 * @param opts       NULL for the defaults.
 * @param[out] plan  returned; free with dml_plan_destroy().
 * @return DML_OK | DML_EINVAL (planner, parts, an option) | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_plan_create(dml_ctx *ctx, dml_planner planner, size_t parts,
                                   const dml_histogram *histogram,
                                   const dml_plan_opts *opts, dml_plan **plan);

/** Free; NULL is a no-op. Not collective. @since 0.3 */
DML_API void dml_plan_destroy(dml_plan *plan);

/** Inspect a plan. Not collective. @since 0.3 */
DML_API void dml_plan_get_info(const dml_plan *plan, dml_plan_info *info);

/** Weight predicted for each part, [parts]; lives as long as the plan. Not collective.
 * @since 0.3 */
DML_API const double *dml_plan_loads(const dml_plan *plan);

/** Capacity of each part, [parts], of sum 1; lives as long as the plan. Not collective.
 * @since 0.3 */
DML_API const double *dml_plan_capacities(const dml_plan *plan);

/**
 * Parts of a batch of records: the fast way, a few nanoseconds for an integer key.
 * @param[in]  keys     of the plan's kind; borrowed.
 * @param[in]  records  [keys->count] a number of each record's own, by which keys that
 *                      are split spread evenly: the same record goes to the same part
 *                      whenever it is asked. NULL: first, first + 1, ...
 * @param      first    see records.
 * @param[out] parts    [keys->count], each below the number of parts.
 * @return DML_OK | DML_EINVAL (kinds differ). Not collective.  @since 0.3
 */
DML_API dml_status dml_plan_route(const dml_plan *plan, const dml_keys *keys,
                                  const uint64_t *records, uint64_t first,
                                  uint32_t *parts);

/** Part of one record whose key is an integer; the plan must be of kind DML_KEY_U64
 * (else the answer is 0). Pure; any thread. @since 0.3 */
DML_API uint32_t dml_plan_route_u64(const dml_plan *plan, uint64_t key,
                                    uint64_t record);

/** Part of one record whose key is a string; the plan must be of kind DML_KEY_BYTES
 * (else the answer is 0). Pure; any thread. @since 0.3 */
DML_API uint32_t dml_plan_route_bytes(const dml_plan *plan, dml_bytes key,
                                      uint64_t record);

/**
 * Write a plan as bytes, little endian, with a checksum: equal plans give equal bytes.
 * Not collective.
 * @param[out] bytes     [capacity]
 * @param      capacity  at least dml_plan_info.pack_bytes.
 * @return DML_OK | DML_EINVAL (capacity).  @since 0.3
 */
DML_API dml_status dml_plan_pack(const dml_plan *plan, void *bytes, size_t capacity);

/** Read what dml_plan_pack() wrote, from a file perhaps; what is not a plan is refused.
 * Not collective.
 * @return DML_OK | DML_EFORMAT (the offset is named) | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_plan_unpack(dml_ctx *ctx, const void *bytes, size_t count,
                                   dml_plan **plan);

/* ---- quality -----------------------------------------------------------------------
 */

/** How even loads are. The share of a part is total * capacity / (sum of capacities).
 */
typedef struct dml_balance {
    double imbalance; /**< largest load/share: 1 is perfect, and the time of the slowest
                           part relative to a perfect plan's; 1 if the total is 0 */
    double cv;        /**< coefficient of variation: standard deviation of load/share */
    double total;     /**< sum of the loads */
} dml_balance;

/**
 * Judge loads, such as those counted after routing all records.
 * @param[in] loads       [parts] finite and not negative; so is their sum.
 * @param[in] capacities  [parts] positive and finite, none lost beside the largest;
 *                        NULL: all equal.
 * @return DML_OK | DML_EINVAL. Pure; any thread.  @since 0.3
 */
DML_API dml_status dml_balance_of(dml_ctx *ctx, const double *loads,
                                  const double *capacities, size_t parts,
                                  dml_balance *balance);

#ifdef __cplusplus
}
#endif
#endif
