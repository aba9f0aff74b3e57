/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One step of synchronous data-parallel training.
 *
 * The loss is the mean over the global batch: every rank divides the sum over its rows
 * by the images of the step over all ranks, times the ranks, and the reducer averages;
 * so ranks may have different numbers of images, or none. Gradients go to the reducer
 * layer by layer while the backward pass goes on. The loss itself travels in the first
 * floats of the gradients, so that all ranks know the global one after every step
 * without another message, and stop together when it is not finite.
 */
#include "trainer.h"

#include "loss.h"
#include "state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* No net has fewer rows than an even share over this: a test set is cut into passes
 * that fit the smallest net, and costs time when there are too many. */
#define FEWEST_ROWS 4

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

/* The batch as the net's input. A net may have more rows than batches: these repeat
 * images of the batch, so that batch norm sees nothing strange, and get no gradient. */
static const float *net_input(struct trainer *trainer, const dml_batch *batch)
{
    const struct net_shape *shape = &trainer->net->shape;
    size_t row_floats = shape->channels * shape->height * shape->width;
    if (!trainer->filled)
        return batch->images;
    for (size_t row = 0; row < trainer->rows; row++)
        memcpy(trainer->filled + row * row_floats,
               batch->images + row % batch->rows * row_floats,
               row_floats * sizeof *batch->images);
    return trainer->filled;
}

/* Loss and hits of a batch's images, into the head of the gradients, and the gradient
 * by the logits. */
static void take_loss(struct trainer *trainer, const dml_batch *batch, int64_t pass)
{
    struct net *net = trainer->net;
    size_t classes = net->shape.classes;
    const float *logits = dnn_data(net->output->data);
    float *grad = dnn_data(net->output->grad);
    double scale = trainer->job->nranks / (double)trainer->step_samples;
    struct loss loss = loss_forward(logits, batch->labels, batch->count, classes);
    loss_backward(logits, batch->labels, batch->count, classes, scale, grad);
    memset(grad + batch->count * classes, 0,
           (trainer->rows - batch->count) * classes * sizeof *grad);
    float *head = trainer->sum && !trainer->last_pass ? trainer->sum : net->param_grad;
    if (trainer->sum && trainer->last_pass)
        memcpy(head, trainer->sum, NET_HEAD * sizeof *head);
    else if (pass == 0)
        memset(head, 0, NET_HEAD * sizeof *head);
    head[0] += (float)(loss.sum * scale);
    head[1] += (float)((double)loss.correct * scale);
}

/* One of the passes of a step: the next batch forward and backward. */
static dml_status run_pass(struct trainer *trainer, int64_t pass)
{
    struct net *net = trainer->net;
    dml_batch batch;
    double start = trainer_now_s();
    dml_status status = dml_loader_next(trainer->loader, &batch);
    trainer->data_s += trainer_now_s() - start;
    if (status != DML_OK)
        return job_note(trainer->job, status);

    net->step = trainer->step;
    net->first_row = trainer->rows_before + batch.first_row;
    trainer->rows_before += batch.global_count;
    status = net_forward(net, NET_TRAIN, net_input(trainer, &batch));
    if (status != DML_OK)
        return job_fail(trainer->job, status, "%s", net_error(net));
    take_loss(trainer, &batch, pass);
    status = gradient_ready(trainer, net->nparams); /* the loss */
    if (status == DML_OK)
        status = net_backward(net, gradient_ready, trainer);
    if (status != DML_OK && !trainer->job->error[0])
        return job_fail(trainer->job, status, "%s", net_error(net));
    return status;
}

uint64_t trainer_count_samples(const struct trainer *trainer, uint64_t step)
{
    uint64_t passes = (uint64_t)trainer->options->accumulate, sum = 0;
    for (uint64_t pass = 0; pass < passes; pass++)
        sum += dml_loader_global_count(trainer->loader, step * passes + pass);
    return sum;
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

static dml_status check_loss(const struct trainer *trainer)
{
    if (isfinite(trainer->loss))
        return DML_OK;
    return job_fail(trainer->job, DML_ENUMERIC,
                    "the loss is %s at step %llu (epoch %.2f): training diverged; "
                    "try a smaller --lr or a longer --warmup-epochs",
                    isnan(trainer->loss) ? "not a number" : "infinite",
                    (unsigned long long)trainer->step,
                    (double)trainer->step / (double)trainer->epoch_steps);
}

dml_status trainer_update(struct trainer *trainer)
{
    return replica_update(&trainer->replica, trainer->rate,
                          dml_lr_momentum_at(&trainer->schedule, trainer->step));
}

static dml_status step_on_processor(struct trainer *trainer)
{
    int64_t passes = trainer->options->accumulate;
    trainer->rows_before = 0;
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
    CNN_TRY(check_loss(trainer));
    return trainer_update(trainer);
}

/* The loss is known last. */
static dml_status step_on_gpu(struct trainer *trainer)
{
    CNN_TRY(trainer_gpu_step(trainer));
    CNN_TRY(check_loss(trainer));
    return trainer_gpu_check(trainer);
}

dml_status trainer_step(struct trainer *trainer)
{
    double start = trainer_now_s();
    trainer->step_samples = trainer_count_samples(trainer, trainer->step);
    trainer->rate = dml_lr_at(&trainer->schedule, trainer->step);
    CNN_TRY(trainer->net->gpu ? step_on_gpu(trainer) : step_on_processor(trainer));
    trainer->step++;
    trainer->samples += trainer->step_samples;
    trainer->step_s += trainer_now_s() - start;
    return DML_OK;
}

/* ---- setting up ----------------------------------------------------------------- */

static dml_status build_net(struct job *job, struct gpu *gpu, const char *kind,
                            const struct net_shape *shape, uint64_t seed,
                            double dropout, struct net **net)
{
    const struct net_kind *found = nets_find(kind);
    dml_status status = DML_OK;
    if (!found)
        status = job_fail(job, DML_EINVAL, "there is no net named %s", kind);
    else
        status = nets_make_on(gpu, found, shape, seed,
                              dropout < 0 ? found->dropout : dropout, net);
    if (status != DML_OK && found)
        status = job_fail(
            job, status, "cannot make the net %s for %zu x %zu images: %s", kind,
            shape->height, shape->width, *net ? net_error(*net) : "out of memory");
    return job_agree(job, status);
}

static dml_status check_layouts(struct job *job, const struct net *net)
{
    return job_same_value(job, net_layout_hash(net),
                          "this processor's best memory layout differs from rank 0's: "
                          "set ONEDNN_MAX_CPU_ISA to what all processors have");
}

dml_status trainer_make_net(struct job *job, struct gpu *gpu, const char *kind,
                            const struct net_shape *shape, uint64_t seed,
                            double dropout, struct net **net)
{
    CNN_TRY(build_net(job, gpu, kind, shape, seed, dropout, net));
    return check_layouts(job, *net);
}

/* Smallest and largest of the ranks' values, below 2^63. Collective, agreed. */
static dml_status get_range(struct job *job, uint64_t value, uint64_t range[2])
{
    int64_t most[2] = {-(int64_t)value, (int64_t)value};
    dml_status status =
        dml_allreduce(DML_IN_PLACE, most, 2, DML_I64, DML_MAX, job->comm);
    range[0] = (uint64_t)-most[0];
    range[1] = (uint64_t)most[1];
    return job_agree(job, job_note(job, status));
}

/* A net of as many rows as this rank's batches. Where the processor's best layouts
 * depend on that number, all ranks take the largest. Collective, agreed. */
static dml_status make_net(struct trainer *trainer, struct gpu *gpu,
                           const struct dataset *set)
{
    struct job *job = trainer->job;
    const struct cnn_options *options = trainer->options;
    uint64_t seed = (uint64_t)options->seed, rows[2], hashes[2];
    struct net_shape shape = {0, set->info.channels, set->info.height, set->info.width,
                              set->info.nclasses};
    size_t own = dml_loader_rows(trainer->loader);
    size_t least = trainer->even_rows / FEWEST_ROWS;
    CNN_TRY(get_range(job, own > least ? own : least, rows));
    trainer->least_rows = (size_t)rows[0];
    shape.rows = trainer->rows = own > least ? own : least;
    CNN_TRY(build_net(job, gpu, options->net, &shape, seed, options->dropout,
                      &trainer->net));
    if (rows[0] != rows[1]) {
        CNN_TRY(get_range(job, net_layout_hash(trainer->net) >> 1, hashes));
        if (hashes[0] != hashes[1]) {
            net_destroy(trainer->net);
            trainer->net = NULL;
            shape.rows = trainer->rows = (size_t)rows[1];
            CNN_TRY(build_net(job, gpu, options->net, &shape, seed, options->dropout,
                              &trainer->net));
        }
    }
    return check_layouts(job, trainer->net);
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
    opts.owner = trainer->layout.owner;
    opts.uneven = layout_uneven(options);
    opts.pad = true;
    opts.mean = set->mean;
    opts.stddev = set->stddev;
    if (trainer->device.gpu.ctx)
        feed_loader(&opts);
    dml_status status =
        dml_loader_create(trainer->job->ctx, set->train, &opts, &trainer->loader);
    if (status != DML_OK)
        return job_note(trainer->job, status);
    trainer->epoch_steps =
        dml_loader_steps(trainer->loader) / (uint64_t)options->accumulate;
    for (uint64_t step = 0; step < dml_loader_steps(trainer->loader); step++)
        trainer->epoch_samples += dml_loader_global_count(trainer->loader, step);
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
    lr->momentum = lr->momentum_low = options->momentum;
    if (options->low_momentum != CLI_AUTO)
        lr->momentum_low = options->low_momentum;
    lr->milestones = trainer->milestones;
    lr->nmilestones = (size_t)count;
    return job_note(trainer->job, dml_lr_check(trainer->job->ctx, lr));
}

static dml_status make_memory(struct trainer *trainer)
{
    const struct net *net = trainer->net;
    size_t row_floats = net->shape.channels * net->shape.height * net->shape.width;
    if (net->gpu)
        return trainer_gpu_open(trainer);
    bool fill = trainer->rows > dml_loader_rows(trainer->loader);
    bool add = trainer->options->accumulate > 1;
    if (fill)
        trainer->filled = calloc(trainer->rows * row_floats, sizeof *trainer->filled);
    if (add)
        trainer->sum = calloc(net->nparam_floats, sizeof *trainer->sum);
    if ((fill && !trainer->filled) || (add && !trainer->sum))
        return job_fail(trainer->job, DML_ENOMEM, "out of memory for gradients");
    return DML_OK;
}

dml_status trainer_create(struct job *job, const struct cnn_options *options,
                          const struct dataset *set, const dml_snapshot *snapshot,
                          struct trainer *trainer)
{
    *trainer = (struct trainer){.job = job,
                                .options = options,
                                .images = set->info.count,
                                .pixels = state_mark(set)};
    trainer->even_rows = (size_t)(options->batch / job->nranks / options->accumulate);
    struct gpu *gpu = NULL;
    CNN_TRY(trainer_open_device(job, options, &trainer->device.gpu, &gpu));
    dml_status status = layout_create(job, options, set, &trainer->layout);
    if (status == DML_OK)
        status = make_loader(trainer, set);
    if (status == DML_OK)
        status = make_schedule(trainer);
    CNN_TRY(job_agree(job, status));
    if (snapshot)
        CNN_TRY(state_check(trainer, snapshot));

    /* oneDNN may then round what it multiplies, where the processor is faster so. */
    if (!gpu && strcmp(options->precision, "bf16") == 0)
        (void)dnnl_set_default_fpmath_mode(dnnl_fpmath_mode_bf16);
    CNN_TRY(make_net(trainer, gpu, set));
    CNN_TRY(job_agree(job, make_memory(trainer)));
    if (snapshot)
        CNN_TRY(state_load_net(trainer, snapshot));
    CNN_TRY(replica_create(job, options, trainer->net, &trainer->replica));
    return snapshot ? state_load_rest(trainer, snapshot) : DML_OK;
}

void trainer_destroy(struct trainer *trainer)
{
    replica_destroy(&trainer->replica);
    trainer_gpu_close(trainer);
    dml_loader_destroy(trainer->loader);
    net_destroy(trainer->net);
    gpu_close(&trainer->device.gpu);
    layout_destroy(&trainer->layout);
    free(trainer->filled);
    free(trainer->sum);
}
