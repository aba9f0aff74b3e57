/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network of layers on one rank: values (activations), parameters, and the passes
 * over them; on the processor by oneDNN (layer_*.c), or on a GPU (gpu_*.c).
 *
 * A net is built layer by layer, first to last; each call takes the value that the
 * layer reads and returns the one it writes. Every value has exactly one producer and
 * one consumer: where two layers read the same value, a fork layer makes two of it.
 * That is all the graph there is, and it makes the backward pass a walk over the layers
 * from last to first.
 *
 * Parameters lie in one flat f32 buffer, gradients in another with the same offsets (on
 * a GPU with bf16 they are of 2 bytes: gpu_gradient()),
 * the last layer's first: that is the order in which gradients become ready, so that an
 * all-reduce of neighbours needs no packing. A tensor is stored in the layout that the
 * forward primitive likes best, rounded up to 16 elements; padding is zero in both
 * buffers and stays zero under any element-wise optimizer. The first NET_HEAD floats of
 * the gradients belong to no parameter: a trainer lets its loss travel there.
 *
 * Dimensions: N rows (images) of one pass on this rank, C channels, H height, W width,
 * K output channels.
 */
#ifndef CNN_NET_H
#define CNN_NET_H

#include "onednn.h"

#include <stdbool.h>

#define NET_HEAD       16 /* floats before the gradients, for the caller's sums */
#define NET_MAX_LAYERS 192
#define NET_MAX_VALUES 256
#define NET_MAX_PARAMS 192

struct net;
struct gpu;
struct gpu_net;

/* An activation, and the gradient of the loss by it. */
struct value {
    int ndims; /* 4: N C H W; 2: N C */
    dnnl_dims_t dims;
    size_t bytes;
    void *data_at, *grad_at; /* where they lie, once memory is placed */
    int data_group;          /* values of a group share their memory */
    int grad_group;          /* -1: none, of the net's input */
    bool in_place;           /* made by a layer that works in its input's memory */
    bool forked; /* another value, with the same memory, has other readers */
    /* On the processor: */
    dnnl_memory_desc_t md; /* layout of both */
    dnnl_memory_t data;
    dnnl_memory_t grad; /* NULL for the net's input */
};

/* A trained tensor. */
struct param {
    char name[24];
    int ndims;
    dnnl_dims_t dims;
    dnnl_memory_desc_t md; /* as stored on the processor */
    size_t count;          /* elements, product of dims */
    size_t stored;         /* elements in the flat buffers, padding included */
    size_t offset;         /* of the first element in the flat buffers */
    unsigned flags;        /* DML_PARAM_* */
    double stddev;         /* of the initial values */
    float fill;            /* their mean */
    dnnl_memory_t data, grad;
};

/* Numbers that are kept but not trained: running means and variances. */
struct state {
    char name[24];
    size_t count;
    size_t offset; /* in net->state */
    float fill;
    float **slot; /* the layer's pointer, set when memory is placed */
};

enum net_mode { NET_TRAIN, NET_TEST };

struct layer;

/* Called with a parameter's number: when its gradient is final in the backward pass, or
 * before the forward pass reads it. */
typedef dml_status net_param_fn(void *user, int param);

/* What a kind of layer does. Reads layer->in[]->data, writes layer->out[]->data; then
 * reads out[]->grad, and writes in[]->grad (unless NULL) and the parameters' grad. */
struct layer_ops {
    const char *kind;
    dml_status (*forward)(struct layer *layer, enum net_mode mode);
    dml_status (*backward)(struct layer *layer);
    void (*close)(struct layer *layer); /* NULL: nothing to do */
};

struct layer {
    const struct layer_ops *ops;
    struct net *net;
    struct value *in[2], *out[2]; /* unused ones NULL */
    int first_param, nparams;     /* in net->params */
};

struct net_shape {
    size_t rows, channels, height, width, classes;
};

/* What a pool takes of its window; padding is no part of an average. */
enum net_pool { NET_POOL_MAX, NET_POOL_AVERAGE };

struct net_window {
    int kernel[2], stride, pad;
};

/* What differs between the processor and a GPU. The makers' arguments have been checked
 * (net_make.c); they return NULL with net_error() set. */
struct net_backend {
    struct value *(*conv)(struct net *net, struct value *x, int channels,
                          const struct net_window *window, bool bias);
    struct value *(*linear)(struct net *net, struct value *x, int outputs, bool logits);
    struct value *(*pool)(struct net *net, struct value *x, enum net_pool kind,
                          const struct net_window *window);
    struct value *(*batch_norm)(struct net *net, struct value *x, bool relu);
    struct value *(*relu)(struct net *net, struct value *x);
    struct value *(*dropout)(struct net *net, struct value *x, double probability);
    struct value *(*fork)(struct net *net, struct value *x, struct value **second);
    struct value *(*add)(struct net *net, struct value *x, struct value *y);
    struct value *(*shortcut)(struct net *net, struct value *x, int channels,
                              int stride);

    /* Zeroed memory that lives as long as the net. */
    void *(*alloc)(struct net *net, size_t bytes);
    /* Memory has been placed: tell those who need to know. */
    dml_status (*placed)(struct net *net);
    /* Before a forward pass; images as in net_forward(). */
    dml_status (*input)(struct net *net, enum net_mode mode, const float *images);
    const float *(*logits)(struct net *net);
    uint64_t (*layout_hash)(const struct net *net);
    dml_status (*to_plain)(struct net *net, int i, const float *stored, float *plain);
    dml_status (*from_plain)(struct net *net, int i, const float *plain, float *stored);
    /* Between state_data and where the layers have it. */
    dml_status (*pull_state)(struct net *net);
    dml_status (*push_state)(struct net *net);
    void (*close)(struct net *net);
};

extern const struct net_backend net_on_processor, net_on_gpu;

struct net {
    const struct net_backend *backend;
    struct gpu_net *gpu; /* NULL on the processor */
    struct dnn dnn;
    struct net_shape shape;
    uint64_t seed;
    double dropout; /* probability of the net's dropout layers */

    struct layer *layers[NET_MAX_LAYERS];
    int nlayers;
    struct value values[NET_MAX_VALUES];
    int nvalues;
    struct param params[NET_MAX_PARAMS];
    int nparams;
    struct state states[NET_MAX_PARAMS];
    int nstates;

    struct value *input;  /* plain N C H W; its memory is the caller's, see net_pass */
    struct value *output; /* plain N classes: the logits */

    float *param_data, *param_grad; /* [nparam_floats] flat buffers, of the device */
    float *state_data; /* [nstate_floats] of the host, see net_pull_state */
    size_t nparam_floats, nstate_floats;
    size_t activation_bytes; /* data and gradients of all values */

    net_param_fn *need; /* before a layer's forward pass, for each of its parameters */
    void *need_user;

    uint64_t step;      /* of the pass in progress: the key of dropout */
    uint64_t first_row; /* number of this rank's first row in the step's global batch */
};

/* ---- building (one net_* call per layer; a NULL value passes an error on)
 * ------------ */

dml_status net_create(const struct net_shape *shape, uint64_t seed, double dropout,
                      struct net **net);
/* The same on a GPU, which is borrowed; on the processor where that is NULL. */
dml_status net_create_on(struct gpu *gpu, const struct net_shape *shape, uint64_t seed,
                         double dropout, struct net **net);
void net_destroy(struct net *net);

struct value *net_conv(struct net *net, struct value *x, int channels, int kernel,
                       int stride, int pad, bool bias);
struct value *net_linear(struct net *net, struct value *x, int outputs);
struct value *net_logits(struct net *net, struct value *x); /* the last layer */
struct value *net_max_pool(struct net *net, struct value *x, int kernel, int stride);
struct value *net_avg_pool(struct net *net, struct value *x, int kernel, int stride);
struct value *net_padded_pool(struct net *net, struct value *x, enum net_pool kind,
                              int kernel, int stride, int pad);
struct value *net_global_pool(struct net *net, struct value *x);
struct value *net_batch_norm(struct net *net, struct value *x, bool relu);
struct value *net_relu(struct net *net, struct value *x);
struct value *net_dropout(struct net *net, struct value *x, double probability);
/* Two values that read the same data; *second is the other one. */
struct value *net_fork(struct net *net, struct value *x, struct value **second);
/* The sum lies in x's memory, so that nobody else may read that; and neither term's
 * layer may work in place, nor a layer right behind a fork. */
struct value *net_add(struct net *net, struct value *x, struct value *y);
/* Every stride-th pixel, channels filled up with zeros. */
struct value *net_shortcut(struct net *net, struct value *x, int channels, int stride);

/* End of building: "logits" is the output. Places all memory and sets the initial
 * parameters, which depend on the seed only. */
dml_status net_finish(struct net *net, struct value *logits);

/* The error of a building call or of a pass, one line. */
const char *net_error(const struct net *net);

/* ---- passes --------------------------------------------------------------------- */

/* images: [N][C][H][W], borrowed until after net_backward(). On a GPU NULL means those
 * that a feed has brought there (gpu_feed.h). */
dml_status net_forward(struct net *net, enum net_mode mode, const float *images);

/* Starts from the gradient in net->output->grad (see loss.h). ready may be NULL. */
dml_status net_backward(struct net *net, net_param_fn *ready, void *user);

/* [N][classes] of the last forward pass, on the host; NULL on failure. */
const float *net_logits_of(struct net *net);

/* The states that are kept, from and to where the layers have them. */
dml_status net_pull_state(struct net *net);
dml_status net_push_state(struct net *net);

/* ---- parameters ----------------------------------------------------------------- */

/* Trained numbers, without padding. */
size_t net_count_params(const struct net *net);

/* FNV-1a over the stored layouts: ranks may average only if they agree on it. */
uint64_t net_layout_hash(const struct net *net);

/* Copy a parameter's values, or gradients, between the layout in which they are stored,
 * [params[i].stored], and plain row-major order, [params[i].count]. */
dml_status net_to_plain(struct net *net, int i, const float *stored, float *plain);
dml_status net_from_plain(struct net *net, int i, const float *plain, float *stored);

/* The same for the net's own values. */
dml_status net_get_param(struct net *net, int i, float *plain);
dml_status net_set_param(struct net *net, int i, const float *plain);

/* ---- for layers ----------------------------------------------------------------- */

/* A layer of "bytes" bytes whose first member is a struct layer, freed with the net. */
void *net_add_layer(struct net *net, size_t bytes, const struct layer_ops *ops,
                    struct value *in);

/* A new value with its own memory; groups may be changed before net_finish(). Without
 * md it is on a GPU, N H W C. */
struct value *net_add_value(struct net *net, int ndims, const dnnl_dims_t dims,
                            const dnnl_memory_desc_t *md);

/* An output that shares data and gradient with an input: work in place. */
struct value *net_alias_value(struct net *net, const struct value *x);

/* A parameter of the layer added last; md is its stored layout, NULL on a GPU. NULL on
 * failure. */
struct param *net_add_param(struct net *net, struct layer *layer, const char *name,
                            int ndims, const dnnl_dims_t dims,
                            const dnnl_memory_desc_t *md);

dml_status net_add_state(struct net *net, const char *name, size_t count, float fill,
                         float **slot);

/* Height (side 0) or width (side 1) of what a window makes of an image. */
int net_output_side(const struct value *x, int side, const struct net_window *window);

/* Record a builder's misuse; returns DML_EINVAL. */
dml_status net_misuse(struct net *net, const char *text);

#endif
