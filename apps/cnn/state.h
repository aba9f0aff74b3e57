/* SPDX-License-Identifier: BSD-3-Clause */
/* What a snapshot of a training holds; see state.c. */
#ifndef CNN_STATE_H
#define CNN_STATE_H

#include "../common/checkpoint.h"
#include "evaluate.h"
#include "trainer.h"

/* What cnn train keeps beside the trainer's state, from step to step. */
struct progress_state {
    double loss_sum; /* of the curve's next line, */
    double loss_count;
    double elapsed_s; /* since the first step, of all parts of the job together */
    struct test_result result;
};

/* Tells data sets apart: shape and moments. */
uint64_t state_mark(const struct dataset *set);

/* Puts all into a snapshot that is begun. Collective; no step may be open. */
dml_status state_save(struct trainer *trainer, dml_ckpt *ckpt, struct progress_state p);

/* The three parts of going on, in this order. First: does the snapshot fit this job?
 * Then the parameters, before the replica is made of them; and the rest, after it.
 * Collective, agreed. */
dml_status state_check(struct trainer *trainer, const dml_snapshot *snapshot);
dml_status state_load_net(struct trainer *trainer, const dml_snapshot *snapshot);
dml_status state_load_rest(struct trainer *trainer, const dml_snapshot *snapshot);

/* What was kept beside. Not collective. */
dml_status state_progress(struct job *job, const dml_snapshot *snapshot,
                          struct progress_state *p);

#endif
