/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Best splits of a small node for many features at once: a feature is a lane of the
 * processor's vectors. See lanes.c.
 */
#ifndef PRF_LANES_H
#define PRF_LANES_H

#include <stddef.h>
#include <stdint.h>

#define LANES         32
#define LANES_ROWS    512
#define LANES_CLASSES 32
#define LANES_WEIGHT  4095 /* largest sum of weights: its square is exact in f32 */

/* A row in one lane is a key: bin in the upper byte; in the lower one class << 3 |
 * weight (1 to 7; 0: a row that does not count), or what the caller likes if it does
 * not call scan. */
#define LANES_CODE(class_, weight) ((class_) << 3 | (weight))

struct lanes {
    _Alignas(64) uint16_t key[LANES_ROWS + 1][LANES];
    _Alignas(64) uint16_t total[LANES_CLASSES][LANES]; /* weight of each class */
    _Alignas(64) int32_t squares[LANES];               /* sum of their squares */
    _Alignas(64) uint16_t weight[LANES];               /* their sum */
    /* What scan finds: the largest sum over both sides of (sum of squared weights of
     * the classes) / weight, and the two neighbouring bins with the cut between them;
     * -1 where there is none. */
    _Alignas(64) float score[LANES];
    _Alignas(64) uint16_t low[LANES], high[LANES];
};

/* Rows in a table of bins: that of (row[i], lane l) is at
 * bins[row[i] * stride + offset[l]]. */
struct lanes_rows {
    const uint8_t *bins;
    const uint32_t *row; /* [n] */
    size_t n, stride;
    size_t offset[LANES];
    const uint16_t *code; /* [n] lower bytes of the keys */
};

struct lanes_set {
    /* Keys of n rows in all lanes. */
    void (*gather)(struct lanes *lanes, const struct lanes_rows *rows);
    /* differs[l] is not 0 where lane l's first n keys lie in several bins. */
    void (*compare)(const struct lanes *lanes, size_t n, uint16_t differs[LANES]);
    /* Sort the first n keys of every lane. */
    void (*sort)(struct lanes *lanes, size_t n);
    /* Keys are sorted; classes below nclasses occur. */
    void (*scan)(struct lanes *lanes, size_t n, size_t nclasses, uint16_t min_leaf);
};

/* "c", "avx2" or "avx512": all give the same results. */
const struct lanes_set *lanes_for(const char *isa);

#endif
