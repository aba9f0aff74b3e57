/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every layer of dml-cnn in bf16 on a GPU beside the same in f32: output, and gradients
 * by the parameters, of which those of the first convolution follow from the tested
 * layer's data gradient. Images, parameters and the gradient by the output are numbers
 * of bf16, so that only what is computed is rounded.
 *
 * A bf16 number is off by at most 2^-9 of itself. Up to ten such roundings lie one
 * behind the other: TOLERANCE is ten times 2^-9, of a vector's length (measured: 0.011
 * and less). Where a layer decides (ReLU, maximum) the two may decide otherwise about
 * numbers that are nearly equal, and a gradient goes elsewhere: one of 64 is an eighth
 * of a vector's length (measured: up to 0.13). A mistake is as long as the vector.
 *
 * Argument: one of --kernels, for the GPU that $DML_GPU names.
 */
#include "cnn_device.h"
#include "cnn_layer_cases.h"
#include "kernels_items.h"
#include "unit.h"

#include <dml/rng.h>
#include <math.h>
#include <stdlib.h>

#define TOLERANCE         0.02
#define TOLERANCE_DECIDED 0.15

enum { SEED = 12 };

static struct gpu gpu;

struct passes {
    struct net *net;
    float *logits;
    float *grads[NET_MAX_PARAMS]; /* as stored: K R S C */
};

/* Random numbers that bf16 has. */
static float *draw(uint64_t stream, size_t count)
{
    float *to = must(calloc(count, sizeof *to));
    for (size_t i = 0; i < count; i++) {
        uint16_t rounded = cnn_round((float)dml_rng_normal(SEED, stream, i));
        to[i] = cnn_get(&rounded, 0, 1);
    }
    return to;
}

/* Activations and gradients in memory of the device, as f32. */
static float *fetch(const void *from, size_t count)
{
    char *raw = must(calloc(count, sizeof(float)));
    float *to = must(calloc(count, sizeof *to));
    device_get(&gpu, raw, from, count * (gpu.half ? sizeof(uint16_t) : sizeof(float)));
    for (size_t i = 0; i < count; i++)
        to[i] = cnn_get(raw, i, gpu.half);
    free(raw);
    return to;
}

static void set_params(struct net *net)
{
    for (int i = 0; i < net->nparams; i++) {
        float *plain = draw(100 + (uint64_t)i, net->params[i].count);
        assert_int_equal(net_set_param(net, i, plain), DML_OK);
        free(plain);
    }
}

static void set_output_gradient(struct net *net)
{
    const size_t count = net->shape.rows * LAYER_OUTPUTS;
    const size_t bytes = count * (gpu.half ? sizeof(uint16_t) : sizeof(float));
    float *grad = draw(2, count), *stored = must(calloc(count, sizeof *stored));
    for (size_t i = 0; i < count; i++)
        cnn_put(stored, i, grad[i], gpu.half);
    assert_int_equal(
        dml_gpu_copy(gpu.ctx, net->output->grad_at, stored, bytes, gpu.stream), DML_OK);
    assert_int_equal(dml_gpu_stream_sync(gpu.ctx, gpu.stream), DML_OK);
    free(stored);
    free(grad);
}

static void run(struct passes *p, const struct layer_case *t, bool half)
{
    const struct net_shape shape = {(size_t)t->rows, (size_t)t->inputs,
                                    (size_t)t->height, (size_t)t->width, LAYER_OUTPUTS};
    gpu.half = half;
    assert_int_equal(net_create_on(&gpu, &shape, 1, 0, &p->net), DML_OK);
    if (net_finish(p->net, layer_build(p->net, t)) != DML_OK)
        fail_msg("%s: %s", t->name, net_error(p->net));
    set_params(p->net);
    float *images = draw(1, shape.rows * shape.channels * shape.height * shape.width);
    assert_int_equal(net_forward(p->net, NET_TRAIN, images), DML_OK);
    p->logits = fetch(p->net->output->data_at, shape.rows * LAYER_OUTPUTS);
    set_output_gradient(p->net);
    assert_int_equal(net_backward(p->net, NULL, NULL), DML_OK);
    for (int i = 0; i < p->net->nparams; i++)
        p->grads[i] =
            fetch(gpu_gradient(p->net, &p->net->params[i]), p->net->params[i].stored);
    free(images);
}

static void end(struct passes *p)
{
    for (int i = 0; i < p->net->nparams; i++)
        free(p->grads[i]);
    free(p->logits);
    net_destroy(p->net);
}

static double tolerance_of(const struct layer_case *t)
{
    bool decides = t->kind == MAX_POOL || t->kind == RELU || t->kind == NORM_RELU ||
                   t->kind == RESIDUAL || t->kind == SHRINK || t->kind >= BLOCK;
    return decides ? TOLERANCE_DECIDED : TOLERANCE;
}

/* Batch norm takes away a bias in front of it, and a factor where there is one input
 * channel: terms of a few units add up to 0 but for their rounding, and that is held
 * against this length. */
static double least_length(const struct layer_case *t, int param)
{
    const bool norm = t->kind == NORM || t->kind == NORM_RELU;
    return norm && param < 2 ? 64 : 0;
}

static void compare(const struct layer_case *t, const char *what, const float *got,
                    const float *expected, size_t count, double least)
{
    double error = 0, length = 0;
    for (size_t i = 0; i < count; i++) {
        error += pow((double)got[i] - (double)expected[i], 2);
        length += pow((double)expected[i], 2);
    }
    double ratio = sqrt(error) / fmax(sqrt(length), least);
    if (!(ratio <= tolerance_of(t)))
        fail_msg("%s: %s is off by %.4f of its length %.4g (seed %d)", t->name, what,
                 ratio, sqrt(length), SEED);
}

static void run_case(const struct layer_case *t)
{
    struct passes wide, half;
    run(&wide, t, false);
    run(&half, t, true);
    compare(t, "output", half.logits, wide.logits, wide.net->shape.rows * LAYER_OUTPUTS,
            0);
    for (int i = 0; i < wide.net->nparams; i++) {
        const struct param *param = &wide.net->params[i];
        compare(t, param->name, half.grads[i], wide.grads[i], param->stored,
                least_length(t, i));
    }
    end(&half);
    end(&wide);
}

static void bf16_is_near_f32(void **state)
{
    run_case(*state);
}

int main(int argc, char **argv)
{
    if (!device_begin(&gpu, argc > 1 ? argv[1] : "plain"))
        return 1;
    return device_end(&gpu, layer_run_cases(bf16_is_near_f32));
}
