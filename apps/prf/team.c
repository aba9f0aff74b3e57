/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Subtrees of a tree that ranks grow together. The large nodes at its top were decided
 * by all ranks, who therefore agree on the rows of every subtree; now each takes some
 * whole subtrees, about equally many rows, and the finished ones go to all as records.
 */
#include "team.h"

#include "record.h"
#include "shard.h"

#include <stdlib.h>
#include <string.h>

bool team_put_off(struct grower *g, const struct task *task)
{
    if (g->nsubtrees == g->subtree_room) {
        size_t room = g->subtree_room ? 2 * g->subtree_room : 64;
        struct task *subtrees = realloc(g->subtrees, room * sizeof *subtrees);
        if (!subtrees)
            return false;
        g->subtrees = subtrees;
        g->subtree_room = room;
    }
    g->subtrees[g->nsubtrees++] = *task;
    return true;
}

/* owner [nsubtrees]: each goes to the rank that has fewest rows so far. */
static int *share_out(const struct grower *g, int nranks)
{
    int *owner = malloc((g->nsubtrees + 1) * sizeof *owner);
    uint64_t *load = calloc((size_t)nranks, sizeof *load);
    for (size_t i = 0; owner && load && i < g->nsubtrees; i++) {
        int least = 0;
        for (int r = 1; r < nranks; r++)
            if (load[r] < load[least])
                least = r;
        owner[i] = least;
        load[least] += g->subtrees[i].all;
    }
    if (!load) {
        free(owner);
        owner = NULL;
    }
    free(load);
    return owner;
}

/* Records of one rank's subtrees, one after the other. */
struct records {
    unsigned char *bytes;
    size_t count, nclasses;
};

/* Append the subtree at a node. */
static bool append(void *user, const struct tree *tree, uint32_t node)
{
    struct records *records = user;
    struct tree part = {0};
    size_t nclasses = records->nclasses;
    bool good = tree_start(&part) && tree_copy_part(tree, node, nclasses, &part, 0);
    part.depth = tree->depth;
    size_t more = good ? record_bytes(&part, nclasses) : 0;
    unsigned char *larger =
        good ? realloc(records->bytes, records->count + more) : NULL;
    if (larger) {
        records->bytes = larger;
        record_write(&part, nclasses, larger + records->count);
        records->count += more;
    }
    tree_free(&part);
    return larger != NULL;
}

/* Put the records of all ranks, which lie after each other, where they belong. */
static bool graft(const struct grower *g, const int *owner, int nranks,
                  const unsigned char *bytes, size_t count, struct tree *tree)
{
    size_t nclasses = g->table->nclasses, at = 0;
    for (int r = 0; r < nranks; r++)
        for (size_t i = 0; i < g->nsubtrees; i++) {
            if (owner[i] != r)
                continue;
            struct tree part = {0};
            size_t size =
                count - at < RECORD_HEAD ? 0 : record_bytes_of(bytes + at, nclasses);
            bool good =
                size > 0 && size <= count - at &&
                !record_read(bytes + at, nclasses, g->table->nfeatures, &part) &&
                tree_copy_part(&part, 0, nclasses, tree, g->subtrees[i].node);
            if (part.depth > tree->depth)
                tree->depth = part.depth;
            tree_free(&part);
            if (!good)
                return false;
            at += size;
        }
    return true;
}

/* Of a table that all ranks see. */
static bool grow_own(struct grower *g, const int *owner, int rank, struct tree *tree,
                     int64_t *importance, struct records *mine)
{
    for (size_t i = 0; i < g->nsubtrees; i++)
        if (owner[i] == rank &&
            (!grower_grow_part(g, &g->subtrees[i], tree, importance) ||
             !append(mine, tree, g->subtrees[i].node)))
            return false;
    return true;
}

bool team_grow_subtrees(struct grower *g, struct tree *tree, int64_t *importance)
{
    const struct grow_team *team = g->team;
    size_t nclasses = g->table->nclasses, all_count = 0;
    unsigned char *all = NULL;
    struct records mine = {.nclasses = nclasses};
    struct tree scratch = {0};
    int *owner = share_out(g, team->nranks);
    bool good = owner != NULL;
    g->team = NULL; /* from here on alone */
    if (good && team->sharded)
        good = shard_grow(g, owner, tree, importance, append, &mine);
    else if (good)
        good = grow_own(g, owner, team->rank, tree, importance, &mine);
    good =
        good &&
        team->exchange_records(team->user, mine.bytes, mine.count, &all, &all_count) &&
        graft(g, owner, team->nranks, all, all_count, tree) &&
        tree_canonical(tree, nclasses, &scratch);
    tree_free(&scratch);
    free(owner);
    free(mine.bytes);
    free(all);
    return good;
}
