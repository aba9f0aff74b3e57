/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers for words in the order in which they are met first; see words.c. */
#ifndef PRF_WORDS_H
#define PRF_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct words {
    void *root;  /* of tsearch(3) */
    char **text; /* [n] owned */
    size_t n, room;
};

/* The word's number; -1 when memory is short, -2 when it is new and "add" is false. */
int64_t words_find(struct words *words, const char *text, bool add);
void words_free(struct words *words);

#endif
