/* SPDX-License-Identifier: BSD-3-Clause */
/* Which weights a model has, and where they lie; see feature_set.c. */
#ifndef CRF_FEATURE_SET_H
#define CRF_FEATURE_SET_H

#include "corpus.h"
#include "kernels.h"

/*
 * The weights of a model, numbered: attribute a has the features row[a] .. row[a + 1] -
 * 1, one for each label in label[], ascending; then come the transitions, from[i] to
 * to[i], in the order of their pairs; then, for each attribute, those of the pairs of
 * labels pair_from[i], pair_to[i], in that order: pair_row[a] .. pair_row[a + 1] - 1.
 */
struct features {
    size_t nattrs, nlabels;
    size_t nstate, ntrans, npairs;
    size_t *row;     /* [nattrs + 1] */
    uint16_t *label; /* [nstate] */
    uint16_t *from, *to;
    size_t *pair_row; /* [nattrs + 1], or NULL: npairs is 0 */
    uint16_t *pair_from, *pair_to;
};

/* All pairs of attribute and label, of label and next label, and of the latter with an
 * attribute, that the corpus has at least min_count times (a pair's count is the sum of
 * its values' magnitudes). False when memory is short. */
bool features_build(struct features *features, const struct corpus *corpus,
                    size_t nattrs, size_t nlabels, bool transitions, double min_count);
void features_free(struct features *features);

/* The part of features_build() that is in feature_pairs.c. */
bool features_add_pairs(struct features *features, const struct corpus *corpus,
                        double min_count);

static inline size_t features_count(const struct features *features)
{
    return features->nstate + features->ntrans + features->npairs;
}

/*
 * Where kernels find the weights: attributes with many labels have a row of P weights,
 * the others a cell for each label. Those of pairs of labels come last, in their order.
 */
struct layout {
    const struct features *features; /* borrowed */
    size_t pad;                      /* P */
    size_t nrows, nslots;            /* cells begin at slot nrows * P */
    size_t first_pair;               /* slot of the first feature of a pair */
    uint32_t *row_of;                /* [nattrs] number of the row, or LAYOUT_CELLS */
    uint32_t *slot;                  /* [nstate] of each feature */
};
#define LAYOUT_CELLS UINT32_MAX

/* What is used often lies together, and what is used once in the order of its use.
 * uses[nattrs], or NULL: not known. */
bool layout_build(struct layout *layout, const struct features *features, size_t pad,
                  const uint32_t *uses);
void layout_free(struct layout *layout);

/* Sentences whose attributes are rows and cells. */
struct shard {
    size_t nsentences, ntokens;
    size_t *token_at; /* [nsentences + 1] */
    size_t *row_at, *cell_at;
    uint32_t *rows, *cells;
    uint16_t *cell_labels; /* of each cell: read in order, unlike the layout's */
    float *row_values, *cell_values;
    size_t *edge_at; /* of features of pairs, or NULL: the model has none */
    struct edge *edges;
    float *edge_values;
    uint16_t *labels; /* [ntokens] */
};

/* The sentences list[0 .. count - 1] of a corpus. */
bool shard_build(struct shard *shard, const struct corpus *corpus,
                 const struct layout *layout, const uint32_t *list, size_t count);
void shard_free(struct shard *shard);

/* The part of shard_build() that is in edges.c. */
bool shard_add_edges(struct shard *shard, const struct corpus *corpus,
                     const struct layout *layout, const uint32_t *list, size_t count);

/* Of one sentence, for the kernels. */
struct tokens shard_tokens(const struct shard *shard, size_t sentence);

#endif
