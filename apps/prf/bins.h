/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The best cut of one feature from counts of rows by class and bin: what lanes.h is for
 * small nodes, this is for large ones. See bins_set.c.
 */
#ifndef PRF_BINS_H
#define PRF_BINS_H

#include "table.h"

#define BINS_SIDE 16 /* counts of a class are a square of so many rows */

/* Where bin b stands in the square of a class: bins that follow each other lie in one
 * of its columns, one below the other. */
static inline uint8_t bins_place(uint8_t bin)
{
    return (uint8_t)(bin << 4 | bin >> 4);
}

struct bins_node {
    size_t nclasses;
    const int64_t *total; /* [C] weight of each class */
    int64_t weight;       /* their sum */
    int64_t min_leaf;     /* least weight of a side, at least 1 */
};

struct bins_cut {
    bool constant;     /* all rows are in one bin */
    bool found;        /* a cut that leaves both sides min_leaf */
    double score;      /* as in lanes.h */
    uint8_t low, high; /* neighbouring bins that occur; the lowest of equal cuts */
};

struct bins_set {
    /* counts [C][BINS], by bins_place(); room [C][BINS_SIDE]. */
    void (*scan)(const struct bins_node *node, const uint32_t *counts, uint32_t *room,
                 struct bins_cut *cut);
};

/* "c", "avx2" or "avx512": all give the same results. */
const struct bins_set *bins_for(const char *isa);

#endif
