/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A net on a GPU: memory of the device, activations N H W C and weights K R S C; the
 * host has the states' copy (state_data) and plain tensors, when it asks for them.
 */
#include "gpu.h"
#include "layers.h"

#include <stdlib.h>

const char *gpu_error(const struct net *net)
{
    return net->gpu->gpu->error;
}

size_t gpu_element(const struct net *net)
{
    return net->gpu->gpu->half ? sizeof(uint16_t) : sizeof(float);
}

struct cnn_window gpu_window(const struct value *x, int channels,
                             const struct net_window *window)
{
    return (struct cnn_window){.rows = (int)x->dims[0],
                               .c = (int)x->dims[1],
                               .h = (int)x->dims[2],
                               .w = (int)x->dims[3],
                               .p = net_output_side(x, 0, window),
                               .q = net_output_side(x, 1, window),
                               .k = channels,
                               .height = window->kernel[0],
                               .width = window->kernel[1],
                               .stride = window->stride,
                               .pad = window->pad};
}

size_t gpu_value_bytes(const struct net *net, const struct value *value)
{
    size_t bytes = gpu_element(net);
    for (int d = 0; d < value->ndims; d++)
        bytes *= (size_t)value->dims[d];
    return bytes;
}

void *gpu_gradient(const struct net *net, const struct param *param)
{
    return (char *)(net->param_grad + NET_HEAD) +
           (param->offset - NET_HEAD) * gpu_element(net);
}

const void *gpu_weight(const struct net *net, const struct param *param)
{
    return net->gpu->weights ? (const void *)(net->gpu->weights + param->offset)
                             : net->param_data + param->offset;
}

void gpu_params_changed(struct net *net)
{
    net->gpu->stale = net->gpu->weights != NULL;
}

/* ---- memory --------------------------------------------------------------------- */

dml_status gpu_net_create(struct gpu *gpu, struct net *net)
{
    net->gpu = calloc(1, sizeof *net->gpu);
    if (!net->gpu)
        return DML_ENOMEM;
    net->gpu->gpu = gpu;
    return DML_OK;
}

static void *allocate(struct net *net, size_t bytes)
{
    struct gpu_net *g = net->gpu;
    void *memory = NULL;
    if (g->nowned == g->owned_room) {
        size_t room = 2 * g->owned_room + 64;
        void **grown = realloc(g->owned, room * sizeof *grown);
        if (!grown) {
            snprintf(g->gpu->error, sizeof g->gpu->error, "out of memory");
            return NULL;
        }
        g->owned = grown;
        g->owned_room = room;
    }
    if (gpu_note(g->gpu, dml_gpu_alloc(g->gpu->ctx, bytes, &memory)) != DML_OK)
        return NULL;
    g->owned[g->nowned++] = memory;
    if (gpu_note(g->gpu, dml_gpu_fill(g->gpu->ctx, memory, 0, bytes, g->gpu->stream)) !=
        DML_OK)
        return NULL;
    return memory;
}

static int loss_lanes(const struct net *net)
{
    return net->shape.classes < CNN_LANES ? (int)net->shape.classes : (int)CNN_LANES;
}

/* What the loss keeps between its kernels; the parts, the rows, and those folded. */
static size_t loss_bytes(const struct net *net, size_t *rows_at, size_t *folded_at)
{
    const size_t rows = net->shape.rows;
    *rows_at = rows * (size_t)loss_lanes(net) * sizeof(struct cnn_loss_part);
    *folded_at = *rows_at + rows * sizeof(struct cnn_loss_row);
    return *folded_at + (rows / CNN_FOLD + 1) * sizeof(struct cnn_loss_row);
}

static dml_status place_own(struct net *net)
{
    struct gpu_net *g = net->gpu;
    const struct net_shape *shape = &net->shape;
    size_t outputs = shape->rows * shape->classes, rows_at, folded_at;
    size_t pixels = shape->rows * shape->channels * shape->height * shape->width;
    net->input->data_at = allocate(net, net->input->bytes);
    g->state = allocate(net, (net->nstate_floats + 1) * sizeof(float));
    g->images = allocate(net, pixels * sizeof(float));
    g->parts = allocate(net, (g->nparts + 1) * sizeof(float));
    g->sums = allocate(net, (g->nsums + 1) * sizeof(float));
    g->wide = allocate(net, outputs * sizeof(float));
    g->loss = allocate(net, loss_bytes(net, &rows_at, &folded_at));
    if (g->gpu->half)
        g->weights = allocate(net, net->nparam_floats * sizeof(uint16_t));
    if (!net->input->data_at || !g->state || !g->images || !g->parts || !g->sums ||
        !g->wide || !g->loss || (g->gpu->half && !g->weights))
        return DML_ENOMEM;
    void *pinned = NULL;
    CNN_TRY(gpu_note(
        g->gpu, dml_gpu_alloc_pinned(g->gpu->ctx, outputs * sizeof(float), &pinned)));
    g->logits = pinned;
    return DML_OK;
}

static dml_status placed(struct net *net)
{
    CNN_TRY(place_own(net));
    for (int i = 0; i < net->nstates; i++)
        *net->states[i].slot = net->gpu->state + net->states[i].offset;
    gpu_params_changed(net);
    return DML_OK;
}

static void close_net(struct net *net)
{
    struct gpu_net *g = net->gpu;
    if (!g)
        return;
    (void)dml_gpu_stream_sync(g->gpu->ctx, g->gpu->stream);
    for (size_t i = 0; i < g->nowned; i++)
        (void)dml_gpu_free(g->gpu->ctx, g->owned[i]);
    (void)dml_gpu_free_pinned(g->gpu->ctx, g->logits);
    free(g->owned);
    free(g);
}

/* ---- passes --------------------------------------------------------------------- */

static dml_status refresh_weights(struct net *net)
{
    struct gpu_net *g = net->gpu;
    if (!g->stale)
        return DML_OK;
    g->stale = false;
    return GPU_MAP(g->gpu, cast, .count = net->nparam_floats, .x = net->param_data,
                   .y = g->weights);
}

static dml_status input(struct net *net, enum net_mode mode, const float *images)
{
    struct gpu_net *g = net->gpu;
    const struct net_shape *shape = &net->shape;
    size_t count = shape->rows * shape->channels * shape->height * shape->width;
    (void)mode;
    CNN_TRY(refresh_weights(net));
    if (!images) {
        struct cnn_bytes_args args = g->fed;
        args.n = count;
        args.y = net->input->data_at;
        args.channels = (int)shape->channels;
        args.height = (int)shape->height;
        args.width = (int)shape->width;
        args.half = g->gpu->half;
        return gpu_run(g->gpu, CNN_KERNEL_bytes, &args);
    }
    CNN_TRY(gpu_note(g->gpu, dml_gpu_copy(g->gpu->ctx, g->images, images,
                                          count * sizeof *images, g->gpu->stream)));
    return GPU_RUN(g->gpu, input, input, .n = count, .x = g->images,
                   .y = net->input->data_at, .channels = (int)shape->channels,
                   .pixels = (int)(shape->height * shape->width), .half = g->gpu->half);
}

static dml_status fetch_logits(struct net *net)
{
    struct gpu_net *g = net->gpu;
    size_t count = net->shape.rows * net->shape.classes;
    CNN_TRY(GPU_MAP(g->gpu, widen, .count = count, .x = net->output->data_at,
                    .y = g->wide));
    CNN_TRY(gpu_note(g->gpu, dml_gpu_copy(g->gpu->ctx, g->logits, g->wide,
                                          count * sizeof(float), g->gpu->stream)));
    return gpu_note(g->gpu, dml_gpu_stream_sync(g->gpu->ctx, g->gpu->stream));
}

static const float *logits(struct net *net)
{
    return fetch_logits(net) == DML_OK ? net->gpu->logits : NULL;
}

dml_status gpu_loss(struct net *net, const int32_t *labels)
{
    static const enum cnn_kernel kernels[] = {
        CNN_KERNEL_loss_parts, CNN_KERNEL_loss_rows, CNN_KERNEL_loss_grad,
        CNN_KERNEL_loss_fold, CNN_KERNEL_loss_sum};
    struct gpu_net *g = net->gpu;
    const size_t rows = net->shape.rows, classes = net->shape.classes;
    const size_t lanes = (size_t)loss_lanes(net);
    const size_t items[] = {rows * lanes, rows, rows * classes,
                            (rows + CNN_FOLD - 1) / CNN_FOLD, 1};
    size_t rows_at, folded_at;
    (void)loss_bytes(net, &rows_at, &folded_at);
    struct cnn_loss_args args = {.logits = net->output->data_at,
                                 .labels = labels,
                                 .pass = g->pass,
                                 .grad = net->output->grad_at,
                                 .parts = (void *)g->loss,
                                 .rows = (void *)(g->loss + rows_at),
                                 .folded = (void *)(g->loss + folded_at),
                                 .head = net->param_grad,
                                 .nrows = (int)rows,
                                 .classes = (int)classes,
                                 .lanes = (int)lanes,
                                 .half = g->gpu->half};
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        args.n = items[i];
        CNN_TRY(gpu_run(g->gpu, kernels[i], &args));
    }
    return DML_OK;
}

/* ---- to and from the host ------------------------------------------------------- */

static dml_status copy_now(struct gpu *gpu, void *to, const void *from, size_t bytes)
{
    CNN_TRY(gpu_note(gpu, dml_gpu_copy(gpu->ctx, to, from, bytes, gpu->stream)));
    return gpu_note(gpu, dml_gpu_stream_sync(gpu->ctx, gpu->stream));
}

/* Copies between K C R S and K R S C. */
static void reorder(const struct param *param, const float *from, float *to, bool plain)
{
    if (param->ndims != 4) {
        memcpy(to, from, param->count * sizeof *to);
        return;
    }
    size_t channels = (size_t)param->dims[1];
    size_t window = (size_t)(param->dims[2] * param->dims[3]);
    for (size_t k = 0; k < (size_t)param->dims[0]; k++)
        for (size_t c = 0; c < channels; c++)
            for (size_t i = 0; i < window; i++) {
                size_t at = (k * channels + c) * window + i;
                size_t stored = (k * window + i) * channels + c;
                to[plain ? at : stored] = from[plain ? stored : at];
            }
}

static dml_status to_plain(struct net *net, int i, const float *stored, float *plain)
{
    const struct param *param = &net->params[i];
    float *host = calloc(param->stored, sizeof *host);
    if (!host)
        return DML_ENOMEM;
    dml_status status =
        copy_now(net->gpu->gpu, host, stored, param->stored * sizeof *host);
    if (status == DML_OK)
        reorder(param, host, plain, true);
    free(host);
    return status;
}

static dml_status from_plain(struct net *net, int i, const float *plain, float *stored)
{
    const struct param *param = &net->params[i];
    float *host = calloc(param->stored, sizeof *host);
    if (!host)
        return DML_ENOMEM;
    reorder(param, plain, host, false);
    dml_status status =
        copy_now(net->gpu->gpu, stored, host, param->stored * sizeof *host);
    free(host);
    gpu_params_changed(net);
    return status;
}

static dml_status pull_state(struct net *net)
{
    return copy_now(net->gpu->gpu, net->state_data, net->gpu->state,
                    net->nstate_floats * sizeof(float));
}

static dml_status push_state(struct net *net)
{
    return copy_now(net->gpu->gpu, net->gpu->state, net->state_data,
                    net->nstate_floats * sizeof(float));
}

/* All GPUs have one layout, which no processor shares. */
static uint64_t layout_hash(const struct net *net)
{
    return 0x47505500u + net->nparam_floats;
}

const struct net_backend net_on_gpu = {
    CNN_MAKER_ROWS(gpu),      .alloc = allocate,        .placed = placed,
    .input = input,           .logits = logits,         .layout_hash = layout_hash,
    .to_plain = to_plain,     .from_plain = from_plain, .pull_state = pull_state,
    .push_state = push_state, .close = close_net,
};
