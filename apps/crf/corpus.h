/* SPDX-License-Identifier: BSD-3-Clause */
/* Sentences as numbers: attributes and labels of each token; see corpus.c. */
#ifndef CRF_CORPUS_H
#define CRF_CORPUS_H

#include "dict.h"
#include "template.h"

#define LABEL_NONE   UINT16_MAX /* of a token whose label is not known */
#define MAX_LABELS   4096
#define MAX_HASHBITS 30

/* What numbers stand for. */
struct vocabulary {
    struct dict labels;
    struct dict attributes; /* unused with hashing */
    int hash_bits;          /* 0: none; else an attribute's number is its hash */
    bool frozen;            /* new attributes get no number; new labels do */
};

/* Token t uses the attributes attrs[at[t]] .. attrs[at[t + 1] - 1]. */
struct uses {
    size_t count;
    size_t *at; /* [tokens + 1], or NULL: no token uses any */
    uint32_t *attrs;
    float *values; /* [count], or NULL: all are 1 */
    size_t tokens_room, attrs_room, values_room;
};

/* Sentence i has the tokens token_at[i] .. token_at[i + 1] - 1. */
struct corpus {
    size_t nsentences, ntokens;
    size_t *token_at;
    uint16_t *labels;
    struct uses state; /* attributes that meet a token's label */
    struct uses pairs; /* and those that meet the label before, too */
    size_t sentences_room, labels_room;
};

/* How a file's sentences become attributes and labels. */
struct source {
    enum reader_format format;
    const struct template *template; /* NULL for items */
    long label;                      /* column, from 0; LABEL_ABSENT; LABEL_LAST */
};

void vocabulary_free(struct vocabulary *vocabulary);

/* A hash of all labels and attributes in their order. */
uint64_t vocabulary_mark(const struct vocabulary *vocabulary);

/* Append a sentence. "scratch" is kept between calls. On failure the job holds a line.
 */
dml_status corpus_add(struct corpus *corpus, struct job *job,
                      struct vocabulary *vocabulary, const struct source *source,
                      const struct sentence *sentence, const char *path,
                      struct attributes *scratch);

/* Append all sentences of a file. */
dml_status corpus_read(struct corpus *corpus, struct job *job,
                       struct vocabulary *vocabulary, const struct source *source,
                       const char *path);

/* A hash of all sentences as numbers, which goes on from another one. */
uint64_t corpus_mark(const struct corpus *corpus, uint64_t mark);

/* Forget which attributes are used, keep the labels. */
void corpus_drop_uses(struct corpus *corpus);

/* Forget the sentences, keep the memory. */
void corpus_clear(struct corpus *corpus);
void corpus_free(struct corpus *corpus);

#endif
