/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A map from keys to weights: entries in the order in which their keys came, found by
 * open addressing with linear probing. Strings are copied to chunks that never move.
 */
#include "skew/skew_internal.h"

enum { FIRST_ROOM = 64, CHUNK_BYTES = 1 << 16 };

struct dml__text {
    struct dml__text *before;
    size_t used, room;
    unsigned char bytes[];
};

const unsigned char *dml__text_keep(dml_ctx *ctx, struct dml__text **text,
                                    const unsigned char *data, size_t count)
{
    struct dml__text *chunk = *text;
    if (chunk == NULL || count > chunk->room - chunk->used) {
        size_t room = count > CHUNK_BYTES ? count : CHUNK_BYTES;
        chunk = dml__alloc(ctx, sizeof *chunk + room);
        if (chunk == NULL)
            return NULL;
        chunk->before = *text;
        chunk->room = room;
        *text = chunk;
    }
    unsigned char *copy = chunk->bytes + chunk->used;
    if (count > 0)
        memcpy(copy, data, count);
    chunk->used += count;
    return copy;
}

void dml__text_free(struct dml__text *text)
{
    while (text != NULL) {
        struct dml__text *before = text->before;
        dml__free(text);
        text = before;
    }
}

static bool resize(struct dml__map *map, size_t room)
{
    if (room > UINT32_MAX / 4)
        return false;
    size_t nslots = 2 * room;
    struct dml__entry *entries =
        dml__alloc(map->ctx, dml__mul(room, sizeof *map->entries));
    uint32_t *slots = dml__alloc(map->ctx, dml__mul(nslots, sizeof *slots));
    if (entries == NULL || slots == NULL) {
        dml__free(entries);
        dml__free(slots);
        return false;
    }
    for (size_t i = 0; i < map->count; i++) {
        entries[i] = map->entries[i];
        size_t slot = entries[i].hash & (nslots - 1);
        while (slots[slot] != 0)
            slot = (slot + 1) & (nslots - 1);
        slots[slot] = (uint32_t)i + 1;
    }
    dml__free(map->entries);
    dml__free(map->slots);
    map->entries = entries;
    map->slots = slots;
    map->room = room;
    map->nslots = nslots;
    return true;
}

bool dml__map_open(struct dml__map *map, dml_ctx *ctx, dml_key_kind kind)
{
    *map = (struct dml__map){.ctx = ctx, .kind = kind};
    return resize(map, FIRST_ROOM);
}

void dml__map_close(struct dml__map *map)
{
    dml__text_free(map->text);
    dml__free(map->slots);
    dml__free(map->entries);
    *map = (struct dml__map){0};
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t slot_of(const struct dml__map *map, const struct dml__key *key,
                      uint64_t hash)
{
    size_t slot = hash & (map->nslots - 1);
    for (; map->slots[slot] != 0; slot = (slot + 1) & (map->nslots - 1)) {
        const struct dml__entry *entry = &map->entries[map->slots[slot] - 1];
        if (entry->hash == hash && dml__key_equal(&entry->key, key))
            break;
    }
    return slot;
}

struct dml__entry *dml__map_find(const struct dml__map *map, const struct dml__key *key,
                                 uint64_t hash)
{
    uint32_t index = map->slots[slot_of(map, key, hash)];
    return index == 0 ? NULL : &map->entries[index - 1];
}

struct dml__entry *dml__map_add(struct dml__map *map, const struct dml__key *key,
                                uint64_t hash)
{
    size_t slot = slot_of(map, key, hash);
    if (map->slots[slot] != 0)
        return &map->entries[map->slots[slot] - 1];
    if (map->count == map->room) {
        if (!resize(map, 2 * map->room))
            return NULL;
        slot = slot_of(map, key, hash);
    }
    struct dml__entry *entry = &map->entries[map->count];
    *entry = (struct dml__entry){.key = *key, .hash = hash};
    if (map->kind == DML_KEY_BYTES) {
        entry->key.data = dml__text_keep(map->ctx, &map->text, key->data, key->count);
        if (entry->key.data == NULL)
            return NULL;
    }
    map->slots[slot] = (uint32_t)++map->count;
    return entry;
}
