/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The part of a shard that is about pairs of labels: for each token the weights that
 * its attributes add to transitions, sorted by transition, so that the kernels sum up
 * those of one transition as they go along.
 */
#include "feature_set.h"
#include "grow.h"

#include <stdlib.h>

struct valued {
    struct edge edge;
    float value;
};

static int compare(const void *a, const void *b)
{
    const struct edge *x = &((const struct valued *)a)->edge;
    const struct edge *y = &((const struct valued *)b)->edge;
    if (x->from != y->from)
        return x->from > y->from ? 1 : -1;
    if (x->to != y->to)
        return x->to > y->to ? 1 : -1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

static size_t count_edges(const struct corpus *corpus, const struct features *features,
                          const uint32_t *list, size_t count)
{
    const struct uses *uses = &corpus->pairs;
    size_t n = 0;
    for (size_t s = 0; s < count; s++) {
        size_t end = uses->at[corpus->token_at[list[s] + 1]];
        for (size_t i = uses->at[corpus->token_at[list[s]]]; i < end; i++) {
            uint32_t a = uses->attrs[i];
            n += features->pair_row[a + 1] - features->pair_row[a];
        }
    }
    return n;
}

/* Those of one token, sorted, in *found; their number, or SIZE_MAX: memory is short. */
static size_t find_edges(const struct corpus *corpus, const struct layout *layout,
                         size_t t, struct valued **found, size_t *room)
{
    const struct features *features = layout->features;
    const struct uses *uses = &corpus->pairs;
    size_t n = 0;
    for (size_t i = uses->at[t]; i < uses->at[t + 1]; i++) {
        uint32_t a = uses->attrs[i];
        size_t begin = features->pair_row[a], end = features->pair_row[a + 1];
        if (!GROW(*found, *room, n + end - begin + 1))
            return SIZE_MAX;
        for (size_t f = begin; f < end; f++)
            (*found)[n++] =
                (struct valued){.edge = {.from = features->pair_from[f],
                                         .to = features->pair_to[f],
                                         .slot = (uint32_t)(layout->first_pair + f)},
                                .value = uses->values ? uses->values[i] : 1};
    }
    if (n > 1)
        qsort(*found, n, sizeof **found, compare);
    return n;
}

bool shard_add_edges(struct shard *shard, const struct corpus *corpus,
                     const struct layout *layout, const uint32_t *list, size_t count)
{
    size_t n = count_edges(corpus, layout->features, list, count), at = 0, room = 0;
    bool values = corpus->pairs.values != NULL;
    struct valued *found = NULL;
    shard->edge_at = malloc((shard->ntokens + 1) * sizeof *shard->edge_at);
    shard->edges = calloc(n + KERNELS_AHEAD, sizeof *shard->edges);
    shard->edge_values = values ? malloc((n + 1) * sizeof(float)) : NULL;
    bool good = shard->edge_at && shard->edges && (!values || shard->edge_values);
    for (size_t s = 0, token = 0; good && s < count; s++)
        for (size_t t = corpus->token_at[list[s]];
             good && t < corpus->token_at[list[s] + 1]; t++) {
            size_t here = find_edges(corpus, layout, t, &found, &room);
            good = here != SIZE_MAX;
            shard->edge_at[token++] = at;
            for (size_t i = 0; good && i < here; i++, at++) {
                shard->edges[at] = found[i].edge;
                if (values)
                    shard->edge_values[at] = found[i].value;
            }
        }
    if (good)
        shard->edge_at[shard->ntokens] = at;
    free(found);
    return good;
}
