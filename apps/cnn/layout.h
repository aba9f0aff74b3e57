/* SPDX-License-Identifier: BSD-3-Clause */
/* Which rank holds which training image; see layout.c. */
#ifndef CNN_LAYOUT_H
#define CNN_LAYOUT_H

#include "../common/job.h"
#include "dataset.h"
#include "options.h"

#include <jansson.h>

struct layout {
    uint32_t *owner; /* [images] rank of each; NULL: all ranks share every batch */
    size_t count;
    double *capacity; /* [nranks] what ranks can do, relative to each other */
    double *held;     /* [nranks] images of each rank */
    int nranks;
    /* Load of the busiest rank by its capacity over the mean: 1 is even. As the images
     * came, and as they are trained on. */
    double imbalance_before, imbalance_after;
    uint64_t moved; /* images that balancing gave to another rank */
};

/* Check the options that a layout is made of. Not collective. */
dml_status layout_check(struct job *job, const struct cnn_options *options);

/* The same on every rank, without a message. Destroy in any case. */
dml_status layout_create(struct job *job, const struct cnn_options *options,
                         const struct dataset *set, struct layout *layout);
void layout_destroy(struct layout *layout);

/* --uneven. */
dml_uneven layout_uneven(const struct cnn_options *options);

/* For the report. */
json_t *layout_report(const struct layout *layout, const struct cnn_options *options);

#endif
