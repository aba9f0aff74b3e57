/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Passes and steps on a GPU. The host queues a step's work and waits for one thing
 * only, the averaged loss; while the device works it sends the next batch (gpu_feed.c).
 * The update is queued before the loss is known: an optimizer on a device guards itself
 * against gradients that are not finite.
 */
#include "gpu_feed.h"
#include "trainer.h"

dml_status trainer_open_device(struct job *job, const struct cnn_options *options,
                               struct gpu *gpu, struct gpu **use)
{
    *use = NULL;
    if (strcmp(options->device, "gpu") != 0)
        return DML_OK;
    *use = gpu;
    CNN_TRY(gpu_open(job, options->precision ? options->precision : "f32",
                     options->kernels, gpu));
    if (!checkpoint_shrinks(&options->checkpoint))
        return DML_OK;
    /* A wait for the device alone would never end after a rank has: libdml's own waits,
     * for calls that are not only queued, look who is alive. */
    return job_agree(job,
                     job_note(job, dml_comm_set_stream(job->comm, gpu->stream, false)));
}

dml_status trainer_gpu_open(struct trainer *trainer)
{
    struct device_work *work = &trainer->device;
    struct gpu *gpu = &work->gpu;
    struct net *net = trainer->net;
    if (!net->gpu)
        return DML_OK;
    void *head = NULL, *rate = NULL;
    dml_status status =
        feed_open(gpu, net, dml_loader_values(trainer->loader), &work->feed);
    if (status == DML_OK)
        status = gpu_note(
            gpu, dml_gpu_alloc_pinned(gpu->ctx, NET_HEAD * sizeof(float), &head));
    work->head = head;
    if (status == DML_OK)
        status = gpu_note(gpu, dml_gpu_alloc_pinned(gpu->ctx, sizeof(double), &rate));
    work->rate = rate;
    if (status == DML_OK)
        status = gpu_note(gpu, dml_gpu_event_create(gpu->ctx, false, &work->known));
    if (status == DML_OK && trainer->options->accumulate > 1) {
        work->sum = net->backend->alloc(net, net->nparam_floats * sizeof(float));
        status = work->sum ? DML_OK : DML_ENOMEM;
    }
    if (status != DML_OK)
        return job_fail(trainer->job, status, "%s", gpu->error);
    trainer_graph_open(trainer);
    return DML_OK;
}

void trainer_gpu_close(struct trainer *trainer)
{
    struct device_work *work = &trainer->device;
    feed_close(&work->feed);
    trainer_graph_close(trainer);
    if (work->head)
        (void)dml_gpu_free_pinned(work->gpu.ctx, work->head);
    if (work->rate)
        (void)dml_gpu_free_pinned(work->gpu.ctx, work->rate);
    if (work->known)
        (void)dml_gpu_event_destroy(work->gpu.ctx, work->known);
}

/* Send the next pass's batch, unless the training ends before it. */
static dml_status send_next(struct trainer *trainer)
{
    struct device_work *work = &trainer->device;
    dml_batch batch;
    if (work->sent_step >= trainer->nsteps)
        return DML_OK;
    dml_status status = feed_wait_sent(&work->feed);
    if (status != DML_OK)
        return job_fail(trainer->job, status, "%s", work->gpu.error);
    const double start = trainer_now_s();
    status = dml_loader_next(trainer->loader, &batch);
    trainer->data_s += trainer_now_s() - start;
    CNN_TRY(job_note(trainer->job, status));
    const struct cnn_pass pass = {
        .step = work->sent_step,
        .first_row = work->sent_rows + batch.first_row,
        .scale = trainer->job->nranks /
                 (double)trainer_count_samples(trainer, work->sent_step),
        .count = (int32_t)batch.count};
    status = feed_put(&work->feed, &batch, &pass);
    if (status != DML_OK)
        return job_fail(trainer->job, status, "%s", work->gpu.error);
    work->sent_rows += batch.global_count;
    if (++work->sent_pass == trainer->options->accumulate) {
        work->sent_pass = 0;
        work->sent_rows = 0;
        work->sent_step++;
    }
    return DML_OK;
}

/* With more than one pass gradients are added up, each when it is there. */
static dml_status gradient_ready(void *user, int index)
{
    struct trainer *trainer = user;
    struct device_work *work = &trainer->device;
    struct net *net = trainer->net;
    if (work->sum && index < net->nparams) {
        const struct param *param = &net->params[index];
        CNN_TRY(GPU_RUN(&work->gpu, keep, keep, .n = param->stored,
                        .grad = gpu_gradient(net, param),
                        .sum = work->sum + param->offset, .first = work->pass == 0,
                        .last = trainer->last_pass, .half = work->gpu.half));
    }
    return trainer->last_pass ? replica_ready(&trainer->replica, index) : DML_OK;
}

/* Forward and backward. */
static dml_status queue_pass(struct trainer *trainer)
{
    struct device_work *work = &trainer->device;
    struct gpu *gpu = &work->gpu;
    struct net *net = trainer->net;
    CNN_TRY(replica_gpu_need(&trainer->replica));
    CNN_TRY(net_forward(net, NET_TRAIN, NULL));
    if (work->pass == 0)
        CNN_TRY(gpu_note(gpu, dml_gpu_fill(gpu->ctx, net->param_grad, 0,
                                           NET_HEAD * sizeof(float), gpu->stream)));
    CNN_TRY(gpu_loss(net, work->labels));
    CNN_TRY(gradient_ready(trainer, net->nparams)); /* the loss */
    return net_backward(net, gradient_ready, trainer);
}

static dml_status note_net(struct trainer *trainer, dml_status status)
{
    if (status != DML_OK && !trainer->job->error[0])
        return job_fail(trainer->job, status, "%s", net_error(trainer->net));
    return status;
}

dml_status trainer_gpu_queue(struct trainer *trainer)
{
    struct device_work *work = &trainer->device;
    struct gpu *gpu = &work->gpu;
    if (trainer->last_pass)
        CNN_TRY(replica_begin(&trainer->replica, trainer->step + 1 == trainer->nsteps));
    CNN_TRY(note_net(trainer, queue_pass(trainer)));
    if (!trainer->last_pass)
        return DML_OK;
    CNN_TRY(replica_average(&trainer->replica));
    CNN_TRY(trainer_update(trainer));
    return note_net(
        trainer,
        gpu_note(gpu, dml_gpu_copy(gpu->ctx, work->head, trainer->net->param_grad,
                                   NET_HEAD * sizeof(float), gpu->stream)));
}

static dml_status run_pass(struct trainer *trainer)
{
    struct device_work *work = &trainer->device;
    if (!feed_has(&work->feed)) { /* the first pass of all */
        work->sent_step = trainer->step;
        CNN_TRY(send_next(trainer));
    }
    CNN_TRY(note_net(trainer, feed_take(&work->feed, trainer->net, &work->labels)));
    CNN_TRY(trainer_graph_pass(trainer));
    return note_net(trainer, feed_done(&work->feed));
}

dml_status trainer_gpu_step(struct trainer *trainer)
{
    struct device_work *work = &trainer->device;
    struct gpu *gpu = &work->gpu;
    const int64_t passes = trainer->options->accumulate;
    *work->rate = trainer->rate; /* the device has done the step before */
    for (work->pass = 0; work->pass < passes; work->pass++) {
        trainer->last_pass = work->pass == passes - 1;
        CNN_TRY(run_pass(trainer));
        if (trainer->last_pass)
            CNN_TRY(note_net(trainer,
                             gpu_note(gpu, dml_gpu_event_record(gpu->ctx, work->known,
                                                                gpu->stream))));
        CNN_TRY(send_next(trainer));
    }
    CNN_TRY(
        note_net(trainer, gpu_note(gpu, dml_gpu_event_sync(gpu->ctx, work->known))));
    /* The wait ends also when what it is for has failed. */
    if (trainer->job->nranks > 1)
        CNN_TRY(job_note(trainer->job, dml_comm_async_error(trainer->job->comm)));
    trainer->loss = (double)work->head[0];
    trainer->accuracy = (double)work->head[1];
    return DML_OK;
}

/* Where steps are queued one by one the next one says so. */
dml_status trainer_gpu_check(struct trainer *trainer)
{
    return trainer->device.graphs.replayed ? replica_gpu_check_step(&trainer->replica)
                                           : DML_OK;
}
