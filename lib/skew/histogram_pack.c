/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histograms as bytes: nine numbers, the buckets' totals and registers, entries of
 * four numbers each (an integer key, or a string's length), then the strings.
 */
#include "skew/skew_internal.h"
#include "skew/wire.h"

static const char name[8] = "dmlhist1";

enum {
    HEAD_BYTES = 80,
    ENTRY_BYTES = 32,
    BUCKET_BYTES = 9,
    FOOT_BYTES = 8,
    MOST_BUCKETS = 1 << 16,
};

size_t dml__histogram_pack_bytes(const dml_histogram *h)
{
    return HEAD_BYTES + BUCKET_BYTES * h->nbuckets + ENTRY_BYTES * h->count +
           h->text_bytes + FOOT_BYTES;
}

dml_status dml_histogram_pack(const dml_histogram *histogram, void *bytes,
                              size_t capacity)
{
    const dml_histogram *h = histogram;
    if (h == NULL || bytes == NULL)
        return dml__fail(h != NULL ? h->ctx : NULL, DML_EINVAL, __func__,
                         "histogram or bytes is NULL");
    const size_t needed = dml__histogram_pack_bytes(h);
    if (capacity < needed)
        return dml__fail(h->ctx, DML_EINVAL, __func__,
                         "capacity is %zu bytes, %zu are needed", capacity, needed);
    struct dml__out out;
    dml__out_open(&out, bytes, name);
    put_u64(&out, (uint64_t)h->kind);
    put_u64(&out, h->hash_seed);
    put_u64(&out, h->records);
    put_u64(&out, h->samples);
    put_f64(&out, h->weight);
    put_f64(&out, h->unseen);
    put_u64(&out, h->nbuckets);
    put_u64(&out, h->count);
    put_u64(&out, h->text_bytes);
    for (size_t b = 0; b < h->nbuckets; b++)
        put_f64(&out, h->buckets[b]);
    put_bytes(&out, h->registers, h->nbuckets);
    for (size_t i = 0; i < h->count; i++) {
        const struct dml__entry *entry = &h->entries[i];
        put_u64(&out, h->kind == DML_KEY_U64 ? entry->key.head : entry->key.count);
        put_f64(&out, entry->weight);
        put_f64(&out, entry->tail);
        put_u64(&out, entry->samples);
    }
    put_bytes(&out, h->text, h->text_bytes);
    dml__out_close(&out);
    return DML_OK;
}

/* Reads entries and strings; the reader's bytes are enough. NULL, or what is wrong. */
static const char *read_entries(dml_histogram *h, struct dml__in *in)
{
    struct dml__in text = {.bytes = in->bytes, .count = in->count};
    text.at = in->at + ENTRY_BYTES * h->count;
    unsigned char *to = h->text;
    for (size_t i = 0; i < h->count; i++) {
        struct dml__entry *entry = &h->entries[i];
        uint64_t key = get_u64(in);
        entry->weight = get_f64(in);
        entry->tail = get_f64(in);
        entry->samples = get_u64(in);
        if (!is_weight(entry->weight) || !is_weight(entry->tail))
            return "an entry's weight is no number from 0 on";
        if (h->kind == DML_KEY_U64) {
            entry->key.head = key;
        } else {
            const unsigned char *string =
                key <= UINT32_MAX ? get_bytes(&text, (size_t)key) : NULL;
            if (string == NULL)
                return "a key is longer than what is there";
            entry->key = dml__key_of_bytes(string, (size_t)key);
            dml__key_move(&entry->key, &to);
        }
        entry->hash = dml__key_hash(h->kind, &entry->key, h->hash_seed);
        if (i > 0 && dml__key_compare(h->kind, &entry[-1].key, &entry->key) >= 0)
            return "a key is not above the one before";
    }
    return text.at == in->count ? NULL : "bytes are left over";
}

dml_status dml_histogram_unpack(dml_ctx *ctx, const void *bytes, size_t count,
                                dml_histogram **histogram)
{
    if (histogram == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    struct dml__in in;
    DML_TRY(dml__in_open(ctx, __func__, &in, bytes, count, name));
    uint64_t kind = get_u64(&in), hash_seed = get_u64(&in);
    uint64_t records = get_u64(&in), samples = get_u64(&in);
    double weight = get_f64(&in), unseen = get_f64(&in);
    uint64_t nbuckets = get_u64(&in), entries = get_u64(&in), text = get_u64(&in);
    bool sound = !in.ran_out && kind <= DML_KEY_BYTES && is_weight(weight) &&
                 is_weight(unseen) && nbuckets >= 1 && nbuckets <= MOST_BUCKETS &&
                 (nbuckets & (nbuckets - 1)) == 0 &&
                 BUCKET_BYTES * nbuckets <= bytes_left(&in);
    if (sound) {
        size_t left = bytes_left(&in) - BUCKET_BYTES * (size_t)nbuckets;
        sound = entries <= left / ENTRY_BYTES && entries < UINT32_MAX &&
                text == left - ENTRY_BYTES * entries &&
                (kind == DML_KEY_BYTES || text == 0);
    }
    if (!sound)
        return dml__fail(ctx, DML_EFORMAT, __func__,
                         "offset %zu of %zu: the head is not that of a histogram of "
                         "this many bytes",
                         in.at, count);
    dml_histogram *h = dml__histogram_new(ctx, (dml_key_kind)kind, (size_t)entries,
                                          (size_t)text, (size_t)nbuckets);
    if (h == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for %zu entries",
                         (size_t)entries);
    h->hash_seed = hash_seed;
    h->records = records;
    h->samples = samples;
    h->weight = weight;
    h->unseen = unseen;
    const char *fault = NULL;
    for (size_t b = 0; b < h->nbuckets; b++) {
        h->buckets[b] = get_f64(&in);
        if (!is_weight(h->buckets[b]))
            fault = "a bucket's weight is no number from 0 on";
    }
    const unsigned char *registers = get_bytes(&in, h->nbuckets);
    memcpy(h->registers, registers, h->nbuckets);
    for (size_t b = 0; b < h->nbuckets; b++)
        if (h->registers[b] > 64)
            fault = "a register is above 64";
    if (fault == NULL)
        fault = read_entries(h, &in);
    if (fault == NULL && !dml__histogram_fits(h))
        fault = "the sum of all weights is too large for a double";
    if (fault != NULL) {
        size_t at = in.at;
        dml_histogram_destroy(h);
        return dml__fail(ctx, DML_EFORMAT, __func__, "offset %zu of %zu: %s", at, count,
                         fault);
    }
    *histogram = h;
    return DML_OK;
}
