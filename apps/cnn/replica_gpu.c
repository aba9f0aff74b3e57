/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Averages over the ranks on GPUs: the whole gradient at once, queued in the stream
 * behind the backward pass. Parameters stay f32; with bf16 gradients are bf16.
 */
#include "gpu.h"
#include "replica.h"

dml_status replica_gpu_check(struct job *job, const struct cnn_options *options)
{
    const bool gpu = strcmp(options->device, "gpu") == 0;
    if (!gpu && strcmp(options->precision, "tf32") == 0)
        return job_fail(job, DML_EINVAL,
                        "--precision tf32 is a GPU's: give --device gpu, or f32 or "
                        "bf16");
    if (!gpu && strcmp(options->kernels, "auto") != 0)
        return job_fail(job, DML_EINVAL,
                        "--kernels %s is for --device gpu: leave it out, or give both",
                        options->kernels);
    if (gpu && replica_has_codec(options))
        return job_fail(job, DML_EUNSUPPORTED,
                        "--compress %.60s does not work with --device gpu: leave one "
                        "of the two out",
                        options->compress);
    if (gpu && options->shard_optimizer)
        return job_fail(job, DML_EUNSUPPORTED,
                        "--shard-optimizer does not work with --device gpu: leave one "
                        "of the two out");
    if (gpu && checkpoint_shrinks(&options->checkpoint))
        return job_fail(job, DML_EUNSUPPORTED,
                        "--on-failure shrink does not work with --device gpu: leave "
                        "one of the two out");
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

/* The loss in the head is f32 always; where the gradients are, too, all is one call. */
dml_status replica_gpu_average(struct replica *replica)
{
    const struct net *net = replica->net;
    dml_comm *comm = replica->job->comm;
    size_t count = net->nparam_floats - NET_HEAD;
    if (!net->gpu->gpu->half)
        return dml_allreduce(DML_IN_PLACE, net->param_grad, net->nparam_floats, DML_F32,
                             DML_AVG, comm);
    dml_status status =
        dml_allreduce(DML_IN_PLACE, net->param_grad, NET_HEAD, DML_F32, DML_AVG, comm);
    if (status != DML_OK)
        return status;
    return dml_allreduce(DML_IN_PLACE, net->param_grad + NET_HEAD, count, DML_BF16,
                         DML_AVG, comm);
}

dml_status replica_gpu_settle(struct replica *replica)
{
    struct net *net = replica->net;
    CNN_TRY(dml_optim_wait(replica->optim));
    dml_status status = net_pull_state(net);
    if (status != DML_OK)
        return job_fail(replica->job, status, "%s", net_error(net));
    return DML_OK;
}
