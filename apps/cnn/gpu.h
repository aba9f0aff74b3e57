/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A GPU as dml-cnn uses it: a stream into which all work goes, kernels of its own
 * (kernels.h), and a table of convolutions. Its memory, streams and launches are
 * libdml's (dml/gpu.h), so that all of this runs on the fake device, too.
 */
#ifndef CNN_GPU_H
#define CNN_GPU_H

#include "../common/job.h"
#include "kernels.h"
#include "net.h"

#include <dml/gpu.h>
#include <string.h>

struct gpu;

enum gpu_conv { GPU_CONV, GPU_CONV_DATA, GPU_CONV_WEIGHT };

/* Who computes convolutions and linear layers. A plan is what it keeps of a layer. */
struct gpu_math {
    const char *name;
    dml_status (*open)(struct gpu *gpu);
    void (*close)(struct gpu *gpu);
    /* shape: all but the addresses; by_data: GPU_CONV_DATA will be run, too. */
    dml_status (*plan)(struct gpu *gpu, const struct cnn_conv_args *shape, bool by_data,
                       void **plan);
    void (*free_plan)(struct gpu *gpu, void *plan);
    dml_status (*run)(struct gpu *gpu, void *plan, enum gpu_conv what,
                      const struct cnn_conv_args *args);
};

extern const struct gpu_math gpu_math_plain, gpu_math_cudnn, gpu_math_cudnn_measured,
    gpu_math_cudnn_gemm;

struct gpu {
    dml_ctx *ctx; /* NULL: not opened */
    dml_comm *comm;
    dml_gpu_stream stream; /* of all work but copies of images */
    const struct gpu_math *math;
    void *library; /* the table's own */
    int index;     /* of the device */
    bool half;     /* bf16 activations and gradients */
    bool tf32;     /* products of f32 numbers may be rounded to it */
    char error[512];
};

/* The device nearest to each rank. precision: f32, tf32, bf16; math: auto, cudnn,
 * cudnn-measured, cudnn-gemm, plain. Collective, agreed. Close in any case. */
dml_status gpu_open(struct job *job, const char *precision, const char *math,
                    struct gpu *gpu);
void gpu_close(struct gpu *gpu);

/* Keep the line of libdml's error; passes the status on. */
dml_status gpu_note(struct gpu *gpu, dml_status status);

/* Queue a kernel; args is the structure that kernels.h says. */
dml_status gpu_run(struct gpu *gpu, enum cnn_kernel kernel, const void *args);

/* gpu_run(gpu, CNN_KERNEL_x, &(struct cnn_y_args){...}) for kernel x with arguments y.
 */
#define GPU_RUN(gpu, name, type, ...) \
    gpu_run(gpu, CNN_KERNEL_##name, &(struct cnn_##type##_args){__VA_ARGS__})

/* The same for a kernel that takes some numbers at a time: count, of matrices with
 * "channels" columns where that is set. */
dml_status gpu_run_map(struct gpu *gpu, enum cnn_kernel kernel,
                       struct cnn_map_args args);
#define GPU_MAP(gpu, name, ...) \
    gpu_run_map(gpu, CNN_KERNEL_##name, (struct cnn_map_args){__VA_ARGS__})

/* ---- a net on it ------------------------------------------------------------------
 */

struct gpu_net {
    struct gpu *gpu;
    void **owned; /* device memory */
    size_t nowned, owned_room;
    uint16_t *weights;   /* [nparam_floats] bf16, where "half" is */
    float *state;        /* [nstate_floats] */
    float *images;       /* for images of the host: [N][C][H][W] */
    float *parts, *sums; /* of the layer that works, as large as any needs */
    size_t nparts, nsums;
    bool stale;    /* weights are older than the parameters */
    float *wide;   /* [N][classes] logits in f32, */
    float *logits; /* and pinned on the host */
    char *loss;    /* what the loss keeps between its kernels */
    /* Brought by a feed, for the next pass: images of x, areas and values, */
    struct cnn_bytes_args fed;
    const struct cnn_pass *pass;
};

dml_status gpu_net_create(struct gpu *gpu, struct net *net);
const char *gpu_error(const struct net *net);
size_t gpu_value_bytes(const struct net *net, const struct value *value);

/* A window over x, with so many output channels, as kernels have it. */
struct cnn_window gpu_window(const struct value *x, int channels,
                             const struct net_window *window);

/* Bytes of a number of activations and gradients. */
size_t gpu_element(const struct net *net);

/* ---- sums over the rows of a matrix [rows][channels] (gpu_sums.c) */

/* Kernels with struct cnn_norm_args, one after the other: of parts of the rows, of many
 * parts' sums, and of all that are left. */
struct gpu_sums {
    enum cnn_kernel parts, fold, all;
};

/* A layer will do it: the net gets room for that. */
void gpu_need_sums(struct net *net, size_t rows, int channels);
/* Where args has no sums, they go to the net's, for the next kernel. */
dml_status gpu_sum_rows(const struct net *net, const struct gpu_sums *kernels,
                        struct cnn_norm_args *args);

/* Items of a kernel that takes some channels of a row at a time. */
size_t gpu_row_items(size_t rows, int channels);

/* ---- batch norm as a term of a sum (gpu_norm.c) */

/* The layer that makes x, if it is a batch norm without ReLU: it will not write its
 * output, which the sum asks for. Else NULL. */
struct layer *gpu_norm_join(struct net *net, const struct value *x);
/* The sum has a ReLU behind it. */
dml_status gpu_norm_join_relu(struct layer *norm);

/* The sum, over the norm's output, and its ReLU; then the gradient through that. */
dml_status gpu_norm_add(struct layer *norm, enum net_mode mode,
                        const struct value *term);
dml_status gpu_norm_add_back(struct layer *norm);

/* A parameter's gradient, and the weights that convolutions read. */
void *gpu_gradient(const struct net *net, const struct param *param);
const void *gpu_weight(const struct net *net, const struct param *param);

/* Parameters have changed: what is derived from them follows. */
void gpu_params_changed(struct net *net);

/* Loss and hits of the pass into the head, and the gradient by the logits. */
dml_status gpu_loss(struct net *net, const int32_t *labels);

#endif
