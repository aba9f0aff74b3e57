/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which part a record goes to. By range: a binary search for the first bound that is
 * not below the key, without branches that a processor could guess wrong. By hash: one
 * look into the slots, then the bucket's home.
 */
#include "skew/hash.h"
#include "skew/plan.h"

double dml__record_draw(uint64_t record)
{
    return (double)(hash_u64(record, 0) >> 11) * 0x1p-53;
}

/* Number of values in sorted [count] that are below x. */
static inline size_t below(const uint64_t *sorted, size_t count, uint64_t x)
{
    const uint64_t *base = sorted;
    while (count > 1) {
        size_t half = count / 2;
        base += (base[half - 1] < x) * half;
        count -= half;
    }
    return (size_t)(base - sorted) + (count == 1 && *base < x);
}

/* The part of a record whose key is that of bound j, the first such: as many bounds of
 * the key are passed as have a share up to the record's draw. */
static inline uint32_t among_bounds(const dml_plan *plan, size_t j, uint64_t record)
{
    double draw = dml__record_draw(record);
    const double *base = plan->shares + j;
    size_t count = plan->behind[j] - j;
    while (count > 1) {
        size_t half = count / 2;
        base += (base[half - 1] <= draw) * half;
        count -= half;
    }
    return (uint32_t)(base - plan->shares) + (*base <= draw);
}

static inline uint32_t range_u64(const dml_plan *plan, uint64_t key, uint64_t record)
{
    size_t j = below(plan->heads, plan->nbounds, key);
    if (j < plan->nbounds && plan->heads[j] == key)
        return among_bounds(plan, j, record);
    return (uint32_t)j;
}

static uint32_t range_bytes(const dml_plan *plan, dml_bytes bytes, uint64_t record)
{
    struct dml__key key = dml__key_of_bytes(bytes.data, bytes.count);
    /* Equal heads are next to each other: the whole keys decide among them. */
    size_t low = below(plan->heads, plan->nbounds, key.head), high = low;
    while (high < plan->nbounds && plan->heads[high] == key.head)
        high++;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (dml__key_compare(DML_KEY_BYTES, &plan->bounds[middle].key, &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < plan->nbounds && dml__key_equal(&plan->bounds[low].key, &key))
        return among_bounds(plan, low, record);
    return (uint32_t)low;
}

static uint32_t among_pieces(const dml_plan *plan, uint32_t index, uint64_t record)
{
    double draw = dml__record_draw(record);
    const struct dml__piece *piece = &plan->pieces[plan->exceptions[index].first];
    while (draw >= piece->until)
        piece++;
    return piece->part;
}

static inline uint32_t hash_route_u64(const dml_plan *plan, uint64_t key,
                                      uint64_t record)
{
    uint64_t hash = hash_u64(key, plan->hash_seed);
    if (plan->nslots > 0) {
        size_t mask = plan->nslots - 1, place = hash & mask;
        for (; plan->slots[place].index != 0; place = (place + 1) & mask) {
            const struct dml__exception_slot *slot = &plan->slots[place];
            if (slot->tag == key)
                return slot->part != DML__SPLIT
                           ? slot->part
                           : among_pieces(plan, slot->index - 1, record);
        }
    }
    return plan->homes[dml__bucket_of(hash, dml__bucket_shift(plan->nhomes))];
}

static uint32_t hash_route_bytes(const dml_plan *plan, dml_bytes bytes, uint64_t record)
{
    uint64_t hash = hash_bytes(bytes.data, bytes.count, plan->hash_seed);
    if (plan->nslots > 0) {
        struct dml__key key = dml__key_of_bytes(bytes.data, bytes.count);
        size_t mask = plan->nslots - 1, place = hash & mask;
        for (; plan->slots[place].index != 0; place = (place + 1) & mask) {
            const struct dml__exception_slot *slot = &plan->slots[place];
            if (slot->tag == hash &&
                dml__key_equal(&plan->exceptions[slot->index - 1].key, &key))
                return slot->part != DML__SPLIT
                           ? slot->part
                           : among_pieces(plan, slot->index - 1, record);
        }
    }
    return plan->homes[dml__bucket_of(hash, dml__bucket_shift(plan->nhomes))];
}

uint32_t dml_plan_route_u64(const dml_plan *plan, uint64_t key, uint64_t record)
{
    if (plan->kind != DML_KEY_U64)
        return 0;
    return plan->nhomes == 0 ? range_u64(plan, key, record)
                             : hash_route_u64(plan, key, record);
}

uint32_t dml_plan_route_bytes(const dml_plan *plan, dml_bytes key, uint64_t record)
{
    if (plan->kind != DML_KEY_BYTES)
        return 0;
    return plan->nhomes == 0 ? range_bytes(plan, key, record)
                             : hash_route_bytes(plan, key, record);
}

static void route_u64(const dml_plan *plan, const dml_keys *keys,
                      const uint64_t *records, uint64_t first, uint32_t *parts)
{
    if (plan->nhomes == 0) {
        for (size_t i = 0; i < keys->count; i++)
            parts[i] =
                range_u64(plan, keys->u64[i], records != NULL ? records[i] : first + i);
    } else {
        for (size_t i = 0; i < keys->count; i++)
            parts[i] = hash_route_u64(plan, keys->u64[i],
                                      records != NULL ? records[i] : first + i);
    }
}

dml_status dml_plan_route(const dml_plan *plan, const dml_keys *keys,
                          const uint64_t *records, uint64_t first, uint32_t *parts)
{
    if (plan == NULL)
        return dml__fail(NULL, DML_EINVAL, __func__, "plan is NULL");
    DML_TRY(dml__keys_check(plan->ctx, __func__, plan->kind, keys));
    if (parts == NULL && keys->count > 0)
        return dml__fail(plan->ctx, DML_EINVAL, __func__, "parts is NULL");
    if (plan->kind == DML_KEY_U64) {
        route_u64(plan, keys, records, first, parts);
        return DML_OK;
    }
    for (size_t i = 0; i < keys->count; i++)
        parts[i] = dml_plan_route_bytes(plan, keys->bytes[i],
                                        records != NULL ? records[i] : first + i);
    return DML_OK;
}
