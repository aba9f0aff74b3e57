/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of many keys: a radix sort of their heads, byte by byte from the least
 * significant, passing over bytes in which all heads agree; then a merge sort of each
 * run of strings whose heads are equal. Stable.
 */
#include "skew/skew_internal.h"

struct pair {
    uint64_t head;
    uint32_t index;
};

/* Sorts a [count] by head; b [count] is scratch. Returns the one that holds the result.
 */
static struct pair *radix_sort(struct pair *a, struct pair *b, size_t count)
{
    enum { DIGITS = 8, VALUES = 256 };
    uint32_t seen[DIGITS][VALUES] = {{0}};
    for (size_t i = 0; i < count; i++)
        for (int digit = 0; digit < DIGITS; digit++)
            seen[digit][a[i].head >> 8 * digit & 0xff]++;
    for (int digit = 0; digit < DIGITS; digit++) {
        uint32_t *place = seen[digit];
        if (place[a[0].head >> 8 * digit & 0xff] == count)
            continue;
        uint32_t sum = 0;
        for (int value = 0; value < VALUES; value++) {
            uint32_t here = place[value];
            place[value] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            b[place[a[i].head >> 8 * digit & 0xff]++] = a[i];
        struct pair *swap = a;
        a = b;
        b = swap;
    }
    return a;
}

struct strings {
    const char *keys; /* the first struct dml__key; the next stride_bytes further on */
    size_t stride_bytes;
};

static const struct dml__key *key_at(const struct strings *strings, uint32_t index)
{
    return (const void *)(strings->keys + strings->stride_bytes * index);
}

/* Sorts order [count] by the strings; scratch [count]. */
static void merge_sort(const struct strings *strings, uint32_t *order,
                       uint32_t *scratch, size_t count)
{
    if (count < 2)
        return;
    size_t half = count / 2;
    merge_sort(strings, order, scratch, half);
    merge_sort(strings, order + half, scratch, count - half);
    memcpy(scratch, order, half * sizeof *order);
    for (size_t left = 0, right = half, out = 0; left < half; out++) {
        bool from_right = right < count &&
                          dml__key_compare(DML_KEY_BYTES, key_at(strings, order[right]),
                                           key_at(strings, scratch[left])) < 0;
        order[out] = from_right ? order[right++] : scratch[left++];
    }
}

size_t dml__sort_bytes(size_t count)
{
    return dml__mul(dml__mul(count, 2), sizeof(struct pair));
}

void dml__sort_keys(dml_key_kind kind, const struct dml__key *keys, size_t stride_bytes,
                    size_t count, uint32_t *order, void *scratch)
{
    if (count == 0)
        return;
    const struct strings strings = {.keys = (const char *)keys,
                                    .stride_bytes = stride_bytes};
    struct pair *pairs = scratch;
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct pair){.head = key_at(&strings, (uint32_t)i)->head,
                                 .index = (uint32_t)i};
    struct pair *sorted = radix_sort(pairs, pairs + count, count);
    for (size_t i = 0; i < count; i++)
        order[i] = sorted[i].index;
    if (kind == DML_KEY_U64)
        return;
    /* The other half of the pairs is free by now. */
    uint32_t *spare = (void *)(sorted == pairs ? pairs + count : pairs);
    for (size_t start = 0, end = 0; start < count; start = end) {
        for (end = start + 1; end < count; end++)
            if (sorted[end].head != sorted[start].head)
                break;
        merge_sort(&strings, order + start, spare, end - start);
    }
}

bool dml__sort_by_weight(dml_ctx *ctx, const struct dml__entry *entries, size_t count,
                         uint32_t *order)
{
    struct dml__key *keys = dml__alloc(ctx, dml__mul(count, sizeof *keys));
    void *scratch = dml__alloc(ctx, dml__sort_bytes(count));
    bool done = keys != NULL && scratch != NULL;
    for (size_t i = 0; done && i < count; i++) {
        /* Weights are not negative, so they are ordered as their bits are. */
        uint64_t bits = 0;
        memcpy(&bits, &entries[i].weight, sizeof bits);
        keys[i].head = ~bits;
    }
    if (done)
        dml__sort_keys(DML_KEY_U64, keys, sizeof *keys, count, order, scratch);
    dml__free(scratch);
    dml__free(keys);
    return done;
}
