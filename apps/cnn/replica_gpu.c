/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a replica on a GPU does otherwise: its gradients go to the reducer where they
 * are, in device memory. Parameters stay f32; with bf16 gradients are bf16.
 */
#include "gpu.h"
#include "replica.h"

dml_status replica_gpu_check_kernels(struct job *job, const struct cnn_options *options)
{
    if (strcmp(options->device, "gpu") != 0 && strcmp(options->kernels, "auto") != 0)
        return job_fail(job, DML_EINVAL,
                        "--kernels %s is for --device gpu: leave it out, or give both",
                        options->kernels);
    return DML_OK;
}

dml_status replica_gpu_check(struct job *job, const struct cnn_options *options)
{
    CNN_TRY(replica_gpu_check_kernels(job, options));
    const bool gpu = strcmp(options->device, "gpu") == 0;
    if (!gpu && strcmp(options->precision, "tf32") == 0)
        return job_fail(job, DML_EINVAL,
                        "--precision tf32 is a GPU's: give --device gpu, or f32 or "
                        "bf16");
    const bool on = strcmp(options->graph, "on") == 0;
    const char *lack = gpu && on ? replica_gpu_graph_lack(options) : NULL;
    if (!gpu && on)
        return job_fail(job, DML_EINVAL,
                        "--graph on is for --device gpu: leave it out, or give both");
    if (lack)
        return job_fail(job, DML_EUNSUPPORTED, "--graph on: %s", lack);
    return DML_OK;
}

dml_status replica_gpu_bcast(struct replica *replica)
{
    struct net *net = replica->net;
    dml_status status =
        dml_bcast(net->param_data, net->nparam_floats, DML_F32, 0, replica->job->comm);
    gpu_params_changed(net);
    return status;
}

dml_status replica_gpu_settle(struct replica *replica)
{
    struct net *net = replica->net;
    if (replica->sharded)
        CNN_TRY(dml_sharded_wait_all(replica->sharded));
    CNN_TRY(dml_optim_wait(replica_optim(replica)));
    dml_status status = net_pull_state(net);
    if (status != DML_OK)
        return job_fail(replica->job, status, "%s", net_error(net));
    return DML_OK;
}

/* The weights that products read in bf16 are rounded all together. */
dml_status replica_gpu_need(struct replica *replica)
{
    if (!replica->sharded || !replica->net->gpu->stale)
        return DML_OK;
    return replica_note(replica, dml_sharded_wait_all(replica->sharded));
}

dml_status replica_gpu_check_step(struct replica *replica)
{
    return replica_note(replica, dml_optim_wait(replica_optim(replica)));
}

void replica_gpu_abandon(struct replica *replica)
{
    (void)dml_reducer_finish(replica->reducer);
}
