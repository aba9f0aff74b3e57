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
 * Argument: none for the processor; plain or cudnn for the GPU that $DML_GPU names, by
 * whose convolutions.
 */
#include "cnn_device.h"
#include "cnn_reference.h"
#include "nets.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TOLERANCE  2e-5
#define STEP       1e-6
#define OUTPUTS    3
#define MAX_CHECKS 40 /* elements looked at in one parameter */

static struct gpu gpu; /* its ctx is NULL on the processor */

enum kind {
    CONV,
    MAX_POOL,
    AVG_POOL,
    GLOBAL_POOL,
    NORM,
    NORM_RELU,
    RELU,
    RESIDUAL,
    SHRINK
};

struct layer_case {
    const char *name;
    enum kind kind;
    int rows, inputs, height, width; /* of the net's input */
    int carried;                     /* channels that the tested layer sees */
    int channels, kernel, stride, pad;
};

static const struct layer_case cases[] = {
    {"conv 3x3", CONV, 2, 1, 6, 5, 3, 5, 3, 1, 1},
    {"conv 3x3, blocked channels", CONV, 2, 3, 7, 7, 16, 32, 3, 1, 1},
    {"conv 3x3, odd channels", CONV, 3, 2, 5, 9, 17, 19, 3, 1, 1},
    {"conv 1x1 stride 2", CONV, 2, 3, 7, 6, 16, 16, 1, 2, 0},
    {"conv 3x3 stride 2", CONV, 2, 1, 8, 8, 16, 32, 3, 2, 1},
    {"conv 5x5 no pad", CONV, 1, 1, 6, 7, 4, 4, 5, 1, 0},
    {"conv whole image", CONV, 2, 1, 4, 4, 8, 8, 4, 1, 0},
    {"max pool 2", MAX_POOL, 2, 1, 6, 6, 16, 0, 2, 2, 0},
    {"max pool 2, odd", MAX_POOL, 3, 2, 7, 5, 5, 0, 2, 2, 0},
    {"max pool 3 stride 2", MAX_POOL, 2, 1, 7, 7, 16, 0, 3, 2, 0},
    {"max pool 3 stride 2, padded", MAX_POOL, 2, 1, 8, 7, 16, 0, 3, 2, 1},
    {"max pool 3, padded, odd", MAX_POOL, 2, 1, 4, 5, 5, 0, 3, 1, 1},
    {"average pool 3 stride 2, padded", AVG_POOL, 2, 1, 6, 7, 16, 0, 3, 2, 1},
    {"average pool 2", AVG_POOL, 2, 1, 6, 4, 16, 0, 2, 2, 0},
    {"average pool 3, overlapping", AVG_POOL, 1, 1, 5, 6, 3, 0, 3, 1, 0},
    {"global pool", GLOBAL_POOL, 2, 1, 5, 7, 16, 0, 0, 0, 0},
    {"global pool, odd channels", GLOBAL_POOL, 3, 1, 3, 4, 7, 0, 0, 0, 0},
    {"batch norm", NORM, 4, 1, 4, 4, 16, 0, 0, 0, 0},
    {"batch norm, odd channels", NORM, 3, 2, 5, 3, 5, 0, 0, 0, 0},
    {"batch norm + relu", NORM_RELU, 4, 1, 4, 5, 16, 0, 0, 0, 0},
    {"batch norm + relu, odd channels", NORM_RELU, 3, 1, 5, 3, 3, 0, 0, 0, 0},
    {"relu", RELU, 2, 1, 5, 5, 16, 0, 0, 0, 0},
    {"relu, odd channels", RELU, 1, 1, 3, 7, 3, 0, 0, 0, 0},
    {"residual", RESIDUAL, 2, 1, 5, 6, 16, 16, 3, 1, 1},
    {"residual, odd channels", RESIDUAL, 2, 1, 5, 6, 6, 6, 3, 1, 1},
    {"residual that shrinks", SHRINK, 2, 1, 6, 6, 16, 32, 3, 2, 1},
    {"residual that shrinks, odd size", SHRINK, 2, 1, 7, 5, 16, 32, 3, 2, 1},
};
#define NCASES (sizeof cases / sizeof cases[0])

/* ---- the net and its reference -------------------------------------------------- */

static struct value *build(struct net *net, const struct layer_case *t)
{
    struct value *side = NULL;
    struct value *x = net_conv(net, net->input, t->carried, 1, 1, 0, true);
    switch (t->kind) {
    case CONV:
        x = net_conv(net, x, t->channels, t->kernel, t->stride, t->pad, true);
        break;
    case MAX_POOL:
        x = net_padded_pool(net, x, NET_POOL_MAX, t->kernel, t->stride, t->pad);
        break;
    case AVG_POOL:
        x = net_padded_pool(net, x, NET_POOL_AVERAGE, t->kernel, t->stride, t->pad);
        break;
    case GLOBAL_POOL:
        x = net_global_pool(net, x);
        break;
    case NORM:
    case NORM_RELU:
        x = net_batch_norm(net, x, t->kind == NORM_RELU);
        break;
    case RELU:
        x = net_relu(net, x);
        break;
    case RESIDUAL:
    case SHRINK:
        x = net_fork(net, x, &side);
        x = net_conv(net, x, t->channels, t->kernel, t->stride, t->pad, false);
        if (t->kind == SHRINK)
            side = net_shortcut(net, side, t->channels, t->stride);
        x = net_relu(net, net_add(net, x, side));
        break;
    }
    return net_linear(net, x, OUTPUTS);
}

static void replace(struct tensor *x, struct tensor y)
{
    free(x->v);
    *x = y;
}

/* The objective, of parameters p[] in the net's order. */
static double reference(const struct layer_case *t, const struct tensor *input,
                        double *const *p, const double *r)
{
    struct tensor x = ref_conv(input, p[0], p[1], t->carried, 1, 1, 0), side = {0};
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
        side = ref_shortcut(&x, t->channels, t->stride);
        replace(&x,
                ref_conv(&x, q[0], NULL, t->channels, t->kernel, t->stride, t->pad));
        replace(&x, ref_add(&x, &side));
        replace(&x, ref_relu(&x));
        free(side.v);
        q += 1;
        break;
    }
    replace(&x, ref_linear(&x, q[0], q[1], OUTPUTS));
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
    double *r;                      /* [rows * OUTPUTS] */
};

static void *must(void *pointer)
{
    assert_non_null(pointer);
    return pointer;
}

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
    size_t count = tensor_count(&bench->input), nlogits = net->shape.rows * OUTPUTS;
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
    for (size_t i = 0; i < bench->net->shape.rows * OUTPUTS; i++) {
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
                              (size_t)t->width, OUTPUTS};
    assert_int_equal(net_create_on(gpu.ctx ? &gpu : NULL, &shape, 1, 0, &bench.net),
                     DML_OK);
    dml_status status = net_finish(bench.net, build(bench.net, t));
    if (status != DML_OK)
        fail_msg("%s: %s", t->name, net_error(bench.net));
    bench.input.v = must(malloc(tensor_count(&bench.input) * sizeof(double)));
    bench.r = must(malloc(shape.rows * OUTPUTS * sizeof *bench.r));
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
    (void)state;
    for (size_t i = 0; i < NCASES; i++)
        run_case(&cases[i]);
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

static int close_gpu(void **state)
{
    (void)state;
    if (gpu.ctx)
        device_close(&gpu);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_difference_quotients),
        cmocka_unit_test(the_first_layer_has_no_data_gradient),
    };
    device_skip_unless_asked();
    if (argc > 1 && !device_open(&gpu, argv[1]))
        return 1;
    return cmocka_run_group_tests(tests, NULL, close_gpu);
}
