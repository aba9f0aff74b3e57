/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two-dimensional convolution (cross-correlation), square kernels, by oneDNN.
 *
 * y[n,k,i,j] = b[k] + sum over c, u, v of w[k,c,u,v]
 * x[n,c,i*stride+u-pad,j*stride+v-pad]. The first layer of a net has no data gradient:
 * its input is the data.
 */
#include "layers.h"

struct conv {
    struct layer layer;
    bool bias;
    dnnl_dims_t weight_dims, bias_dims, out_dims, strides, pads;
    struct dnn_op forward, backward_data, backward_weights;
};

static dml_status conv_forward(struct layer *layer, enum net_mode mode)
{
    (void)mode;
    return dnn_op_run(&layer->net->dnn, &((struct conv *)layer)->forward);
}

static dml_status conv_backward(struct layer *layer)
{
    struct conv *conv = (struct conv *)layer;
    CNN_TRY(dnn_op_run(&layer->net->dnn, &conv->backward_weights));
    if (!layer->in[0]->grad)
        return DML_OK;
    return dnn_op_run(&layer->net->dnn, &conv->backward_data);
}

static const struct layer_ops conv_ops = {"conv", conv_forward, conv_backward, NULL};

/* Descriptors with free layouts, but for the net's input: it stays as the data are. */
struct conv_mds {
    dnnl_memory_desc_t src, weights, bias, dst;
};

static dml_status free_layouts(struct conv *conv, struct conv_mds *mds)
{
    struct dnn *dnn = &conv->layer.net->dnn;
    const struct value *x = conv->layer.in[0];
    if (x->grad)
        CNN_TRY(dnn_any(dnn, 4, x->dims, &mds->src));
    else
        mds->src = x->md;
    CNN_TRY(dnn_any(dnn, 4, conv->weight_dims, &mds->weights));
    CNN_TRY(dnn_plain(dnn, 1, conv->bias_dims, &mds->bias));
    return dnn_any(dnn, 4, conv->out_dims, &mds->dst);
}

static dml_status setup_forward(struct conv *conv)
{
    struct layer *layer = &conv->layer;
    struct net *net = layer->net;
    struct dnn_op *op = &conv->forward;
    struct conv_mds mds;
    CNN_TRY(free_layouts(conv, &mds));
    dnnl_convolution_desc_t desc;
    DNN_TRY(&net->dnn, dnnl_convolution_forward_desc_init(
                           &desc, dnnl_forward_training, dnnl_convolution_direct,
                           &mds.src, &mds.weights, conv->bias ? &mds.bias : NULL,
                           &mds.dst, conv->strides, conv->pads, conv->pads));
    CNN_TRY(dnn_op_init(&net->dnn, op, &desc, NULL));

    layer->out[0] =
        net_add_value(net, 4, conv->out_dims, dnn_op_md(op, dnnl_query_dst_md, 0));
    struct param *weights = net_add_param(net, layer, "weight", 4, conv->weight_dims,
                                          dnn_op_md(op, dnnl_query_weights_md, 0));
    if (!layer->out[0] || !weights)
        return DML_EINVAL;
    weights->stddev = net_init_stddev(weights, false);
    CNN_TRY(dnn_op_in(&net->dnn, op, DNNL_ARG_SRC, layer->in[0]->data,
                      dnn_op_md(op, dnnl_query_src_md, 0)));
    CNN_TRY(dnn_op_in(&net->dnn, op, DNNL_ARG_WEIGHTS, weights->data, NULL));
    CNN_TRY(dnn_op_out(&net->dnn, op, DNNL_ARG_DST, layer->out[0]->data, NULL));
    if (!conv->bias)
        return DML_OK;
    struct param *bias =
        net_add_param(net, layer, "bias", 1, conv->bias_dims, &mds.bias);
    if (!bias)
        return DML_EINVAL;
    bias->flags = DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT;
    return dnn_op_in(&net->dnn, op, DNNL_ARG_BIAS, bias->data, NULL);
}

static dml_status setup_backward_weights(struct conv *conv)
{
    struct layer *layer = &conv->layer;
    struct dnn *dnn = &layer->net->dnn;
    const struct param *params = &layer->net->params[layer->first_param];
    struct dnn_op *op = &conv->backward_weights;
    struct conv_mds mds;
    CNN_TRY(free_layouts(conv, &mds));
    dnnl_convolution_desc_t desc;
    DNN_TRY(dnn, dnnl_convolution_backward_weights_desc_init(
                     &desc, dnnl_convolution_direct, &mds.src, &mds.weights,
                     conv->bias ? &mds.bias : NULL, &mds.dst, conv->strides, conv->pads,
                     conv->pads));
    CNN_TRY(dnn_op_init(dnn, op, &desc, &conv->forward));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_SRC, layer->in[0]->data,
                      dnn_op_md(op, dnnl_query_src_md, 0)));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_DIFF_DST, layer->out[0]->grad,
                      dnn_op_md(op, dnnl_query_diff_dst_md, 0)));
    CNN_TRY(dnn_op_out(dnn, op, DNNL_ARG_DIFF_WEIGHTS, params[0].grad,
                       dnn_op_md(op, dnnl_query_diff_weights_md, 0)));
    if (!conv->bias)
        return DML_OK;
    return dnn_op_out(dnn, op, DNNL_ARG_DIFF_BIAS, params[1].grad, NULL);
}

static dml_status setup_backward_data(struct conv *conv)
{
    struct layer *layer = &conv->layer;
    struct dnn *dnn = &layer->net->dnn;
    struct dnn_op *op = &conv->backward_data;
    struct conv_mds mds;
    CNN_TRY(free_layouts(conv, &mds));
    dnnl_convolution_desc_t desc;
    DNN_TRY(dnn, dnnl_convolution_backward_data_desc_init(
                     &desc, dnnl_convolution_direct, &mds.src, &mds.weights, &mds.dst,
                     conv->strides, conv->pads, conv->pads));
    CNN_TRY(dnn_op_init(dnn, op, &desc, &conv->forward));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_DIFF_DST, layer->out[0]->grad,
                      dnn_op_md(op, dnnl_query_diff_dst_md, 0)));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_WEIGHTS,
                      layer->net->params[layer->first_param].data,
                      dnn_op_md(op, dnnl_query_weights_md, 0)));
    return dnn_op_out(dnn, op, DNNL_ARG_DIFF_SRC, layer->in[0]->grad,
                      dnn_op_md(op, dnnl_query_diff_src_md, 0));
}

struct value *dnn_make_conv(struct net *net, struct value *x, int channels,
                            const struct net_window *window, bool bias)
{
    const int *kernel = window->kernel, stride = window->stride, pad = window->pad;
    struct conv *conv = net_add_layer(net, sizeof *conv, &conv_ops, x);
    if (!conv)
        return NULL;
    conv->bias = bias;
    conv->weight_dims[0] = conv->bias_dims[0] = channels;
    conv->weight_dims[1] = x->dims[1];
    conv->out_dims[0] = x->dims[0];
    conv->out_dims[1] = channels;
    for (int d = 0; d < 2; d++) {
        conv->weight_dims[2 + d] = kernel[d];
        conv->strides[d] = stride;
        conv->pads[d] = pad;
        conv->out_dims[2 + d] = net_output_side(x, d, window);
    }
    if (setup_forward(conv) != DML_OK || setup_backward_weights(conv) != DML_OK ||
        (x->grad && setup_backward_data(conv) != DML_OK))
        return NULL;
    return conv->layer.out[0];
}
