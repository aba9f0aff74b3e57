/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One tree: nodes in an array, children in pairs, leaves that hold a class, a
 * distribution or a number. Its canonical form depends on its splits alone, not on the
 * order in which they were found, so that equal trees are equal bytes.
 */
#ifndef PRF_TREE_H
#define PRF_TREE_H

#include "table.h"

enum node_kind {
    NODE_LEAF = 0,
    NODE_NUMBER = 1,   /* a threshold */
    NODE_CATEGORY = 2, /* a set of categories */
    NODE_OPEN = 3      /* while growing: not yet decided */
};

/* 8 bytes, in memory and in the file. */
struct node {
    uint32_t link; /* NODE_NUMBER: the left child; the right one follows.
                      NODE_CATEGORY: its set, which knows the child.
                      Leaf: class c < K, or K + number of its distribution; or, for
                      regression, the bits of an int32_t */
    uint32_t feature : 21;
    uint32_t kind : 2;         /* enum node_kind */
    uint32_t missing_left : 1; /* NODE_NUMBER: where BIN_MISSING goes */
    uint32_t threshold : 8;    /* NODE_NUMBER: bins up to this one go left */
};

#define TREE_MAX_FEATURES ((size_t)1 << 21)

struct category_set {
    uint64_t left[BINS / 64]; /* bit b: bin b goes left */
    uint32_t child;           /* the left one */
    uint32_t unused;
};

struct tree {
    struct node *nodes;
    size_t nnodes, node_room;
    uint16_t *shares; /* [nshares][K] of mixed leaves: fractions of 65535 */
    size_t nshares, share_room;
    struct category_set *sets;
    size_t nsets, set_room;
    size_t depth;
    uint32_t oob_rows, oob_right; /* out-of-bag rows, and those it classified right */
    double oob_error;             /* regression: mean squared error, in units squared */
};

/* All return false when memory is short. */
bool tree_add_pair(struct tree *tree, uint32_t *left);
bool tree_add_shares(struct tree *tree, size_t nclasses, uint32_t *number);
bool tree_add_set(struct tree *tree, const struct category_set *set, uint32_t *number);
bool tree_start(struct tree *tree); /* empties it; one open node, the root */
void tree_free(struct tree *tree);

/* Renumber: pairs in the order of a walk that goes left first. "scratch" gets the
 * canonical tree's arrays, which are then exchanged with the tree's. */
bool tree_canonical(struct tree *tree, size_t nclasses, struct tree *scratch);

static inline uint32_t tree_child(const struct tree *tree, const struct node *node)
{
    return node->kind == NODE_CATEGORY ? tree->sets[node->link].child : node->link;
}

/* Does a bin go left at a node? */
static inline bool tree_goes_left(const struct node *node,
                                  const struct category_set *sets, uint8_t bin)
{
    if (node->kind == NODE_CATEGORY)
        return sets[node->link].left[bin / 64] >> (bin % 64) & 1;
    /* One is added to both sides where missing goes left: 255 becomes 0. */
    uint8_t shift = (uint8_t)node->missing_left;
    return (uint8_t)(bin + shift) <= (uint8_t)(node->threshold + shift);
}

/* Copy the part of a tree below node "at" over the node "number" of another one. */
bool tree_copy_part(const struct tree *from, uint32_t at, size_t nclasses,
                    struct tree *to, uint32_t number);

#endif
