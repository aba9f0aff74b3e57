/* SPDX-License-Identifier: BSD-3-Clause */
/* Which sentences are whose; see shares.c. */
#ifndef CRF_SHARES_H
#define CRF_SHARES_H

#include "corpus.h"

/* Part p of "parts" gets the sentences bounds[p] .. bounds[p + 1] - 1; equal on all
 * ranks. On failure the job holds one line. */
dml_status shares_cut(struct job *job, const struct corpus *corpus, size_t nlabels,
                      size_t parts, size_t *bounds);

#endif
