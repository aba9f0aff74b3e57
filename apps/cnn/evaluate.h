/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests by all ranks; see evaluate.c. */
#ifndef CNN_EVALUATE_H
#define CNN_EVALUATE_H

#include "../common/job.h"
#include "gpu_feed.h"
#include "net.h"

#include <dml/data.h>

/* What a test found, over the whole test set. */
struct test_result {
    double loss, accuracy;
};

struct evaluation {
    struct job *job;
    struct net *net;
    dml_loader *loader;
    uint64_t step;    /* batches taken so far */
    float *padded;    /* a batch of the net's, on a processor; */
    struct feed feed; /* on a GPU */
};

/* Tests of the net on these images; batch: images of one pass over all ranks, of which
 * each has as many rows as its net, or fewer. Close in any case, before the net. */
dml_status evaluate_open(struct job *job, struct net *net, const dml_images *images,
                         size_t batch, const float *mean, const float *stddev,
                         struct evaluation *e);
void evaluate_close(struct evaluation *e);

/* Test by all ranks, each on its share; the running averages of batch normalisation are
 * first averaged over the ranks. Collective, agreed. */
dml_status evaluate(struct evaluation *e, struct test_result *result);

#endif
