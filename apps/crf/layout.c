/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where weights lie for the kernels. An attribute seen with many labels, such as a tag,
 * is a row: one vector addition or two serve all labels. One seen with few, such as a
 * pair of words, is a cell per label. Each sentence keeps its lists of rows and cells,
 * so that an evaluation looks nothing up.
 */
#include "feature_set.h"

#include <stdlib.h>
#include <string.h>

/* Labels from which on a row is cheaper than cells. Rows need fewer instructions but
 * more memory, and what is outside the second-level cache costs most. Measured on
 * CoNLL-2000, where 6 to 10 labels of 22 are equally good. */
static size_t row_labels(size_t pad)
{
    return pad / 4 > 3 ? pad / 4 : 3;
}

void layout_free(struct layout *layout)
{
    free(layout->row_of);
    free(layout->slot);
    *layout = (struct layout){0};
}

/* Attributes by falling order of magnitude of their uses; those of one order stay in
 * theirs. */
static uint32_t *sort_by_use(const struct features *features, const uint32_t *uses)
{
    enum { ORDERS = 33 };
    size_t at[ORDERS + 1] = {0};
    uint32_t *sorted = malloc((features->nattrs + 1) * sizeof *sorted);
    for (int pass = 0; sorted && pass < 2; pass++)
        for (size_t a = 0; a < features->nattrs; a++) {
            int order = ORDERS - 1; /* of 0 uses */
            for (uint32_t n = uses ? uses[a] : 0; n > 0; n /= 2)
                order--;
            if (pass == 0)
                at[order + 1]++;
            else
                sorted[at[order]++] = (uint32_t)a;
            if (pass == 0 && a + 1 == features->nattrs)
                for (int i = 0; i < ORDERS; i++)
                    at[i + 1] += at[i];
        }
    return sorted;
}

static void place(struct layout *layout, const uint32_t *sorted)
{
    const struct features *features = layout->features;
    size_t at = layout->nrows * layout->pad;
    uint32_t row = 0;
    for (size_t k = 0; k < features->nattrs; k++) {
        uint32_t a = sorted[k];
        bool cells = layout->row_of[a] == LAYOUT_CELLS;
        if (!cells)
            layout->row_of[a] = row++;
        for (size_t i = features->row[a]; i < features->row[a + 1]; i++) {
            uint16_t label = features->label[i];
            layout->slot[i] =
                (uint32_t)(cells ? at++ : layout->row_of[a] * layout->pad + label);
        }
    }
    layout->first_pair = at;
    layout->nslots = at + features->npairs;
}

bool layout_build(struct layout *layout, const struct features *features, size_t pad,
                  const uint32_t *uses)
{
    *layout = (struct layout){.features = features, .pad = pad};
    layout->row_of = malloc((features->nattrs + 1) * sizeof *layout->row_of);
    layout->slot = malloc((features->nstate + 1) * sizeof *layout->slot);
    uint32_t *sorted = sort_by_use(features, uses);
    bool good = layout->row_of && layout->slot && sorted;
    for (size_t a = 0; good && a < features->nattrs; a++) {
        bool row = features->row[a + 1] - features->row[a] >= row_labels(pad);
        layout->row_of[a] = row ? 0 : LAYOUT_CELLS;
        layout->nrows += row;
    }
    good = good && layout->nrows * pad + features_count(features) < UINT32_MAX;
    if (good)
        place(layout, sorted);
    free(sorted);
    return good;
}

void shard_free(struct shard *shard)
{
    free(shard->token_at);
    free(shard->row_at);
    free(shard->cell_at);
    free(shard->rows);
    free(shard->cells);
    free(shard->cell_labels);
    free(shard->row_values);
    free(shard->cell_values);
    free(shard->edge_at);
    free(shard->edges);
    free(shard->edge_values);
    free(shard->labels);
    *shard = (struct shard){0};
}

/* How many rows and cells the sentences need. */
static void count_slots(const struct corpus *corpus, const struct layout *layout,
                        const uint32_t *list, size_t count, size_t *nrows,
                        size_t *ncells)
{
    const size_t *row = layout->features->row;
    *nrows = *ncells = 0;
    for (size_t s = 0; s < count; s++) {
        size_t end = corpus->state.at[corpus->token_at[list[s] + 1]];
        for (size_t i = corpus->state.at[corpus->token_at[list[s]]]; i < end; i++) {
            uint32_t a = corpus->state.attrs[i];
            if (layout->row_of[a] != LAYOUT_CELLS)
                ++*nrows;
            else
                *ncells += row[a + 1] - row[a];
        }
    }
}

static bool allocate(struct shard *shard, bool values, size_t nrows, size_t ncells)
{
    size_t n = shard->ntokens + 1;
    shard->token_at = malloc((shard->nsentences + 1) * sizeof *shard->token_at);
    shard->row_at = malloc(n * sizeof *shard->row_at);
    shard->cell_at = malloc(n * sizeof *shard->cell_at);
    shard->rows = calloc(nrows + KERNELS_AHEAD, sizeof *shard->rows);
    shard->cells = calloc(ncells + KERNELS_AHEAD, sizeof *shard->cells);
    shard->cell_labels = malloc((ncells + 1) * sizeof *shard->cell_labels);
    shard->labels = malloc(n * sizeof *shard->labels);
    if (values) {
        shard->row_values = malloc((nrows + 1) * sizeof *shard->row_values);
        shard->cell_values = malloc((ncells + 1) * sizeof *shard->cell_values);
    }
    return shard->token_at && shard->row_at && shard->cell_at && shard->rows &&
           shard->cells && shard->cell_labels && shard->labels &&
           (!values || (shard->row_values && shard->cell_values));
}

/* Lists of one token, from *rows and *cells on. */
static void put_token(struct shard *shard, const struct corpus *corpus,
                      const struct layout *layout, size_t t, size_t *rows,
                      size_t *cells)
{
    const size_t *row = layout->features->row;
    for (size_t i = corpus->state.at[t]; i < corpus->state.at[t + 1]; i++) {
        uint32_t a = corpus->state.attrs[i];
        if (layout->row_of[a] != LAYOUT_CELLS) {
            if (shard->row_values)
                shard->row_values[*rows] = corpus->state.values[i];
            shard->rows[(*rows)++] = layout->row_of[a];
            continue;
        }
        for (size_t f = row[a]; f < row[a + 1]; f++) {
            if (shard->cell_values)
                shard->cell_values[*cells] = corpus->state.values[i];
            shard->cell_labels[*cells] = layout->features->label[f];
            shard->cells[(*cells)++] = layout->slot[f];
        }
    }
}

bool shard_build(struct shard *shard, const struct corpus *corpus,
                 const struct layout *layout, const uint32_t *list, size_t count)
{
    size_t nrows, ncells;
    *shard = (struct shard){.nsentences = count};
    for (size_t s = 0; s < count; s++)
        shard->ntokens += corpus->token_at[list[s] + 1] - corpus->token_at[list[s]];
    count_slots(corpus, layout, list, count, &nrows, &ncells);
    if (!allocate(shard, corpus->state.values != NULL, nrows, ncells))
        return false;
    size_t at = nrows = ncells = 0;
    for (size_t s = 0; s < count; s++) {
        shard->token_at[s] = at;
        size_t end = corpus->token_at[list[s] + 1];
        for (size_t t = corpus->token_at[list[s]]; t < end; t++, at++) {
            shard->row_at[at] = nrows;
            shard->cell_at[at] = ncells;
            shard->labels[at] = corpus->labels[t];
            put_token(shard, corpus, layout, t, &nrows, &ncells);
        }
    }
    shard->token_at[count] = at;
    shard->row_at[at] = nrows;
    shard->cell_at[at] = ncells;
    return layout->features->npairs == 0 || !corpus->pairs.at ||
           shard_add_edges(shard, corpus, layout, list, count);
}

struct tokens shard_tokens(const struct shard *shard, size_t sentence)
{
    size_t first = shard->token_at[sentence];
    return (struct tokens){
        .count = shard->token_at[sentence + 1] - first,
        .row_at = shard->row_at + first,
        .cell_at = shard->cell_at + first,
        .rows = shard->rows,
        .cells = shard->cells,
        .cell_labels = shard->cell_labels,
        .row_values = shard->row_values,
        .cell_values = shard->cell_values,
        .edge_at = shard->edge_at ? shard->edge_at + first : NULL,
        .edges = shard->edges,
        .edge_values = shard->edge_values,
    };
}
