/* SPDX-License-Identifier: BSD-3-Clause */
/* Trees that all ranks grow together; see together.c. */
#ifndef PRF_TOGETHER_H
#define PRF_TOGETHER_H

#include "dml/exchange.h"

#include "../common/job.h"
#include "grow.h"

struct forest;

enum partition { PARTITION_TREES, PARTITION_ROWS, PARTITION_FEATURES };

/* What the functions of a team work with. */
struct together {
    struct job *job;
    dml_exchange *exchange; /* made when rows are moved first */
    const struct grow_move *move;
    double seconds;    /* in these functions */
    dml_status status; /* of the last of them */
};

/* "auto", or a name: how trees are shared over the ranks. */
enum partition together_choose(const struct forest *forest, const char *name);
const char *together_name(enum partition partition);

/* Make forest->team of all ranks of the job. */
void together_team(struct forest *forest, enum partition partition);
void together_close(struct together *together);

/* Bytes of rows that this rank has sent to others. */
uint64_t together_moved(const struct together *together);

#endif
