/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Convolutions by cuDNN, linear layers by cuBLAS. Of the algorithms that cuDNN proposes
 * for a convolution, or measures, the first is taken that gives the same bits every
 * time, needs no more than SPACE_MOST bytes where there is one, and with f32 computes
 * in f32.
 */
#include "gpu_cudnn.h"

#include <stdarg.h>
#include <stdlib.h>

#define SPACE_MOST  ((size_t)1 << 30)
#define NALGORITHMS 16 /* are asked for, the best first */
#define NPASSES     3

struct plan {
    bool linear;
    struct cnn_window window;
    void *x, *y, *weight;
    void *conv[NPASSES];
    struct cudnn_algorithm found[NPASSES][NALGORITHMS];
    int count[NPASSES], best[NPASSES]; /* how many are found; which is taken */
};

static const char *const pass_names[NPASSES] = {"forward", "backward data",
                                                "backward filter"};
static const char *const call_names[NPASSES] = {
    "ConvolutionForward", "ConvolutionBackwardData", "ConvolutionBackwardFilter"};

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

/* Tensor cores take 16-bit numbers only where they are asked for by name. */
static int math_type(const struct gpu *gpu)
{
    if (gpu->half)
        return CUDNN_TENSOR;
    return gpu->tf32 ? CUDNN_DEFAULT : CUDNN_FMA;
}

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
        DNN(gpu, SetConvolutionMathType, plan->conv[pass], math_type(gpu));
    }
    return DML_OK;
}

/* Proposals come at once and are the same in every run. Measuring runs all algorithms,
 * in memory that cuDNN allocates for that, and may find another the best next time. */
static dml_status ask(struct gpu *gpu, struct plan *plan, int pass)
{
    const struct cudnn *lib = gpu->library;
    struct cudnn_algorithm *found = plan->found[pass];
    void *h = lib->handle, *conv = plan->conv[pass];
    int *count = &plan->count[pass];
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

/* What is asked of an algorithm, the most first. */
enum demand { SMALL_SPACE, SAME_BITS, ANY_BITS };

static bool fits(const struct gpu *gpu, const struct cudnn_algorithm *a,
                 enum demand demand)
{
    return a->status == 0 && a->math != CUDNN_CONVERSION &&
           (gpu->half || gpu->tf32 || a->math == CUDNN_FMA) &&
           (demand == ANY_BITS || a->determinism == CUDNN_REPEATABLE) &&
           (demand != SMALL_SPACE || a->memory <= SPACE_MOST);
}

int cudnn_best(const struct gpu *gpu, const struct cudnn_algorithm *found, int count)
{
    const struct cudnn *lib = gpu->library;
    /* Measured, another run may have other bits anyhow. */
    const enum demand least = lib->measures ? ANY_BITS : SAME_BITS;
    for (int demand = SMALL_SPACE; demand <= (int)least; demand++)
        for (int i = 0; i < count; i++)
            if (fits(gpu, &found[i], (enum demand)demand))
                return i;
    return -1;
}

static void append(struct gpu *gpu, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(struct gpu *gpu, const char *format, ...)
{
    const size_t used = strlen(gpu->error);
    va_list args;
    va_start(args, format);
    vsnprintf(gpu->error + used, sizeof gpu->error - used, format, args);
    va_end(args);
}

static dml_status none_fits(struct gpu *gpu, const struct plan *plan, int pass)
{
    const struct cudnn *lib = gpu->library;
    const struct cnn_window *s = &plan->window;
    snprintf(gpu->error, sizeof gpu->error,
             "GPU %d: cuDNN has no %salgorithm for convolution %s of %d x %d x %d x %d "
             "by %d of %d x %d in this precision: give another --precision, or "
             "--kernels plain (slow); it has (number, status, deterministic, math, "
             "MiB):",
             gpu->index, lib->measures ? "" : "deterministic ", pass_names[pass],
             s->rows, s->h, s->w, s->c, s->k, s->height, s->width);
    for (int i = 0; i < plan->count[pass]; i++) {
        const struct cudnn_algorithm *a = &plan->found[pass][i];
        append(gpu, " %d,%d,%d,%d,%zu", a->number, a->status, a->determinism, a->math,
               a->memory >> 20);
    }
    return DML_EUNSUPPORTED;
}

/* Work space for the largest; layers run one after the other. */
static dml_status grow_space(struct gpu *gpu, size_t bytes)
{
    struct cudnn *lib = gpu->library;
    if (bytes <= lib->space_bytes)
        return DML_OK;
    CNN_TRY(gpu_note(gpu, dml_gpu_stream_sync(gpu->ctx, gpu->stream)));
    CNN_TRY(gpu_note(gpu, dml_gpu_free(gpu->ctx, lib->space)));
    lib->space = NULL;
    lib->space_bytes = 0;
    CNN_TRY(gpu_note(gpu, dml_gpu_alloc(gpu->ctx, bytes, &lib->space)));
    lib->space_bytes = bytes;
    return DML_OK;
}

static dml_status choose(struct gpu *gpu, struct plan *plan, int pass)
{
    const int best = cudnn_best(gpu, plan->found[pass], plan->count[pass]);
    if (best < 0)
        return none_fits(gpu, plan, pass);
    plan->best[pass] = best;
    DNN(gpu, SetConvolutionMathType, plan->conv[pass], plan->found[pass][best].math);
    return grow_space(gpu, plan->found[pass][best].memory);
}

/* Channels last, a window of one pixel is a matrix times the pixels. */
static bool is_product(const struct gpu *gpu, const struct cnn_window *s)
{
    const bool pixels = s->height == 1 && s->width == 1 && s->stride == 1 && !s->pad;
    return pixels && ((s->h == 1 && s->w == 1) || gpu->math == &gpu_math_cudnn_gemm);
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
    plan->window = *s;
    plan->linear = is_product(gpu, s);
    if (plan->linear)
        return DML_OK;
    CNN_TRY(describe(gpu, plan, s));
    for (int pass = 0; pass < NPASSES; pass++) {
        if (pass == GPU_CONV_DATA && !by_data)
            continue;
        CNN_TRY(ask(gpu, plan, pass));
        CNN_TRY(choose(gpu, plan, pass));
    }
    return DML_OK;
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

static int call(const struct cudnn *lib, const struct plan *plan, enum gpu_conv what,
                const struct cnn_conv_args *args)
{
    void *h = lib->handle, *conv = plan->conv[what];
    const int algorithm = plan->found[what][plan->best[what]].number;
    switch (what) {
    case GPU_CONV:
        return lib->dnn.ConvolutionForward(
            h, &one, plan->x, args->x, plan->weight, args->weight, conv, algorithm,
            lib->space, lib->space_bytes, &zero, plan->y, (void *)args->y);
    case GPU_CONV_DATA:
        return lib->dnn.ConvolutionBackwardData(
            h, &one, plan->weight, args->weight, plan->y, args->y, conv, algorithm,
            lib->space, lib->space_bytes, &zero, plan->x, (void *)args->x);
    case GPU_CONV_WEIGHT:
        break;
    }
    return lib->dnn.ConvolutionBackwardFilter(
        h, &one, plan->x, args->x, plan->y, args->y, conv, algorithm, lib->space,
        lib->space_bytes, &zero, plan->weight, (void *)args->weight);
}

/* What was proposed and is not supported after all is struck off. (The first call of a
 * layer is never in a capture.) */
static dml_status run_conv(struct gpu *gpu, struct plan *plan, enum gpu_conv what,
                           const struct cnn_conv_args *args)
{
    int code = call(gpu->library, plan, what, args);
    while (code >= CUDNN_LACKS && code < CUDNN_LACKS + 1000) {
        plan->found[what][plan->best[what]].status = code;
        CNN_TRY(choose(gpu, plan, what));
        code = call(gpu->library, plan, what, args);
    }
    return check_dnn(gpu, call_names[what], code);
}

/* A matrix row by row is its transpose column by column. */
struct cudnn_product cudnn_linear(enum gpu_conv what, const struct cnn_conv_args *args)
{
    const struct cnn_window *s = &args->window;
    const int rows = s->rows * s->p * s->q, c = s->c, k = s->k;
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
    struct plan *plan = made;
    return plan->linear ? run_linear(gpu, what, args) : run_conv(gpu, plan, what, args);
}

const struct gpu_math gpu_math_cudnn = {"cudnn",   open_cudnn, close_cudnn,
                                        make_plan, free_plan,  run};
const struct gpu_math gpu_math_cudnn_measured = {
    "cudnn-measured", open_cudnn, close_cudnn, make_plan, free_plan, run};
const struct gpu_math gpu_math_cudnn_gemm = {"cudnn-gemm", open_cudnn, close_cudnn,
                                             make_plan,    free_plan,  run};
