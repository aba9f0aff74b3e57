/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding and opening a data set; see dataset.c. */
#ifndef CNN_DATASET_H
#define CNN_DATASET_H

#include "../common/job.h"
#include "options.h"

#define DATASET_MAX_CHANNELS 4

struct dataset {
    dml_images *train, *test; /* train is NULL when only the test set was asked for */
    dml_images_info info; /* shape of one image; count and classes of train or test */
    /* Of the training images' pixels; set when train is. */
    float mean[DATASET_MAX_CHANNELS], stddev[DATASET_MAX_CHANNELS];
};

/*
 * Open the data set in "data", or where it is usually found when that is NULL. Not
 * collective: every rank reads the files. Failures are left in the job.
 */
dml_status dataset_open(struct job *job, const char *data, bool with_train,
                        struct dataset *set);
/* No output is a file of the data set; see app_keep(). Not collective. */
dml_status dataset_keep(struct job *job, const struct cli_command *command,
                        const struct cnn_options *options);

void dataset_close(struct dataset *set);

#endif
