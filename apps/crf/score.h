/* SPDX-License-Identifier: BSD-3-Clause */
/* How well found labels match given ones, by token and by chunk; see score.c. */
#ifndef CRF_SCORE_H
#define CRF_SCORE_H

#include "corpus.h"

#include <jansson.h>

struct counts {
    size_t given, found, right;
};

struct score {
    size_t tokens, right; /* tokens whose label is right */
    struct counts all;    /* chunks */
    struct dict types;
    struct counts *by_type; /* [types_room] */
    size_t types_room;
    bool chunked; /* labels are those of chunks: some begin with B- or I- */
};

bool score_init(struct score *score);
void score_free(struct score *score);

/* Add the sentences of a corpus; labels[ntokens] are numbers in "names". */
bool score_add(struct score *score, const struct corpus *corpus,
               const struct dict *names, const uint16_t *labels);

double score_accuracy(const struct score *score);
double score_precision(const struct counts *counts);
double score_recall(const struct counts *counts);
double score_f1(const struct counts *counts);

/* The figure that "metric" names: "auto", "f1" or "accuracy". */
double score_value(const struct score *score, const char *metric);
const char *score_metric(const struct score *score, const char *metric);

/* As conlleval prints it. */
void score_print(const struct score *score, FILE *out);
json_t *score_json(const struct score *score);

#endif
