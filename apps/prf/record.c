/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trees to bytes and back; see record.h. Records come from strangers.
 */
#include "record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put(unsigned char **at, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *(*at)++ = (unsigned char)(number >> (8 * i));
}

static uint64_t get(const unsigned char **at, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++)
        number |= (uint64_t) * (*at)++ << (8 * i);
    return number;
}

static size_t bytes_of(size_t nnodes, size_t nshares, size_t nsets, size_t nclasses)
{
    return RECORD_HEAD + nnodes * 8 + nshares * nclasses * 2 + nsets * RECORD_SET;
}

size_t record_bytes(const struct tree *tree, size_t nclasses)
{
    return bytes_of(tree->nnodes, tree->nshares, tree->nsets, nclasses);
}

void record_write(const struct tree *tree, size_t nclasses, unsigned char *bytes)
{
    unsigned char *at = bytes;
    uint64_t error;
    memcpy(&error, &tree->oob_error, sizeof error);
    put(&at, tree->nnodes, 4);
    put(&at, tree->nshares, 4);
    put(&at, tree->nsets, 4);
    put(&at, tree->depth, 4);
    put(&at, tree->oob_rows, 4);
    put(&at, tree->oob_right, 4);
    put(&at, error, 8);
    for (size_t i = 0; i < tree->nnodes; i++) {
        const struct node *node = &tree->nodes[i];
        put(&at, node->link, 4);
        put(&at,
            node->feature | node->kind << 21 | node->missing_left << 23 |
                (uint32_t)node->threshold << 24,
            4);
    }
    for (size_t i = 0; i < tree->nshares * nclasses; i++)
        put(&at, tree->shares[i], 2);
    for (size_t i = 0; i < tree->nsets; i++) {
        for (int w = 0; w < BINS / 64; w++)
            put(&at, tree->sets[i].left[w], 8);
        put(&at, tree->sets[i].child, 4);
    }
}

size_t record_bytes_of(const unsigned char head[RECORD_HEAD], size_t nclasses)
{
    const unsigned char *at = head;
    size_t nnodes = get(&at, 4), nshares = get(&at, 4), nsets = get(&at, 4);
    if (nnodes == 0 || nshares > nnodes || nsets > nnodes)
        return 0;
    return bytes_of(nnodes, nshares, nsets, nclasses);
}

/* Children come after their parent, in pairs, so a walk ends. */
static const char *check(const struct tree *tree, size_t nclasses, size_t nfeatures)
{
    for (size_t i = 0; i < tree->nnodes; i++) {
        const struct node *node = &tree->nodes[i];
        if (node->kind == NODE_OPEN)
            return "a node is unfinished";
        if (node->kind == NODE_LEAF) {
            if (nclasses > 0 && node->link >= nclasses + tree->nshares)
                return "a leaf names a class that is not there";
            continue;
        }
        if (node->feature >= nfeatures)
            return "a node names a feature that is not there";
        if (node->kind == NODE_CATEGORY && node->link >= tree->nsets)
            return "a node names a set that is not there";
        uint32_t child = tree_child(tree, node);
        if (child <= i || child >= tree->nnodes - 1)
            return "a node names a child that is not there";
    }
    return NULL;
}

const char *record_read(const unsigned char *bytes, size_t nclasses, size_t nfeatures,
                        struct tree *tree)
{
    const unsigned char *at = bytes;
    *tree = (struct tree){0};
    tree->nnodes = tree->node_room = get(&at, 4);
    tree->nshares = get(&at, 4);
    tree->nsets = tree->set_room = get(&at, 4);
    tree->depth = get(&at, 4);
    tree->oob_rows = (uint32_t)get(&at, 4);
    tree->oob_right = (uint32_t)get(&at, 4);
    uint64_t error = get(&at, 8);
    memcpy(&tree->oob_error, &error, sizeof error);
    tree->share_room = tree->nshares * nclasses;
    tree->nodes = calloc(tree->nnodes, sizeof *tree->nodes);
    tree->shares = calloc(tree->share_room + 1, sizeof *tree->shares);
    tree->sets = calloc(tree->nsets + 1, sizeof *tree->sets);
    if (!tree->nodes || !tree->shares || !tree->sets)
        return "out of memory";
    for (size_t i = 0; i < tree->nnodes; i++) {
        uint32_t link = (uint32_t)get(&at, 4), rest = (uint32_t)get(&at, 4);
        tree->nodes[i] = (struct node){.link = link,
                                       .feature = rest & (TREE_MAX_FEATURES - 1),
                                       .kind = rest >> 21 & 3u,
                                       .missing_left = rest >> 23 & 1u,
                                       .threshold = (uint8_t)(rest >> 24)};
    }
    for (size_t i = 0; i < tree->share_room; i++)
        tree->shares[i] = (uint16_t)get(&at, 2);
    for (size_t i = 0; i < tree->nsets; i++) {
        for (int w = 0; w < BINS / 64; w++)
            tree->sets[i].left[w] = get(&at, 8);
        tree->sets[i].child = (uint32_t)get(&at, 4);
    }
    if (tree->oob_right > tree->oob_rows || !isfinite(tree->oob_error))
        return "its out-of-bag figures cannot be";
    return check(tree, nclasses, nfeatures);
}
