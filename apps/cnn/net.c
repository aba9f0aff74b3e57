/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building blocks of a net: lists of layers, values, parameters and states, and the two
 * passes over the layers. Memory is placed by net_place.c.
 */
#include "net.h"

#include "gpu.h"
#include "layers.h"
#include "net_place.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAM_ALIGN 16 /* floats: one cache line */

static void destroy_layer(struct layer *layer)
{
    if (layer->ops->close)
        layer->ops->close(layer);
    free(layer);
}

dml_status net_create(const struct net_shape *shape, uint64_t seed, double dropout,
                      struct net **net)
{
    return net_create_on(NULL, shape, seed, dropout, net);
}

dml_status net_create_on(struct gpu *gpu, const struct net_shape *shape, uint64_t seed,
                         double dropout, struct net **net)
{
    struct net *made = calloc(1, sizeof *made);
    if (!made)
        return DML_ENOMEM;
    *net = made;
    made->shape = *shape;
    made->seed = seed;
    made->dropout = dropout;
    made->backend = gpu ? &net_on_gpu : &net_on_processor;
    CNN_TRY(dnn_init(&made->dnn));
    if (gpu)
        CNN_TRY(gpu_net_create(gpu, made));

    const dnnl_dims_t dims = {(dnnl_dim_t)shape->rows, (dnnl_dim_t)shape->channels,
                              (dnnl_dim_t)shape->height, (dnnl_dim_t)shape->width};
    dnnl_memory_desc_t md;
    CNN_TRY(dnn_plain(&made->dnn, 4, dims, &md));
    made->input = net_add_value(made, 4, dims, gpu ? NULL : &md);
    if (!made->input)
        return DML_EINVAL;
    made->input->grad_group = -1;
    return DML_OK;
}

void net_destroy(struct net *net)
{
    if (!net)
        return;
    for (int i = 0; i < net->nlayers; i++)
        destroy_layer(net->layers[i]);
    net->backend->close(net);
    dnn_free(&net->dnn);
    free(net);
}

const char *net_error(const struct net *net)
{
    if (net->gpu && gpu_error(net)[0])
        return gpu_error(net);
    return net->dnn.error;
}

dml_status net_misuse(struct net *net, const char *text)
{
    snprintf(net->dnn.error, sizeof net->dnn.error, "%s", text);
    return DML_EINVAL;
}

/* ---- lists ---------------------------------------------------------------------- */

void *net_add_layer(struct net *net, size_t bytes, const struct layer_ops *ops,
                    struct value *in)
{
    if (!in)
        return NULL; /* an earlier call failed and has left its error */
    if (net->nlayers == NET_MAX_LAYERS) {
        (void)net_misuse(net, "too many layers");
        return NULL;
    }
    struct layer *layer = calloc(1, bytes);
    if (!layer) {
        (void)dnn_fail(&net->dnn, dnnl_out_of_memory, __func__);
        return NULL;
    }
    layer->ops = ops;
    layer->net = net;
    layer->in[0] = in;
    layer->first_param = net->nparams;
    net->layers[net->nlayers++] = layer;
    return layer;
}

struct value *net_add_value(struct net *net, int ndims, const dnnl_dims_t dims,
                            const dnnl_memory_desc_t *md)
{
    if (net->nvalues == NET_MAX_VALUES) {
        (void)net_misuse(net, "too many values");
        return NULL;
    }
    struct value *value = &net->values[net->nvalues];
    value->ndims = ndims;
    memcpy(value->dims, dims, sizeof value->dims);
    value->data_group = net->nvalues;
    value->grad_group = net->nvalues;
    if (!md) {
        value->bytes = gpu_value_bytes(net, value);
        net->nvalues++;
        return value;
    }
    value->md = *md;
    value->bytes = dnnl_memory_desc_get_size(md);
    if (dnn_memory(&net->dnn, md, DNNL_MEMORY_NONE, &value->data) != DML_OK)
        return NULL;
    /* The first value is the input, which gets no gradient. */
    if (net->nvalues > 0 &&
        dnn_memory(&net->dnn, md, DNNL_MEMORY_NONE, &value->grad) != DML_OK)
        return NULL;
    net->nvalues++;
    return value;
}

struct value *net_alias_value(struct net *net, const struct value *x)
{
    struct value *value =
        net_add_value(net, x->ndims, x->dims, net->gpu ? NULL : &x->md);
    if (value) {
        value->data_group = x->data_group;
        value->grad_group = x->grad_group;
    }
    return value;
}

struct param *net_add_param(struct net *net, struct layer *layer, const char *name,
                            int ndims, const dnnl_dims_t dims,
                            const dnnl_memory_desc_t *md)
{
    if (net->nparams == NET_MAX_PARAMS) {
        (void)net_misuse(net, "too many parameters");
        return NULL;
    }
    struct param *param = &net->params[net->nparams];
    snprintf(param->name, sizeof param->name, "%.9s%d.%.9s", layer->ops->kind,
             net->nlayers, name);
    param->ndims = ndims;
    memcpy(param->dims, dims, (size_t)ndims * sizeof dims[0]);
    param->count = 1;
    for (int d = 0; d < ndims; d++)
        param->count *= (size_t)dims[d];
    size_t floats = md ? dnnl_memory_desc_get_size(md) / sizeof(float) : param->count;
    param->stored = (floats + PARAM_ALIGN - 1) / PARAM_ALIGN * PARAM_ALIGN;
    if (md)
        param->md = *md;
    if (md && (dnn_memory(&net->dnn, md, DNNL_MEMORY_NONE, &param->data) != DML_OK ||
               dnn_memory(&net->dnn, md, DNNL_MEMORY_NONE, &param->grad) != DML_OK))
        return NULL;
    layer->nparams++;
    net->nparams++;
    return param;
}

dml_status net_add_state(struct net *net, const char *name, size_t count, float fill,
                         float **slot)
{
    if (net->nstates == NET_MAX_PARAMS)
        return net_misuse(net, "too many states");
    struct state *state = &net->states[net->nstates++];
    snprintf(state->name, sizeof state->name, "norm%d.%.9s", net->nlayers, name);
    state->count = count;
    state->offset = net->nstate_floats;
    state->fill = fill;
    state->slot = slot;
    net->nstate_floats += count;
    return DML_OK;
}

double net_init_stddev(const struct param *weight, bool logits)
{
    double inputs = (double)(weight->count / (size_t)weight->dims[0]);
    return logits ? 0.01 : sqrt(2.0 / inputs);
}

/* ---- end of building ------------------------------------------------------------ */

/* Each tensor has its own random stream, so that initial values depend neither on
 * layouts nor on the number of ranks. */
static dml_status init_params(struct net *net)
{
    for (int i = 0; i < net->nparams; i++) {
        const struct param *param = &net->params[i];
        float *plain = malloc(param->count * sizeof *plain);
        if (!plain)
            return dnn_fail(&net->dnn, dnnl_out_of_memory, __func__);
        for (size_t k = 0; k < param->count; k++)
            plain[k] = param->fill;
        for (size_t k = 0; param->stddev > 0 && k < param->count; k++)
            plain[k] +=
                (float)(param->stddev * dml_rng_normal(net->seed, (uint64_t)i, k));
        dml_status status = net_set_param(net, i, plain);
        free(plain);
        CNN_TRY(status);
    }
    return DML_OK;
}

dml_status net_finish(struct net *net, struct value *logits)
{
    if (!logits)
        return DML_EINVAL;
    dnnl_memory_desc_t plain;
    CNN_TRY(dnn_plain(&net->dnn, 2, logits->dims, &plain));
    if (logits->ndims != 2 ||
        (!net->gpu && !dnnl_memory_desc_equal(&plain, &logits->md)))
        return net_misuse(net, "the logits must be a plain N x classes matrix");
    net->output = logits;
    CNN_TRY(net_place_memory(net));
    CNN_TRY(dnn_place_scratchpad(&net->dnn));
    for (int i = 0; i < net->nstates; i++)
        for (size_t k = 0; k < net->states[i].count; k++)
            net->state_data[net->states[i].offset + k] = net->states[i].fill;
    CNN_TRY(net_push_state(net));
    return init_params(net);
}

/* ---- passes --------------------------------------------------------------------- */

dml_status net_forward(struct net *net, enum net_mode mode, const float *images)
{
    CNN_TRY(net->backend->input(net, mode, images));
    for (int i = 0; i < net->nlayers; i++) {
        struct layer *layer = net->layers[i];
        for (int p = 0; net->need && p < layer->nparams; p++)
            CNN_TRY(net->need(net->need_user, layer->first_param + p));
        CNN_TRY(layer->ops->forward(layer, mode));
    }
    return DML_OK;
}

dml_status net_backward(struct net *net, net_param_fn *ready, void *user)
{
    for (int i = net->nlayers; i-- > 0;) {
        struct layer *layer = net->layers[i];
        CNN_TRY(layer->ops->backward(layer));
        for (int p = layer->nparams; ready && p-- > 0;)
            CNN_TRY(ready(user, layer->first_param + p));
    }
    return DML_OK;
}

const float *net_logits_of(struct net *net)
{
    return net->backend->logits(net);
}

dml_status net_pull_state(struct net *net)
{
    return net->backend->pull_state(net);
}

dml_status net_push_state(struct net *net)
{
    return net->backend->push_state(net);
}

/* ---- parameters ----------------------------------------------------------------- */

size_t net_count_params(const struct net *net)
{
    size_t count = 0;
    for (int i = 0; i < net->nparams; i++)
        count += net->params[i].count;
    return count;
}

uint64_t net_layout_hash(const struct net *net)
{
    return net->backend->layout_hash(net);
}

dml_status net_to_plain(struct net *net, int i, const float *stored, float *plain)
{
    return net->backend->to_plain(net, i, stored, plain);
}

dml_status net_from_plain(struct net *net, int i, const float *plain, float *stored)
{
    return net->backend->from_plain(net, i, plain, stored);
}

dml_status net_get_param(struct net *net, int i, float *plain)
{
    return net_to_plain(net, i, net->param_data + net->params[i].offset, plain);
}

dml_status net_set_param(struct net *net, int i, const float *plain)
{
    return net_from_plain(net, i, plain, net->param_data + net->params[i].offset);
}
