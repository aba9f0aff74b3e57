/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Layers on a GPU with weights: convolution and linear.
 */
#include "gpu.h"
#include "layers.h"

struct conv {
    struct layer layer;
    struct cnn_window window;
    bool bias;
    void *plan;
};

static dml_status run_conv(struct conv *conv, enum gpu_conv what, const void *x,
                           const void *weight, const void *y)
{
    struct gpu *gpu = conv->layer.net->gpu->gpu;
    const struct cnn_conv_args args = {
        .x = x, .weight = weight, .y = y, .window = conv->window, .half = gpu->half};
    return gpu->math->run(gpu, conv->plan, what, &args);
}

static size_t output_rows(const struct cnn_window *s)
{
    return (size_t)s->rows * (size_t)s->p * (size_t)s->q;
}

static dml_status conv_forward(struct layer *layer, enum net_mode mode)
{
    struct conv *conv = (struct conv *)layer;
    struct net *net = layer->net;
    const struct param *params = &net->params[layer->first_param];
    void *y = layer->out[0]->data_at;
    (void)mode;
    CNN_TRY(
        run_conv(conv, GPU_CONV, layer->in[0]->data_at, gpu_weight(net, params), y));
    if (!conv->bias)
        return DML_OK;
    return GPU_MAP(net->gpu->gpu, bias,
                   .count = output_rows(&conv->window) * (size_t)conv->window.k, .y = y,
                   .channel = net->param_data + params[1].offset,
                   .channels = conv->window.k);
}

static dml_status bias_backward(const struct conv *conv)
{
    static const struct gpu_sums sums = {CNN_KERNEL_bias_parts, CNN_KERNEL_sum_fold,
                                         CNN_KERNEL_bias_sums};
    const struct net *net = conv->layer.net;
    const struct param *bias = &net->params[conv->layer.first_param + 1];
    struct cnn_norm_args args = {.y = conv->layer.out[0]->grad_at,
                                 .dbeta = gpu_gradient(net, bias),
                                 .rows = output_rows(&conv->window),
                                 .channels = conv->window.k,
                                 .half = net->gpu->gpu->half};
    return gpu_sum_rows(net, &sums, &args);
}

static dml_status conv_backward(struct layer *layer)
{
    struct conv *conv = (struct conv *)layer;
    struct net *net = layer->net;
    const struct param *weight = &net->params[layer->first_param];
    const struct value *x = layer->in[0];
    const void *dy = layer->out[0]->grad_at;
    CNN_TRY(run_conv(conv, GPU_CONV_WEIGHT, x->data_at, gpu_gradient(net, weight), dy));
    if (conv->bias)
        CNN_TRY(bias_backward(conv));
    if (!x->grad_at)
        return DML_OK;
    return run_conv(conv, GPU_CONV_DATA, x->grad_at, gpu_weight(net, weight), dy);
}

static void conv_close(struct layer *layer)
{
    struct conv *conv = (struct conv *)layer;
    struct gpu *gpu = layer->net->gpu->gpu;
    if (conv->plan)
        gpu->math->free_plan(gpu, conv->plan);
}

static const struct layer_ops conv_ops = {"conv", conv_forward, conv_backward,
                                          conv_close};
static const struct layer_ops linear_ops = {"linear", conv_forward, conv_backward,
                                            conv_close};

static struct value *add_params(struct conv *conv, int ndims, const dnnl_dims_t dims,
                                bool logits)
{
    struct net *net = conv->layer.net;
    struct gpu *gpu = net->gpu->gpu;
    const dnnl_dims_t bias_dims = {dims[0]};
    const struct cnn_conv_args shape = {.window = conv->window, .half = gpu->half};
    struct param *weight =
        net_add_param(net, &conv->layer, "weight", ndims, dims, NULL);
    if (!conv->layer.out[0] || !weight)
        return NULL;
    weight->stddev = net_init_stddev(weight, logits);
    if (conv->bias) {
        struct param *bias =
            net_add_param(net, &conv->layer, "bias", 1, bias_dims, NULL);
        if (!bias)
            return NULL;
        bias->flags = DML_PARAM_NO_DECAY | DML_PARAM_NO_ADAPT;
        gpu_need_sums(net, output_rows(&conv->window), conv->window.k);
    }
    const bool by_data = conv->layer.in[0]->grad_group >= 0; /* not the net's input */
    if (gpu->math->plan(gpu, &shape, by_data, &conv->plan) != DML_OK)
        return NULL;
    return conv->layer.out[0];
}

struct value *gpu_make_conv(struct net *net, struct value *x, int channels,
                            const struct net_window *window, bool bias)
{
    struct conv *conv = net_add_layer(net, sizeof *conv, &conv_ops, x);
    if (!conv)
        return NULL;
    const struct cnn_window *s = &conv->window;
    conv->window = gpu_window(x, channels, window);
    conv->bias = bias;
    const dnnl_dims_t out = {s->rows, s->k, s->p, s->q};
    const dnnl_dims_t dims = {s->k, s->c, s->height, s->width};
    conv->layer.out[0] = net_add_value(net, 4, out, NULL);
    return add_params(conv, 4, dims, false);
}

struct value *gpu_make_linear(struct net *net, struct value *x, int outputs,
                              bool logits)
{
    struct conv *conv = net_add_layer(net, sizeof *conv, &linear_ops, x);
    if (!conv)
        return NULL;
    dnnl_dims_t dims, out = {x->dims[0], outputs};
    memcpy(dims, x->dims, sizeof dims);
    dims[0] = outputs;
    int inputs = 1;
    for (int d = 1; d < x->ndims; d++)
        inputs *= (int)dims[d];
    conv->window = (struct cnn_window){.rows = (int)x->dims[0],
                                       .h = 1,
                                       .w = 1,
                                       .c = inputs,
                                       .p = 1,
                                       .q = 1,
                                       .k = outputs,
                                       .height = 1,
                                       .width = 1,
                                       .stride = 1};
    conv->bias = true;
    conv->layer.out[0] = net_add_value(net, 2, out, NULL);
    return add_params(conv, x->ndims, dims, logits);
}
