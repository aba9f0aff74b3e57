/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests by all ranks together: each takes its share of every batch, and sums of loss
 * and hits are added up. The result depends on the number of ranks by rounding only.
 */
#include "loss.h"
#include "trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dml_status evaluate_loader(struct job *job, const dml_images *images, size_t batch,
                           const float *mean, const float *stddev, dml_loader **loader)
{
    dml_loader_opts opts;
    dml_loader_opts_init(&opts);
    opts.batch = batch;
    opts.rank = job->rank;
    opts.nranks = job->nranks;
    opts.shuffle = false;
    opts.drop_last = false;
    opts.mean = mean;
    opts.stddev = stddev;
    return job_note(job, dml_loader_create(job->ctx, images, &opts, loader));
}

/* Loss and hits of one batch are added to sums[0] and [1]. A batch that is shorter than
 * the net's is filled up with zeros, whose results are not looked at. */
static dml_status test_batch(struct job *job, struct net *net, const dml_batch *batch,
                             size_t rows, float *padded, double *sums)
{
    const float *images = batch->images;
    size_t row_floats = net->shape.channels * net->shape.height * net->shape.width;
    if (batch->count == 0)
        return DML_OK;
    if (batch->count < rows) {
        memset(padded, 0, rows * row_floats * sizeof *padded);
        memcpy(padded, batch->images, batch->count * row_floats * sizeof *padded);
        images = padded;
    }
    dml_status status = net_forward(net, NET_TEST, images);
    const float *logits = status == DML_OK ? net_logits_of(net) : NULL;
    if (!logits)
        return job_fail(job, status == DML_OK ? DML_ECOMM : status, "%s",
                        net_error(net));
    struct loss loss =
        loss_forward(logits, batch->labels, batch->count, net->shape.classes);
    sums[0] += loss.sum;
    sums[1] += (double)loss.correct;
    sums[2] += (double)batch->count;
    return DML_OK;
}

static dml_status test_all(struct job *job, struct net *net, dml_loader *loader,
                           size_t rows, double *sums)
{
    size_t row_floats = net->shape.channels * net->shape.height * net->shape.width;
    float *padded = malloc(rows * row_floats * sizeof *padded);
    if (!padded)
        return job_fail(job, DML_ENOMEM, "out of memory for a batch");
    dml_status status = job_note(job, dml_loader_seek(loader, 0));
    uint64_t steps = dml_loader_steps(loader);
    for (uint64_t step = 0; status == DML_OK && step < steps; step++) {
        dml_batch batch;
        status = job_note(job, dml_loader_next(loader, &batch));
        if (status == DML_OK)
            status = test_batch(job, net, &batch, rows, padded, sums);
    }
    free(padded);
    return status;
}

dml_status evaluate(struct job *job, struct net *net, dml_loader *loader, size_t rows,
                    struct test_result *result)
{
    double sums[3] = {0}; /* loss, hits, images */
    dml_status status = dml_allreduce(DML_IN_PLACE, net->state_data, net->nstate_floats,
                                      DML_F32, DML_AVG, job->comm);
    CNN_TRY(job_agree(job, job_note(job, status)));
    status = net_push_state(net);
    if (status != DML_OK)
        status = job_fail(job, status, "%s", net_error(net));
    CNN_TRY(job_agree(job, status));
    CNN_TRY(job_agree(job, test_all(job, net, loader, rows, sums)));
    status = dml_allreduce(DML_IN_PLACE, sums, 3, DML_F64, DML_SUM, job->comm);
    CNN_TRY(job_agree(job, job_note(job, status)));
    result->loss = sums[0] / sums[2];
    result->accuracy = sums[1] / sums[2];
    if (!isfinite(result->loss))
        return job_agree(job,
                         job_fail(job, DML_ENUMERIC,
                                  "the test loss is not finite: training diverged; "
                                  "try a smaller --lr"));
    return DML_OK;
}
