/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of dml-cnn. */
#ifndef CNN_COMMANDS_H
#define CNN_COMMANDS_H

#include "trainer.h"

/* Options parsed, equal on all ranks, threads set; the job has begun. */
struct cnn_run {
    struct job *job;
    const struct cnn_options *options;
    int threads;
};

dml_status cnn_train(const struct cnn_run *run);
dml_status cnn_test(const struct cnn_run *run);

#endif
