/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays of a tree that grow, its canonical form, and the walk of rows to leaves.
 */
#include "tree.h"

#include <stdlib.h>
#include <string.h>

static bool make_room(void **array, size_t *room, size_t count, size_t bytes)
{
    if (count <= *room)
        return true;
    size_t larger = *room ? 2 * *room : 1024;
    while (larger < count)
        larger *= 2;
    void *moved = larger < SIZE_MAX / bytes ? realloc(*array, larger * bytes) : NULL;
    if (!moved)
        return false;
    *array = moved;
    *room = larger;
    return true;
}

bool tree_start(struct tree *tree)
{
    tree->nnodes = tree->nshares = tree->nsets = tree->depth = 0;
    tree->oob_rows = tree->oob_right = 0;
    tree->oob_error = 0;
    if (!make_room((void **)&tree->nodes, &tree->node_room, 1, sizeof *tree->nodes))
        return false;
    tree->nodes[0] = (struct node){.kind = NODE_OPEN};
    tree->nnodes = 1;
    return true;
}

bool tree_add_pair(struct tree *tree, uint32_t *left)
{
    if (tree->nnodes > UINT32_MAX - 2 ||
        !make_room((void **)&tree->nodes, &tree->node_room, tree->nnodes + 2,
                   sizeof *tree->nodes))
        return false;
    *left = (uint32_t)tree->nnodes;
    tree->nodes[tree->nnodes++] = (struct node){.kind = NODE_OPEN};
    tree->nodes[tree->nnodes++] = (struct node){.kind = NODE_OPEN};
    return true;
}

bool tree_add_shares(struct tree *tree, size_t nclasses, uint32_t *number)
{
    if (!make_room((void **)&tree->shares, &tree->share_room,
                   (tree->nshares + 1) * nclasses, sizeof *tree->shares))
        return false;
    *number = (uint32_t)tree->nshares++;
    return true;
}

bool tree_add_set(struct tree *tree, const struct category_set *set, uint32_t *number)
{
    if (!make_room((void **)&tree->sets, &tree->set_room, tree->nsets + 1,
                   sizeof *tree->sets))
        return false;
    tree->sets[tree->nsets] = *set;
    *number = (uint32_t)tree->nsets++;
    return true;
}

void tree_free(struct tree *tree)
{
    free(tree->nodes);
    free(tree->shares);
    free(tree->sets);
    *tree = (struct tree){0};
}

/* ---- canonical form ------------------------------------------------------------- */

/* Copies one node with what belongs to it. An inner node's link is the caller's. */
static bool copy_node(const struct tree *from, uint32_t at, size_t nclasses,
                      struct tree *to, uint32_t number)
{
    struct node node = from->nodes[at];
    if (node.kind == NODE_LEAF && nclasses > 0 && node.link >= nclasses) {
        uint32_t row;
        if (!tree_add_shares(to, nclasses, &row))
            return false;
        memcpy(to->shares + row * nclasses,
               from->shares + (node.link - nclasses) * nclasses,
               nclasses * sizeof *to->shares);
        node.link = (uint32_t)nclasses + row;
    } else if (node.kind == NODE_CATEGORY) {
        uint32_t set;
        if (!tree_add_set(to, &from->sets[node.link], &set))
            return false;
        node.link = set;
    }
    to->nodes[number] = node;
    return true;
}

/* A right child that waits for its turn. */
struct waiting {
    uint32_t old, number;
};

static bool copy_walk(const struct tree *from, size_t nclasses, struct tree *to,
                      struct waiting at, struct waiting **stack, size_t *room)
{
    size_t n = 0;
    for (;;) {
        if (!copy_node(from, at.old, nclasses, to, at.number))
            return false;
        struct node *node = &to->nodes[at.number];
        if (node->kind != NODE_LEAF) {
            uint32_t left, old = tree_child(from, &from->nodes[at.old]);
            if (!tree_add_pair(to, &left) ||
                !make_room((void **)stack, room, n + 1, sizeof **stack))
                return false;
            node = &to->nodes[at.number];
            *(node->kind == NODE_CATEGORY ? &to->sets[node->link].child : &node->link) =
                left;
            (*stack)[n++] = (struct waiting){old + 1, left + 1};
            at = (struct waiting){old, left};
        } else if (n == 0) {
            return true;
        } else {
            at = (*stack)[--n];
        }
    }
}

bool tree_copy_part(const struct tree *from, uint32_t at, size_t nclasses,
                    struct tree *to, uint32_t number)
{
    struct waiting *stack = NULL;
    size_t room = 0;
    struct waiting begin = {at, number};
    bool good = copy_walk(from, nclasses, to, begin, &stack, &room);
    free(stack);
    return good;
}

bool tree_canonical(struct tree *tree, size_t nclasses, struct tree *scratch)
{
    if (!tree_start(scratch) || !tree_copy_part(tree, 0, nclasses, scratch, 0))
        return false;
    scratch->depth = tree->depth;
    scratch->oob_rows = tree->oob_rows;
    scratch->oob_right = tree->oob_right;
    scratch->oob_error = tree->oob_error;
    struct tree swap = *tree;
    *tree = *scratch;
    *scratch = swap;
    return true;
}
