/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fully connected layer, y = W x + b, by oneDNN's inner product. The input may be an
 * image (N C H W): it is read in whatever layout it has, without a copy.
 */
#include "layers.h"

#include <string.h>

struct linear {
    struct layer layer;
    bool logits;
    struct dnn_op forward, backward_data, backward_weights;
    dnnl_memory_desc_t any_weights, bias, dst;
};

static dml_status linear_forward(struct layer *layer, enum net_mode mode)
{
    (void)mode;
    return dnn_op_run(&layer->net->dnn, &((struct linear *)layer)->forward);
}

static dml_status linear_backward(struct layer *layer)
{
    struct linear *linear = (struct linear *)layer;
    CNN_TRY(dnn_op_run(&layer->net->dnn, &linear->backward_weights));
    if (!layer->in[0]->grad)
        return DML_OK;
    return dnn_op_run(&layer->net->dnn, &linear->backward_data);
}

static const struct layer_ops linear_ops = {"linear", linear_forward, linear_backward,
                                            NULL};

static dml_status setup_forward(struct linear *linear, const dnnl_dims_t weight_dims)
{
    struct layer *layer = &linear->layer;
    struct net *net = layer->net;
    struct dnn_op *op = &linear->forward;
    const struct value *x = layer->in[0];
    dnnl_inner_product_desc_t desc;
    DNN_TRY(&net->dnn, dnnl_inner_product_forward_desc_init(
                           &desc, dnnl_forward_training, &x->md, &linear->any_weights,
                           &linear->bias, &linear->dst));
    CNN_TRY(dnn_op_init(&net->dnn, op, &desc, NULL));

    layer->out[0] = net_add_value(net, 2, linear->dst.dims, &linear->dst);
    struct param *weights = net_add_param(net, layer, "weight", x->ndims, weight_dims,
                                          dnn_op_md(op, dnnl_query_weights_md, 0));
    struct param *bias =
        net_add_param(net, layer, "bias", 1, linear->bias.dims, &linear->bias);
    if (!layer->out[0] || !weights || !bias)
        return DML_EINVAL;
    weights->stddev = net_init_stddev(weights, linear->logits);
    bias->flags = DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT;
    CNN_TRY(dnn_op_in(&net->dnn, op, DNNL_ARG_SRC, x->data, NULL));
    CNN_TRY(dnn_op_in(&net->dnn, op, DNNL_ARG_WEIGHTS, weights->data, NULL));
    CNN_TRY(dnn_op_in(&net->dnn, op, DNNL_ARG_BIAS, bias->data, NULL));
    return dnn_op_out(&net->dnn, op, DNNL_ARG_DST, layer->out[0]->data, NULL);
}

static dml_status setup_backward_weights(struct linear *linear)
{
    struct layer *layer = &linear->layer;
    struct dnn *dnn = &layer->net->dnn;
    const struct param *params = &layer->net->params[layer->first_param];
    struct dnn_op *op = &linear->backward_weights;
    dnnl_inner_product_desc_t desc;
    DNN_TRY(dnn, dnnl_inner_product_backward_weights_desc_init(
                     &desc, &layer->in[0]->md, &linear->any_weights, &linear->bias,
                     &linear->dst));
    CNN_TRY(dnn_op_init(dnn, op, &desc, &linear->forward));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_SRC, layer->in[0]->data, NULL));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_DIFF_DST, layer->out[0]->grad, NULL));
    CNN_TRY(dnn_op_out(dnn, op, DNNL_ARG_DIFF_WEIGHTS, params[0].grad,
                       dnn_op_md(op, dnnl_query_diff_weights_md, 0)));
    return dnn_op_out(dnn, op, DNNL_ARG_DIFF_BIAS, params[1].grad, NULL);
}

static dml_status setup_backward_data(struct linear *linear)
{
    struct layer *layer = &linear->layer;
    struct dnn *dnn = &layer->net->dnn;
    struct dnn_op *op = &linear->backward_data;
    dnnl_inner_product_desc_t desc;
    DNN_TRY(dnn, dnnl_inner_product_backward_data_desc_init(
                     &desc, &layer->in[0]->md, &linear->any_weights, &linear->dst));
    CNN_TRY(dnn_op_init(dnn, op, &desc, &linear->forward));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_DIFF_DST, layer->out[0]->grad, NULL));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_WEIGHTS,
                      layer->net->params[layer->first_param].data,
                      dnn_op_md(op, dnnl_query_weights_md, 0)));
    return dnn_op_out(dnn, op, DNNL_ARG_DIFF_SRC, layer->in[0]->grad, NULL);
}

static dml_status setup(struct linear *linear, int outputs)
{
    struct dnn *dnn = &linear->layer.net->dnn;
    const struct value *x = linear->layer.in[0];
    dnnl_dims_t weight_dims;
    memcpy(weight_dims, x->dims, sizeof weight_dims);
    weight_dims[0] = outputs;
    const dnnl_dims_t bias_dims = {outputs};
    const dnnl_dims_t out_dims = {x->dims[0], outputs};
    CNN_TRY(dnn_any(dnn, x->ndims, weight_dims, &linear->any_weights));
    CNN_TRY(dnn_plain(dnn, 1, bias_dims, &linear->bias));
    CNN_TRY(dnn_plain(dnn, 2, out_dims, &linear->dst));
    CNN_TRY(setup_forward(linear, weight_dims));
    CNN_TRY(setup_backward_weights(linear));
    return x->grad ? setup_backward_data(linear) : DML_OK;
}

struct value *dnn_make_linear(struct net *net, struct value *x, int outputs,
                              bool logits)
{
    struct linear *linear = net_add_layer(net, sizeof *linear, &linear_ops, x);
    if (!linear)
        return NULL;
    linear->logits = logits;
    return setup(linear, outputs) == DML_OK ? linear->layer.out[0] : NULL;
}
