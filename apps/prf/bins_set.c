/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scan over the bins of a feature. Compiled once per instruction set (PRF_SET).
 *
 * The 256 bins of a class are a square of 16 by 16. A vector holds one of its rows: 16
 * bins that are 16 apart. Going down the rows, every lane walks over 16 neighbouring
 * bins, so that rows left of a cut are summed up by plain additions of vectors; what is
 * left of a lane's first bin was added up before.
 *
 * All sums are whole. Nodes whose sums of squares are exact in f32 are judged in f32,
 * as they are in the lanes, with the same result; larger ones in f64.
 */
#include "lanes.h"
#include "lanes_set.h"

typedef uint32_t counts_vec
    __attribute__((vector_size(BINS_SIDE * sizeof(uint32_t)), aligned(4)));

/* run [C][BINS_SIDE]: rows of each class left of each lane's first bin. */
static void sum_lanes(const uint32_t *counts, size_t nclasses, uint32_t *run)
{
    for (size_t c = 0; c < nclasses; c++) {
        const counts_vec *row = (const counts_vec *)(counts + c * BINS);
        counts_vec sum = row[0];
        for (size_t k = 1; k < BINS_SIDE; k++)
            sum += row[k];
        uint32_t before = 0;
        for (size_t l = 0; l < BINS_SIDE; l++) {
            run[c * BINS_SIDE + l] = before;
            before += sum[l];
        }
    }
}

/* The next bin after "bin" that occurs. */
static uint8_t next_bin(const uint32_t *counts, size_t nclasses, size_t bin)
{
    for (size_t b = bin + 1; b < BINS; b++)
        for (size_t c = 0; c < nclasses; c++)
            if (counts[c * BINS + bins_place((uint8_t)b)] > 0)
                return (uint8_t)b;
    return BINS - 1;
}

#define REAL  float
#define WHOLE int32_t
#define NAME  scan_f32
#include "bins_tmpl.h"

#define REAL  double
#define WHOLE int64_t
#define NAME  scan_f64
#include "bins_tmpl.h"

static void scan(const struct bins_node *node, const uint32_t *counts, uint32_t *room,
                 struct bins_cut *cut)
{
    sum_lanes(counts, node->nclasses, room);
    if (node->weight <= LANES_WEIGHT)
        scan_f32(node, counts, room, cut);
    else
        scan_f64(node, counts, room, cut);
}

const struct bins_set PRF_SET_NAME(bins) = {.scan = scan};
