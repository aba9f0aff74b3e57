/* SPDX-License-Identifier: BSD-3-Clause */
/* Keys from files: a column of a table or of a corpus, or the words of a text. */
#ifndef SKEW_INPUT_H
#define SKEW_INPUT_H

#include "commands.h"

/* Keys in the order of the file. */
struct key_list {
    dml_key_kind kind;
    size_t count, room;
    size_t *ends; /* [count] of the texts, in bytes of text */
    char *text;
    size_t text_bytes, text_room;
    uint64_t *u64;    /* [count] if of kind DML_KEY_U64 */
    dml_bytes *bytes; /* [count] else; made by key_list_close() */
    dml_weight weight;
    double *values; /* [count] of --weight; NULL without it */
    double heaviest;
    size_t values_room;
};

/* Add a key, understood as --as says; "row" is for the message. */
dml_status key_list_add(struct job *job, const struct skew_options *options,
                        struct key_list *list, dml_text text, uint64_t row);

/* The weight of the key that was added last. */
dml_status key_list_weigh(struct job *job, const struct skew_options *options,
                          struct key_list *list, dml_text text, uint64_t row);

/* What the i-th record costs: 1 without --weight. */
double key_list_cost(const struct key_list *list, size_t i);

/* No more keys will come. */
dml_status key_list_close(struct job *job, struct key_list *list);

void key_list_free(struct key_list *list);

/* A part of the list, for the library; valid while the list is. */
dml_keys key_list_part(const struct key_list *list, size_t first, size_t count);

/* All keys of a file, by --data, --key, --format and --as. */
dml_status key_list_read(struct job *job, const struct skew_options *options,
                         struct key_list *list);

/* How --sample, --rate and --seed sample keys of a kind, each of weight 1. */
dml_sampler_opts sampling_opts(const struct skew_options *options, dml_key_kind kind);

/* The next word of a text that ends with a zero, from *at on; false: none. */
bool next_word(const char **at, dml_text *word);

/* The number-th cell, from 1 on, of a line whose cells are separated by tabs; -1 is the
 * last; 0: the whole line. False when there are fewer. */
bool find_cell(dml_text line, long number, dml_text *cell);

/* A cell's number from --key; "all" is the word for 0. False when it is neither. */
bool parse_cell(const char *key, const char *all, long *number);

/* A text as a number, and as an ordered key. False when it is none. */
bool parse_number(dml_text text, double *value);
bool number_key(dml_text text, uint64_t *key);

/* Make an array of items grow to hold one more; false when there is no memory. */
bool grow(void **items, size_t *room, size_t needed, size_t item_bytes);

#endif
