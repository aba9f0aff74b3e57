/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernels of dml-cnn on a GPU: their arguments, and one list of them.
 *
 * A kernel is a loop over n items, none of which depends on another: its body is a
 * function of the item's number in kernels_items.h, which nvcc compiles for the device
 * (kernels.cu) and the C compiler for the fake one (kernels.c). So all arithmetic is
 * tested without a GPU, and only the loop around it is not.
 *
 * Activations lie N H W C, weights K R S C (K outputs, R x S the window, C channels);
 * "half" says that activations, their gradients, and gradients of parameters are bf16
 * and the weights that convolutions read, too; else all are f32. Sums are f32 or f64.
 */
#ifndef CNN_KERNELS_H
#define CNN_KERNELS_H

#include <dml/data.h>
#include <stddef.h>
#include <stdint.h>

/* What differs from pass to pass, in device memory: a recorded step reads it there. */
struct cnn_pass {
    uint64_t step, first_row; /* the key of dropout */
    double scale;             /* of the loss and its gradient */
    int32_t count;            /* rows with a label; the others get no gradient */
};

/* Images of a window that slides: convolutions and pools. Linear layers are
 * convolutions with a window of one pixel over images of one. */
struct cnn_window {
    int rows, h, w, c; /* input */
    int p, q, k;       /* height, width and channels of the output */
    int height, width; /* of the window */
    int stride, pad;
};

/* x and y are an input and an output, or their gradients. */
struct cnn_conv_args {
    size_t n;
    const void *x, *weight, *y; /* that which is written is not const in truth */
    struct cnn_window window;
    int half;
};

struct cnn_pool_args {
    size_t n;
    const void *x, *y;
    uint8_t *from; /* which pixel of the window each maximum is; NULL: an average */
    struct cnn_window window;
    int half;
};

/* y = f(x) number by number, or with a value for each channel. */
struct cnn_map_args {
    size_t n, count; /* items; numbers */
    const void *x;
    void *y;
    const float *channel; /* [channels] */
    int channels;
    int half;
};

/* Images as the host has them, and as layers do. Item: a number. */
struct cnn_input_args {
    size_t n;
    const float *x; /* [images][channels][pixels] */
    void *y;        /* [images][pixels][channels] */
    int channels, pixels;
    int half;
};

/* The same of bytes, which stand for a channel's values inside of an image's area, and
 * for 0 outside. */
struct cnn_bytes_args {
    size_t n;
    const uint8_t *x;            /* [images][channels][height][width] */
    const dml_image_area *areas; /* [images] */
    const float *values;         /* [channels][256] */
    void *y;                     /* [images][height][width][channels] */
    int channels, height, width;
    int half;
};

/* Sums over the rows of a matrix [rows][channels], for each channel: the rows are cut
 * into parts, each summed by an item for up to CNN_VECTOR channels; then CNN_FOLD
 * parts at a time are folded into one, until so few are left that one item adds them
 * (gpu_sums.c). A part has part_rows rows, but for the last one. */
enum { CNN_VECTOR = 4, CNN_FOLD = 64 };

/* What has one output for each row is done by an item for CNN_ROWS of them, which reads
 * what all rows have in common once; so is dropout, for CNN_ROWS pixels of an image
 * (random bits go from pixel to pixel). */
enum { CNN_ROWS = 4 };

struct cnn_norm_args {
    size_t n;
    const void *x, *y; /* y: the output, or its gradient */
    const void *side;  /* a sum's other term; in the backward pass the sum */
    void *dx;
    const float *gamma, *beta;
    void *dgamma, *dbeta;  /* gradients; of a bias: dbeta only */
    float *mean, *inverse; /* [channels] of the batch; 1 / sqrt(var + eps) */
    float *running_mean, *running_variance;
    float *parts;  /* [nparts][channels][2] mean and squares, or two sums */
    float *folded; /* the same of CNN_FOLD parts each, when they are folded */
    float *sums;   /* [2][channels] */
    size_t rows, part_rows, nparts;
    int channels, relu, half;
};

struct cnn_dropout_args {
    size_t n;
    void *x;
    const struct cnn_pass *pass;
    uint64_t seed, stream;
    int channels, pixels; /* of a row */
    uint32_t threshold;
    float scale;
    int half;
};

struct cnn_shortcut_args {
    size_t n;
    const void *x, *y;
    int h, w, c, p, q, k, stride;
    int half;
};

/* Items that share a row of logits. */
enum { CNN_LANES = 32 };

/* Of some logits of a row: the largest, which that is (the first of equals), and the
 * sum of exp(logit - largest). */
struct cnn_loss_part {
    double sum, top;
    int32_t best;
};

struct cnn_loss_row {
    double log_sum; /* of the exponentials of the logits */
    double loss, hit;
    int32_t label; /* -1: none */
};

struct cnn_loss_args {
    size_t n;
    const void *logits;
    const int32_t *labels;
    const struct cnn_pass *pass;
    void *grad;
    struct cnn_loss_part *parts; /* [rows][lanes] */
    struct cnn_loss_row *rows;   /* [rows] */
    struct cnn_loss_row *folded; /* of CNN_FOLD rows each */
    float *head;                 /* loss and hits are added to [0] and [1] */
    int nrows, classes, lanes, half;
};

/* f32 numbers that are added up over the passes of a step. */
struct cnn_keep_args {
    size_t n;
    void *grad;
    float *sum;
    int first, last; /* pass: sum = grad, or sum += grad; last: grad += sum */
    int half;
};

#define CNN_KERNELS(X)                                                           \
    X(input, input)      /* N C H W f32 images to N H W C */                     \
    X(bytes, bytes)      /* N C H W bytes to N H W C, normalised */              \
    X(cast, map)         /* f32 to bf16 */                                       \
    X(widen, map)        /* activations to f32 */                                \
    X(bias, map)         /* y += channel */                                      \
    X(add, map)          /* y += x */                                            \
    X(add_relu, map)     /* y = max(y + x, 0) */                                 \
    X(relu, map)         /* y = max(y, 0) */                                     \
    X(relu_back, map)    /* y = 0 where x, the output, is not above 0 */         \
    X(conv, conv)        /* y from x and weight */                               \
    X(conv_data, conv)   /* x from y and weight */                               \
    X(conv_weight, conv) /* weight from x and y */                               \
    X(pool, pool)                                                                \
    X(pool_back, pool)                                                           \
    X(stat_parts, norm) /* mean of x, and sum of (x - mean)^2 */                 \
    X(stat_fold, norm)                                                           \
    X(stat, norm) /* of all rows, and the running averages */                    \
    X(norm, norm)                                                                \
    X(norm_test, norm) /* by the running averages */                             \
    X(norm_add, norm)  /* y = output + side, then its ReLU */                    \
    X(norm_add_test, norm)                                                       \
    X(norm_parts, norm) /* sums of the gradient, and of it times the normal x */ \
    X(norm_add_parts, norm)                                                      \
    X(norm_sums, norm) /* gradients of gamma and beta */                         \
    X(norm_back, norm)                                                           \
    X(bias_parts, norm) /* sums of the gradient */                               \
    X(bias_sums, norm)                                                           \
    X(sum_fold, norm)   /* of either */                                          \
    X(dropout, dropout) /* forward and backward */                               \
    X(shortcut, shortcut)                                                        \
    X(shortcut_back, shortcut)                                                   \
    X(loss_parts, loss)                                                          \
    X(loss_rows, loss) /* item: a row */                                         \
    X(loss_grad, loss) /* item: a logit */                                       \
    X(loss_fold, loss)                                                           \
    X(loss_sum, loss) /* one item */                                             \
    X(keep, keep)

#define CNN_KERNEL_NUMBER(name, args) CNN_KERNEL_##name,
enum cnn_kernel { CNN_KERNELS(CNN_KERNEL_NUMBER) CNN_NKERNELS };

#endif
