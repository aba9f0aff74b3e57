/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The features of pairs of labels and attributes: only what was seen in training has a
 * weight, because all pairs of all attributes would be L^2 weights each.
 */
#include "feature_set.h"

#include <math.h>
#include <stdlib.h>

/* A use of an attribute between two known labels. */
struct seen {
    uint32_t pair; /* label before * L + label */
    float value;   /* its magnitude */
};

/* Uses sorted by attribute: of attribute a those at[a] .. at[a + 1] - 1. */
struct sorted {
    size_t *at;
    struct seen *uses;
};

static bool known(const struct corpus *corpus, size_t t)
{
    return corpus->labels[t - 1] != LABEL_NONE && corpus->labels[t] != LABEL_NONE;
}

/* Only a sentence's first token has no label before, and it uses no such attribute. */
static bool sort_by_attribute(struct sorted *sorted, const struct corpus *corpus,
                              size_t nattrs, size_t nlabels)
{
    const struct uses *uses = &corpus->pairs;
    *sorted = (struct sorted){
        .at = calloc(nattrs + 2, sizeof *sorted->at),
        .uses = malloc((uses->count + 1) * sizeof *sorted->uses),
    };
    if (!sorted->at || !sorted->uses)
        return false;
    for (size_t t = 1; t < corpus->ntokens; t++)
        for (size_t i = uses->at[t]; i < uses->at[t + 1] && known(corpus, t); i++)
            sorted->at[uses->attrs[i] + 2]++;
    for (size_t a = 2; a <= nattrs; a++)
        sorted->at[a] += sorted->at[a - 1];
    for (size_t t = 1; t < corpus->ntokens; t++)
        for (size_t i = uses->at[t]; i < uses->at[t + 1] && known(corpus, t); i++)
            sorted->uses[sorted->at[uses->attrs[i] + 1]++] = (struct seen){
                .pair = (uint32_t)(corpus->labels[t - 1] * nlabels + corpus->labels[t]),
                .value = uses->values ? fabsf(uses->values[i]) : 1};
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    return (x->pair > y->pair) - (x->pair < y->pair);
}

/* The pairs of one attribute that are seen often enough, appended, ascending. */
static void add_attribute(struct features *features, struct seen *uses, size_t count,
                          double min_count)
{
    qsort(uses, count, sizeof *uses, compare);
    for (size_t begin = 0, end; begin < count; begin = end) {
        double sum = 0;
        for (end = begin; end < count && uses[end].pair == uses[begin].pair; end++)
            sum += (double)uses[end].value;
        if (sum <= 0 || sum < min_count)
            continue;
        features->pair_from[features->npairs] =
            (uint16_t)(uses[begin].pair / features->nlabels);
        features->pair_to[features->npairs++] =
            (uint16_t)(uses[begin].pair % features->nlabels);
    }
}

bool features_add_pairs(struct features *features, const struct corpus *corpus,
                        double min_count)
{
    size_t nattrs = features->nattrs, most;
    struct sorted sorted;
    bool good = sort_by_attribute(&sorted, corpus, nattrs, features->nlabels);
    features->pair_row = calloc(nattrs + 1, sizeof *features->pair_row);
    if (good) {
        most = sorted.at[nattrs] + 1;
        features->pair_from = malloc(most * sizeof *features->pair_from);
        features->pair_to = malloc(most * sizeof *features->pair_to);
    }
    good = good && features->pair_row && features->pair_from && features->pair_to;
    for (size_t a = 0; good && a < nattrs; a++) {
        add_attribute(features, sorted.uses + sorted.at[a],
                      sorted.at[a + 1] - sorted.at[a], min_count);
        features->pair_row[a + 1] = features->npairs;
    }
    if (good) {
        size_t bytes = (features->npairs + 1) * sizeof(uint16_t);
        void *from = realloc(features->pair_from, bytes);
        void *to = realloc(features->pair_to, bytes);
        features->pair_from = from ? from : features->pair_from;
        features->pair_to = to ? to : features->pair_to;
    }
    free(sorted.at);
    free(sorted.uses);
    return good;
}
