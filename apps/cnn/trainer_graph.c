/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Passes of a step as CUDA graphs (--graph). After a few steps, in which everything has
 * been loaded, planned and allocated, each kind of pass is captured the first time that
 * it comes, and from then on its graph is launched instead. What differs from step to
 * step lies in memory that the device reads: images, labels and the key of dropout in
 * the feed's slots, of which each has graphs of its own, and the rate. The slots'
 * events stand outside, and so does the wait for the loss.
 *
 * With several ranks gradients must go by NCCL, the only path of libdml that a graph
 * holds, and which watches launches. All ranks capture a pass, or none does.
 */
#include "trainer.h"

#include <stdio.h>

enum { PLAIN_STEPS = 3 };

const char *replica_gpu_graph_lack(const struct cnn_options *options)
{
    if (options->low_momentum != CLI_AUTO)
        return "--low-momentum changes the momentum, which a graph keeps";
    if (checkpoint_shrinks(&options->checkpoint))
        return "--on-failure shrink waits for collectives on the host, which no graph "
               "holds";
    if (replica_has_codec(options))
        return "--compress waits for the device in a step, which no graph can";
    if (options->shard_optimizer)
        return "--shard-optimizer gathers parameters while the next step begins, which "
               "no graph of a step holds";
    return NULL;
}

void trainer_graph_open(struct trainer *trainer)
{
    struct pass_graphs *graphs = &trainer->device.graphs;
    const struct cnn_options *options = trainer->options;
    const bool off = strcmp(options->graph, "off") == 0;
    const char *lack = off ? "--graph off" : replica_gpu_graph_lack(options);
    graphs->wanted = lack == NULL;
    graphs->first_step = UINT64_MAX; /* until the first one */
    snprintf(graphs->why, sizeof graphs->why, "%s", lack ? lack : "too few steps");
}

void trainer_graph_close(struct trainer *trainer)
{
    struct device_work *work = &trainer->device;
    for (int i = 0; i < GRAPH_KINDS && work->gpu.ctx; i++)
        (void)dml_gpu_graph_free(work->gpu.ctx, work->graphs.made[i]);
}

void trainer_graph_tell(const struct trainer *trainer, char *text, size_t room)
{
    const struct pass_graphs *graphs = &trainer->device.graphs;
    snprintf(text, room, "%s%s", graphs->replayed ? "captured" : "plain: ",
             graphs->replayed ? "" : graphs->why);
}

/* ---- capturing ------------------------------------------------------------------- */

/* A collective that cannot be captured is refused; that would be the reducer's end. */
static dml_status try_average(struct trainer *trainer)
{
    struct gpu *gpu = &trainer->device.gpu;
    dml_gpu_graph made = NULL;
    CNN_TRY(job_note(trainer->job, dml_gpu_capture_begin(gpu->ctx, gpu->stream)));
    dml_status status = job_note(
        trainer->job, dml_allreduce(DML_IN_PLACE, trainer->net->param_grad, NET_HEAD,
                                    DML_F32, DML_AVG, trainer->job->comm));
    dml_status ended = dml_gpu_capture_end(gpu->ctx, gpu->stream, &made);
    (void)dml_gpu_graph_free(gpu->ctx, made);
    return status != DML_OK ? status : job_note(trainer->job, ended);
}

/* What one rank lacks all lack: their graphs must hold the same collectives. (Ranks
 * that fail at different collectives of a pass no longer agree on those; libdml tells.)
 */
static dml_status agree(struct trainer *trainer, dml_status mine)
{
    struct job *job = trainer->job;
    int32_t failed = mine != DML_OK;
    dml_status sent =
        dml_allreduce(DML_IN_PLACE, &failed, 1, DML_I32, DML_MAX, job->comm);
    if (mine != DML_OK || (sent == DML_OK && !failed))
        return mine;
    return sent != DML_OK ? job_note(job, sent)
                          : job_fail(job, DML_EUNSUPPORTED,
                                     "another rank cannot capture its pass");
}

/* A graph of the pass, of which nothing has been done. What was begun of it on the host
 * is ended when it fails. */
static dml_status record(struct trainer *trainer, dml_gpu_graph *graph)
{
    struct gpu *gpu = &trainer->device.gpu;
    dml_gpu_graph made = NULL;
    dml_optim_read_rate(trainer->replica.optim, trainer->device.rate);
    if (trainer->device.pass == 0) /* a test may have brought the weights up to date */
        gpu_params_changed(trainer->net);
    dml_status status =
        job_note(trainer->job, dml_gpu_capture_begin(gpu->ctx, gpu->stream));
    if (status == DML_OK) {
        status = trainer_gpu_queue(trainer);
        dml_status ended = dml_gpu_capture_end(gpu->ctx, gpu->stream, &made);
        if (status == DML_OK)
            status = job_note(trainer->job, ended);
    }
    status = agree(trainer, status);
    if (status == DML_OK)
        *graph = made;
    else
        (void)dml_gpu_graph_free(gpu->ctx, made);
    return status;
}

/* The step is not lost by a driver, or a library, that cannot capture it. On all ranks.
 */
static dml_status do_without(struct trainer *trainer)
{
    struct pass_graphs *graphs = &trainer->device.graphs;
    struct job *job = trainer->job;
    char why[sizeof graphs->why];
    snprintf(why, sizeof why, "%s", job->error);
    job->error[0] = '\0';
    if (strcmp(trainer->options->graph, "on") == 0)
        return job_fail(job, DML_EUNSUPPORTED,
                        "--graph on: the step cannot be captured: %s", why);
    memcpy(graphs->why, why, sizeof why);
    graphs->wanted = false;
    replica_gpu_abandon(&trainer->replica);
    gpu_params_changed(trainer->net);
    return DML_OK;
}

/* The host's view of the weights, which a graph changes behind its back. */
static dml_status launch(struct trainer *trainer, dml_gpu_graph graph)
{
    struct gpu *gpu = &trainer->device.gpu;
    struct net *net = trainer->net;
    CNN_TRY(job_note(trainer->job, dml_gpu_graph_launch(gpu->ctx, graph, gpu->stream)));
    trainer->device.graphs.replayed = true;
    net->gpu->stale = false;
    if (trainer->last_pass)
        gpu_params_changed(net);
    return DML_OK;
}

static int kind_of(const struct trainer *trainer)
{
    const struct device_work *work = &trainer->device;
    const int first = work->pass == 0, last = trainer->last_pass;
    return (int)(work->feed.now % FEED_SLOTS) + FEED_SLOTS * (first + 2 * last);
}

dml_status trainer_graph_pass(struct trainer *trainer)
{
    struct pass_graphs *graphs = &trainer->device.graphs;
    dml_gpu_graph *graph = &graphs->made[kind_of(trainer)];
    if (graphs->first_step == UINT64_MAX)
        graphs->first_step = trainer->step + PLAIN_STEPS;
    if (!graphs->wanted || trainer->step < graphs->first_step)
        return trainer_gpu_queue(trainer);
    if (!*graph) {
        dml_status status =
            graphs->tried ? DML_OK : agree(trainer, try_average(trainer));
        graphs->tried = true;
        if (status == DML_OK)
            status = record(trainer, graph);
        if (status != DML_OK)
            CNN_TRY(do_without(trainer));
    }
    return *graph ? launch(trainer, *graph) : trainer_gpu_queue(trainer);
}
