/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dictionary of texts: linear probing over slots of 8 bytes, XXH3 as the hash.
 */
#include "dict.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FIRST_SLOTS 1024
#define FIRST_TEXT  8192

uint64_t dict_hash(const char *text, size_t bytes)
{
    return XXH3_64bits(text, bytes);
}

bool dict_init(struct dict *dict)
{
    *dict = (struct dict){.nslots = FIRST_SLOTS,
                          .offsets_room = FIRST_SLOTS / 2 + 1,
                          .text_room = FIRST_TEXT};
    dict->slots = calloc(dict->nslots, sizeof *dict->slots);
    dict->offsets = calloc(dict->offsets_room, sizeof *dict->offsets);
    dict->text = malloc(dict->text_room);
    return dict->slots && dict->offsets && dict->text;
}

void dict_free(struct dict *dict)
{
    free(dict->slots);
    free(dict->offsets);
    free(dict->text);
    *dict = (struct dict){0};
}

/* The slot that holds the text, or the empty one where it belongs. */
static size_t probe(const struct dict *dict, uint64_t hash, const char *text,
                    size_t bytes)
{
    size_t mask = dict->nslots - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        uint64_t slot = dict->slots[at];
        if (slot == 0)
            return at;
        if (slot >> 32 != hash >> 32)
            continue;
        uint32_t number = (uint32_t)slot - 1;
        const char *known = dict->text + dict->offsets[number];
        size_t known_bytes = dict->offsets[number + 1] - dict->offsets[number] - 1;
        if (known_bytes == bytes && memcmp(known, text, bytes) == 0)
            return at;
    }
}

uint32_t dict_find(const struct dict *dict, const char *text, size_t bytes)
{
    return (uint32_t)dict->slots[probe(dict, dict_hash(text, bytes), text, bytes)] - 1;
}

void dict_find_group(const struct dict *dict, const char *text, size_t begin,
                     const size_t *ends, size_t count, uint32_t *numbers)
{
    uint64_t hashes[DICT_GROUP];
    size_t mask = dict->nslots - 1, from = begin;
    for (size_t i = 0; i < count; from = ends[i++]) {
        hashes[i] = dict_hash(text + from, ends[i] - from);
        __builtin_prefetch(&dict->slots[hashes[i] & mask]);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t slot = dict->slots[hashes[i] & mask];
        if (slot != 0)
            __builtin_prefetch(&dict->offsets[(uint32_t)slot - 1]);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t slot = dict->slots[hashes[i] & mask];
        if (slot != 0)
            __builtin_prefetch(&dict->text[dict->offsets[(uint32_t)slot - 1]]);
    }
    from = begin;
    for (size_t i = 0; i < count; from = ends[i++])
        numbers[i] =
            (uint32_t)dict->slots[probe(dict, hashes[i], text + from, ends[i] - from)] -
            1;
}

/* Twice the slots; texts are hashed anew, because slots keep half of a hash. */
static bool grow_slots(struct dict *dict)
{
    size_t nslots = 2 * dict->nslots, mask = nslots - 1;
    uint64_t *slots = calloc(nslots, sizeof *slots);
    uint64_t *offsets =
        realloc(dict->offsets, (nslots / 2 + 1) * sizeof *dict->offsets);
    if (offsets) {
        dict->offsets = offsets;
        dict->offsets_room = nslots / 2 + 1;
    }
    if (!slots || !offsets) {
        free(slots);
        return false;
    }
    for (size_t i = 0; i < dict->count; i++) {
        uint64_t hash =
            dict_hash(dict->text + offsets[i], offsets[i + 1] - offsets[i] - 1);
        size_t at = hash & mask;
        while (slots[at] != 0)
            at = (at + 1) & mask;
        slots[at] = (hash >> 32 << 32) | (i + 1);
    }
    free(dict->slots);
    dict->slots = slots;
    dict->nslots = nslots;
    return true;
}

uint32_t dict_put(struct dict *dict, const char *text, size_t bytes)
{
    uint64_t hash = dict_hash(text, bytes);
    size_t at = probe(dict, hash, text, bytes);
    if (dict->slots[at] != 0)
        return (uint32_t)dict->slots[at] - 1;
    if (dict->count == DICT_NONE - 1)
        return DICT_NONE;
    if (2 * (dict->count + 1) > dict->nslots) {
        if (!grow_slots(dict))
            return DICT_NONE;
        at = probe(dict, hash, text, bytes);
    }
    size_t begin = dict->offsets[dict->count];
    while (begin + bytes + 1 > dict->text_room) {
        char *grown = realloc(dict->text, 2 * dict->text_room);
        if (!grown)
            return DICT_NONE;
        dict->text = grown;
        dict->text_room *= 2;
    }
    memcpy(dict->text + begin, text, bytes);
    dict->text[begin + bytes] = '\0';
    dict->offsets[dict->count + 1] = begin + bytes + 1;
    dict->slots[at] = (hash >> 32 << 32) | (dict->count + 1);
    return (uint32_t)dict->count++;
}
