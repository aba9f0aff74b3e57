/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests by all ranks together: each takes its share of every batch, and sums of loss
 * and hits are added up. The result depends on the number of ranks by rounding only.
 */
#include "evaluate.h"

#include "loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t row_floats(const struct net *net)
{
    return net->shape.channels * net->shape.height * net->shape.width;
}

static dml_status note_net(const struct evaluation *e, dml_status status)
{
    return status == DML_OK ? DML_OK
                            : job_fail(e->job, status, "%s", net_error(e->net));
}

dml_status evaluate_open(struct job *job, struct net *net, const dml_images *images,
                         size_t batch, const float *mean, const float *stddev,
                         struct evaluation *e)
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
    if (net->gpu)
        feed_loader(&opts);
    *e = (struct evaluation){.job = job, .net = net};
    CNN_TRY(job_note(job, dml_loader_create(job->ctx, images, &opts, &e->loader)));
    if (net->gpu)
        return note_net(
            e, feed_open(net->gpu->gpu, net, dml_loader_values(e->loader), &e->feed));
    e->padded = malloc(net->shape.rows * row_floats(net) * sizeof *e->padded);
    return e->padded ? DML_OK
                     : job_fail(job, DML_ENOMEM, "out of memory for a test batch");
}

void evaluate_close(struct evaluation *e)
{
    feed_close(&e->feed);
    dml_loader_destroy(e->loader);
    free(e->padded);
    *e = (struct evaluation){0};
}

/* Loss and hits of the pass that was queued last are added to sums[0] and [1]. */
static dml_status add_up(const struct evaluation *e, const int32_t *labels,
                         size_t count, double *sums)
{
    const float *logits = net_logits_of(e->net);
    if (!logits)
        return note_net(e, DML_ECOMM);
    struct loss loss = loss_forward(logits, labels, count, e->net->shape.classes);
    sums[0] += loss.sum;
    sums[1] += (double)loss.correct;
    sums[2] += (double)count;
    return DML_OK;
}

/* This rank's part of the next batch of an epoch: it may be empty, of the last. */
static dml_status next_batch(struct evaluation *e, dml_batch *batch)
{
    *batch = (dml_batch){0};
    if (e->step == dml_loader_steps(e->loader))
        return DML_OK;
    e->step++;
    return job_note(e->job, dml_loader_next(e->loader, batch));
}

/* A batch that is shorter than the net's is filled up with zeros, whose results are not
 * looked at. */
static const float *whole(const struct evaluation *e, const dml_batch *batch)
{
    const size_t each = row_floats(e->net), rows = e->net->shape.rows;
    if (batch->count == rows)
        return batch->images;
    memcpy(e->padded, batch->images, batch->count * each * sizeof *e->padded);
    memset(e->padded + batch->count * each, 0,
           (rows - batch->count) * each * sizeof *e->padded);
    return e->padded;
}

static dml_status test_all(struct evaluation *e, double *sums)
{
    dml_batch batch;
    CNN_TRY(next_batch(e, &batch));
    while (batch.count > 0) {
        CNN_TRY(note_net(e, net_forward(e->net, NET_TEST, whole(e, &batch))));
        CNN_TRY(add_up(e, batch.labels, batch.count, sums));
        CNN_TRY(next_batch(e, &batch));
    }
    return DML_OK;
}

static dml_status send_next(struct evaluation *e)
{
    dml_batch batch;
    CNN_TRY(note_net(e, feed_wait_sent(&e->feed)));
    CNN_TRY(next_batch(e, &batch));
    const struct cnn_pass pass = {.count = (int32_t)batch.count};
    return batch.count > 0 ? note_net(e, feed_put(&e->feed, &batch, &pass)) : DML_OK;
}

/* The next batch is sent while the device works on the one before. */
static dml_status test_all_on_device(struct evaluation *e, double *sums)
{
    CNN_TRY(send_next(e));
    while (feed_has(&e->feed)) {
        const int32_t *labels;
        CNN_TRY(note_net(e, feed_take(&e->feed, e->net, &labels)));
        CNN_TRY(note_net(e, net_forward(e->net, NET_TEST, NULL)));
        CNN_TRY(note_net(e, feed_done(&e->feed)));
        CNN_TRY(send_next(e));
        const struct cnn_pass *pass = feed_done_pass(&e->feed, &labels);
        CNN_TRY(add_up(e, labels, (size_t)pass->count, sums));
    }
    return DML_OK;
}

static dml_status test(struct evaluation *e, double *sums)
{
    e->step = 0;
    CNN_TRY(job_note(e->job, dml_loader_seek(e->loader, 0)));
    return e->net->gpu ? test_all_on_device(e, sums) : test_all(e, sums);
}

dml_status evaluate(struct evaluation *e, struct test_result *result)
{
    struct job *job = e->job;
    struct net *net = e->net;
    double sums[3] = {0}; /* loss, hits, images */
    dml_status status = dml_allreduce(DML_IN_PLACE, net->state_data, net->nstate_floats,
                                      DML_F32, DML_AVG, job->comm);
    CNN_TRY(job_agree(job, job_note(job, status)));
    CNN_TRY(job_agree(job, note_net(e, net_push_state(net))));
    CNN_TRY(job_agree(job, test(e, sums)));
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
