/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The training table: every feature binned to a byte, once per node of the machine, in
 * the two orders that growing trees reads: by column for nodes of many rows, by row for
 * subtrees whose rows fit a processor's cache. N rows, F features, K classes.
 */
#ifndef PRF_TABLE_H
#define PRF_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BINS        256
#define BIN_MISSING 255 /* in columns that have missing values */

/* Features whose splits are not a plain "bin <= threshold". */
enum column_flag {
    COLUMN_CATEGORY = 1, /* bins are categories: a split is a set of them */
    COLUMN_MISSING = 2   /* BIN_MISSING may occur: a split says where it goes */
};

struct table {
    size_t nrows, nfeatures;
    /* Where ranks have rows of their own, these are the rows from number first_row on,
     * of all_rows that are trained on; else nrows of nrows. */
    size_t first_row, all_rows;
    size_t nclasses;          /* K; 0: regression */
    const uint8_t *by_row;    /* [N][F] */
    const uint8_t *by_column; /* [F][N] NULL where subtrees fit the cache by row */
    const uint8_t *flags;     /* [F] enum column_flag, or-ed */
    /* Feature f's bin b stands for values[begin[f] + b]; NULL: for b. */
    const uint64_t *begin; /* [F] */
    const float *values;
    const uint16_t *label;  /* [N] below K; NULL for regression */
    const int32_t *target;  /* [N] y in units of the model's scale; else NULL */
    const uint32_t *weight; /* [N] in units of the model's; NULL: all 1 */
};

#endif
