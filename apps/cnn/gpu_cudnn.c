/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Convolutions by cuDNN, linear layers by cuBLAS. Of the algorithms that cuDNN proposes
 * for a convolution, or measures, the first is taken that gives the same bits every
 * time, needs no more than SPACE_MOST bytes, and with f32 computes in f32.
 */
#include "gpu_cudnn.h"

#include <stdlib.h>

#define SPACE_MOST  ((size_t)1 << 30)
#define NALGORITHMS 16 /* are asked for, the best first */
#define NPASSES     3

struct plan {
    bool linear;
    void *x, *y, *weight;
    void *conv[NPASSES];
    struct cudnn_algorithm algorithm[NPASSES];
};

static const char *const pass_names[NPASSES] = {"forward", "backward data",
                                                "backward filter"};

/* ---- errors --------------------------------------------------------------------- */

static dml_status check_dnn(struct gpu *gpu, const char *call, int code)
{
    const struct cudnn *lib = gpu->library;
    if (code == 0)
        return DML_OK;
    snprintf(gpu->error, sizeof gpu->error, "GPU %d: cudnn%s: %s", gpu->index, call,
             lib->dnn.GetErrorString(code));
    return DML_ECOMM;
}

#define DNN(gpu, name, ...)       \
    CNN_TRY(check_dnn(gpu, #name, \
                      ((struct cudnn *)(gpu)->library)->dnn.name(__VA_ARGS__)))

/* ---- begin and end -------------------------------------------------------------- */

static dml_status open_cudnn(struct gpu *gpu)
{
    struct cudnn *lib = calloc(1, sizeof *lib);
    if (!lib) {
        snprintf(gpu->error, sizeof gpu->error, "out of memory");
        return DML_ENOMEM;
    }
    gpu->library = lib;
    lib->measures = gpu->math == &gpu_math_cudnn_measured;
    return cudnn_open(gpu, lib);
}

static void close_cudnn(struct gpu *gpu)
{
    struct cudnn *lib = gpu->library;
    if (lib)
        cudnn_close(gpu, lib);
    free(lib);
}

/* ---- plans ---------------------------------------------------------------------- */

static dml_status describe(struct gpu *gpu, struct plan *plan,
                           const struct cnn_window *s)
{
    int type = gpu->half ? CUDNN_BF16 : CUDNN_FLOAT;
    DNN(gpu, CreateTensorDescriptor, &plan->x);
    DNN(gpu, SetTensor4dDescriptor, plan->x, CUDNN_NHWC, type, s->rows, s->c, s->h,
        s->w);
    DNN(gpu, CreateTensorDescriptor, &plan->y);
    DNN(gpu, SetTensor4dDescriptor, plan->y, CUDNN_NHWC, type, s->rows, s->k, s->p,
        s->q);
    DNN(gpu, CreateFilterDescriptor, &plan->weight);
    DNN(gpu, SetFilter4dDescriptor, plan->weight, type, CUDNN_NHWC, s->k, s->c,
        s->height, s->width);
    for (int pass = 0; pass < NPASSES; pass++) {
        DNN(gpu, CreateConvolutionDescriptor, &plan->conv[pass]);
        DNN(gpu, SetConvolution2dDescriptor, plan->conv[pass], s->pad, s->pad,
            s->stride, s->stride, 1, 1, CUDNN_CROSS, CUDNN_FLOAT);
        DNN(gpu, SetConvolutionMathType, plan->conv[pass],
            gpu->half || gpu->tf32 ? CUDNN_DEFAULT : CUDNN_FMA);
    }
    return DML_OK;
}

/* Proposals come at once and are the same in every run. Measuring runs all algorithms,
 * in memory that cuDNN allocates for that, and may find another the best next time. */
static dml_status ask(struct gpu *gpu, const struct plan *plan, int pass,
                      struct cudnn_algorithm *found, int *count)
{
    const struct cudnn *lib = gpu->library;
    void *h = lib->handle, *conv = plan->conv[pass];
#define ASK(name, a, b, c)                                                         \
    do {                                                                           \
        if (lib->measures)                                                         \
            DNN(gpu, Find##name, h, a, b, conv, c, NALGORITHMS, count, found);     \
        else                                                                       \
            DNN(gpu, Get##name##_v7, h, a, b, conv, c, NALGORITHMS, count, found); \
    } while (0)
    switch ((enum gpu_conv)pass) {
    case GPU_CONV:
        ASK(ConvolutionForwardAlgorithm, plan->x, plan->weight, plan->y);
        break;
    case GPU_CONV_DATA:
        ASK(ConvolutionBackwardDataAlgorithm, plan->weight, plan->y, plan->x);
        break;
    case GPU_CONV_WEIGHT:
        ASK(ConvolutionBackwardFilterAlgorithm, plan->x, plan->y, plan->weight);
        break;
    }
#undef ASK
    return DML_OK;
}

static bool fits(const struct gpu *gpu, const struct cudnn_algorithm *a)
{
    return a->status == 0 && a->determinism == CUDNN_REPEATABLE &&
           a->memory <= SPACE_MOST && a->math != CUDNN_CONVERSION &&
           (gpu->half || gpu->tf32 || a->math == CUDNN_FMA);
}

static dml_status choose(struct gpu *gpu, struct plan *plan, int pass)
{
    struct cudnn_algorithm found[NALGORITHMS];
    int count = 0, i = 0;
    CNN_TRY(ask(gpu, plan, pass, found, &count));
    while (i < count && !fits(gpu, &found[i]))
        i++;
    if (i == count) {
        snprintf(gpu->error, sizeof gpu->error,
                 "GPU %d: cuDNN has no deterministic algorithm for convolution %s with "
                 "this shape and precision in 1 GiB of workspace: give another "
                 "--precision, or --kernels plain (slow)",
                 gpu->index, pass_names[pass]);
        return DML_EUNSUPPORTED;
    }
    plan->algorithm[pass] = found[i];
    DNN(gpu, SetConvolutionMathType, plan->conv[pass], found[i].math);
    return DML_OK;
}

/* Work space for the largest; layers run one after the other. */
static dml_status grow_space(struct gpu *gpu, const struct plan *plan)
{
    struct cudnn *lib = gpu->library;
    size_t bytes = lib->space_bytes;
    for (int pass = 0; pass < NPASSES; pass++)
        if (plan->algorithm[pass].memory > bytes)
            bytes = plan->algorithm[pass].memory;
    if (bytes == lib->space_bytes)
        return DML_OK;
    CNN_TRY(gpu_note(gpu, dml_gpu_stream_sync(gpu->ctx, gpu->stream)));
    CNN_TRY(gpu_note(gpu, dml_gpu_free(gpu->ctx, lib->space)));
    lib->space = NULL;
    lib->space_bytes = 0;
    CNN_TRY(gpu_note(gpu, dml_gpu_alloc(gpu->ctx, bytes, &lib->space)));
    lib->space_bytes = bytes;
    return DML_OK;
}

static dml_status make_plan(struct gpu *gpu, const struct cnn_conv_args *shape,
                            bool by_data, void **made)
{
    const struct cnn_window *s = &shape->window;
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan) {
        snprintf(gpu->error, sizeof gpu->error, "out of memory");
        return DML_ENOMEM;
    }
    *made = plan;
    plan->linear = s->h == 1 && s->w == 1 && s->height == 1 && s->width == 1 &&
                   s->p == 1 && s->q == 1;
    if (plan->linear)
        return DML_OK;
    CNN_TRY(describe(gpu, plan, s));
    for (int pass = 0; pass < NPASSES; pass++)
        if (pass != GPU_CONV_DATA || by_data)
            CNN_TRY(choose(gpu, plan, pass));
    return grow_space(gpu, plan);
}

static void free_plan(struct gpu *gpu, void *made)
{
    struct cudnn *lib = gpu->library;
    struct plan *plan = made;
    for (int pass = 0; pass < NPASSES; pass++)
        if (plan->conv[pass])
            (void)lib->dnn.DestroyConvolutionDescriptor(plan->conv[pass]);
    if (plan->weight)
        (void)lib->dnn.DestroyFilterDescriptor(plan->weight);
    if (plan->y)
        (void)lib->dnn.DestroyTensorDescriptor(plan->y);
    if (plan->x)
        (void)lib->dnn.DestroyTensorDescriptor(plan->x);
    free(plan);
}

/* ---- passes --------------------------------------------------------------------- */

static const float one = 1, zero = 0;

static dml_status run_conv(struct gpu *gpu, const struct plan *plan, enum gpu_conv what,
                           const struct cnn_conv_args *args)
{
    struct cudnn *lib = gpu->library;
    void *h = lib->handle, *conv = plan->conv[what];
    int algorithm = plan->algorithm[what].number;
    switch (what) {
    case GPU_CONV:
        DNN(gpu, ConvolutionForward, h, &one, plan->x, args->x, plan->weight,
            args->weight, conv, algorithm, lib->space, lib->space_bytes, &zero, plan->y,
            (void *)args->y);
        break;
    case GPU_CONV_DATA:
        DNN(gpu, ConvolutionBackwardData, h, &one, plan->weight, args->weight, plan->y,
            args->y, conv, algorithm, lib->space, lib->space_bytes, &zero, plan->x,
            (void *)args->x);
        break;
    case GPU_CONV_WEIGHT:
        DNN(gpu, ConvolutionBackwardFilter, h, &one, plan->x, args->x, plan->y, args->y,
            conv, algorithm, lib->space, lib->space_bytes, &zero, plan->weight,
            (void *)args->weight);
        break;
    }
    return DML_OK;
}

/* A matrix row by row is its transpose column by column. */
struct cudnn_product cudnn_linear(enum gpu_conv what, const struct cnn_conv_args *args)
{
    const struct cnn_window *s = &args->window;
    const int rows = s->rows, c = s->c, k = s->k;
    struct cudnn_product p = {0};
    switch (what) {
    case GPU_CONV: /* y = x weight^T */
        p = (struct cudnn_product){.trans_a = CUBLAS_T,
                                   .m = k,
                                   .n = rows,
                                   .k = c,
                                   .a = args->weight,
                                   .lda = c,
                                   .b = args->x,
                                   .ldb = c,
                                   .c = (void *)args->y,
                                   .ldc = k};
        break;
    case GPU_CONV_DATA: /* x = y weight */
        p = (struct cudnn_product){.m = c,
                                   .n = rows,
                                   .k = k,
                                   .a = args->weight,
                                   .lda = c,
                                   .b = args->y,
                                   .ldb = k,
                                   .c = (void *)args->x,
                                   .ldc = c};
        break;
    case GPU_CONV_WEIGHT: /* weight = y^T x */
        p = (struct cudnn_product){.trans_b = CUBLAS_T,
                                   .m = c,
                                   .n = k,
                                   .k = rows,
                                   .a = args->x,
                                   .lda = c,
                                   .b = args->y,
                                   .ldb = k,
                                   .c = (void *)args->weight,
                                   .ldc = c};
        break;
    }
    return p;
}

static dml_status run_linear(struct gpu *gpu, enum gpu_conv what,
                             const struct cnn_conv_args *args)
{
    const struct cudnn *lib = gpu->library;
    const struct cudnn_product p = cudnn_linear(what, args);
    int type = gpu->half ? CUBLAS_BF16 : CUBLAS_F32;
    int code = lib->blas.GemmEx(
        lib->blas_handle, p.trans_a, p.trans_b, p.m, p.n, p.k, &one, p.a, type, p.lda,
        p.b, type, p.ldb, &zero, p.c, type, p.ldc,
        gpu->tf32 ? CUBLAS_SUM_TF32 : CUBLAS_SUM_F32, CUBLAS_ALGORITHM);
    if (code == 0)
        return DML_OK;
    snprintf(gpu->error, sizeof gpu->error, "GPU %d: cublasGemmEx: status %d",
             gpu->index, code);
    return DML_ECOMM;
}

static dml_status run(struct gpu *gpu, void *made, enum gpu_conv what,
                      const struct cnn_conv_args *args)
{
    const struct plan *plan = made;
    return plan->linear ? run_linear(gpu, what, args) : run_conv(gpu, plan, what, args);
}

const struct gpu_math gpu_math_cudnn = {"cudnn",   open_cudnn, close_cudnn,
                                        make_plan, free_plan,  run};
const struct gpu_math gpu_math_cudnn_measured = {
    "cudnn-measured", open_cudnn, close_cudnn, make_plan, free_plan, run};
