/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One step of synchronous data-parallel training.
 *
 * The loss is the mean over the global batch: every rank takes the mean over its rows,
 * all have equally many, and the reducer averages. Gradients go to the reducer layer by
 * layer while the backward pass goes on. The loss itself travels in the first floats of
 * the gradients, so that all ranks know the global one after every step without another
 * message, and stop together when it is not finite.
 */
#include "trainer.h"

#include "loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double trainer_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- one step ------------------------------------------------------------------- */

static dml_status gradient_ready(void *user, int param)
{
    struct trainer *trainer = user;
    if (!trainer->last_pass)
        return DML_OK;
    struct net *net = trainer->net;
    if (trainer->sum && param < net->nparams)
        dml_vec_axpy(trainer->job->ctx, net->params[param].stored, 1,
                     trainer->sum + net->params[param].offset,
                     net->param_grad + net->params[param].offset);
    return replica_ready(&trainer->replica, param);
}

/* One of the passes of a step: the next batch forward and backward. */
static dml_status run_pass(struct trainer *trainer, int64_t pass)
{
    struct net *net = trainer->net;
    int64_t passes = trainer->options->accumulate;
    dml_batch batch;
    double start = trainer_now_s();
    dml_status status = dml_loader_next(trainer->loader, &batch);
    trainer->data_s += trainer_now_s() - start;
    if (status != DML_OK)
        return job_note(trainer->job, status);

    net->step = trainer->step;
    net->first_row = ((uint64_t)pass * (uint64_t)trainer->job->nranks +
                      (uint64_t)trainer->job->rank) *
                     trainer->rows;
    status = net_forward(net, NET_TRAIN, batch.images);
    if (status != DML_OK)
        return job_fail(trainer->job, status, "%s", net_error(net));

    const float *logits = dnn_data(net->output->data);
    double scale = 1.0 / ((double)trainer->rows * (double)passes);
    struct loss loss =
        loss_forward(logits, batch.labels, trainer->rows, net->shape.classes);
    loss_backward(logits, batch.labels, trainer->rows, net->shape.classes, scale,
                  dnn_data(net->output->grad));
    float *head = trainer->sum && !trainer->last_pass ? trainer->sum : net->param_grad;
    if (trainer->sum && trainer->last_pass)
        memcpy(head, trainer->sum, NET_HEAD * sizeof *head);
    else if (pass == 0)
        memset(head, 0, NET_HEAD * sizeof *head);
    head[0] += (float)(loss.sum * scale);
    head[1] += (float)((double)loss.correct * scale);

    status = gradient_ready(trainer, net->nparams); /* the loss */
    if (status == DML_OK)
        status = net_backward(net, gradient_ready, trainer);
    if (status != DML_OK && !trainer->job->error[0])
        return job_fail(trainer->job, status, "%s", net_error(net));
    return status;
}

/* Add a pass's gradients, but for the head, to the sum; the first pass's are copied. */
static void keep_gradients(struct trainer *trainer, int64_t pass)
{
    const struct net *net = trainer->net;
    size_t count = net->nparam_floats - NET_HEAD;
    float *sum = trainer->sum + NET_HEAD;
    const float *grad = net->param_grad + NET_HEAD;
    if (pass == 0)
        memcpy(sum, grad, count * sizeof *sum);
    else
        dml_vec_axpy(trainer->job->ctx, count, 1, grad, sum);
}

dml_status trainer_step(struct trainer *trainer)
{
    struct job *job = trainer->job;
    int64_t passes = trainer->options->accumulate;
    double start = trainer_now_s();
    CNN_TRY(replica_begin(&trainer->replica, trainer->step + 1 == trainer->nsteps));
    for (int64_t pass = 0; pass < passes; pass++) {
        trainer->last_pass = pass == passes - 1;
        CNN_TRY(run_pass(trainer, pass));
        if (!trainer->last_pass)
            keep_gradients(trainer, pass);
    }
    CNN_TRY(replica_average(&trainer->replica));
    trainer->loss = (double)trainer->net->param_grad[0];
    trainer->accuracy = (double)trainer->net->param_grad[1];
    trainer->rate = dml_lr_at(&trainer->schedule, trainer->step);
    if (!isfinite(trainer->loss))
        return job_fail(job, DML_ENUMERIC,
                        "the loss is %s at step %llu (epoch %.2f): training diverged; "
                        "try a smaller --lr or a longer --warmup-epochs",
                        isnan(trainer->loss) ? "not a number" : "infinite",
                        (unsigned long long)trainer->step,
                        (double)trainer->step / (double)trainer->epoch_steps);
    CNN_TRY(replica_update(&trainer->replica, trainer->rate));
    trainer->step++;
    trainer->step_s += trainer_now_s() - start;
    return DML_OK;
}

/* ---- setting up ----------------------------------------------------------------- */

dml_status trainer_make_net(struct job *job, const char *kind,
                            const struct net_shape *shape, uint64_t seed,
                            double dropout, struct net **net)
{
    const struct net_kind *found = nets_find(kind);
    dml_status status = DML_OK;
    if (!found)
        status = job_fail(job, DML_EINVAL, "there is no net named %s", kind);
    else
        status =
            nets_make(found, shape, seed, dropout < 0 ? found->dropout : dropout, net);
    if (status != DML_OK && found)
        status = job_fail(
            job, status, "cannot make the net %s for %zu x %zu images: %s", kind,
            shape->height, shape->width, *net ? net_error(*net) : "out of memory");
    CNN_TRY(job_agree(job, status));
    return job_same_value(job, net_layout_hash(*net),
                          "this processor's best memory layout differs from rank 0's: "
                          "set ONEDNN_MAX_CPU_ISA to what all processors have");
}

static dml_status make_loader(struct trainer *trainer, const struct dataset *set)
{
    const struct cnn_options *options = trainer->options;
    if ((uint64_t)options->batch > set->info.count)
        return job_fail(trainer->job, DML_EINVAL,
                        "--batch %lld is larger than the training set of %zu images: "
                        "make it smaller",
                        (long long)options->batch, set->info.count);
    dml_loader_opts opts;
    dml_loader_opts_init(&opts);
    opts.seed = (uint64_t)options->seed;
    opts.batch = (size_t)(options->batch / options->accumulate);
    opts.rank = trainer->job->rank;
    opts.nranks = trainer->job->nranks;
    opts.shift = options->augment ? (set->info.height >= 32 ? 4 : 2) : 0;
    opts.flip = options->augment;
    opts.mean = set->mean;
    opts.stddev = set->stddev;
    dml_status status =
        dml_loader_create(trainer->job->ctx, set->train, &opts, &trainer->loader);
    if (status != DML_OK)
        return job_note(trainer->job, status);
    trainer->epoch_steps =
        dml_loader_steps(trainer->loader) / (uint64_t)options->accumulate;
    trainer->nsteps = (uint64_t)options->epochs * trainer->epoch_steps;
    if (options->max_steps != CLI_AUTO &&
        (uint64_t)options->max_steps < trainer->nsteps)
        trainer->nsteps = (uint64_t)options->max_steps;
    return DML_OK;
}

static dml_status make_schedule(struct trainer *trainer)
{
    const struct cnn_options *options = trainer->options;
    dml_lr *lr = &trainer->schedule;
    double epoch_steps = (double)trainer->epoch_steps;
    double epochs[TRAINER_MAX_MILESTONES] = {0.5 * (double)options->epochs,
                                             0.75 * (double)options->epochs};
    int count = 2;
    if (strcmp(options->milestones, "auto") != 0)
        count =
            cnn_parse_milestones(options->milestones, epochs, TRAINER_MAX_MILESTONES);
    if (count < 0)
        return job_fail(
            trainer->job, DML_EINVAL,
            "--milestones needs increasing epochs such as 10,15, not \"%.40s\"",
            options->milestones);
    for (int i = 0; i < count; i++)
        trainer->milestones[i] = (uint64_t)(epochs[i] * epoch_steps + 0.5);
    dml_lr_init(lr);
    lr->shape = cnn_shape(options);
    lr->base = cnn_rate(options);
    lr->end = options->end_lr;
    lr->power = options->power;
    lr->warmup_steps = (uint64_t)(options->warmup_epochs * epoch_steps + 0.5);
    lr->total_steps = (uint64_t)options->epochs * trainer->epoch_steps;
    lr->milestones = trainer->milestones;
    lr->nmilestones = (size_t)count;
    return job_note(trainer->job, dml_lr_check(trainer->job->ctx, lr));
}

dml_status trainer_create(struct job *job, const struct cnn_options *options,
                          const struct dataset *set, struct trainer *trainer)
{
    *trainer = (struct trainer){.job = job, .options = options};
    trainer->rows = (size_t)(options->batch / job->nranks / options->accumulate);
    dml_status status = make_loader(trainer, set);
    if (status == DML_OK)
        status = make_schedule(trainer);
    CNN_TRY(job_agree(job, status));

    struct net_shape shape = {trainer->rows, set->info.channels, set->info.height,
                              set->info.width, set->info.nclasses};
    /* oneDNN may then round what it multiplies, where the processor is faster so. */
    if (strcmp(options->precision, "bf16") == 0)
        (void)dnnl_set_default_fpmath_mode(dnnl_fpmath_mode_bf16);
    CNN_TRY(trainer_make_net(job, options->net, &shape, (uint64_t)options->seed,
                             options->dropout, &trainer->net));
    if (options->accumulate > 1) {
        trainer->sum = calloc(trainer->net->nparam_floats, sizeof *trainer->sum);
        if (!trainer->sum)
            status = job_fail(job, DML_ENOMEM, "out of memory for gradients");
    }
    CNN_TRY(job_agree(job, status));
    return replica_create(job, options, trainer->net, &trainer->replica);
}

void trainer_destroy(struct trainer *trainer)
{
    replica_destroy(&trainer->replica);
    dml_loader_destroy(trainer->loader);
    net_destroy(trainer->net);
    free(trainer->sum);
}
