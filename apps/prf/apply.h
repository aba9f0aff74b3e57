/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From rows to leaves.
 */
#ifndef PRF_APPLY_H
#define PRF_APPLY_H

#include "tree.h"

/* leaves [n]: the nodes where the rows "rows" [n] of bins [.][F] end. */
typedef void apply_fn(const struct tree *tree, const uint8_t *bins, size_t nfeatures,
                      const uint32_t *rows, size_t n, uint32_t *leaves);

/* "c", "avx2" or "avx512": all give the same results. */
apply_fn *apply_for(const char *isa);

/* The one of AVX-512 where rows are short: they stay in the first cache while they
 * walk, and time goes into instructions. Longer ones wait for memory, which single
 * walks ask for ahead of time. */
#define APPLY_NARROW 64 /* features */
apply_fn apply_vectors;

#endif
