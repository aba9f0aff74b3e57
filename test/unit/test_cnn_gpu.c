/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-cnn's kernels have of their own though libdml has it: random numbers and
 * rounding to bf16; the products by which cuBLAS computes linear layers; and which of
 * cuDNN's algorithms is taken.
 */
#include "gpu_cudnn.h"
#include "kernels_dropout.h"
#include "unit.h"

#include <dml/rng.h>
#include <dml/vec.h>

static void random_numbers_are_libdmls(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t seed = dml_rng_u64(1, 1, i), stream = dml_rng_u64(1, 2, i) >> (i % 64);
        assert_int_equal(cnn_random(seed, stream, i), dml_rng_u64(seed, stream, i));
    }
}

static void rounding_is_libdmls(void **state)
{
    (void)state;
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    for (uint64_t i = 0; i < 100000; i++) {
        uint32_t bits = (uint32_t)dml_rng_u64(2, 1, i);
        uint16_t expected, got[2] = {0};
        float value, back;
        memcpy(&value, &bits, sizeof value);
        if (value != value)
            continue; /* any NaN will do */
        dml_vec_convert(ctx, &expected, DML_BF16, &value, DML_F32, 1);
        cnn_put(got, 1, value, 1);
        assert_int_equal(got[1], expected);
        dml_vec_convert(ctx, &back, DML_F32, &expected, DML_BF16, 1);
        float widened = cnn_get(got, 1, 1);
        assert_memory_equal(&back, &widened, sizeof back);
    }
    uint16_t nan;
    cnn_put(&nan, 0, NAN, 1);
    assert_true(isnan(cnn_get(&nan, 0, 1)));
    dml_ctx_destroy(ctx);
}

/* Element (i, j) of op(matrix), column by column with leading dimension ld. */
static float element(const float *matrix, int trans, int ld, int i, int j)
{
    return trans == CUBLAS_T ? matrix[i * ld + j] : matrix[j * ld + i];
}

/* cuBLAS's product by its definition. */
static void multiply(const struct cudnn_product *p)
{
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++) {
            float sum = 0;
            for (int k = 0; k < p->k; k++)
                sum += element(p->a, p->trans_a, p->lda, i, k) *
                       element(p->b, p->trans_b, p->ldb, k, j);
            ((float *)p->c)[j * p->ldc + i] = sum;
        }
}

/* Small whole numbers, so that sums are exact in any order. */
static void fill(float *values, size_t count, uint64_t stream)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(int)(dml_rng_u64(3, stream, i) % 7) - 3;
}

enum { ROWS = 5, IN = 3, OUT = 4 };

/* Of so many rows, each an image of one pixel, or a part of one image. */
static void check_products(struct cnn_window window)
{
    float x[ROWS * IN], weight[OUT * IN], y[ROWS * OUT], got[ROWS * OUT * IN];
    window.c = IN, window.k = OUT;
    struct cnn_conv_args args = {.window = window};
    fill(x, ROWS * IN, 1);
    fill(weight, OUT * IN, 2);
    fill(y, ROWS * OUT, 3);
    args.x = x, args.weight = weight, args.y = got;
    struct cudnn_product p = cudnn_linear(GPU_CONV, &args);
    multiply(&p);
    for (int n = 0; n < ROWS; n++)
        for (int k = 0; k < OUT; k++) {
            float sum = 0;
            for (int c = 0; c < IN; c++)
                sum += x[n * IN + c] * weight[k * IN + c];
            assert_true(got[n * OUT + k] == sum);
        }
    args.x = got, args.y = y;
    p = cudnn_linear(GPU_CONV_DATA, &args);
    multiply(&p);
    for (int n = 0; n < ROWS; n++)
        for (int c = 0; c < IN; c++) {
            float sum = 0;
            for (int k = 0; k < OUT; k++)
                sum += y[n * OUT + k] * weight[k * IN + c];
            assert_true(got[n * IN + c] == sum);
        }
    args.x = x, args.weight = got;
    p = cudnn_linear(GPU_CONV_WEIGHT, &args);
    multiply(&p);
    for (int k = 0; k < OUT; k++)
        for (int c = 0; c < IN; c++) {
            float sum = 0;
            for (int n = 0; n < ROWS; n++)
                sum += y[n * OUT + k] * x[n * IN + c];
            assert_true(got[k * IN + c] == sum);
        }
}

static void linear_layers_are_products(void **state)
{
    (void)state;
    check_products((struct cnn_window){.rows = ROWS, .p = 1, .q = 1});
    check_products((struct cnn_window){.rows = 1, .p = ROWS, .q = 1});
    check_products((struct cnn_window){.rows = 1, .p = 1, .q = ROWS});
}

/* ---- which of cuDNN's algorithms is taken ---------------------------------------- */

static int taken(const struct gpu *gpu, const struct cudnn_algorithm *found, int count)
{
    const int best = cudnn_best(gpu, found, count);
    return best < 0 ? -1 : found[best].number;
}

static void the_first_with_the_same_bits_is_taken(void **state)
{
    enum { LARGE = 2 };
    const struct cudnn_algorithm found[] = {
        {0, 3000, 0, 0, CUDNN_REPEATABLE, CUDNN_TENSOR, {0}}, /* not supported */
        {1, 0, 0, 0, 0, CUDNN_TENSOR, {0}},
        {LARGE, 0, 0, (size_t)3 << 30, CUDNN_REPEATABLE, CUDNN_TENSOR, {0}},
        {3, 0, 0, 0, CUDNN_REPEATABLE, CUDNN_CONVERSION, {0}},
        {4, 0, 0, 1 << 20, CUDNN_REPEATABLE, CUDNN_DEFAULT, {0}},
        {5, 0, 0, 1 << 20, CUDNN_REPEATABLE, CUDNN_FMA, {0}},
    };
    struct cudnn lib = {0};
    struct gpu gpu = {.library = &lib, .half = true};
    (void)state;
    assert_int_equal(taken(&gpu, found, 6), 4);
    assert_int_equal(taken(&gpu, found, 4), LARGE);
    assert_int_equal(taken(&gpu, found, 2), -1);
    assert_int_equal(taken(&gpu, found, 0), -1);
    lib.measures = true;
    assert_int_equal(taken(&gpu, found, 6), 4);
    assert_int_equal(taken(&gpu, found, 2), 1);
    assert_int_equal(taken(&gpu, found, 1), -1);
    gpu.half = false; /* f32 stays f32 */
    assert_int_equal(taken(&gpu, found, 6), 5);
    assert_int_equal(taken(&gpu, found, 5), -1);
    gpu.tf32 = true;
    assert_int_equal(taken(&gpu, found, 6), 4);
}

/* ---- plans, with a library that only takes notes ----------------------------------
 */

static struct {
    int type, math;   /* asked for */
    int lacks, below; /* the status of algorithms with numbers below */
    int algorithm;    /* that ran last */
    int nconvs, m, n, k;
} seen;

static int make(void **made)
{
    *made = &seen;
    return 0;
}

static int end(void *made)
{
    (void)made;
    return 0;
}

static int set_tensor(void *tensor, int format, int type, int n, int c, int h, int w)
{
    (void)tensor, (void)n, (void)c, (void)h, (void)w;
    seen.type = type;
    return format == CUDNN_NHWC ? 0 : 1;
}

static int set_filter(void *filter, int type, int format, int k, int c, int h, int w)
{
    (void)filter, (void)k, (void)c, (void)h, (void)w;
    return format == CUDNN_NHWC && type == seen.type ? 0 : 1;
}

static int set_conv(void *conv, int pad_h, int pad_w, int stride_h, int stride_w,
                    int dilation_h, int dilation_w, int mode, int type)
{
    (void)conv, (void)pad_h, (void)pad_w, (void)stride_h, (void)stride_w;
    (void)dilation_h, (void)dilation_w, (void)mode;
    return type == CUDNN_FLOAT ? 0 : 1;
}

static int set_math(void *conv, int math)
{
    (void)conv;
    seen.math = math;
    return 0;
}

static int propose(void *handle, void *a, void *b, void *conv, void *c, int asked,
                   int *count, struct cudnn_algorithm *found)
{
    (void)handle, (void)a, (void)b, (void)conv, (void)c;
    for (*count = 0; *count < 3 && *count < asked; ++*count)
        found[*count] = (struct cudnn_algorithm){
            .number = *count, .determinism = CUDNN_REPEATABLE, .math = seen.math};
    return 0;
}

static int convolve(void *handle, const void *alpha, void *x_desc, const void *x,
                    void *w_desc, const void *w, void *conv, int algorithm, void *space,
                    size_t bytes, const void *beta, void *y_desc, void *y)
{
    (void)handle, (void)alpha, (void)x_desc, (void)x, (void)w_desc, (void)w;
    (void)conv, (void)space, (void)bytes, (void)beta, (void)y_desc, (void)y;
    seen.algorithm = algorithm;
    seen.nconvs++;
    return algorithm < seen.below ? seen.lacks : 0;
}

static int gemm(void *handle, int trans_a, int trans_b, int m, int n, int k,
                const void *alpha, const void *a, int a_type, int lda, const void *b,
                int b_type, int ldb, const void *beta, void *c, int c_type, int ldc,
                int compute, int algorithm)
{
    (void)handle, (void)trans_a, (void)trans_b, (void)alpha, (void)a, (void)a_type;
    (void)lda, (void)b, (void)b_type, (void)ldb, (void)beta, (void)c, (void)c_type;
    (void)ldc, (void)compute, (void)algorithm;
    seen.m = m, seen.n = n, seen.k = k;
    return 0;
}

static const char *tell(int code)
{
    (void)code;
    return "why";
}

static struct cudnn taking_notes(void)
{
    struct cudnn lib = {.blas.GemmEx = gemm};
    lib.dnn.CreateTensorDescriptor = lib.dnn.CreateFilterDescriptor = make;
    lib.dnn.CreateConvolutionDescriptor = make;
    lib.dnn.DestroyTensorDescriptor = lib.dnn.DestroyFilterDescriptor = end;
    lib.dnn.DestroyConvolutionDescriptor = end;
    lib.dnn.SetTensor4dDescriptor = set_tensor;
    lib.dnn.SetFilter4dDescriptor = set_filter;
    lib.dnn.SetConvolution2dDescriptor = set_conv;
    lib.dnn.SetConvolutionMathType = set_math;
    lib.dnn.GetConvolutionForwardAlgorithm_v7 = propose;
    lib.dnn.GetConvolutionBackwardDataAlgorithm_v7 = propose;
    lib.dnn.GetConvolutionBackwardFilterAlgorithm_v7 = propose;
    lib.dnn.ConvolutionForward = lib.dnn.ConvolutionBackwardData = convolve;
    lib.dnn.ConvolutionBackwardFilter = convolve;
    lib.dnn.GetErrorString = tell;
    memset(&seen, 0, sizeof seen);
    return lib;
}

static const struct cnn_conv_args small_conv = {
    .window = {3, 6, 5, 8, 6, 5, 16, 3, 3, 1, 1}};

static void tensor_cores_are_asked_for(void **state)
{
    static const struct {
        bool half, tf32;
        int type, math;
    } kinds[] = {{true, false, CUDNN_BF16, CUDNN_TENSOR},
                 {false, true, CUDNN_FLOAT, CUDNN_DEFAULT},
                 {false, false, CUDNN_FLOAT, CUDNN_FMA}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct cudnn lib = taking_notes();
        struct gpu gpu = {.library = &lib,
                          .math = &gpu_math_cudnn,
                          .half = kinds[i].half,
                          .tf32 = kinds[i].tf32};
        void *plan = NULL;
        assert_int_equal(gpu.math->plan(&gpu, &small_conv, true, &plan), DML_OK);
        assert_int_equal(seen.type, kinds[i].type);
        assert_int_equal(seen.math, kinds[i].math);
        gpu.math->free_plan(&gpu, plan);
    }
}

static void what_is_not_supported_is_struck_off(void **state)
{
    struct cudnn lib = taking_notes();
    struct gpu gpu = {.library = &lib, .math = &gpu_math_cudnn, .half = true};
    void *plan = NULL;
    (void)state;
    assert_int_equal(gpu.math->plan(&gpu, &small_conv, true, &plan), DML_OK);
    seen.lacks = CUDNN_LACKS + 2;
    seen.below = 2;
    for (int pass = GPU_CONV; pass <= GPU_CONV_WEIGHT; pass++) {
        const enum gpu_conv what = (enum gpu_conv)pass;
        seen.nconvs = 0;
        assert_int_equal(gpu.math->run(&gpu, plan, what, &small_conv), DML_OK);
        assert_int_equal(seen.nconvs, 3);
        assert_int_equal(gpu.math->run(&gpu, plan, what, &small_conv), DML_OK);
        assert_int_equal(seen.nconvs, 4);
        assert_int_equal(seen.algorithm, 2);
    }
    seen.below = 3;
    assert_int_equal(gpu.math->run(&gpu, plan, GPU_CONV_WEIGHT, &small_conv),
                     DML_EUNSUPPORTED);
    assert_non_null(
        strstr(gpu.error, "backward filter of 3 x 6 x 5 x 8 by 16 of 3 x 3"));
    assert_non_null(strstr(gpu.error, " 0,3002,1,1,0 1,3002,1,1,0 2,3002,1,1,0"));
    seen.lacks = 5000; /* another failure is one */
    assert_int_equal(gpu.math->run(&gpu, plan, GPU_CONV, &small_conv), DML_ECOMM);
    assert_string_equal(gpu.error, "GPU 0: cudnnConvolutionForward: why");
    gpu.math->free_plan(&gpu, plan);
}

/* Is a layer with this window a product? Else it is a convolution. */
static bool is_product(const struct gpu_math *math, struct cnn_window window)
{
    const struct cnn_conv_args args = {.window = window};
    struct cudnn lib = taking_notes();
    struct gpu gpu = {.library = &lib, .math = math};
    void *plan = NULL;
    assert_int_equal(math->plan(&gpu, &args, true, &plan), DML_OK);
    assert_int_equal(math->run(&gpu, plan, GPU_CONV, &args), DML_OK);
    math->free_plan(&gpu, plan);
    if (seen.n == 0)
        return false;
    assert_int_equal(seen.nconvs, 0);
    assert_int_equal(seen.m, window.k);
    assert_int_equal(seen.n, window.rows * window.p * window.q);
    assert_int_equal(seen.k, window.c);
    return true;
}

static void windows_of_a_pixel_are_products(void **state)
{
    const struct cnn_window pixel = {3, 6, 5, 8, 6, 5, 16, 1, 1, 1, 0};
    const struct cnn_window second = {3, 6, 5, 8, 3, 3, 16, 1, 1, 2, 0};
    const struct cnn_window padded = {3, 6, 5, 8, 8, 7, 16, 1, 1, 1, 1};
    const struct cnn_window linear = {3, 1, 1, 8, 1, 1, 16, 1, 1, 1, 0};
    (void)state;
    assert_true(is_product(&gpu_math_cudnn, linear));
    assert_false(is_product(&gpu_math_cudnn, pixel));
    assert_true(is_product(&gpu_math_cudnn_gemm, linear));
    assert_true(is_product(&gpu_math_cudnn_gemm, pixel));
    assert_false(is_product(&gpu_math_cudnn_gemm, second));
    assert_false(is_product(&gpu_math_cudnn_gemm, padded));
    assert_false(is_product(&gpu_math_cudnn_gemm, small_conv.window));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers_are_libdmls),
        cmocka_unit_test(rounding_is_libdmls),
        cmocka_unit_test(linear_layers_are_products),
        cmocka_unit_test(the_first_with_the_same_bits_is_taken),
        cmocka_unit_test(tensor_cores_are_asked_for),
        cmocka_unit_test(what_is_not_supported_is_struck_off),
        cmocka_unit_test(windows_of_a_pixel_are_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
