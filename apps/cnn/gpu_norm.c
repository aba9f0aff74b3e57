/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batch normalisation on a GPU. Where its output is a term of a sum, as at the end of a
 * residual block, it is not written: the sum behind computes it, adds the other term
 * and does the ReLU in one pass over memory; and backward that ReLU and the sums of the
 * gradient are one, which come before the layers of the other term. The bits are those
 * of one layer after the other.
 */
#include "gpu.h"
#include "layers.h"

struct norm {
    struct layer layer;
    bool relu;
    bool joined; /* to a sum, which computes the output */
    float *sums; /* of the gradient, where that sum's ReLU takes them; else NULL */
    float *running_mean, *running_variance;
    float *mean, *inverse; /* of the batch */
};

static struct cnn_norm_args norm_args(const struct norm *norm)
{
    const struct layer *layer = &norm->layer;
    const struct net *net = layer->net;
    const struct value *x = layer->in[0];
    const struct param *params = &net->params[layer->first_param];
    return (struct cnn_norm_args){
        .x = x->data_at,
        .y = layer->out[0]->data_at,
        .dx = x->grad_at,
        .gamma = net->param_data + params[0].offset,
        .beta = net->param_data + params[1].offset,
        .dgamma = gpu_gradient(net, &params[0]),
        .dbeta = gpu_gradient(net, &params[1]),
        .mean = norm->mean,
        .inverse = norm->inverse,
        .running_mean = norm->running_mean,
        .running_variance = norm->running_variance,
        .sums = norm->sums,
        .rows = (size_t)(x->dims[0] * x->dims[2] * x->dims[3]),
        .channels = (int)x->dims[1],
        .relu = norm->relu,
        .half = net->gpu->gpu->half,
    };
}

static dml_status run_rows(const struct layer *layer, enum cnn_kernel kernel,
                           struct cnn_norm_args *args)
{
    args->n = gpu_row_items((args->rows + CNN_ROWS - 1) / CNN_ROWS, args->channels);
    return gpu_run(layer->net->gpu->gpu, kernel, args);
}

static dml_status norm_forward(struct layer *layer, enum net_mode mode)
{
    static const struct gpu_sums sums = {CNN_KERNEL_stat_parts, CNN_KERNEL_stat_fold,
                                         CNN_KERNEL_stat};
    const struct norm *norm = (struct norm *)layer;
    struct cnn_norm_args args = norm_args(norm);
    if (mode == NET_TRAIN)
        CNN_TRY(gpu_sum_rows(layer->net, &sums, &args));
    if (norm->joined)
        return DML_OK;
    return run_rows(layer, mode == NET_TEST ? CNN_KERNEL_norm_test : CNN_KERNEL_norm,
                    &args);
}

static dml_status norm_backward(struct layer *layer)
{
    static const struct gpu_sums sums = {CNN_KERNEL_norm_parts, CNN_KERNEL_sum_fold,
                                         CNN_KERNEL_norm_sums};
    const struct norm *norm = (struct norm *)layer;
    struct cnn_norm_args args = norm_args(norm);
    args.y = layer->out[0]->grad_at;
    if (!norm->sums)
        CNN_TRY(gpu_sum_rows(layer->net, &sums, &args));
    return run_rows(layer, CNN_KERNEL_norm_back, &args);
}

static const struct layer_ops norm_ops = {"norm", norm_forward, norm_backward, NULL};

static dml_status add_norm_params(struct norm *norm, const dnnl_dims_t dims)
{
    struct net *net = norm->layer.net;
    size_t channels = (size_t)dims[0];
    struct param *gamma = net_add_param(net, &norm->layer, "gamma", 1, dims, NULL);
    struct param *beta = net_add_param(net, &norm->layer, "beta", 1, dims, NULL);
    if (!gamma || !beta)
        return DML_EINVAL;
    gamma->fill = 1;
    gamma->flags = beta->flags = DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT;
    CNN_TRY(net_add_state(net, "mean", channels, 0, &norm->running_mean));
    CNN_TRY(net_add_state(net, "var", channels, 1, &norm->running_variance));
    norm->mean = net->backend->alloc(net, channels * sizeof(float));
    norm->inverse = net->backend->alloc(net, channels * sizeof(float));
    return norm->mean && norm->inverse ? DML_OK : DML_ENOMEM;
}

struct value *gpu_make_batch_norm(struct net *net, struct value *x, bool relu)
{
    struct norm *norm = net_add_layer(net, sizeof *norm, &norm_ops, x);
    if (!norm)
        return NULL;
    const dnnl_dims_t dims = {x->dims[1]};
    norm->relu = relu;
    norm->layer.out[0] = net_add_value(net, 4, x->dims, NULL);
    gpu_need_sums(net, (size_t)(x->dims[0] * x->dims[2] * x->dims[3]), (int)x->dims[1]);
    if (!norm->layer.out[0] || add_norm_params(norm, dims) != DML_OK)
        return NULL;
    return norm->layer.out[0];
}

/* ---- as a term of a sum --------------------------------------------------------- */

struct layer *gpu_norm_join(struct net *net, const struct value *x)
{
    for (int i = net->nlayers; i-- > 0;) {
        struct norm *norm = (struct norm *)net->layers[i];
        if (norm->layer.out[0] != x)
            continue;
        if (norm->layer.ops != &norm_ops || norm->relu)
            return NULL;
        norm->joined = true;
        return &norm->layer;
    }
    return NULL;
}

dml_status gpu_norm_join_relu(struct layer *layer)
{
    const size_t channels = (size_t)layer->in[0]->dims[1];
    struct norm *norm = (struct norm *)layer;
    norm->sums = layer->net->backend->alloc(layer->net, 2 * channels * sizeof(float));
    return norm->sums ? DML_OK : DML_ENOMEM;
}

dml_status gpu_norm_add(struct layer *layer, enum net_mode mode,
                        const struct value *term)
{
    const struct norm *norm = (struct norm *)layer;
    struct cnn_norm_args args = norm_args(norm);
    args.side = term->data_at;
    args.relu = norm->sums != NULL;
    return run_rows(layer,
                    mode == NET_TEST ? CNN_KERNEL_norm_add_test : CNN_KERNEL_norm_add,
                    &args);
}

dml_status gpu_norm_add_back(struct layer *layer)
{
    static const struct gpu_sums sums = {CNN_KERNEL_norm_add_parts, CNN_KERNEL_sum_fold,
                                         CNN_KERNEL_norm_sums};
    const struct norm *norm = (struct norm *)layer;
    struct cnn_norm_args args = norm_args(norm);
    if (!norm->sums)
        return DML_OK;
    args.side = layer->out[0]->data_at; /* the sum's memory */
    args.y = layer->out[0]->grad_at;
    return gpu_sum_rows(layer->net, &sums, &args);
}
