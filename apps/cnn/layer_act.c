/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ReLU and dropout. Both work in place: neither the layers before them nor their own
 * backward pass need the input again.
 */
#include "layers.h"

struct relu {
    struct layer layer;
    struct dnn_op forward, backward;
};

static dml_status relu_forward(struct layer *layer, enum net_mode mode)
{
    (void)mode;
    return dnn_op_run(&layer->net->dnn, &((struct relu *)layer)->forward);
}

static dml_status relu_backward(struct layer *layer)
{
    return dnn_op_run(&layer->net->dnn, &((struct relu *)layer)->backward);
}

static const struct layer_ops relu_ops = {"relu", relu_forward, relu_backward, NULL};

/* The gradient passes where the output is positive; at 0 it is 0. */
static dml_status setup_relu(struct relu *relu)
{
    struct layer *layer = &relu->layer;
    struct dnn *dnn = &layer->net->dnn;
    const struct value *x = layer->in[0], *y = layer->out[0];
    dnnl_eltwise_desc_t desc;
    DNN_TRY(dnn, dnnl_eltwise_forward_desc_init(&desc, dnnl_forward_training,
                                                dnnl_eltwise_relu_use_dst_for_bwd,
                                                &x->md, 0, 0));
    CNN_TRY(dnn_op_init(dnn, &relu->forward, &desc, NULL));
    CNN_TRY(dnn_op_in(dnn, &relu->forward, DNNL_ARG_SRC, x->data, NULL));
    CNN_TRY(dnn_op_out(dnn, &relu->forward, DNNL_ARG_DST, y->data, NULL));

    DNN_TRY(dnn, dnnl_eltwise_backward_desc_init(
                     &desc, dnnl_eltwise_relu_use_dst_for_bwd, &x->md, &y->md, 0, 0));
    CNN_TRY(dnn_op_init(dnn, &relu->backward, &desc, &relu->forward));
    CNN_TRY(dnn_op_in(dnn, &relu->backward, DNNL_ARG_DST, y->data, NULL));
    CNN_TRY(dnn_op_in(dnn, &relu->backward, DNNL_ARG_DIFF_DST, y->grad, NULL));
    return dnn_op_out(dnn, &relu->backward, DNNL_ARG_DIFF_SRC, x->grad, NULL);
}

struct value *dnn_make_relu(struct net *net, struct value *x)
{
    struct relu *relu = net_add_layer(net, sizeof *relu, &relu_ops, x);
    if (!relu)
        return NULL;
    relu->layer.out[0] = net_alias_value(net, x);
    if (!relu->layer.out[0] || setup_relu(relu) != DML_OK)
        return NULL;
    return relu->layer.out[0];
}

/* ---- dropout -------------------------------------------------------------------- */

/*
 * Srivastava et al. 2014, "inverted": in training each number is kept with probability
 * 1 - p and multiplied by 1 / (1 - p), in tests nothing happens. Whether a number is
 * kept depends on (seed, layer, step, row of the global batch, place in the row in the
 * order C H W), so on the net's seed, but neither on the number of ranks nor on the
 * layout that a device likes best. p is rounded to 1/65536: 64 random bits serve four
 * numbers.
 */
struct dropout {
    struct layer layer;
    uint64_t stream;    /* of random numbers, to which the step is added */
    size_t row_floats;  /* of one row */
    size_t stored;      /* floats of all rows, padding of the layout included */
    uint32_t threshold; /* dropped when 16 random bits are below it */
    float scale;
    float *drawn; /* [rows][row_floats] 0 or scale, */
    float *mask;  /* and as the activations are stored: the same memory, or a copy */
    struct dnn_reorder store;
};

static void draw_row(const struct dropout *dropout, size_t row)
{
    const struct net *net = dropout->layer.net;
    uint64_t stream = dropout->stream + net->step;
    uint64_t groups = (dropout->row_floats + 3) / 4;
    uint64_t first = (net->first_row + row) * groups;
    float *drawn = dropout->drawn + row * dropout->row_floats;
    for (size_t i = 0; i < dropout->row_floats; i += 4) {
        uint64_t bits = dml_rng_u64(net->seed, stream, first + i / 4);
        for (size_t k = i; k < i + 4 && k < dropout->row_floats; k++, bits >>= 16)
            drawn[k] = (bits & 0xffff) < dropout->threshold ? 0 : dropout->scale;
    }
}

static dml_status draw(const struct dropout *dropout)
{
    size_t rows = (size_t)dropout->layer.in[0]->dims[0];
    for (size_t row = 0; row < rows; row++)
        draw_row(dropout, row);
    if (dropout->mask == dropout->drawn)
        return DML_OK;
    return dnn_reorder_run(&dropout->layer.net->dnn, &dropout->store);
}

static void multiply(float *data, const float *mask, size_t count)
{
    for (size_t i = 0; i < count; i++)
        data[i] *= mask[i];
}

static dml_status dropout_forward(struct layer *layer, enum net_mode mode)
{
    struct dropout *dropout = (struct dropout *)layer;
    if (mode == NET_TEST)
        return DML_OK;
    CNN_TRY(draw(dropout));
    multiply(dnn_data(layer->out[0]->data), dropout->mask, dropout->stored);
    return DML_OK;
}

static dml_status dropout_backward(struct layer *layer)
{
    struct dropout *dropout = (struct dropout *)layer;
    multiply(dnn_data(layer->in[0]->grad), dropout->mask, dropout->stored);
    return DML_OK;
}

static const struct layer_ops dropout_ops = {"dropout", dropout_forward,
                                             dropout_backward, NULL};

/* Memory for the mask, and how it gets the layout of the activations. */
static dml_status setup_mask(struct dropout *dropout)
{
    struct dnn *dnn = &dropout->layer.net->dnn;
    const struct value *x = dropout->layer.in[0];
    dnnl_memory_desc_t plain;
    dnnl_memory_t drawn, mask;
    CNN_TRY(dnn_plain(dnn, x->ndims, x->dims, &plain));
    CNN_TRY(dnn_memory_alloc(dnn, &plain, &drawn));
    dropout->drawn = dropout->mask = dnn_data(drawn);
    dropout->row_floats =
        dnnl_memory_desc_get_size(&plain) / sizeof(float) / (size_t)x->dims[0];
    dropout->stored = dnnl_memory_desc_get_size(&x->md) / sizeof(float);
    if (dnnl_memory_desc_equal(&plain, &x->md))
        return DML_OK;
    CNN_TRY(dnn_memory_alloc(dnn, &x->md, &mask));
    dropout->mask = dnn_data(mask);
    return dnn_reorder_init(dnn, &dropout->store, &plain, drawn, &x->md, mask);
}

struct value *dnn_make_dropout(struct net *net, struct value *x, double probability)
{
    struct dropout *dropout = net_add_layer(net, sizeof *dropout, &dropout_ops, x);
    if (!dropout)
        return NULL;
    dropout->stream = (uint64_t)net->nlayers << 40; /* above those of the parameters */
    dropout->threshold = (uint32_t)(probability * 65536 + 0.5);
    dropout->scale = (float)(65536.0 / (65536.0 - dropout->threshold));
    dropout->layer.out[0] = net_alias_value(net, x);
    return setup_mask(dropout) == DML_OK ? dropout->layer.out[0] : NULL;
}
