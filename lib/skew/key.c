/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keys: integers and strings brought to one form that compares fast, numbers mapped to
 * integers that keep their order, and their hash (XXH3 by Yann Collet, from its
 * header).
 */
#include "skew/hash.h"
#include "skew/skew_internal.h"

#include <math.h>

static const uint64_t top_bit = (uint64_t)1 << 63;

uint64_t dml_key_of_i64(int64_t value)
{
    return (uint64_t)value ^ top_bit;
}

int64_t dml_key_to_i64(uint64_t key)
{
    return (int64_t)(key ^ top_bit);
}

uint64_t dml_key_of_f64(double value)
{
    if (isnan(value))
        return UINT64_MAX;
    uint64_t bits = 0;
    value = value == 0 ? 0 : value; /* drops the sign of -0 */
    memcpy(&bits, &value, sizeof bits);
    return bits & top_bit ? ~bits : bits | top_bit;
}

double dml_key_to_f64(uint64_t key)
{
    if (key == UINT64_MAX)
        return NAN;
    uint64_t bits = key & top_bit ? key & ~top_bit : ~key;
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint64_t dml_hash_u64(uint64_t key, uint64_t seed)
{
    return hash_u64(key, seed);
}

uint64_t dml_hash_bytes(const void *data, size_t count, uint64_t seed)
{
    return hash_bytes(data, count, seed);
}

uint64_t dml__key_hash(dml_key_kind kind, const struct dml__key *key, uint64_t seed)
{
    return kind == DML_KEY_U64 ? dml_hash_u64(key->head, seed)
                               : dml_hash_bytes(key->data, key->count, seed);
}

struct dml__key dml__key_of_bytes(const void *data, size_t count)
{
    const unsigned char *bytes = data;
    uint64_t head = 0;
    if (count >= 8) {
        for (int i = 0; i < 8; i++)
            head = head << 8 | bytes[i];
    } else {
        for (size_t i = 0; i < count; i++)
            head |= (uint64_t)bytes[i] << (56 - 8 * i);
    }
    return (struct dml__key){.head = head, .data = bytes, .count = (uint32_t)count};
}

struct dml__key dml__keys_at(const dml_keys *keys, size_t index)
{
    if (keys->kind == DML_KEY_U64)
        return (struct dml__key){.head = keys->u64[index]};
    return dml__key_of_bytes(keys->bytes[index].data, keys->bytes[index].count);
}

int dml__key_compare(dml_key_kind kind, const struct dml__key *a,
                     const struct dml__key *b)
{
    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    if (kind == DML_KEY_U64)
        return 0;
    uint32_t both = a->count < b->count ? a->count : b->count;
    int order = both > 8 ? memcmp(a->data + 8, b->data + 8, both - 8) : 0;
    if (order != 0)
        return order;
    return (a->count > b->count) - (a->count < b->count);
}

dml_status dml__keys_check(const dml_ctx *ctx, const char *where, dml_key_kind kind,
                           const dml_keys *keys)
{
    if (keys == NULL)
        return dml__fail(ctx, DML_EINVAL, where, "keys is NULL");
    if (keys->kind != kind)
        return dml__fail(ctx, DML_EINVAL, where,
                         "keys are of kind %d, those before of kind %d",
                         (int)keys->kind, (int)kind);
    if (keys->count == 0)
        return DML_OK;
    if (kind == DML_KEY_U64 ? keys->u64 == NULL : keys->bytes == NULL)
        return dml__fail(ctx, DML_EINVAL, where, "the array of %zu keys is NULL",
                         keys->count);
    if (kind == DML_KEY_U64)
        return DML_OK;
    for (size_t i = 0; i < keys->count; i++) {
        const dml_bytes *key = &keys->bytes[i];
        if (key->count > UINT32_MAX || (key->data == NULL && key->count > 0))
            return dml__fail(ctx, DML_EINVAL, where,
                             "key %zu: %zu bytes at %p; keys have less than 4 GiB", i,
                             key->count, key->data);
    }
    return DML_OK;
}
