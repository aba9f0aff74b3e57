/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers for texts: 0, 1, 2 ... in the order in which they came; see dict.c. */
#ifndef CRF_DICT_H
#define CRF_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DICT_NONE UINT32_MAX

/*
 * An open hash table. Its three arrays hold no pointers, so that a model file holds
 * them as they are. A slot is 0, or the upper half of the text's hash and 1 + the
 * text's number.
 */
struct dict {
    uint64_t *slots;   /* [nslots], a power of two */
    uint64_t *offsets; /* [count + 1] of texts, in text */
    char *text;        /* each text ends in a zero byte */
    size_t nslots, count, offsets_room, text_room;
};

bool dict_init(struct dict *dict);
void dict_free(struct dict *dict);

/* The text's number, a new one if need be; DICT_NONE when memory is short. */
uint32_t dict_put(struct dict *dict, const char *text, size_t bytes);

/* The text's number, or DICT_NONE. */
uint32_t dict_find(const struct dict *dict, const char *text, size_t bytes);

/* The numbers of up to DICT_GROUP texts at once: the slots of all are fetched before
 * the first is looked at. Text i ends at ends[i], and begins where the one before ends,
 * the first at "begin". */
#define DICT_GROUP 32
void dict_find_group(const struct dict *dict, const char *text, size_t begin,
                     const size_t *ends, size_t count, uint32_t *numbers);

/* The hash that stands in slots, and from which hashed features are made. */
uint64_t dict_hash(const char *text, size_t bytes);

static inline const char *dict_text(const struct dict *dict, uint32_t number)
{
    return dict->text + dict->offsets[number];
}

#endif
