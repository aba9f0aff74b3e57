/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batch normalisation over the rows of this rank, with an optional ReLU fused behind
 * it.
 *
 * y = gamma (x - mean) / sqrt(variance + epsilon) + beta, per channel. Training uses
 * the statistics of this rank's rows; running averages of them serve the tests, and are
 * averaged over the ranks before (see evaluate.c).
 * Source: Ioffe and Szegedy 2015, algorithms 1 and 2.
 */
#include "layers.h"

#include <string.h>

#define EPSILON  1e-5f
#define MOMENTUM 0.1f /* share of the newest batch in the running averages */

struct norm {
    struct layer layer;
    struct dnn_op forward, backward, test;
    unsigned flags;
    size_t channels;
    dnnl_memory_desc_t channel_md;
    dnnl_memory_t mean, variance;           /* of the batch */
    dnnl_memory_t test_mean, test_variance; /* the running averages */
    float *running_mean, *running_variance; /* in the net's states */
};

static void update_running(const struct norm *norm)
{
    const struct value *x = norm->layer.in[0];
    const float *mean = dnn_data(norm->mean), *variance = dnn_data(norm->variance);
    float count = (float)(x->dims[0] * x->dims[2] * x->dims[3]);
    float unbias = count > 1 ? count / (count - 1) : 1;
    for (size_t c = 0; c < norm->channels; c++) {
        norm->running_mean[c] += MOMENTUM * (mean[c] - norm->running_mean[c]);
        norm->running_variance[c] +=
            MOMENTUM * (variance[c] * unbias - norm->running_variance[c]);
    }
}

static dml_status norm_forward(struct layer *layer, enum net_mode mode)
{
    struct norm *norm = (struct norm *)layer;
    struct dnn *dnn = &layer->net->dnn;
    if (mode == NET_TEST) {
        size_t bytes = norm->channels * sizeof(float);
        memcpy(dnn_data(norm->test_mean), norm->running_mean, bytes);
        memcpy(dnn_data(norm->test_variance), norm->running_variance, bytes);
        return dnn_op_run(dnn, &norm->test);
    }
    CNN_TRY(dnn_op_run(dnn, &norm->forward));
    update_running(norm);
    return DML_OK;
}

static dml_status norm_backward(struct layer *layer)
{
    return dnn_op_run(&layer->net->dnn, &((struct norm *)layer)->backward);
}

static const struct layer_ops norm_ops = {"norm", norm_forward, norm_backward, NULL};

static dml_status setup_params(struct norm *norm)
{
    struct net *net = norm->layer.net;
    const dnnl_dims_t dims = {(dnnl_dim_t)norm->channels};
    CNN_TRY(dnn_plain(&net->dnn, 1, dims, &norm->channel_md));
    struct param *gamma =
        net_add_param(net, &norm->layer, "gamma", 1, dims, &norm->channel_md);
    struct param *beta =
        net_add_param(net, &norm->layer, "beta", 1, dims, &norm->channel_md);
    if (!gamma || !beta)
        return DML_EINVAL;
    gamma->fill = 1;
    gamma->flags = beta->flags = DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT;
    CNN_TRY(net_add_state(net, "mean", norm->channels, 0, &norm->running_mean));
    CNN_TRY(net_add_state(net, "var", norm->channels, 1, &norm->running_variance));
    CNN_TRY(dnn_memory_alloc(&net->dnn, &norm->channel_md, &norm->mean));
    CNN_TRY(dnn_memory_alloc(&net->dnn, &norm->channel_md, &norm->variance));
    CNN_TRY(dnn_memory_alloc(&net->dnn, &norm->channel_md, &norm->test_mean));
    return dnn_memory_alloc(&net->dnn, &norm->channel_md, &norm->test_variance);
}

/* Arguments that all three operations have. */
static dml_status bind_common(struct norm *norm, struct dnn_op *op, bool reads_stats,
                              dnnl_memory_t mean, dnnl_memory_t variance)
{
    struct dnn *dnn = &norm->layer.net->dnn;
    const struct param *params = &norm->layer.net->params[norm->layer.first_param];
    dml_status (*bind)(struct dnn *, struct dnn_op *, int, dnnl_memory_t,
                       const dnnl_memory_desc_t *) =
        reads_stats ? dnn_op_in : dnn_op_out;
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_SRC, norm->layer.in[0]->data, NULL));
    CNN_TRY(bind(dnn, op, DNNL_ARG_MEAN, mean, NULL));
    CNN_TRY(bind(dnn, op, DNNL_ARG_VARIANCE, variance, NULL));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_SCALE, params[0].data, NULL));
    return dnn_op_in(dnn, op, DNNL_ARG_SHIFT, params[1].data, NULL);
}

static dml_status setup_forward(struct norm *norm, dnnl_memory_t *workspace)
{
    struct layer *layer = &norm->layer;
    struct dnn *dnn = &layer->net->dnn;
    const struct value *x = layer->in[0], *y = layer->out[0];
    dnnl_batch_normalization_desc_t desc;
    DNN_TRY(dnn, dnnl_batch_normalization_forward_desc_init(
                     &desc, dnnl_forward_training, &x->md, EPSILON, norm->flags));
    CNN_TRY(dnn_op_init(dnn, &norm->forward, &desc, NULL));
    CNN_TRY(bind_common(norm, &norm->forward, false, norm->mean, norm->variance));
    CNN_TRY(dnn_op_out(dnn, &norm->forward, DNNL_ARG_DST, y->data, NULL));
    const dnnl_memory_desc_t *md =
        dnn_op_md(&norm->forward, dnnl_query_workspace_md, 0);
    if (md && dnnl_memory_desc_get_size(md) > 0) {
        CNN_TRY(dnn_memory_alloc(dnn, md, workspace));
        CNN_TRY(dnn_op_out(dnn, &norm->forward, DNNL_ARG_WORKSPACE, *workspace, NULL));
    }

    DNN_TRY(dnn, dnnl_batch_normalization_forward_desc_init(
                     &desc, dnnl_forward_inference, &x->md, EPSILON,
                     norm->flags | dnnl_use_global_stats));
    CNN_TRY(dnn_op_init(dnn, &norm->test, &desc, NULL));
    CNN_TRY(bind_common(norm, &norm->test, true, norm->test_mean, norm->test_variance));
    return dnn_op_out(dnn, &norm->test, DNNL_ARG_DST, y->data, NULL);
}

static dml_status setup_backward(struct norm *norm, dnnl_memory_t workspace)
{
    struct layer *layer = &norm->layer;
    struct dnn *dnn = &layer->net->dnn;
    const struct value *x = layer->in[0], *y = layer->out[0];
    const struct param *params = &layer->net->params[layer->first_param];
    struct dnn_op *op = &norm->backward;
    dnnl_batch_normalization_desc_t desc;
    DNN_TRY(dnn, dnnl_batch_normalization_backward_desc_init(
                     &desc, dnnl_backward, &y->md, &x->md, EPSILON, norm->flags));
    CNN_TRY(dnn_op_init(dnn, op, &desc, &norm->forward));
    CNN_TRY(bind_common(norm, op, true, norm->mean, norm->variance));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_DIFF_DST, y->grad, NULL));
    CNN_TRY(dnn_op_out(dnn, op, DNNL_ARG_DIFF_SRC, x->grad, NULL));
    CNN_TRY(dnn_op_out(dnn, op, DNNL_ARG_DIFF_SCALE, params[0].grad, NULL));
    CNN_TRY(dnn_op_out(dnn, op, DNNL_ARG_DIFF_SHIFT, params[1].grad, NULL));
    if (!workspace)
        return DML_OK;
    return dnn_op_in(dnn, op, DNNL_ARG_WORKSPACE, workspace, NULL);
}

struct value *dnn_make_batch_norm(struct net *net, struct value *x, bool relu)
{
    struct norm *norm = net_add_layer(net, sizeof *norm, &norm_ops, x);
    if (!norm)
        return NULL;
    norm->channels = (size_t)x->dims[1];
    norm->flags = dnnl_use_scale | dnnl_use_shift | (relu ? dnnl_fuse_norm_relu : 0u);
    norm->layer.out[0] = net_add_value(net, 4, x->dims, &x->md);
    dnnl_memory_t workspace = NULL;
    if (!norm->layer.out[0] || setup_params(norm) != DML_OK ||
        setup_forward(norm, &workspace) != DML_OK ||
        setup_backward(norm, workspace) != DML_OK)
        return NULL;
    return norm->layer.out[0];
}
