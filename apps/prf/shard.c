/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where rows are sharded, a rank that grows a subtree gets its rows from all ranks:
 * each sends the bins, the target, the weight and the entry of every row it has there,
 * once a tree. They come in rounds, each of as many subtrees as fit the memory set
 * aside for them on every rank, and are a small table of their own, from which a second
 * grower grows as if nobody else were there. Their order differs from run to run, which
 * changes nothing: all that a node is judged by are sums.
 */
#include "shard.h"

#include "team.h"

#include <stdlib.h>
#include <string.h>

struct shard {
    struct table table;        /* rows that were moved here; they have no label */
    struct grow_params params; /* of growing alone */
    struct grower *grower;
    uint8_t *bins; /* of the table */
    int32_t *target;
    uint32_t *weight;
};

/* Where the rows of a subtree go. */
struct place {
    uint32_t round, first; /* of the owner's table in that round */
    uint32_t filled;
};

struct moving {
    struct grower *g;
    const int *owner;
    struct place *place; /* [nsubtrees] */
    uint32_t round;
    size_t subtree, entry; /* the next one to be sent */
};

/* ---- memory --------------------------------------------------------------------- */

size_t shard_row_bytes(const struct table *table)
{
    return table->nfeatures + sizeof(uint32_t) + sizeof(uint16_t) +
           (table->target ? sizeof *table->target : 0) +
           (table->weight ? sizeof *table->weight : 0);
}

bool shard_make(struct grower *g)
{
    const struct table *table = g->table;
    size_t room = g->params->team->moved_rows;
    struct shard *shard = g->shard = calloc(1, sizeof *shard);
    if (!shard)
        return false;
    shard->bins = malloc(room * table->nfeatures);
    shard->target = table->target ? malloc(room * sizeof *shard->target) : NULL;
    shard->weight = table->weight ? malloc(room * sizeof *shard->weight) : NULL;
    if (!shard->bins || (table->target && !shard->target) ||
        (table->weight && !shard->weight))
        return false;
    shard->table = *table;
    shard->table.nrows = shard->table.all_rows = room;
    shard->table.first_row = 0;
    shard->table.by_row = shard->bins;
    shard->table.by_column = NULL;
    shard->table.target = shard->target;
    shard->table.weight = shard->weight;
    shard->params = *g->params;
    shard->params.team = NULL;
    shard->grower = grower_create(&shard->table, &shard->params);
    return shard->grower != NULL;
}

void shard_free(struct shard *shard)
{
    if (!shard)
        return;
    grower_destroy(shard->grower);
    free(shard->bins);
    free(shard->target);
    free(shard->weight);
    free(shard);
}

/* ---- rows on their way ---------------------------------------------------------- */

static void put(unsigned char **at, const void *value, size_t bytes)
{
    memcpy(*at, value, bytes);
    *at += bytes;
}

static void get(const unsigned char **at, void *value, size_t bytes)
{
    memcpy(value, *at, bytes);
    *at += bytes;
}

static int next(void *self, unsigned char *record)
{
    struct moving *moving = self;
    const struct grower *g = moving->g;
    const struct table *table = g->table;
    for (; moving->subtree < g->nsubtrees; moving->subtree++, moving->entry = 0) {
        const struct task *task = &g->subtrees[moving->subtree];
        if (moving->place[moving->subtree].round != moving->round ||
            moving->entry == task->end - task->begin)
            continue;
        size_t at = task->begin + moving->entry++, row = g->rows[at];
        uint32_t number = (uint32_t)moving->subtree;
        put(&record, &number, sizeof number);
        put(&record, &g->codes[at], sizeof g->codes[at]);
        if (table->target)
            put(&record, &table->target[row], sizeof table->target[row]);
        if (table->weight)
            put(&record, &table->weight[row], sizeof table->weight[row]);
        put(&record, table->by_row + row * table->nfeatures, table->nfeatures);
        return moving->owner[number];
    }
    return -1;
}

static bool take(void *self, const unsigned char *record)
{
    struct moving *moving = self;
    struct shard *shard = moving->g->shard;
    uint32_t number;
    get(&record, &number, sizeof number);
    if (number >= moving->g->nsubtrees)
        return false;
    struct place *place = &moving->place[number];
    if (moving->owner[number] != moving->g->params->team->rank ||
        place->round != moving->round ||
        place->filled == moving->g->subtrees[number].all)
        return false;
    size_t row = place->first + place->filled++, nfeatures = shard->table.nfeatures;
    get(&record, &shard->grower->codes[row], sizeof shard->grower->codes[row]);
    shard->grower->rows[row] = (uint32_t)row;
    if (shard->target)
        get(&record, &shard->target[row], sizeof shard->target[row]);
    if (shard->weight)
        get(&record, &shard->weight[row], sizeof shard->weight[row]);
    get(&record, shard->bins + row * nfeatures, nfeatures);
    return true;
}

/* ---- rounds --------------------------------------------------------------------- */

/* Places of all subtrees, the same on all ranks; number of rounds, 0: no memory. */
static uint32_t plan(const struct grower *g, const int *owner, struct place *place)
{
    const struct grow_team *team = g->params->team;
    uint32_t rounds = 1;
    struct place *next_of = calloc((size_t)team->nranks, sizeof *next_of);
    for (size_t i = 0; next_of && i < g->nsubtrees; i++) {
        struct place *next_place = &next_of[owner[i]];
        if (next_place->first + g->subtrees[i].all > team->moved_rows) {
            next_place->round++;
            next_place->first = 0;
        }
        place[i] = *next_place;
        next_place->first += g->subtrees[i].all;
        if (place[i].round >= rounds)
            rounds = place[i].round + 1;
    }
    bool good = next_of != NULL;
    free(next_of);
    return good ? rounds : 0;
}

bool shard_grow(struct grower *g, const int *owner, struct tree *tree,
                int64_t *importance,
                bool (*grown)(void *user, const struct tree *tree, uint32_t node),
                void *user)
{
    const struct grow_team *team = g->params->team;
    struct grower *alone = g->shard->grower;
    struct moving moving = {.g = g, .owner = owner};
    struct grow_move move = {shard_row_bytes(g->table), &moving, next, take};
    moving.place = calloc(g->nsubtrees + 1, sizeof *moving.place);
    uint32_t rounds = moving.place ? plan(g, owner, moving.place) : 0;
    bool good = rounds > 0;
    alone->importance_unit = g->importance_unit;
    for (; good && moving.round < rounds; moving.round++) {
        moving.subtree = moving.entry = 0;
        good = team->move(team->user, &move);
        for (size_t i = 0; good && i < g->nsubtrees; i++) {
            const struct place *place = &moving.place[i];
            if (owner[i] != team->rank || place->round != moving.round)
                continue;
            struct task task = g->subtrees[i];
            task.begin = place->first;
            task.end = place->first + task.all;
            good = place->filled == task.all &&
                   grower_grow_part(alone, &task, tree, importance) &&
                   grown(user, tree, task.node);
        }
    }
    free(moving.place);
    return good;
}
