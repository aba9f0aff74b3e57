/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Layers on a GPU without weights: each a kernel or two. Which of them work in place is
 * as on the processor (layer_act.c, layer_join.c).
 */
#include "gpu.h"
#include "layers.h"

static struct gpu *gpu_of(const struct layer *layer)
{
    return layer->net->gpu->gpu;
}

static size_t count_of(const struct value *value)
{
    size_t count = 1;
    for (int d = 0; d < value->ndims; d++)
        count *= (size_t)value->dims[d];
    return count;
}

static dml_status do_nothing(struct layer *layer, enum net_mode mode)
{
    (void)layer;
    (void)mode;
    return DML_OK;
}

static dml_status do_nothing_back(struct layer *layer)
{
    (void)layer;
    return DML_OK;
}

/* ---- dropout -------------------------------------------------------------------- */

/* See layer_act.c. */
struct dropout {
    struct layer layer;
    uint64_t stream;
    uint32_t threshold;
    float scale;
};

static dml_status drop(struct layer *layer, void *x)
{
    const struct dropout *dropout = (struct dropout *)layer;
    const struct net *net = layer->net;
    const struct value *shape = layer->in[0];
    const size_t rows = (size_t)shape->dims[0], channels = (size_t)shape->dims[1];
    const size_t pixels = count_of(shape) / rows / channels;
    const size_t tiles = (pixels + CNN_ROWS - 1) / CNN_ROWS;
    return GPU_RUN(gpu_of(layer), dropout, dropout,
                   .n = gpu_row_items(rows * tiles, (int)channels), .x = x,
                   .pass = net->gpu->pass, .seed = net->seed, .stream = dropout->stream,
                   .channels = (int)channels, .pixels = (int)pixels,
                   .threshold = dropout->threshold, .scale = dropout->scale,
                   .half = gpu_of(layer)->half);
}

static dml_status dropout_forward(struct layer *layer, enum net_mode mode)
{
    return mode == NET_TEST ? DML_OK : drop(layer, layer->out[0]->data_at);
}

static dml_status dropout_backward(struct layer *layer)
{
    return drop(layer, layer->in[0]->grad_at);
}

static const struct layer_ops dropout_ops = {"dropout", dropout_forward,
                                             dropout_backward, NULL};

struct value *gpu_make_dropout(struct net *net, struct value *x, double probability)
{
    struct dropout *dropout = net_add_layer(net, sizeof *dropout, &dropout_ops, x);
    if (!dropout)
        return NULL;
    dropout->stream = (uint64_t)net->nlayers << 40;
    dropout->threshold = (uint32_t)(probability * 65536 + 0.5);
    dropout->scale = (float)(65536.0 / (65536.0 - dropout->threshold));
    dropout->layer.out[0] = net_alias_value(net, x);
    return dropout->layer.out[0];
}

/* ---- fork and add --------------------------------------------------------------- */

static dml_status add_to(struct layer *layer, const struct value *shape, void *total,
                         const void *term)
{
    return GPU_MAP(gpu_of(layer), add, .count = count_of(shape), .x = term, .y = total);
}

static dml_status fork_backward(struct layer *layer)
{
    const struct value *a = layer->out[0], *b = layer->out[1];
    return add_to(layer, a, a->grad_at, b->grad_at);
}

static const struct layer_ops fork_ops = {"fork", do_nothing, fork_backward, NULL};

struct value *gpu_make_fork(struct net *net, struct value *x, struct value **second)
{
    struct layer *layer = net_add_layer(net, sizeof *layer, &fork_ops, x);
    if (!layer)
        return NULL;
    struct value *a = net_alias_value(net, x);
    struct value *b = net_add_value(net, x->ndims, x->dims, NULL);
    if (!a || !b)
        return NULL;
    b->data_group = x->data_group;
    layer->out[0] = a;
    layer->out[1] = b;
    *second = b;
    return a;
}

/* What goes with it is done in the same pass over memory. */
struct add {
    struct layer layer;
    struct layer *norm; /* whose output is the first term, or NULL */
    bool relu;          /* the layer behind is one */
};

static dml_status add_forward(struct layer *layer, enum net_mode mode)
{
    const struct value *x = layer->in[0], *y = layer->in[1];
    const struct add *add = (const struct add *)layer;
    if (add->norm)
        return gpu_norm_add(add->norm, mode, y);
    if (!add->relu)
        return add_to(layer, x, x->data_at, y->data_at);
    return GPU_MAP(gpu_of(layer), add_relu, .count = count_of(x), .x = y->data_at,
                   .y = x->data_at);
}

static dml_status add_backward(struct layer *layer)
{
    struct layer *norm = ((const struct add *)layer)->norm;
    return norm ? gpu_norm_add_back(norm) : DML_OK;
}

static const struct layer_ops add_ops = {"add", add_forward, add_backward, NULL};

struct value *gpu_make_add(struct net *net, struct value *x, struct value *y)
{
    struct add *add = net_add_layer(net, sizeof *add, &add_ops, x);
    if (!add)
        return NULL;
    add->layer.in[1] = y;
    add->layer.out[0] = net_alias_value(net, x);
    add->norm = gpu_norm_join(net, x);
    return add->layer.out[0];
}

/* ---- ReLU ----------------------------------------------------------------------- */

static dml_status relu_forward(struct layer *layer, enum net_mode mode)
{
    const struct value *y = layer->out[0];
    (void)mode;
    return GPU_MAP(gpu_of(layer), relu, .count = count_of(y), .y = y->data_at);
}

static dml_status relu_backward(struct layer *layer)
{
    const struct value *y = layer->out[0];
    return GPU_MAP(gpu_of(layer), relu_back, .count = count_of(y), .x = y->data_at,
                   .y = y->grad_at);
}

static const struct layer_ops relu_ops = {"relu", relu_forward, relu_backward, NULL};
/* The sum before it does the one, or both. */
static const struct layer_ops late_relu_ops = {"relu", do_nothing, relu_backward, NULL};
static const struct layer_ops no_relu_ops = {"relu", do_nothing, do_nothing_back, NULL};

/* Lets the sum that makes x do what it can. */
static dml_status join_relu(const struct net *net, const struct value *x,
                            const struct layer_ops **ops)
{
    struct layer *last = net->nlayers > 0 ? net->layers[net->nlayers - 1] : NULL;
    *ops = &relu_ops;
    if (!last || last->ops != &add_ops || last->out[0] != x)
        return DML_OK;
    struct add *add = (struct add *)last;
    add->relu = true;
    *ops = add->norm ? &no_relu_ops : &late_relu_ops;
    return add->norm ? gpu_norm_join_relu(add->norm) : DML_OK;
}

struct value *gpu_make_relu(struct net *net, struct value *x)
{
    const struct layer_ops *ops;
    dml_status status = join_relu(net, x, &ops);
    struct layer *layer = net_add_layer(net, sizeof *layer, ops, x);
    if (!layer || status != DML_OK)
        return NULL;
    layer->out[0] = net_alias_value(net, x);
    return layer->out[0];
}

/* ---- shortcut ------------------------------------------------------------------- */

struct shortcut {
    struct layer layer;
    int stride;
};

static struct cnn_shortcut_args shortcut_args(const struct layer *layer)
{
    const struct value *x = layer->in[0], *y = layer->out[0];
    return (struct cnn_shortcut_args){
        .x = x->data_at,
        .y = y->data_at,
        .c = (int)x->dims[1],
        .h = (int)x->dims[2],
        .w = (int)x->dims[3],
        .k = (int)y->dims[1],
        .p = (int)y->dims[2],
        .q = (int)y->dims[3],
        .stride = ((const struct shortcut *)layer)->stride,
        .half = gpu_of(layer)->half,
    };
}

static dml_status shortcut_forward(struct layer *layer, enum net_mode mode)
{
    struct cnn_shortcut_args args = shortcut_args(layer);
    (void)mode;
    args.n = count_of(layer->out[0]);
    return gpu_run(gpu_of(layer), CNN_KERNEL_shortcut, &args);
}

static dml_status shortcut_backward(struct layer *layer)
{
    struct cnn_shortcut_args args = shortcut_args(layer);
    args.n = count_of(layer->in[0]);
    args.x = layer->in[0]->grad_at;
    args.y = layer->out[0]->grad_at;
    return gpu_run(gpu_of(layer), CNN_KERNEL_shortcut_back, &args);
}

static const struct layer_ops shortcut_ops = {"shortcut", shortcut_forward,
                                              shortcut_backward, NULL};

struct value *gpu_make_shortcut(struct net *net, struct value *x, int channels,
                                int stride)
{
    struct shortcut *shortcut = net_add_layer(net, sizeof *shortcut, &shortcut_ops, x);
    if (!shortcut)
        return NULL;
    const struct net_window one = {{1, 1}, stride, 0};
    const dnnl_dims_t dims = {x->dims[0], channels, net_output_side(x, 0, &one),
                              net_output_side(x, 1, &one)};
    shortcut->stride = stride;
    shortcut->layer.out[0] = net_add_value(net, 4, dims, NULL);
    return shortcut->layer.out[0];
}

/* ---- pools ---------------------------------------------------------------------- */

struct pool {
    struct layer layer;
    struct cnn_window window;
    uint8_t *from;
};

static size_t items_of(const struct pool *pool, const struct value *value)
{
    const int channels = pool->window.k;
    return gpu_row_items(count_of(value) / (size_t)channels, channels);
}

static dml_status pool_forward(struct layer *layer, enum net_mode mode)
{
    const struct pool *pool = (struct pool *)layer;
    (void)mode;
    return GPU_RUN(gpu_of(layer), pool, pool, .n = items_of(pool, layer->out[0]),
                   .x = layer->in[0]->data_at, .y = layer->out[0]->data_at,
                   .from = pool->from, .window = pool->window,
                   .half = gpu_of(layer)->half);
}

static dml_status pool_backward(struct layer *layer)
{
    const struct pool *pool = (struct pool *)layer;
    if (!layer->in[0]->grad_at)
        return DML_OK;
    return GPU_RUN(gpu_of(layer), pool_back, pool, .n = items_of(pool, layer->in[0]),
                   .x = layer->in[0]->grad_at, .y = layer->out[0]->grad_at,
                   .from = pool->from, .window = pool->window,
                   .half = gpu_of(layer)->half);
}

static const struct layer_ops pool_ops = {"pool", pool_forward, pool_backward, NULL};

struct value *gpu_make_pool(struct net *net, struct value *x, enum net_pool kind,
                            const struct net_window *given)
{
    struct pool *pool = net_add_layer(net, sizeof *pool, &pool_ops, x);
    if (!pool)
        return NULL;
    const struct cnn_window *s = &pool->window;
    pool->window = gpu_window(x, (int)x->dims[1], given);
    const dnnl_dims_t dims = {s->rows, s->k, s->p, s->q};
    struct value *y = pool->layer.out[0] = net_add_value(net, 4, dims, NULL);
    if (!y || kind == NET_POOL_AVERAGE)
        return y;
    if (s->height * s->width > UINT8_MAX) {
        (void)net_misuse(net, "a maximum over more than 255 pixels");
        return NULL;
    }
    pool->from = net->backend->alloc(net, count_of(y));
    return pool->from ? y : NULL;
}
