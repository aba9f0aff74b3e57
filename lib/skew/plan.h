/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plan from within, and what a planner is: one file, one function, one row of the
 * table in plan.c.
 */
#ifndef DML__SKEW_PLAN_H
#define DML__SKEW_PLAN_H

#include "dml/plan.h"

#include "skew/skew_internal.h"

enum { DML__MOST_PARTS = 1 << 16, DML__SPLIT = UINT16_MAX + 1 };

/* Upper end of a part in a plan by range: keys below go left, keys above right; of the
 * records of the key itself this share goes left, to this part or those before. */
struct dml__bound {
    struct dml__key key;
    double share;
};

/* A key that a plan by hash does not send home. */
struct dml__exception {
    struct dml__key key;
    uint64_t hash;
    uint32_t first, count; /* pieces */
};

/* A part that takes records of an exception: those whose draw is below "until", and not
 * below that of the piece before. The last piece of a key has 1. */
struct dml__piece {
    uint32_t part;
    double until;
};

struct dml__exception_slot {
    uint64_t tag;   /* an integer key itself, a string's hash */
    uint32_t index; /* 1 + index of the exception; 0: free */
    uint32_t part;  /* its part, or DML__SPLIT */
};

struct dml_plan {
    dml_ctx *ctx;
    dml_planner planner;
    dml_key_kind kind;
    size_t parts;
    uint64_t hash_seed;
    double weight;
    double *loads;      /* [parts] predicted */
    double *capacities; /* [parts] of sum 1 */

    size_t nbounds; /* by range: at most parts - 1 */
    struct dml__bound *bounds;
    uint64_t *heads;  /* [nbounds] of the bounds' keys, close together */
    double *shares;   /* [nbounds] likewise */
    uint32_t *behind; /* [nbounds] the first bound after this with another key */

    size_t nhomes;   /* by hash: a power of two; by range 0 */
    uint16_t *homes; /* [nhomes] part by the first bits of the hash */
    size_t nexceptions, npieces;
    struct dml__exception *exceptions; /* in the order of their keys */
    struct dml__piece *pieces;
    size_t nslots; /* a power of two, or 0 */
    struct dml__exception_slot *slots;

    unsigned char *text; /* strings of bounds and exceptions, in their order */
    size_t text_bytes;
};

/* What a planner works with. */
struct dml__planning {
    dml_plan *plan;
    const dml_histogram *histogram;
    const dml_plan_opts *opts; /* min_samples is not 0 here */
};

/* Is the weight of this entry that of its key? Else it is part of the tail. */
static inline bool dml__is_listed(const struct dml__entry *entry, uint64_t min_samples)
{
    return entry->samples >= min_samples;
}

/* Are the planner's plans by range? */
bool dml__planner_ordered(dml_planner planner);

/* Planners; false: out of memory. */
bool dml__plan_hash(struct dml__planning *planning);
bool dml__plan_range(struct dml__planning *planning);
bool dml__plan_scid(struct dml__planning *planning);
bool dml__plan_libra(struct dml__planning *planning);
bool dml__plan_krhp(struct dml__planning *planning);
bool dml__plan_ksrp(struct dml__planning *planning);

/* plan_store.c: make the plan's arrays. Keys of bounds and exceptions are borrowed
 * until dml__plan_seal() has copied them, made the slots and predicted the loads. */
bool dml__plan_room_for_bounds(dml_plan *plan);
bool dml__plan_room_for_homes(dml_plan *plan, size_t nhomes);
bool dml__plan_room_for_exceptions(dml_plan *plan, size_t nexceptions, size_t npieces);
bool dml__plan_seal(dml_plan *plan);
void dml__plan_add_bound(dml_plan *plan, const struct dml__key *key, double share);

/* homes.c: the part of each bucket in proportion to capacities, and what the buckets
 * weigh without the entries that are marked in apart [histogram->count]. */
size_t dml__homes_wanted(const struct dml__planning *planning);
void dml__homes_by_capacity(dml_plan *plan);
bool dml__home_weights(const dml_histogram *histogram, size_t nhomes,
                       const uint8_t *apart, double *weights);

/* plan_pack.c: bytes that dml_plan_pack() writes. */
size_t dml__plan_pack_bytes(const dml_plan *plan);

/* cut.c: weight in the order of keys, and the bounds that cut it by capacity. */
struct dml__mass {
    struct dml__key key;
    double own;    /* of the key */
    double before; /* of keys between the mass before and this key */
    bool divisible;
};
void dml__cut(dml_plan *plan, const struct dml__mass *masses, size_t count,
              bool whole_keys);

/* predict.c: loads of a sealed plan, from the histogram. */
bool dml__predict(const struct dml__planning *planning);

/* route.c */
double dml__record_draw(uint64_t record); /* uniform in [0, 1) */

#endif
