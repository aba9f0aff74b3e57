/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing one tree, by one thread: see grow.c. A tree is a function of the table, the
 * parameters and its number.
 */
#ifndef PRF_GROW_H
#define PRF_GROW_H

#include "apply.h"
#include "bins.h"
#include "lanes.h"
#include "split.h"

/* Rows on their way to the ranks that grow the subtrees they are in. */
struct grow_move {
    size_t bytes; /* of a record, which is a row */
    void *self;
    /* Writes the next record; returns the rank that shall have it, -1 at the end. */
    int (*next)(void *self, unsigned char *record);
    bool (*take)(void *self, const unsigned char *record); /* one that has come */
};

/* Ranks that grow one tree together: large nodes are shared by rows or by features,
 * subtrees below them are given out whole. Every rank calls with the same tree; a
 * function that returns false ends growing on this rank. */
struct grow_team {
    int rank, nranks;
    bool by_rows;
    bool sharded; /* each rank has rows of its own (by_rows is set, too); else all
                     see the whole table */
    size_t alone; /* nodes of at most so many entries, LANES_ROWS or more, are grown
                     by one rank */
    size_t moved_rows; /* sharded: rows that a rank takes at once, alone or more */
    void *user;
    bool (*sum_u32)(void *user, uint32_t *values, size_t n);
    bool (*sum_i64)(void *user, int64_t *values, size_t n);
    /* pieces [nranks][bytes]: the own one is filled, all are afterwards. */
    bool (*exchange)(void *user, void *pieces, size_t bytes);
    /* All ranks' records after each other in *all, to be freed; bytes of each. */
    bool (*exchange_records)(void *user, const unsigned char *mine, size_t bytes,
                             unsigned char **all, size_t *all_bytes);
    bool (*move)(void *user, const struct grow_move *move); /* sharded */
};

/* Large nodes that ranks decided together, and the sum of classes that occurred in
 * them (of regression, 2 a node): what their messages were as large as. */
struct grow_shared {
    uint64_t nodes, classes;
};

struct grow_params {
    uint64_t seed;
    enum criterion criterion;
    size_t mtry;      /* usable features that compete in a node */
    size_t max_depth; /* 0: no limit */
    int64_t min_leaf; /* least weight of a leaf, in units of the table's weights */
    uint64_t draws;   /* rows drawn for a tree, with replacement */
    double impurity;  /* what is the unit of importance, per unit of weight */
    const struct lanes_set *lanes;
    const struct bins_set *bins;
    apply_fn *apply;
    const struct grow_team *team; /* NULL: each tree by one thread */
};

struct grower; /* of one thread */

/* NULL when memory is short. Table and parameters are borrowed. */
struct grower *grower_create(const struct table *table,
                             const struct grow_params *params);
void grower_destroy(struct grower *grower);

/* What the team's ranks decided together so far. */
struct grow_shared grower_shared(const struct grower *grower);

/* Grow tree "number" (0, 1, ...) in its canonical form; false when memory is short.
 * Afterwards grower_drawn() [N] tells how often each row was drawn. importance [F]:
 * each split adds the impurity that it removed, per unit of the tree's weight, in units
 * of 2^-32 * params->impurity.
 */
bool grower_grow(struct grower *grower, uint64_t number, struct tree *tree,
                 int64_t *importance);
const uint8_t *grower_drawn(const struct grower *grower);

/* The draws alone, of a tree that was grown before. */
void grower_draw(struct grower *grower, uint64_t number);

#endif
