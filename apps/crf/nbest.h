/* SPDX-License-Identifier: BSD-3-Clause */
/* The N best labellings of a sentence; see nbest.c. */
#ifndef CRF_NBEST_H
#define CRF_NBEST_H

#include "bench.h"
#include "grow.h"

struct nbest {
    double *s;     /* [T][L] scores at the tokens */
    double *pairs; /* scores of the edges */
    double *trans; /* [L][L] scores of transitions into the token at hand */
    size_t s_room, pairs_room, trans_room;
    double *delta;  /* [T][L][N] */
    uint32_t *from; /* likewise: label before * N + its rank */
    size_t delta_room, from_room;
    double *score;    /* [N] of the labellings found, the best first */
    uint16_t *labels; /* [N][T] */
    size_t score_room, labels_room;
    size_t found; /* less than N where there are fewer labellings */
};

/* Keep the scores of a sentence for nbest_run(), as bench_scores() left them. False
 * when memory is short, as below. */
bool nbest_copy(struct nbest *nbest, const struct kernels *kernels,
                const struct chain *chain, const struct tokens *tokens,
                const struct bench *bench);

/* Of the sentence whose scores were copied; trans[L][L]. */
bool nbest_run(struct nbest *nbest, const double *trans, const struct tokens *tokens,
               size_t labels, size_t n);
void nbest_free(struct nbest *nbest);

#endif
