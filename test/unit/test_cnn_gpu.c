/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What dml-cnn's kernels have of their own though libdml has it: random numbers and
 * rounding to bf16; and the products by which cuBLAS computes linear layers.
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

static void linear_layers_are_products(void **state)
{
    (void)state;
    float x[ROWS * IN], weight[OUT * IN], y[ROWS * OUT], got[ROWS * OUT * IN];
    struct cnn_conv_args args = {.window = {.rows = ROWS, .c = IN, .k = OUT}};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers_are_libdmls),
        cmocka_unit_test(rounding_is_libdmls),
        cmocka_unit_test(linear_layers_are_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
