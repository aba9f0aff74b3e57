/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A net on the processor: memory of the host, in the layouts that oneDNN likes best.
 */
#include "layers.h"

static void *allocate(struct net *net, size_t bytes)
{
    return dnn_alloc(&net->dnn, bytes);
}

static dml_status bind(struct net *net, dnnl_memory_t memory, void *at)
{
    if (memory && at)
        DNN_TRY(&net->dnn, dnnl_memory_set_data_handle(memory, at));
    return DML_OK;
}

static dml_status placed(struct net *net)
{
    for (int i = 0; i < net->nvalues; i++) {
        const struct value *value = &net->values[i];
        CNN_TRY(bind(net, value->data, value->data_at));
        CNN_TRY(bind(net, value->grad, value->grad_at));
    }
    for (int i = 0; i < net->nparams; i++) {
        const struct param *param = &net->params[i];
        CNN_TRY(bind(net, param->data, net->param_data + param->offset));
        CNN_TRY(bind(net, param->grad, net->param_grad + param->offset));
    }
    for (int i = 0; i < net->nstates; i++)
        *net->states[i].slot = net->state_data + net->states[i].offset;
    return DML_OK;
}

/* oneDNN's handles are not const, but sources are only read. */
static dml_status input(struct net *net, enum net_mode mode, const float *images)
{
    (void)mode;
    return bind(net, net->input->data, (void *)images);
}

static const float *logits(struct net *net)
{
    return net->output->data_at;
}

static uint64_t layout_hash(const struct net *net)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < net->nparams; i++) {
        const dnnl_memory_desc_t *md = &net->params[i].md;
        const dnnl_blocking_desc_t *blocking = &md->format_desc.blocking;
        for (int d = 0; d < md->ndims; d++) {
            hash = (hash ^ (uint64_t)md->padded_dims[d]) * 0x100000001b3u;
            hash = (hash ^ (uint64_t)blocking->strides[d]) * 0x100000001b3u;
        }
        for (int b = 0; b < blocking->inner_nblks; b++) {
            hash = (hash ^ (uint64_t)blocking->inner_blks[b]) * 0x100000001b3u;
            hash = (hash ^ (uint64_t)blocking->inner_idxs[b]) * 0x100000001b3u;
        }
    }
    return hash;
}

static dml_status to_plain(struct net *net, int i, const float *stored, float *plain)
{
    const struct param *param = &net->params[i];
    dnnl_memory_desc_t md;
    CNN_TRY(dnn_plain(&net->dnn, param->ndims, param->dims, &md));
    return dnn_convert(&net->dnn, &param->md, (void *)stored, &md, plain);
}

static dml_status from_plain(struct net *net, int i, const float *plain, float *stored)
{
    const struct param *param = &net->params[i];
    dnnl_memory_desc_t md;
    CNN_TRY(dnn_plain(&net->dnn, param->ndims, param->dims, &md));
    return dnn_convert(&net->dnn, &md, (void *)plain, &param->md, stored);
}

/* The layers have them in state_data itself. */
static dml_status keep_state(struct net *net)
{
    (void)net;
    return DML_OK;
}

static void nothing(struct net *net)
{
    (void)net;
}

const struct net_backend net_on_processor = {
    CNN_MAKER_ROWS(dnn),      .alloc = allocate,        .placed = placed,
    .input = input,           .logits = logits,         .layout_hash = layout_hash,
    .to_plain = to_plain,     .from_plain = from_plain, .pull_state = keep_state,
    .push_state = keep_state, .close = nothing,
};
