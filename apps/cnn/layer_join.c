/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What residual nets need: fork (one value read twice), add, and the shortcut that
 * changes shape without parameters.
 * Source: He, Zhang, Ren and Sun 2016, equation 1, and option A of section 3.3.
 */
#include "layers.h"

#include <string.h>

/* ---- fork ----------------------------------------------------------------------- */

/* Both outputs are the input's memory; in the backward pass their gradients add up. */
struct fork {
    struct layer layer;
    struct dnn_op backward;
};

static dml_status do_nothing(struct layer *layer, enum net_mode mode)
{
    (void)layer;
    (void)mode;
    return DML_OK;
}

static dml_status fork_backward(struct layer *layer)
{
    return dnn_op_run(&layer->net->dnn, &((struct fork *)layer)->backward);
}

static const struct layer_ops fork_ops = {"fork", do_nothing, fork_backward, NULL};

/* total = total + term, in place; md: the layout of total. */
static dml_status setup_sum(struct dnn *dnn, struct dnn_op *op,
                            const dnnl_memory_desc_t *md, dnnl_memory_t total,
                            dnnl_memory_t term)
{
    dnnl_binary_desc_t desc;
    DNN_TRY(dnn, dnnl_binary_desc_init(&desc, dnnl_binary_add, md, md, md));
    CNN_TRY(dnn_op_init(dnn, op, &desc, NULL));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_SRC_0, total, NULL));
    CNN_TRY(dnn_op_in(dnn, op, DNNL_ARG_SRC_1, term, md));
    return dnn_op_out(dnn, op, DNNL_ARG_DST, total, NULL);
}

struct value *dnn_make_fork(struct net *net, struct value *x, struct value **second)
{
    struct fork *fork = net_add_layer(net, sizeof *fork, &fork_ops, x);
    if (!fork)
        return NULL;
    struct value *a = net_alias_value(net, x);
    struct value *b = net_add_value(net, x->ndims, x->dims, &x->md);
    if (!a || !b)
        return NULL;
    b->data_group = x->data_group;
    if (setup_sum(&net->dnn, &fork->backward, &x->md, a->grad, b->grad) != DML_OK)
        return NULL;
    fork->layer.out[0] = a;
    fork->layer.out[1] = b;
    *second = b;
    return a;
}

/* ---- add ------------------------------------------------------------------------ */

/* The sum is written over the first term; the gradient of both is the sum's memory. But
 * oneDNN may choose another layout for the second term: then its gradient is a copy. */
struct add {
    struct layer layer;
    struct dnn_op forward;
    struct dnn_reorder backward;
};

static dml_status add_forward(struct layer *layer, enum net_mode mode)
{
    (void)mode;
    return dnn_op_run(&layer->net->dnn, &((struct add *)layer)->forward);
}

static dml_status add_backward(struct layer *layer)
{
    const struct add *add = (struct add *)layer;
    if (!add->backward.primitive)
        return DML_OK;
    return dnn_reorder_run(&layer->net->dnn, &add->backward);
}

static const struct layer_ops add_ops = {"add", add_forward, add_backward, NULL};

struct value *dnn_make_add(struct net *net, struct value *x, struct value *y)
{
    struct add *add = net_add_layer(net, sizeof *add, &add_ops, x);
    if (!add)
        return NULL;
    struct value *sum = net_alias_value(net, x);
    add->layer.in[1] = y;
    add->layer.out[0] = sum;
    if (!sum || setup_sum(&net->dnn, &add->forward, &x->md, x->data, y->data) != DML_OK)
        return NULL;
    if (y->grad_group != sum->grad_group &&
        dnn_reorder_init(&net->dnn, &add->backward, &sum->md, sum->grad, &y->md,
                         y->grad) != DML_OK)
        return NULL;
    return sum;
}

/* ---- shortcut ------------------------------------------------------------------- */

/* Copies between a view of every stride-th pixel of the input and the first channels of
 * the output; the other channels stay zero. */
struct shortcut {
    struct layer layer;
    struct dnn_reorder forward, backward;
    size_t in_bytes;
};

static dml_status shortcut_forward(struct layer *layer, enum net_mode mode)
{
    (void)mode;
    return dnn_reorder_run(&layer->net->dnn, &((struct shortcut *)layer)->forward);
}

static dml_status shortcut_backward(struct layer *layer)
{
    const struct shortcut *shortcut = (struct shortcut *)layer;
    memset(dnn_data(layer->in[0]->grad), 0, shortcut->in_bytes);
    return dnn_reorder_run(&layer->net->dnn, &shortcut->backward);
}

static const struct layer_ops shortcut_ops = {"shortcut", shortcut_forward,
                                              shortcut_backward, NULL};

/* A memory object over the same data in another layout; it is placed with the value. */
static dml_status setup_copies(struct shortcut *shortcut, int stride)
{
    struct layer *layer = &shortcut->layer;
    struct net *net = layer->net;
    const struct value *x = layer->in[0], *y = layer->out[0];
    dnnl_memory_desc_t thin = x->md, part;
    for (int d = 2; d < 4; d++) {
        thin.dims[d] = thin.padded_dims[d] = y->dims[d];
        thin.format_desc.blocking.strides[d] *= stride;
    }
    const dnnl_dims_t offsets = {0};
    DNN_TRY(&net->dnn,
            dnnl_memory_desc_init_submemory(&part, &y->md, thin.dims, offsets));
    struct value *from = net_add_value(net, 4, thin.dims, &thin);
    struct value *to = net_add_value(net, 4, thin.dims, &part);
    if (!from || !to)
        return DML_EINVAL;
    from->data_group = x->data_group;
    from->grad_group = x->grad_group;
    to->data_group = y->data_group;
    to->grad_group = y->grad_group;
    CNN_TRY(dnn_reorder_init(&net->dnn, &shortcut->forward, &thin, from->data, &part,
                             to->data));
    return dnn_reorder_init(&net->dnn, &shortcut->backward, &part, to->grad, &thin,
                            from->grad);
}

struct value *dnn_make_shortcut(struct net *net, struct value *x, int channels,
                                int stride)
{
    struct shortcut *shortcut = net_add_layer(net, sizeof *shortcut, &shortcut_ops, x);
    if (!shortcut)
        return NULL;
    const struct net_window one = {{1, 1}, stride, 0};
    const dnnl_dims_t dims = {x->dims[0], channels, net_output_side(x, 0, &one),
                              net_output_side(x, 1, &one)};
    dnnl_memory_desc_t md;
    dnnl_format_tag_t tag = x->md.format_desc.blocking.inner_nblks == 0 ? dnnl_nchw
                            : x->md.format_desc.blocking.inner_blks[0] == 16
                                ? dnnl_nChw16c
                                : dnnl_nChw8c;
    if (dnnl_memory_desc_init_by_tag(&md, 4, dims, dnnl_f32, tag) != dnnl_success) {
        (void)net_misuse(net, "a shortcut's input has an unexpected layout");
        return NULL;
    }
    shortcut->in_bytes = dnnl_memory_desc_get_size(&x->md);
    shortcut->layer.out[0] = net_add_value(net, 4, dims, &md);
    if (!shortcut->layer.out[0] || setup_copies(shortcut, stride) != DML_OK)
        return NULL;
    return shortcut->layer.out[0];
}
