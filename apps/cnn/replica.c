/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the backward pass and the next forward pass: gradients are averaged over the
 * ranks and the parameters updated, in one of four ways.
 *
 * - Plain: a reducer on the net's f32 gradients, an optimizer on its parameters.
 * - With a codec: the reducer works on copies in row-major order, because a codec looks
 *   at matrices, and oneDNN's layouts are none. A GPU's are: rows are the first
 *   dimension's there, too.
 * - bf16: gradients are rounded before they are exchanged; the optimizer keeps f32
 *   masters, and what the net computes with are the rounded parameters.
 * - Sharded: dml_sharded in place of reducer and optimizer. The loss then travels in a
 *   small all-reduce of its own.
 */
#include "replica.h"

#include "gpu.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* libdml's line; on a number that is not finite, what a user of dml-cnn can do. */
dml_status replica_note(struct replica *replica, dml_status status)
{
    if (status != DML_ENUMERIC)
        return job_note(replica->job, status);
    dml_error error;
    dml_ctx_last_error(replica->job->ctx, &error);
    return job_fail(replica->job, status,
                    "training diverged: %s; try a smaller --lr or a longer "
                    "--warmup-epochs",
                    error.text);
}

/* Adds the time of a call to the seconds of communication. */
static dml_status timed(struct replica *replica, double start, dml_status status)
{
    replica->comm_s += now_s() - start;
    return replica_note(replica, status);
}

/* ---- options -------------------------------------------------------------------- */

bool replica_has_codec(const struct cnn_options *options)
{
    return options->compress && strcmp(options->compress, "none") != 0;
}

static bool is_dgc(const struct cnn_options *options)
{
    return replica_has_codec(options) && strncmp(options->compress, "dgc", 3) == 0;
}

/* The codec's text; dgc gets the momentum, which the optimizer then leaves alone. False
 * when it becomes longer than libdml takes. */
static bool make_codec_text(const struct cnn_options *options,
                            char text[DML_CODEC_TEXT_MAX])
{
    const bool momentum =
        is_dgc(options) && strstr(options->compress, "momentum=") == NULL;
    const char *force = strstr(options->compress, ",force");
    const size_t before =
        force ? (size_t)(force - options->compress) : strlen(options->compress);
    char added[32] = "";
    if (momentum)
        snprintf(added, sizeof added, ",momentum=%g", options->momentum);
    int length = snprintf(text, DML_CODEC_TEXT_MAX, "%.*s%s%s", (int)before,
                          options->compress, added, force ? force : "");
    return length >= 0 && length < DML_CODEC_TEXT_MAX;
}

dml_status replica_check(struct job *job, const struct cnn_options *options)
{
    bool bf16 = strcmp(options->precision, "bf16") == 0;
    char text[DML_CODEC_TEXT_MAX];
    dml_optim_rule rule = cnn_rule(options);
    CNN_TRY(replica_gpu_check(job, options));
    CNN_TRY(job_note_option(job, dml_codec_check(job->ctx, options->compress),
                            "--compress"));
    if (replica_has_codec(options) && !make_codec_text(options, text))
        return job_fail(job, DML_EINVAL,
                        "--compress %s: with the momentum added it is longer than the "
                        "%d characters that libdml takes",
                        options->compress, DML_CODEC_TEXT_MAX - 1);
    if (replica_has_codec(options) && bf16)
        return job_fail(
            job, DML_EINVAL,
            "--compress %s works on f32 gradients: take --precision f32, or "
            "leave --compress out",
            options->compress);
    if (replica_has_codec(options) && options->shard_optimizer)
        return job_fail(job, DML_EINVAL,
                        "--compress %s does not work with --shard-optimizer: take one "
                        "of the two",
                        options->compress);
    if (is_dgc(options) && (rule != DML_OPTIM_SGD || options->nesterov))
        return job_fail(job, DML_EINVAL,
                        "--compress dgc keeps the momentum itself: take it with "
                        "--optimizer sgd and without --nesterov");
    if (options->low_momentum != CLI_AUTO &&
        (cnn_shape(options) != DML_LR_ONECYCLE || is_dgc(options) ||
         (rule != DML_OPTIM_SGD && rule != DML_OPTIM_LARS) || options->momentum == 0))
        return job_fail(job, DML_EINVAL,
                        "--low-momentum is for --schedule onecycle, with the momentum "
                        "of --optimizer sgd or lars, and not with --compress dgc");
    if (options->low_momentum > options->momentum)
        return job_fail(job, DML_EINVAL,
                        "--low-momentum %g is above --momentum %g: give a lower one",
                        options->low_momentum, options->momentum);
    if (options->nesterov && rule != DML_OPTIM_SGD && rule != DML_OPTIM_LARS)
        return job_fail(job, DML_EINVAL,
                        "--nesterov is for sgd and lars, not for --optimizer %s",
                        options->optimizer);
    return DML_OK;
}

static dml_optim_opts optim_options(const struct replica *replica)
{
    const struct cnn_options *options = replica->options;
    const struct {
        double given;
        size_t member;
    } numbers[] = {
        {cnn_weight_decay(options), offsetof(dml_optim_opts, weight_decay)},
        {is_dgc(options) ? 0 : options->momentum, offsetof(dml_optim_opts, momentum)},
        {options->beta1, offsetof(dml_optim_opts, beta1)},
        {options->beta2, offsetof(dml_optim_opts, beta2)},
        {options->eps, offsetof(dml_optim_opts, eps)},
        {options->trust, offsetof(dml_optim_opts, trust)},
        {options->trust_max, offsetof(dml_optim_opts, trust_max)},
        {options->clip_norm, offsetof(dml_optim_opts, clip_norm)},
    };
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, cnn_rule(options));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].given != CLI_AUTO)
            memcpy((char *)&opts + numbers[i].member, &numbers[i].given,
                   sizeof(double));
    opts.nesterov = options->nesterov;
    return opts;
}

/* ---- setting up ----------------------------------------------------------------- */

/* The flat memory that a bf16 run, or a codec, needs beside the net's. */
static dml_status make_memory(struct replica *replica)
{
    struct net *net = replica->net;
    bool bf16 = !net->gpu && strcmp(replica->options->precision, "bf16") == 0;
    bool enough = true;
    if (bf16) {
        replica->params16 = calloc(net->nparam_floats, sizeof *replica->params16);
        replica->grads16 = calloc(net->nparam_floats, sizeof *replica->grads16);
        enough = replica->params16 && replica->grads16;
    }
    if (replica_has_codec(replica->options))
        (void)make_codec_text(replica->options, replica->codec); /* was checked */
    if (replica_has_codec(replica->options) && !net->gpu) {
        replica->plain = calloc(net->nparam_floats, sizeof *replica->plain);
        enough = replica->plain != NULL;
        float *next = replica->plain + NET_HEAD;
        for (int i = net->nparams; enough && i-- > 0;) {
            replica->plain_at[i] = next;
            next += net->params[i].count;
        }
    }
    if (!enough)
        return job_fail(replica->job, DML_ENOMEM, "out of memory for gradients");
    return DML_OK;
}

static dml_status make_optimizer(struct replica *replica)
{
    const struct net *net = replica->net;
    dml_param params[NET_MAX_PARAMS];
    dml_optim_opts opts = optim_options(replica);
    dml_optim_rule rule = cnn_rule(replica->options);
    for (int i = 0; i < net->nparams; i++) {
        const struct param *param = &net->params[i];
        params[i] = (dml_param){.param = net->param_data + param->offset,
                                .grad = net->param_grad + param->offset,
                                .count = param->stored,
                                .flags = param->flags,
                                .name = param->name};
        if (net->gpu) {
            params[i].grad = gpu_gradient(net, param);
            params[i].grad_dtype = net->gpu->gpu->half ? DML_BF16 : DML_F32;
        }
        if (!replica->params16)
            continue;
        params[i].param = replica->params16 + param->offset;
        params[i].grad = replica->grads16 + param->offset;
        params[i].dtype = params[i].grad_dtype = DML_BF16;
    }
    if (replica->options->shard_optimizer)
        return job_note(replica->job, dml_sharded_create(
                                          rule, params, (size_t)net->nparams, &opts,
                                          NULL, replica->job->comm, &replica->sharded));
    CNN_TRY(job_note(replica->job,
                     dml_optim_create(replica->job->ctx, rule, params,
                                      (size_t)net->nparams, &opts, &replica->optim)));
    if (!net->gpu)
        return DML_OK;
    return job_note(replica->job,
                    dml_optim_set_stream(replica->optim, net->gpu->gpu->stream));
}

/* The loss is registered as the last tensor: it is ready first. */
static dml_status make_reducer(struct replica *replica)
{
    const struct net *net = replica->net;
    dml_tensor grads[NET_MAX_PARAMS + 1];
    size_t rows[NET_MAX_PARAMS + 1];
    dml_reducer_opts opts;
    dml_reducer_opts_init(&opts);
    for (int i = 0; i < net->nparams; i++) {
        const struct param *param = &net->params[i];
        grads[i] = (dml_tensor){net->param_grad + param->offset, param->stored, DML_F32,
                                param->name};
        if (net->gpu)
            grads[i] =
                (dml_tensor){gpu_gradient(net, param), param->stored,
                             net->gpu->gpu->half ? DML_BF16 : DML_F32, param->name};
        if (replica->grads16)
            grads[i] = (dml_tensor){replica->grads16 + param->offset, param->stored,
                                    DML_BF16, param->name};
        if (replica->plain)
            grads[i] =
                (dml_tensor){replica->plain_at[i], param->count, DML_F32, param->name};
        rows[i] = param->ndims > 1 ? (size_t)param->dims[0] : 1;
    }
    grads[net->nparams] = (dml_tensor){
        replica->plain ? replica->plain : net->param_grad, NET_HEAD, DML_F32, "loss"};
    rows[net->nparams] = DML_KEEP_DENSE;
    if (replica_has_codec(replica->options)) {
        opts.codec = replica->codec;
        opts.rows = rows;
    }
    return job_note(replica->job,
                    dml_reducer_create(grads, (size_t)net->nparams + 1, &opts,
                                       replica->job->comm, &replica->reducer));
}

/* The net computes with what the other ranks get: the rounded values. */
static void round_params(struct replica *replica)
{
    struct net *net = replica->net;
    dml_ctx *ctx = replica->job->ctx;
    (void)dml_vec_convert(ctx, replica->params16, DML_BF16, net->param_data, DML_F32,
                          net->nparam_floats);
    (void)dml_vec_convert(ctx, net->param_data, DML_F32, replica->params16, DML_BF16,
                          net->nparam_floats);
}

static dml_status need(void *user, int param);

dml_status replica_create(struct job *job, const struct cnn_options *options,
                          struct net *net, struct replica *replica)
{
    *replica = (struct replica){.job = job, .options = options, .net = net};
    dml_tensor all = {net->param_data, net->nparam_floats, DML_F32, "parameters"};
    CNN_TRY(job_agree(job, make_memory(replica)));
    CNN_TRY(job_agree(job,
                      job_note(job, net->gpu ? replica_gpu_bcast(replica)
                                             : dml_sync_bcast(&all, 1, 0, job->comm))));
    if (replica->params16)
        round_params(replica);
    CNN_TRY(job_agree(job, make_optimizer(replica)));
    if (!replica->sharded)
        CNN_TRY(job_agree(job, make_reducer(replica)));
    net->need = need;
    net->need_user = replica;
    return DML_OK;
}

void replica_destroy(struct replica *replica)
{
    dml_sharded_destroy(replica->sharded);
    dml_reducer_destroy(replica->reducer);
    dml_optim_destroy(replica->optim);
    free(replica->plain);
    free(replica->grads16);
    free(replica->params16);
}

/* ---- a step --------------------------------------------------------------------- */

dml_status replica_begin(struct replica *replica, bool last_step)
{
    if (replica->sharded)
        return job_note(replica->job, dml_sharded_begin(replica->sharded));
    /* What a codec still holds back would be lost. */
    if (replica_has_codec(replica->options) && last_step)
        CNN_TRY(job_note(replica->job, dml_reducer_flush(replica->reducer)));
    return job_note(replica->job, dml_reducer_begin(replica->reducer, true));
}

static dml_status head_ready(struct replica *replica)
{
    struct net *net = replica->net;
    if (replica->sharded)
        return dml_iallreduce(DML_IN_PLACE, net->param_grad, NET_HEAD, DML_F32, DML_AVG,
                              replica->job->comm, &replica->head);
    if (replica->plain)
        memcpy(replica->plain, net->param_grad, NET_HEAD * sizeof(float));
    return dml_reducer_ready(replica->reducer, (size_t)net->nparams);
}

dml_status replica_ready(struct replica *replica, int index)
{
    struct net *net = replica->net;
    double start = now_s();
    if (index == net->nparams)
        return timed(replica, start, head_ready(replica));
    const struct param *param = &net->params[index];
    const float *grad = net->param_grad + param->offset;
    if (replica->plain)
        CNN_TRY(net_to_plain(net, index, grad, replica->plain_at[index]));
    if (replica->grads16)
        (void)dml_vec_convert(replica->job->ctx, replica->grads16 + param->offset,
                              DML_BF16, grad, DML_F32, param->stored);
    start = now_s();
    return timed(replica, start,
                 replica->sharded ? dml_sharded_ready(replica->sharded, (size_t)index)
                                  : dml_reducer_ready(replica->reducer, (size_t)index));
}

dml_status replica_average(struct replica *replica)
{
    struct net *net = replica->net;
    double start = now_s();
    if (replica->sharded)
        return timed(replica, start, dml_wait(&replica->head));
    CNN_TRY(timed(replica, start, dml_reducer_finish(replica->reducer)));
    if (!replica->plain)
        return DML_OK;
    memcpy(net->param_grad, replica->plain, NET_HEAD * sizeof(float));
    for (int i = 0; i < net->nparams; i++)
        CNN_TRY(net_from_plain(net, i, replica->plain_at[i],
                               net->param_grad + net->params[i].offset));
    return DML_OK;
}

dml_optim *replica_optim(const struct replica *replica)
{
    return replica->sharded ? dml_sharded_optim(replica->sharded) : replica->optim;
}

dml_status replica_update(struct replica *replica, double rate, double momentum)
{
    if (replica->options->low_momentum != CLI_AUTO)
        CNN_TRY(job_note(replica->job,
                         dml_optim_set_momentum(replica_optim(replica), momentum)));
    double start = now_s();
    dml_status status;
    if (replica->sharded)
        status = timed(replica, start, dml_sharded_step(replica->sharded, rate));
    else
        status = replica_note(replica, dml_optim_step(replica->optim, rate));
    if (replica->net->gpu)
        gpu_params_changed(replica->net);
    for (int i = 0; replica->params16 && i < replica->net->nparams; i++)
        replica->stale[i] = true;
    return status;
}

/* Before the net reads a parameter: it has come, and is f32. */
static dml_status need(void *user, int index)
{
    struct replica *replica = user;
    struct net *net = replica->net;
    const struct param *param = &net->params[index];
    double start = now_s();
    if (replica->sharded)
        CNN_TRY(
            timed(replica, start, dml_sharded_wait(replica->sharded, (size_t)index)));
    if (replica->stale[index])
        (void)dml_vec_convert(replica->job->ctx, net->param_data + param->offset,
                              DML_F32, replica->params16 + param->offset, DML_BF16,
                              param->stored);
    replica->stale[index] = false;
    return DML_OK;
}

dml_status replica_settle(struct replica *replica)
{
    if (replica->net->gpu)
        return replica_note(replica, replica_gpu_settle(replica));
    for (int i = 0; i < replica->net->nparams; i++)
        CNN_TRY(need(replica, i));
    return DML_OK;
}
