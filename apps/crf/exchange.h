/* SPDX-License-Identifier: BSD-3-Clause */
/* Sums of batches' gradients over the ranks; see exchange.c. */
#ifndef CRF_EXCHANGE_H
#define CRF_EXCHANGE_H

#include "commands.h"

enum exchange_kind { EXCHANGE_AUTO, EXCHANGE_DENSE, EXCHANGE_SPARSE };

struct exchange {
    struct job *job;
    enum exchange_kind kind;
    size_t count;           /* weights */
    double *told;           /* [ranks][2] non-zero numbers and loss of each rank */
    size_t *blocks;         /* [ranks] words of each rank's entries */
    uint32_t *entries;      /* of all ranks, in rank order */
    size_t room;            /* words */
    uint64_t dense, sparse; /* sums so far */
};

/* Destroy in any case. On failure the job holds one line. */
dml_status exchange_create(struct exchange *exchange, struct job *job,
                           const struct crf_options *options, size_t count);
void exchange_destroy(struct exchange *exchange);

/* values[count] and *loss become sums over the ranks, the same bits on all of them.
 * Where a rank's loss is no number, that is the sum, and nothing else is done.
 * Collective; all ranks return what they agreed on. */
dml_status exchange_sum(struct exchange *exchange, double *values, double *loss);

#endif
