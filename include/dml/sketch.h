/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file sketch.h
 * Heavy keys with error bounds that always hold, in one pass and bounded memory, and
 * exactly in a second pass.
 *
 * Space-saving in its mergeable form: at most "counters" keys have a counter; when
 * there are too many, all counters are lowered by the same amount, and what falls to
 * zero leaves. So for every key lower <= true weight <= lower + slack, slack is at most
 * (weight of the stream)/counters, and every key heavier than that has a counter.
 *
 *     dml_sketch_create(ctx, kind, counters, &sketch);
 *     dml_sketch_add(sketch, &keys, NULL); ... dml_sketch_merge(sketch, other);
 *     dml_histogram_refine(histogram, sketch);   // skew.h's estimate within the bounds
 *
 * To have the weights exact, call dml_sketch_recount() on the merged sketch of every
 * rank, add all records again, and merge: slack is then 0.
 *
 * Nothing here communicates; deterministic. Threads, NULL and sums: as skew.h.
 *
 * Sources: Metwally, Agrawal and El Abbadi, ICDT 2005 (space-saving); Agarwal et al.,
 * Mergeable summaries, PODS 2012 (that Misra and Gries' counters are the same, and how
 * they merge); Anderson et al., IMC 2017 (lowering many at once).
 */
#ifndef DML_SKETCH_H
#define DML_SKETCH_H

#include "dml/skew.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dml_sketch dml_sketch;

/** Totals of a sketch. */
typedef struct dml_sketch_info {
    dml_key_kind kind;
    size_t keys;       /**< that have a counter */
    double weight;     /**< of the stream; exact */
    double slack;      /**< a counter is at most this much too low */
    size_t pack_bytes; /**< what dml_sketch_pack() writes */
} dml_sketch_info;

/** One counter. */
typedef struct dml_sketch_entry {
    uint64_t u64;    /**< the key, if of kind DML_KEY_U64 */
    dml_bytes bytes; /**< the key, if of kind DML_KEY_BYTES; lives until the next call
                          that changes the sketch */
    double lower;    /**< the key weighs at least this, and at most lower + slack */
} dml_sketch_entry;

/**
 * Make an empty sketch. Not collective.
 * @param counters  1 to 2^24; equal on all ranks. Ten times the number of parts finds
 *                  every key that matters to a plan.
 * @param[out] sketch  returned; free with dml_sketch_destroy().
 * @return DML_OK | DML_EINVAL | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_sketch_create(dml_ctx *ctx, dml_key_kind kind, size_t counters,
                                     dml_sketch **sketch);

/** Free; NULL is a no-op. Not collective. @since 0.3 */
DML_API void dml_sketch_destroy(dml_sketch *sketch);

/**
 * Count records. Not collective.
 * @param[in] keys     borrowed until return.
 * @param[in] weights  [keys->count] finite and not negative; NULL: 1 each.
 * @return DML_OK | DML_EINVAL (kind, a weight, or the sum of all: nothing of the call
 * is taken) | DML_ENOMEM (the sketch can only be destroyed).  @since 0.3
 */
DML_API dml_status dml_sketch_add(dml_sketch *sketch, const dml_keys *keys,
                                  const double *weights);

/** Add another's counters; bounds hold for the union of the streams. The same bits
 * wherever the same are merged in the same order. Not collective.
 * @return DML_OK | DML_EINVAL (kinds or counters differ; only one of them is being
 * counted again, or other keys are) | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_sketch_merge(dml_sketch *sketch, const dml_sketch *other);

/** Fix the keys that have a counter now, and begin to count anew: of what is added from
 * here, these keys' weights are exact. Not collective.
 * @return DML_OK | DML_EINVAL (NULL) | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_sketch_recount(dml_sketch *sketch);

/** Totals. Not collective.
 * @return DML_OK | DML_EINVAL (NULL) | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_sketch_get_info(dml_sketch *sketch, dml_sketch_info *info);

/** Counter @p index, the heaviest first, equal ones in the order of the keys. Not
 * collective.
 * @return DML_OK | DML_EINVAL (index) | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_sketch_entry_at(dml_sketch *sketch, size_t index,
                                       dml_sketch_entry *entry);

/** Write it as bytes, little endian, with a checksum. Not collective.
 * @param[out] bytes  [capacity], at least dml_sketch_info.pack_bytes.
 * @return DML_OK | DML_EINVAL (capacity) | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_sketch_pack(dml_sketch *sketch, void *bytes, size_t capacity);

/** Read what dml_sketch_pack() wrote. Not collective.
 * @return DML_OK | DML_EFORMAT (the offset is named) | DML_ENOMEM.  @since 0.3 */
DML_API dml_status dml_sketch_unpack(dml_ctx *ctx, const void *bytes, size_t count,
                                     dml_sketch **sketch);

/**
 * Bring an estimate within a sketch's bounds: keys with a counter get their weight
 * clamped to [lower, lower + slack], and the exact one if slack is 0; what that adds or
 * takes is taken from or added to the other keys in proportion. Both must have seen the
 * same stream, with the same weights. Not collective.
 * @return DML_OK | DML_EINVAL (kinds or total weights differ) | DML_ENOMEM.  @since 0.3
 */
DML_API dml_status dml_histogram_refine(dml_histogram *histogram, dml_sketch *sketch);

#ifdef __cplusplus
}
#endif
#endif
