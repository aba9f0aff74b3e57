/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of dml-cnn train share. */
#ifndef CNN_TRAIN_H
#define CNN_TRAIN_H

#include "../common/checkpoint.h"
#include "../common/outfile.h"
#include "../common/progress.h"
#include "commands.h"
#include "evaluate.h"

/* What lasts while a training goes on with fewer and fewer ranks. */
struct course {
    struct dataset set;
    double last_step_s; /* clock at the end of the newest step; 0: there was none */
    bool interrupted;   /* a rank has ended, and no step has since */
    double lost_s;      /* from the last steps before that to the first ones after */
};

struct training {
    const struct cnn_run *run;
    struct course *course;
    struct trainer trainer;
    struct evaluation evaluation;
    struct progress progress;
    struct outfile curve, report, model; /* open on rank 0 where asked for */
    uint64_t nsteps;
    double *block_speeds; /* [nblocks_room] images/s over all ranks */
    size_t nblocks, nblocks_room;
    double block_start_s; /* trainer.step_s, and samples, when the block began */
    uint64_t block_samples;
    double start_s;          /* clock at the first step */
    uint64_t tested_samples; /* samples done, and trainer.step_s, at the last test */
    double tested_step_s;
    struct test_result result;
    bool tested;         /* by this run */
    uint64_t first_step; /* of this run */
    struct checkpoint checkpoint;
    dml_snapshot *snapshot; /* that the job goes on from, while it is being read */
    double loss_sum;        /* of the steps since the curve's last line, */
    int loss_count;
};

/* Model, report and curve. Collective, agreed. */
dml_status training_write(struct training *training);

#endif
