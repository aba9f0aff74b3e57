/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The features of a model: only pairs that were seen in training have a weight, as in
 * CRFsuite.
 */
#include "feature_set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void features_free(struct features *features)
{
    free(features->row);
    free(features->label);
    free(features->from);
    free(features->to);
    free(features->pair_row);
    free(features->pair_from);
    free(features->pair_to);
    *features = (struct features){0};
}

/* Occurrences of the corpus sorted by attribute: of attribute a those at[a] ..
 * at[a + 1] - 1, each with its label and value. */
struct sorted {
    size_t *at;
    uint16_t *labels;
    float *values; /* or NULL: all are 1 */
};

static void sorted_free(struct sorted *sorted)
{
    free(sorted->at);
    free(sorted->labels);
    free(sorted->values);
}

static bool sort_by_attribute(struct sorted *sorted, const struct corpus *corpus,
                              size_t nattrs)
{
    *sorted = (struct sorted){
        .at = calloc(nattrs + 2, sizeof *sorted->at),
        .labels = malloc((corpus->state.count + 1) * sizeof *sorted->labels),
        .values = corpus->state.values
                      ? malloc((corpus->state.count + 1) * sizeof(float))
                      : NULL,
    };
    if (!sorted->at || !sorted->labels || (corpus->state.values && !sorted->values))
        return false;
    for (size_t i = 0; i < corpus->state.count; i++)
        sorted->at[corpus->state.attrs[i] + 2]++;
    for (size_t a = 2; a <= nattrs; a++)
        sorted->at[a] += sorted->at[a - 1];
    for (size_t t = 0; t < corpus->ntokens; t++)
        for (size_t i = corpus->state.at[t]; i < corpus->state.at[t + 1]; i++) {
            size_t to = sorted->at[corpus->state.attrs[i] + 1]++;
            sorted->labels[to] = corpus->labels[t];
            if (corpus->state.values)
                sorted->values[to] = corpus->state.values[i];
        }
    return true;
}

/* The labels of one attribute that are seen often enough, appended. "counts" is all 0
 * before and after. */
static size_t add_attribute(struct features *features, const struct sorted *sorted,
                            size_t attr, double *counts, double min_count)
{
    size_t begin = sorted->at[attr], end = sorted->at[attr + 1], n = features->nstate;
    for (size_t i = begin; i < end; i++)
        if (sorted->labels[i] != LABEL_NONE)
            counts[sorted->labels[i]] +=
                sorted->values ? fabs((double)sorted->values[i]) : 1;
    for (size_t i = begin; i < end; i++) {
        uint16_t label = sorted->labels[i];
        if (label == LABEL_NONE)
            continue;
        double count = counts[label];
        counts[label] = 0; /* a label counts once */
        if (count <= 0 || count < min_count)
            continue;
        size_t at = n++;
        for (; at > features->nstate && features->label[at - 1] > label; at--)
            features->label[at] = features->label[at - 1];
        features->label[at] = label;
    }
    return n;
}

static bool add_states(struct features *features, const struct corpus *corpus,
                       double min_count)
{
    struct sorted sorted;
    double *counts = calloc(features->nlabels + 1, sizeof *counts);
    bool good = sort_by_attribute(&sorted, corpus, features->nattrs) && counts;
    if (good)
        features->label = malloc((corpus->state.count + 1) * sizeof *features->label);
    good = good && features->label;
    for (size_t a = 0; good && a < features->nattrs; a++) {
        features->nstate = add_attribute(features, &sorted, a, counts, min_count);
        features->row[a + 1] = features->nstate;
    }
    free(counts);
    sorted_free(&sorted);
    if (!good)
        return false;
    uint16_t *fitting =
        realloc(features->label, (features->nstate + 1) * sizeof *fitting);
    features->label = fitting ? fitting : features->label;
    return true;
}

static bool add_transitions(struct features *features, const struct corpus *corpus,
                            double min_count)
{
    size_t n = features->nlabels;
    size_t *counts = calloc(n * n + 1, sizeof *counts);
    features->from = malloc((n * n + 1) * sizeof *features->from);
    features->to = malloc((n * n + 1) * sizeof *features->to);
    if (!counts || !features->from || !features->to) {
        free(counts);
        return false;
    }
    for (size_t i = 0; i < corpus->nsentences; i++)
        for (size_t t = corpus->token_at[i] + 1; t < corpus->token_at[i + 1]; t++)
            if (corpus->labels[t - 1] != LABEL_NONE && corpus->labels[t] != LABEL_NONE)
                counts[corpus->labels[t - 1] * n + corpus->labels[t]]++;
    for (size_t i = 0; i < n * n; i++) {
        if (counts[i] == 0 || (double)counts[i] < min_count)
            continue;
        features->from[features->ntrans] = (uint16_t)(i / n);
        features->to[features->ntrans++] = (uint16_t)(i % n);
    }
    free(counts);
    return true;
}

bool features_build(struct features *features, const struct corpus *corpus,
                    size_t nattrs, size_t nlabels, bool transitions, double min_count)
{
    *features = (struct features){.nattrs = nattrs, .nlabels = nlabels};
    features->row = calloc(nattrs + 1, sizeof *features->row);
    return features->row && add_states(features, corpus, min_count) &&
           (!transitions || add_transitions(features, corpus, min_count)) &&
           (!corpus->pairs.at || features_add_pairs(features, corpus, min_count));
}
