/* SPDX-License-Identifier: BSD-3-Clause */
/* Votes of a forest in memory on binned rows; see predict.c. */
#ifndef PRF_PREDICT_H
#define PRF_PREDICT_H

#include "apply.h"
#include "model.h"

/* Votes on n rows: bins [n][F], sum [n][K], or [n] for regression. Uses
 * "threads" threads. False when memory is short. */
bool predict_rows(const struct model *model, const uint8_t *bins, size_t n,
                  bool weighted, int threads, apply_fn *apply, int64_t *sum);

/* What "sum" would be if all trees were sure: divide by it for probabilities; of
 * regression the sum of the trees' weights. */
double predict_whole(const struct model *model, bool weighted);

#endif
