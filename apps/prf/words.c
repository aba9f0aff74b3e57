/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Words and their numbers, by the C library's search trees.
 */
#include "words.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct word {
    const char *text;
    size_t number;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct word *)a)->text, ((const struct word *)b)->text);
}

static int64_t add_word(struct words *words, const char *text)
{
    if (words->n == words->room) {
        size_t room = words->room ? 2 * words->room : 16;
        char **larger = realloc(words->text, room * sizeof *larger);
        if (!larger)
            return -1;
        words->text = larger;
        words->room = room;
    }
    char *copy = strdup(text);
    struct word *word = malloc(sizeof *word);
    if (!copy || !word) {
        free(copy);
        free(word);
        return -1;
    }
    *word = (struct word){copy, words->n};
    if (!tsearch(word, &words->root, compare)) {
        free(copy);
        free(word);
        return -1;
    }
    words->text[words->n++] = copy;
    return (int64_t)word->number;
}

int64_t words_find(struct words *words, const char *text, bool add)
{
    struct word key = {text, 0};
    void *const *found = tfind(&key, &words->root, compare);
    if (found)
        return (int64_t)((const struct word *)*found)->number;
    return add ? add_word(words, text) : -2;
}

void words_free(struct words *words)
{
    tdestroy(words->root, free);
    for (size_t i = 0; i < words->n; i++)
        free(words->text[i]);
    free(words->text);
    *words = (struct words){0};
}
