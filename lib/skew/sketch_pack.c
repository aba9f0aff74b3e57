/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sketches as bytes: seven numbers, counters of two numbers each (an integer key or a
 * string's length, and the weight), then the strings.
 */
#include "skew/sketch.h"
#include "skew/wire.h"

static const char name[8] = "dmlskch1";

enum { HEAD_BYTES = 64, ENTRY_BYTES = 16, FOOT_BYTES = 8 };

static size_t text_bytes(const dml_sketch *sketch)
{
    size_t bytes = 0;
    for (size_t i = 0; i < sketch->map.count; i++)
        bytes += sketch->map.entries[i].key.count;
    return bytes;
}

dml_status dml_sketch_get_info(dml_sketch *sketch, dml_sketch_info *info)
{
    if (sketch == NULL || info == NULL)
        return dml__fail(sketch != NULL ? sketch->ctx : NULL, DML_EINVAL, __func__,
                         "sketch or info is NULL");
    if (!dml__sketch_settle(sketch))
        return dml__fail(sketch->ctx, DML_ENOMEM, __func__, "no memory to settle");
    *info = (dml_sketch_info){
        .kind = sketch->kind,
        .keys = sketch->map.count,
        .weight = sketch->weight,
        .slack = sketch->slack,
        .pack_bytes = HEAD_BYTES + ENTRY_BYTES * sketch->map.count +
                      text_bytes(sketch) + FOOT_BYTES,
    };
    return DML_OK;
}

dml_status dml_sketch_pack(dml_sketch *sketch, void *bytes, size_t capacity)
{
    if (sketch == NULL || bytes == NULL)
        return dml__fail(sketch != NULL ? sketch->ctx : NULL, DML_EINVAL, __func__,
                         "sketch or bytes is NULL");
    dml_sketch_info info;
    DML_TRY(dml_sketch_get_info(sketch, &info));
    if (capacity < info.pack_bytes)
        return dml__fail(sketch->ctx, DML_EINVAL, __func__,
                         "capacity is %zu bytes, %zu are needed", capacity,
                         info.pack_bytes);
    struct dml__out out;
    dml__out_open(&out, bytes, name);
    put_u64(&out, (uint64_t)sketch->kind);
    put_u64(&out, sketch->counters);
    put_u64(&out, sketch->fixed);
    put_f64(&out, sketch->weight);
    put_f64(&out, sketch->slack);
    put_u64(&out, sketch->map.count);
    put_u64(&out, text_bytes(sketch));
    for (size_t i = 0; i < sketch->map.count; i++) {
        const struct dml__entry *entry = &sketch->map.entries[i];
        put_u64(&out, sketch->kind == DML_KEY_U64 ? entry->key.head : entry->key.count);
        put_f64(&out, entry->weight);
    }
    for (size_t i = 0; i < sketch->map.count; i++)
        put_bytes(&out, sketch->map.entries[i].key.data,
                  sketch->map.entries[i].key.count);
    dml__out_close(&out);
    return DML_OK;
}

/* NULL, or what is wrong: no_memory, or a fault of the bytes. */
static const char no_memory[] = "no memory";

static const char *read_entries(dml_sketch *sketch, size_t count, struct dml__in *in)
{
    struct dml__in text = {
        .bytes = in->bytes, .at = in->at + ENTRY_BYTES * count, .count = in->count};
    for (size_t i = 0; i < count; i++) {
        uint64_t number = get_u64(in);
        double weight = get_f64(in);
        struct dml__key key = {.head = number};
        if (sketch->kind == DML_KEY_BYTES) {
            const unsigned char *string =
                number <= UINT32_MAX ? get_bytes(&text, (size_t)number) : NULL;
            if (string == NULL)
                return "a key is longer than what is there";
            key = dml__key_of_bytes(string, (size_t)number);
        }
        struct dml__entry *entry =
            dml__map_add(&sketch->map, &key, dml__key_hash(sketch->kind, &key, 0));
        if (entry == NULL)
            return no_memory;
        /* Counters without weight are only kept where keys are counted again. */
        if (!is_weight(weight) || (weight <= 0 && !sketch->fixed) ||
            sketch->map.count != i + 1)
            return "a weight is no number above 0, or a key is there twice";
        entry->weight = weight;
    }
    return text.at == in->count ? NULL : "bytes are left over";
}

dml_status dml_sketch_unpack(dml_ctx *ctx, const void *bytes, size_t count,
                             dml_sketch **sketch)
{
    if (sketch == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "the result is NULL");
    struct dml__in in;
    DML_TRY(dml__in_open(ctx, __func__, &in, bytes, count, name));
    uint64_t kind = get_u64(&in), counters = get_u64(&in), fixed = get_u64(&in);
    double weight = get_f64(&in), slack = get_f64(&in);
    uint64_t entries = get_u64(&in), text = get_u64(&in);
    if (in.ran_out || kind > DML_KEY_BYTES || fixed > 1 || !is_weight(weight) ||
        !is_weight(slack) || entries > counters || counters == 0 ||
        counters > DML__MOST_COUNTERS || entries > bytes_left(&in) / ENTRY_BYTES ||
        text != bytes_left(&in) - ENTRY_BYTES * entries ||
        (kind == DML_KEY_U64 && text > 0))
        return dml__fail(ctx, DML_EFORMAT, __func__,
                         "offset %zu of %zu: the head is not that of a sketch of this "
                         "many bytes",
                         in.at, count);
    dml_sketch *s = NULL;
    DML_TRY(dml_sketch_create(ctx, (dml_key_kind)kind, (size_t)counters, &s));
    s->fixed = fixed == 1;
    s->weight = weight;
    s->slack = slack;
    const char *fault = read_entries(s, (size_t)entries, &in);
    if (fault != NULL) {
        dml_sketch_destroy(s);
        return dml__fail(ctx, fault == no_memory ? DML_ENOMEM : DML_EFORMAT, __func__,
                         "offset %zu of %zu: %s", in.at, count, fault);
    }
    *sketch = s;
    return DML_OK;
}
