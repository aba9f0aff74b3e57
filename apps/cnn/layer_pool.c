/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Max and average pooling over square windows, by oneDNN; the global
 * pool is an average over the whole image.
 */
#include "layers.h"

struct pool {
    struct layer layer;
    struct dnn_op forward, backward;
};

static dml_status pool_forward(struct layer *layer, enum net_mode mode)
{
    (void)mode;
    return dnn_op_run(&layer->net->dnn, &((struct pool *)layer)->forward);
}

static dml_status pool_backward(struct layer *layer)
{
    if (!layer->in[0]->grad)
        return DML_OK;
    return dnn_op_run(&layer->net->dnn, &((struct pool *)layer)->backward);
}

static const struct layer_ops pool_ops = {"pool", pool_forward, pool_backward, NULL};

struct window {
    dnnl_alg_kind_t kind;
    dnnl_dims_t kernel, strides, pads, far_pads, out_dims;
};

static dml_status setup_backward(struct pool *pool, const struct window *window,
                                 dnnl_memory_t workspace)
{
    struct layer *layer = &pool->layer;
    struct dnn *dnn = &layer->net->dnn;
    const struct value *x = layer->in[0], *y = layer->out[0];
    dnnl_pooling_desc_t desc;
    DNN_TRY(dnn, dnnl_pooling_backward_desc_init(&desc, window->kind, &x->md, &y->md,
                                                 window->strides, window->kernel,
                                                 window->pads, window->far_pads));
    CNN_TRY(dnn_op_init(dnn, &pool->backward, &desc, &pool->forward));
    CNN_TRY(dnn_op_in(dnn, &pool->backward, DNNL_ARG_DIFF_DST, y->grad, NULL));
    CNN_TRY(dnn_op_out(dnn, &pool->backward, DNNL_ARG_DIFF_SRC, x->grad, NULL));
    if (!workspace)
        return DML_OK;
    return dnn_op_in(dnn, &pool->backward, DNNL_ARG_WORKSPACE, workspace, NULL);
}

static dml_status setup(struct pool *pool, const struct window *window)
{
    struct layer *layer = &pool->layer;
    struct net *net = layer->net;
    struct dnn_op *op = &pool->forward;
    const struct value *x = layer->in[0];
    dnnl_memory_desc_t dst;
    dnnl_pooling_desc_t desc;
    CNN_TRY(dnn_any(&net->dnn, 4, window->out_dims, &dst));
    DNN_TRY(&net->dnn, dnnl_pooling_forward_desc_init(&desc, dnnl_forward_training,
                                                      window->kind, &x->md, &dst,
                                                      window->strides, window->kernel,
                                                      window->pads, window->far_pads));
    CNN_TRY(dnn_op_init(&net->dnn, op, &desc, NULL));
    layer->out[0] =
        net_add_value(net, 4, window->out_dims, dnn_op_md(op, dnnl_query_dst_md, 0));
    if (!layer->out[0])
        return DML_EINVAL;
    CNN_TRY(dnn_op_in(&net->dnn, op, DNNL_ARG_SRC, x->data, NULL));
    CNN_TRY(dnn_op_out(&net->dnn, op, DNNL_ARG_DST, layer->out[0]->data, NULL));

    /* Where each maximum came from. */
    dnnl_memory_t workspace = NULL;
    const dnnl_memory_desc_t *md = dnn_op_md(op, dnnl_query_workspace_md, 0);
    if (md && dnnl_memory_desc_get_size(md) > 0) {
        CNN_TRY(dnn_memory_alloc(&net->dnn, md, &workspace));
        CNN_TRY(dnn_op_out(&net->dnn, op, DNNL_ARG_WORKSPACE, workspace, NULL));
    }
    return x->grad ? setup_backward(pool, window, workspace) : DML_OK;
}

struct value *dnn_make_pool(struct net *net, struct value *x, enum net_pool kind,
                            const struct net_window *given)
{
    struct pool *pool = net_add_layer(net, sizeof *pool, &pool_ops, x);
    if (!pool)
        return NULL;
    struct window window = {.kind = kind == NET_POOL_MAX
                                        ? dnnl_pooling_max
                                        : dnnl_pooling_avg_exclude_padding,
                            .out_dims = {x->dims[0], x->dims[1]}};
    for (int d = 0; d < 2; d++) {
        window.kernel[d] = given->kernel[d];
        window.strides[d] = given->stride;
        window.pads[d] = given->pad;
        window.out_dims[2 + d] = net_output_side(x, d, given);
        /* What the last window leaves out at the far edge. */
        window.far_pads[d] = (window.out_dims[2 + d] - 1) * given->stride +
                             given->kernel[d] - x->dims[2 + d] - given->pad;
    }
    return setup(pool, &window) == DML_OK ? pool->layer.out[0] : NULL;
}
