/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every layer of dml-cnn: its output, and the gradients by its parameters and by its
 * input, against central differences of a second implementation in double precision.
 *
 * A case is a net: a 1 x 1 convolution (whose weights' gradients depend on the tested
 * layer's data gradient), the layer, a fully connected layer, and the objective
 * sum(r * logits) with random r. With h = 1e-6 the difference quotient in double is
 * exact to 1e-8 or so of the largest gradient; single precision computes sums of up to
 * a few thousand terms, so 2e-5 of the largest gradient is allowed.
 *
 * Argument: none for the processor; else one of --kernels, for the GPU that $DML_GPU
 * names.
 */
#include "cnn_device.h"
#include "cnn_layer_cases.h"
#include "cnn_reference.h"
#include "kernels_items.h"
#include "nets.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TOLERANCE  2e-5
#define STEP       1e-6
#define MAX_CHECKS 40 /* elements looked at in one parameter */

static struct gpu gpu; /* its ctx is NULL on the processor */

/* ---- the reference --------------------------------------------------------------- */

static void replace(struct tensor *x, struct tensor y)
{
    free(x->v);
    *x = y;
}

static struct tensor ref_block(const struct layer_case *t, const struct tensor *input,
                               double *const *q)
{
    struct tensor x =
        ref_conv(input, q[0], NULL, t->channels, t->kernel, t->stride, t->pad);
    struct tensor side = ref_shortcut(input, t->channels, t->stride);
    if (t->kind >= BLOCK)
        replace(&x, ref_batch_norm(&x, q[1], q[2], 1e-5));
    if (t->kind == BLOCK_RELU)
        replace(&x, ref_relu(&x));
    if (t->kind == BLOCK_CHANGES) {
        replace(&side, ref_conv(input, q[3], NULL, t->channels, 1, t->stride, 0));
        replace(&side, ref_batch_norm(&side, q[4], q[5], 1e-5));
    }
    replace(&x, ref_add(&x, &side));
    if (t->kind != BLOCK_SUM)
        replace(&x, ref_relu(&x));
    free(side.v);
    return x;
}

/* The objective, of parameters p[] in the net's order. */
static double reference(const struct layer_case *t, const struct tensor *input,
                        double *const *p, const double *r)
{
    struct tensor x = ref_conv(input, p[0], p[1], t->carried, 1, 1, 0);
    double *const *q = p + 2; /* the layer's */
    switch (t->kind) {
    case CONV:
        replace(&x,
                ref_conv(&x, q[0], q[1], t->channels, t->kernel, t->stride, t->pad));
        q += 2;
        break;
    case MAX_POOL:
        replace(&x, ref_max_pool(&x, t->kernel, t->stride, t->pad));
        break;
    case AVG_POOL:
        replace(&x, ref_avg_pool(&x, t->kernel, t->stride, t->pad));
        break;
    case GLOBAL_POOL:
        replace(&x, ref_global_pool(&x));
        break;
    case NORM:
    case NORM_RELU:
        replace(&x, ref_batch_norm(&x, q[0], q[1], 1e-5));
        if (t->kind == NORM_RELU)
            replace(&x, ref_relu(&x));
        q += 2;
        break;
    case RELU:
        replace(&x, ref_relu(&x));
        break;
    case RESIDUAL:
    case SHRINK:
    case BLOCK:
    case BLOCK_CHANGES:
    case BLOCK_SUM:
    case BLOCK_RELU:
        replace(&x, ref_block(t, &x, q));
        q += t->kind == BLOCK_CHANGES ? 6 : t->kind >= BLOCK ? 3 : 1;
        break;
    }
    replace(&x, ref_linear(&x, q[0], q[1], LAYER_OUTPUTS));
    double sum = 0;
    for (size_t i = 0; i < tensor_count(&x); i++)
        sum += r[i] * x.v[i];
    free(x.v);
    return sum;
}

/* ---- one case ------------------------------------------------------------------- */

struct bench {
    struct net *net;
    struct tensor input;
    double *params[NET_MAX_PARAMS]; /* row-major copies */
    double *r;                      /* [rows * LAYER_OUTPUTS] */
};

/* Random parameters: initial ones hold zeros, for which mistakes could hide. */
static void fill_params(struct bench *bench)
{
    for (int i = 0; i < bench->net->nparams; i++) {
        size_t count = bench->net->params[i].count;
        float *plain = must(malloc(count * sizeof *plain));
        bench->params[i] = must(malloc(count * sizeof *bench->params[i]));
        for (size_t k = 0; k < count; k++) {
            plain[k] = (float)dml_rng_normal(7, 100 + (uint64_t)i, k);
            bench->params[i][k] = (double)plain[k];
        }
        assert_int_equal(net_set_param(bench->net, i, plain), DML_OK);
        free(plain);
    }
}

/* By the logits. */
static void set_gradient(struct net *net, const float *grad, size_t bytes)
{
    if (!net->gpu) {
        memcpy(net->output->grad_at, grad, bytes);
        return;
    }
    assert_int_equal(
        dml_gpu_copy(gpu.ctx, net->output->grad_at, grad, bytes, gpu.stream), DML_OK);
    assert_int_equal(dml_gpu_stream_sync(gpu.ctx, gpu.stream), DML_OK);
}

static void run_passes(struct bench *bench)
{
    struct net *net = bench->net;
    size_t count = tensor_count(&bench->input),
           nlogits = net->shape.rows * LAYER_OUTPUTS;
    float *images = must(malloc(count * sizeof *images));
    float *grad = must(malloc(nlogits * sizeof *grad));
    for (size_t i = 0; i < count; i++) {
        images[i] = (float)dml_rng_normal(7, 1, i);
        bench->input.v[i] = (double)images[i];
    }
    for (size_t i = 0; i < nlogits; i++) {
        grad[i] = (float)dml_rng_normal(7, 2, i);
        bench->r[i] = (double)grad[i];
    }
    assert_int_equal(net_forward(net, NET_TRAIN, images), DML_OK);
    set_gradient(net, grad, nlogits * sizeof *grad);
    assert_int_equal(net_backward(net, NULL, NULL), DML_OK);
    free(grad);
    free(images);
}

static void check_output(struct bench *bench, const struct layer_case *t)
{
    const float *logits = must((void *)net_logits_of(bench->net));
    double sum = 0, scale = 0;
    for (size_t i = 0; i < bench->net->shape.rows * LAYER_OUTPUTS; i++) {
        sum += bench->r[i] * (double)logits[i];
        scale += fabs(bench->r[i] * (double)logits[i]);
    }
    double expected = reference(t, &bench->input, bench->params, bench->r);
    if (!(fabs(sum - expected) <= TOLERANCE * scale))
        fail_msg("%s: objective %.9g, expected %.9g", t->name, sum, expected);
}

static void check_param(struct bench *bench, const struct layer_case *t, int i)
{
    const struct param *param = &bench->net->params[i];
    float *grad = must(malloc(param->count * sizeof *grad));
    assert_int_equal(
        net_to_plain(bench->net, i, bench->net->param_grad + param->offset, grad),
        DML_OK);
    double largest = 0;
    for (size_t k = 0; k < param->count; k++)
        largest = fmax(largest, fabs((double)grad[k]));
    size_t stride = param->count / MAX_CHECKS + 1;
    for (size_t k = 0; k < param->count; k += stride) {
        double *at = &bench->params[i][k], kept = *at;
        *at = kept + STEP;
        double above = reference(t, &bench->input, bench->params, bench->r);
        *at = kept - STEP;
        double below = reference(t, &bench->input, bench->params, bench->r);
        *at = kept;
        double expected = (above - below) / (2 * STEP);
        /* Batch norm takes a bias in front of it away: its gradient is 0 but for the
         * rounding of terms of size 1. */
        if (!(fabs((double)grad[k] - expected) <= TOLERANCE * fmax(largest, 10)))
            fail_msg("%s: %s[%zu]: gradient %.9g, expected %.9g (largest %.3g)",
                     t->name, param->name, k, (double)grad[k], expected, largest);
    }
    free(grad);
}

static void run_case(const struct layer_case *t)
{
    struct bench bench = {.input = {t->rows, t->inputs, t->height, t->width, NULL}};
    struct net_shape shape = {(size_t)t->rows, (size_t)t->inputs, (size_t)t->height,
                              (size_t)t->width, LAYER_OUTPUTS};
    assert_int_equal(net_create_on(gpu.ctx ? &gpu : NULL, &shape, 1, 0, &bench.net),
                     DML_OK);
    dml_status status = net_finish(bench.net, layer_build(bench.net, t));
    if (status != DML_OK)
        fail_msg("%s: %s", t->name, net_error(bench.net));
    bench.input.v = must(malloc(tensor_count(&bench.input) * sizeof(double)));
    bench.r = must(malloc(shape.rows * LAYER_OUTPUTS * sizeof *bench.r));
    fill_params(&bench);
    run_passes(&bench);
    check_output(&bench, t);
    for (int i = 0; i < bench.net->nparams; i++)
        check_param(&bench, t, i);
    for (int i = 0; i < bench.net->nparams; i++)
        free(bench.params[i]);
    free(bench.input.v);
    free(bench.r);
    net_destroy(bench.net);
}

static void gradients_are_difference_quotients(void **state)
{
    run_case(*state);
}

/* ---- what is planned ------------------------------------------------------------ */

static int nplans, nby_data;

static dml_status count_plan(struct gpu *on, const struct cnn_conv_args *shape,
                             bool by_data, void **plan)
{
    nplans++;
    nby_data += by_data;
    return gpu_math_plain.plan(on, shape, by_data, plan);
}

/* The data have no gradient: nobody plans for it, nor takes work space. */
static void the_first_layer_has_no_data_gradient(void **state)
{
    struct gpu counting = gpu;
    struct gpu_math math = gpu_math_plain;
    const struct net_shape shape = {1, 3, 8, 8, 10};
    struct net *net = NULL;
    (void)state;
    if (!gpu.ctx)
        skip();
    math.plan = count_plan;
    counting.math = &math;
    assert_int_equal(nets_make_on(&counting, nets_find("resnet20"), &shape, 1, 0, &net),
                     DML_OK);
    assert_int_equal(nplans, 20);
    assert_int_equal(nby_data, 19);
    net_destroy(net);
}

/* ---- dropout -------------------------------------------------------------------- */

/* Which numbers are dropped shows in the logits. */
static void forward_with_dropout(struct gpu *on, int channels, int side, float *logits)
{
    enum { ROWS = 3 };
    const struct net_shape shape = {ROWS, 1, (size_t)side, (size_t)side, LAYER_OUTPUTS};
    const struct cnn_pass pass = {.step = 5, .first_row = 7};
    float *images =
        must(calloc(shape.rows * shape.height * shape.width, sizeof *images));
    struct net *net = NULL;
    void *on_device = NULL;
    for (size_t i = 0; i < shape.rows * shape.height * shape.width; i++)
        images[i] = (float)dml_rng_normal(7, 1, i);
    assert_int_equal(net_create_on(on, &shape, 3, 0, &net), DML_OK);
    struct value *x = net_conv(net, net->input, channels, 1, 1, 0, true);
    x = net_linear(net, net_dropout(net, x, 0.4), 6);
    x = net_dropout(net, x, 0.3);
    assert_int_equal(net_finish(net, net_linear(net, x, LAYER_OUTPUTS)), DML_OK);
    net->step = pass.step;
    net->first_row = pass.first_row;
    if (on)
        net->gpu->pass = on_device = device_put(on, &pass, sizeof pass);
    assert_int_equal(net_forward(net, NET_TRAIN, images), DML_OK);
    memcpy(logits, net_logits_of(net), ROWS * LAYER_OUTPUTS * sizeof *logits);
    if (on)
        dml_gpu_free(on->ctx, on_device);
    net_destroy(net);
    free(images);
}

static void masks_are_the_processors(void **state)
{
    static const int channels[] = {1, 3, 8, 16, 17, 33}, sides[] = {1, 2, 5};
    (void)state;
    if (!gpu.ctx)
        skip();
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < 3; k++) {
            float here[3 * LAYER_OUTPUTS], there[3 * LAYER_OUTPUTS];
            forward_with_dropout(NULL, channels[i], sides[k], here);
            forward_with_dropout(&gpu, channels[i], sides[k], there);
            for (size_t j = 0; j < 3 * LAYER_OUTPUTS; j++)
                if (!(fabsf(here[j] - there[j]) <= 1e-5f * (1 + fabsf(here[j]))))
                    fail_msg("%d channels, side %d: logit %zu is %.9g on the processor "
                             "and %.9g on the GPU",
                             channels[i], sides[k], j, (double)here[j],
                             (double)there[j]);
        }
}

/* Ones become 0 or the factor, each by its own bits and once. */
static void check_mask(const struct cnn_dropout_args *shape, size_t rows, bool half)
{
    const struct cnn_pass pass = {.step = 5, .first_row = 7};
    const size_t channels = (size_t)shape->channels, pixels = (size_t)shape->pixels;
    const size_t row = channels * pixels, words = (row + 3) / 4;
    struct cnn_dropout_args args = *shape;
    float *x = must(calloc(rows * row, sizeof *x));
    for (size_t i = 0; i < rows * row; i++)
        cnn_put(x, i, 1, half);
    args.n = gpu_row_items(rows * ((pixels + CNN_ROWS - 1) / CNN_ROWS), args.channels);
    args.x = device_put(&gpu, x, rows * row * sizeof *x);
    void *pass_at = device_put(&gpu, &pass, sizeof pass);
    args.pass = pass_at;
    args.half = half;
    assert_int_equal(gpu_run(&gpu, CNN_KERNEL_dropout, &args), DML_OK);
    device_get(&gpu, x, args.x, rows * row * sizeof *x);
    for (size_t i = 0; i < rows * row; i++) {
        const size_t n = i / row, pixel = i % row / channels, c = i % channels;
        const size_t k = c * pixels + pixel; /* in the order C H W */
        const uint64_t bits = dml_rng_u64(args.seed, args.stream + pass.step,
                                          (pass.first_row + n) * words + k / 4);
        const float expected =
            (bits >> 16 * (k % 4) & 0xffff) < args.threshold ? 0 : args.scale;
        if (cnn_get(x, i, half) != expected)
            fail_msg("%zu channels, %zu pixels, half %d: row %zu, channel %zu, pixel "
                     "%zu is %g, expected %g",
                     channels, pixels, half, n, c, pixel, (double)cnn_get(x, i, half),
                     (double)expected);
    }
    dml_gpu_free(gpu.ctx, pass_at);
    dml_gpu_free(gpu.ctx, args.x);
    free(x);
}

static void masks_are_exact(void **state)
{
    static const int channels[] = {1, 3, 4, 6, 8, 17},
                     pixels[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 30, 49};
    (void)state;
    if (!gpu.ctx)
        skip();
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        for (size_t k = 0; k < sizeof pixels / sizeof *pixels; k++) {
            const struct cnn_dropout_args shape = {.seed = 20261122,
                                                   .stream = (uint64_t)3 << 40,
                                                   .channels = channels[i],
                                                   .pixels = pixels[k],
                                                   .threshold = 65536 / 3,
                                                   .scale = 1.5f}; /* bf16 has it */
            check_mask(&shape, 3, false);
            check_mask(&shape, 3, true);
        }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_are_the_processors),
        cmocka_unit_test(masks_are_exact),
        cmocka_unit_test(the_first_layer_has_no_data_gradient),
    };
    if (!device_begin(&gpu, argc > 1 ? argv[1] : NULL))
        return 1;
    int failed = layer_run_cases(gradients_are_difference_quotients);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return device_end(&gpu, failed);
}
