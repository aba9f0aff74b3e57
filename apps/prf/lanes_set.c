/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sorting and scanning of small nodes, a feature a lane. Compiled once per instruction
 * set (PRF_SET); plain loops over lanes that the compiler turns into vectors.
 *
 * A tree grown to the end has most of its nodes here: tens of rows, where a histogram
 * of 256 bins would be empty for the most part. Instead each feature's rows are sorted
 * by a network of comparisons, the same for all lanes: a comparison is one minimum and
 * one maximum for 32 features. The scan then moves row after row to the left side and
 * keeps the sums of squares up to date, so that its cost does not depend on bins.
 *
 * All quantities but the last products and their quotient are whole numbers; these are
 * rounded as IEEE 754 says. So all instruction sets give the same bits.
 *
 * Source of the network: Batcher 1968, in the form of Knuth, TAOCP 3, 5.2.2, algorithm
 * M (any n).
 */
#include "lanes_set.h"

#include <string.h>

#define AHEAD       6    /* rows that are fetched before they are read */
#define FETCH_BYTES 1024 /* longer rows are not: most of their lines are not needed */

static void fetch_row(const struct lanes_rows *rows, size_t i)
{
    if (i >= rows->n || rows->stride > FETCH_BYTES)
        return;
    const uint8_t *bins = rows->bins + rows->row[i] * rows->stride;
    for (size_t at = 0; at < rows->stride; at += 64)
        __builtin_prefetch(bins + at);
}

static void copy_row(const struct lanes_rows *rows, size_t i, uint8_t *restrict cells)
{
    const uint8_t *bins = rows->bins + rows->row[i] * rows->stride;
    const size_t *offset = rows->offset;
    /* Else gcc would keep all offsets in vector registers, from where they are slow. */
    __asm__("" : "+r"(offset));
    fetch_row(rows, i + AHEAD);
#pragma GCC unroll 32
    for (size_t l = 0; l < LANES; l++)
        cells[l] = bins[offset[l]];
}

#define GATHER_ROWS 8 /* so many that bytes are stored before they are read again */

static void gather(struct lanes *restrict lanes, const struct lanes_rows *restrict rows)
{
    uint8_t cell[GATHER_ROWS][LANES];
    for (size_t first = 0; first < rows->n; first += GATHER_ROWS) {
        size_t count = rows->n - first < GATHER_ROWS ? rows->n - first : GATHER_ROWS;
        for (size_t i = 0; i < count; i++)
            copy_row(rows, first + i, cell[i]);
        for (size_t i = 0; i < count; i++) {
            uint16_t code = rows->code[first + i];
#pragma omp simd
            for (int l = 0; l < LANES; l++)
                lanes->key[first + i][l] = (uint16_t)(cell[i][l] << 8 | code);
        }
    }
}

static void exchange(uint16_t *restrict a, uint16_t *restrict b)
{
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        uint16_t x = a[l], y = b[l];
        a[l] = x < y ? x : y;
        b[l] = x < y ? y : x;
    }
}

static void sort(struct lanes *lanes, size_t n)
{
    size_t top = 1;
    while (2 * top < n)
        top *= 2;
    if (n < 2)
        return;
    for (size_t p = top; p > 0; p /= 2) {
        size_t q = top, r = 0, d = p;
        for (;;) {
            for (size_t i = 0; i + d < n; i++)
                if ((i & p) == r)
                    exchange(lanes->key[i], lanes->key[i + d]);
            if (q == p)
                break;
            d = q - p;
            q /= 2;
            r = p;
        }
    }
}

static void compare(const struct lanes *lanes, size_t n, uint16_t differs[LANES])
{
    _Alignas(64) uint16_t changed[LANES] = {0};
    for (size_t i = 1; i < n; i++) {
        const uint16_t *restrict key = lanes->key[i];
#pragma omp simd
        for (int l = 0; l < LANES; l++)
            changed[l] = (uint16_t)(changed[l] | (key[l] ^ lanes->key[0][l]));
    }
    for (int l = 0; l < LANES; l++)
        differs[l] = changed[l] >> 8;
}

/* The left side of every lane. */
struct side {
    _Alignas(64) uint16_t of_class[LANES_CLASSES][LANES];
    _Alignas(64) uint16_t weight[LANES];
    _Alignas(64) int32_t squares[LANES]; /* sum over classes of left^2 */
    _Alignas(64) int32_t cross[LANES];   /* sum over classes of left * total */
};

/* Move the next row of each lane to the left. */
static void move_row(const struct lanes *restrict lanes, struct side *restrict side,
                     const uint16_t *restrict key, size_t nclasses)
{
    _Alignas(64) uint16_t class_[LANES], weight[LANES], left[LANES], total[LANES];
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        class_[l] = (uint16_t)(key[l] >> 3 & (LANES_CLASSES - 1));
        weight[l] = (uint16_t)(key[l] & 7);
        left[l] = 0;
        total[l] = 0;
    }
    for (size_t c = 0; c < nclasses; c++) {
        uint16_t *restrict mine = side->of_class[c];
        const uint16_t *restrict whole = lanes->total[c];
#pragma omp simd
        for (int l = 0; l < LANES; l++) {
            uint16_t hit = (uint16_t) - (class_[l] == c);
            left[l] = (uint16_t)(left[l] | (mine[l] & hit));
            total[l] = (uint16_t)(total[l] | (whole[l] & hit));
            mine[l] = (uint16_t)(mine[l] + (weight[l] & hit));
        }
    }
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        /* (left + w)^2 - left^2: below 2^16, because w <= 7 and left <= 4095. */
        uint16_t grows = (uint16_t)(weight[l] * (2 * left[l] + weight[l]));
        uint16_t crosses = (uint16_t)(weight[l] * total[l]);
        side->weight[l] = (uint16_t)(side->weight[l] + weight[l]);
        side->squares[l] += grows;
        side->cross[l] += crosses;
    }
}

/* Where the bin changes after this row, the cut may lie here. */
static void judge(struct lanes *restrict lanes, const struct side *restrict side,
                  const uint16_t *restrict key, const uint16_t *restrict next,
                  uint16_t min_leaf)
{
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        uint16_t right = (uint16_t)(lanes->weight[l] - side->weight[l]);
        /* sum of (total - left)^2 */
        int32_t squares = lanes->squares[l] - 2 * side->cross[l] + side->squares[l];
        float mine = (float)side->weight[l], others = (float)right;
        float score = ((float)side->squares[l] * others + (float)squares * mine) /
                      (mine * others);
        int valid = (key[l] >> 8 != next[l] >> 8) & (side->weight[l] >= min_leaf) &
                    (right >= min_leaf) & (score > lanes->score[l]);
        lanes->score[l] = valid ? score : lanes->score[l];
        lanes->low[l] = valid ? key[l] >> 8 : lanes->low[l];
        lanes->high[l] = valid ? next[l] >> 8 : lanes->high[l];
    }
}

static void scan(struct lanes *lanes, size_t n, size_t nclasses, uint16_t min_leaf)
{
    struct side side;
    memset(side.of_class, 0, nclasses * sizeof side.of_class[0]);
    memset(side.weight, 0, sizeof side.weight);
    memset(side.squares, 0, sizeof side.squares);
    memset(side.cross, 0, sizeof side.cross);
    for (int l = 0; l < LANES; l++) {
        lanes->score[l] = -1;
        lanes->low[l] = lanes->high[l] = 0;
    }
    for (size_t i = 0; i + 1 < n; i++) {
        move_row(lanes, &side, lanes->key[i], nclasses);
        judge(lanes, &side, lanes->key[i], lanes->key[i + 1], min_leaf);
    }
}

const struct lanes_set PRF_SET_NAME(lanes) = {
    .gather = gather, .compare = compare, .sort = sort, .scan = scan};
