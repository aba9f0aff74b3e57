/* SPDX-License-Identifier: BSD-3-Clause */
/* What a snapshot of a training holds; see state.c. */
#ifndef CRF_STATE_H
#define CRF_STATE_H

#include "train.h"

/* Opens the folder of --checkpoint and the snapshot of --resume, before data are read.
 * Collective, agreed. */
dml_status state_open(struct training *training);

/* With the data: does the snapshot fit them? Then what all trainers keep. The trainer
 * loads the rest from training->snapshot. Collective, agreed. */
dml_status state_load(struct training *training);

/* What a trainer puts into a snapshot. Not collective. */
typedef dml_status state_save_fn(void *user, dml_ckpt *writer);

/* After a step that is not the last, counted from 1: takes a snapshot where one is due.
 * *stop, where a signal ended the job. Collective, agreed. */
dml_status state_after_step(struct training *training, uint64_t step,
                            state_save_fn *save, void *user, bool *stop);

/* Put this rank's block of a vector that is the same on all ranks, and read a whole
 * one; [count of weights]. Not collective. */
dml_status state_put(const struct training *training, dml_ckpt *writer,
                     const char *name, const double *whole);
dml_status state_get(const struct training *training, const char *name, double *whole);

#endif
