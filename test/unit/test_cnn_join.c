/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batch norm, sum and ReLU in one kernel beside the three one after the other, forward
 * and backward: the same bits, of matrices that are cut into one part, several, and so
 * many that they are folded.
 *
 * Argument: plain, for the GPU that $DML_GPU names.
 */
#include "cnn_device.h"
#include "kernels_items.h"
#include "unit.h"

#include <dml/rng.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEED = 20261122 };

static struct gpu gpu;

struct join_case {
    size_t rows;
    int channels, relu;
};

static const struct join_case cases[] = {
    {1, 1, 1},   {2, 4, 1},    {17, 3, 1},   {19, 8, 0},    {64, 5, 1},
    {67, 12, 1}, {1025, 4, 1}, {1043, 7, 1}, {70001, 4, 1}, {4177, 20, 0},
};

struct bench {
    const struct join_case *t;
    size_t count, bytes;
    struct net net;      /* what sums need of one */
    struct gpu_net room; /* its part on the device */
    struct cnn_norm_args args;
    void *x, *side, *grad; /* of the device */
};

static void *draw(size_t count, uint64_t stream, bool half)
{
    void *to = must(calloc(count + 1, sizeof(float)));
    for (size_t i = 0; i < count; i++)
        cnn_put(to, i, (float)dml_rng_normal(SEED, stream, i), half);
    void *memory = device_put(&gpu, to, count * (half ? 2 : sizeof(float)));
    free(to);
    return memory;
}

static void *copy_of(const void *from, size_t bytes)
{
    char *host = must(malloc(bytes));
    device_get(&gpu, host, from, bytes);
    void *memory = device_put(&gpu, host, bytes);
    free(host);
    return memory;
}

static void open_bench(struct bench *b, const struct join_case *t, bool half)
{
    static const struct gpu_sums stat = {CNN_KERNEL_stat_parts, CNN_KERNEL_stat_fold,
                                         CNN_KERNEL_stat};
    const size_t channels = (size_t)t->channels, bytes = channels * sizeof(float);
    gpu.half = half;
    *b = (struct bench){.t = t, .count = t->rows * channels, .room = {.gpu = &gpu}};
    b->bytes = b->count * (half ? 2 : sizeof(float));
    b->x = draw(b->count, 1, half);
    b->side = draw(b->count, 2, half);
    b->grad = draw(b->count, 3, half);
    b->net.gpu = &b->room;
    gpu_need_sums(&b->net, t->rows, t->channels);
    b->room.parts = device_put(&gpu, NULL, b->room.nparts * sizeof(float));
    b->room.sums = device_put(&gpu, NULL, b->room.nsums * sizeof(float));
    b->args = (struct cnn_norm_args){.x = b->x,
                                     .gamma = draw(channels, 4, false),
                                     .beta = draw(channels, 5, false),
                                     .dgamma = device_put(&gpu, NULL, bytes),
                                     .dbeta = device_put(&gpu, NULL, bytes),
                                     .mean = device_put(&gpu, NULL, bytes),
                                     .inverse = device_put(&gpu, NULL, bytes),
                                     .running_mean = draw(channels, 6, false),
                                     .running_variance = device_put(&gpu, NULL, bytes),
                                     .rows = t->rows,
                                     .channels = t->channels,
                                     .half = half};
    assert_int_equal(
        dml_gpu_fill(gpu.ctx, b->args.running_variance, 0x3f, bytes, gpu.stream),
        DML_OK); /* 0.75 */
    struct cnn_norm_args args = b->args;
    assert_int_equal(gpu_sum_rows(&b->net, &stat, &args), DML_OK);
}

static void close_bench(struct bench *b)
{
    const struct cnn_norm_args *a = &b->args;
    void *const owned[] = {b->x,
                           b->side,
                           b->grad,
                           a->dgamma,
                           a->dbeta,
                           a->mean,
                           a->inverse,
                           b->room.parts,
                           b->room.sums,
                           (void *)a->gamma,
                           (void *)a->beta,
                           a->running_mean,
                           a->running_variance};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        assert_int_equal(dml_gpu_free(gpu.ctx, owned[i]), DML_OK);
    gpu.half = false;
}

static void assert_same(const struct bench *b, const char *what, const void *one,
                        const void *other, size_t bytes)
{
    char *x = must(malloc(bytes)), *y = must(malloc(bytes));
    device_get(&gpu, x, one, bytes);
    device_get(&gpu, y, other, bytes);
    if (memcmp(x, y, bytes) != 0)
        fail_msg("%zu rows, %d channels, relu %d, half %d: another %s (seed %d)",
                 b->t->rows, b->t->channels, b->t->relu, gpu.half, what, SEED);
    free(y);
    free(x);
}

static void run_rows(enum cnn_kernel kernel, struct cnn_norm_args args, void *y)
{
    args.y = y;
    args.n = gpu_row_items((args.rows + CNN_ROWS - 1) / CNN_ROWS, args.channels);
    assert_int_equal(gpu_run(&gpu, kernel, &args), DML_OK);
}

/* Returns the sum. */
static void *forward(const struct bench *b, enum cnn_kernel norm,
                     enum cnn_kernel joined)
{
    void *apart = device_put(&gpu, NULL, b->bytes);
    void *together = device_put(&gpu, NULL, b->bytes);
    run_rows(norm, b->args, apart);
    assert_int_equal(
        gpu_run_map(&gpu, b->t->relu ? CNN_KERNEL_add_relu : CNN_KERNEL_add,
                    (struct cnn_map_args){.count = b->count, .x = b->side, .y = apart}),
        DML_OK);
    struct cnn_norm_args args = b->args;
    args.side = b->side;
    args.relu = b->t->relu;
    run_rows(joined, args, together);
    assert_same(b, "output", apart, together, b->bytes);
    assert_int_equal(dml_gpu_free(gpu.ctx, together), DML_OK);
    return apart;
}

static void sums_of(const struct bench *b, enum cnn_kernel parts,
                    struct cnn_norm_args args, void *grad)
{
    const struct gpu_sums sums = {parts, CNN_KERNEL_sum_fold, CNN_KERNEL_norm_sums};
    args.y = grad;
    assert_int_equal(gpu_sum_rows(&b->net, &sums, &args), DML_OK);
}

static void backward(const struct bench *b, const void *sum)
{
    const size_t channels = (size_t)b->t->channels, bytes = channels * sizeof(float);
    const size_t gradient = channels * (gpu.half ? 2 : sizeof(float));
    void *apart = copy_of(b->grad, b->bytes), *together = copy_of(b->grad, b->bytes);
    struct cnn_norm_args args = b->args;
    args.side = sum;
    args.sums = device_put(&gpu, NULL, 2 * bytes);
    args.dgamma = device_put(&gpu, NULL, bytes);
    args.dbeta = device_put(&gpu, NULL, bytes);
    assert_int_equal(GPU_MAP(&gpu, relu_back, .count = b->count, .x = sum, .y = apart),
                     DML_OK);
    sums_of(b, CNN_KERNEL_norm_parts, b->args, apart);
    sums_of(b, CNN_KERNEL_norm_add_parts, args, together);
    assert_same(b, "gradient", apart, together, b->bytes);
    assert_same(b, "sums of the gradient", b->room.sums, args.sums, 2 * bytes);
    assert_same(b, "dgamma", b->args.dgamma, args.dgamma, gradient);
    assert_same(b, "dbeta", b->args.dbeta, args.dbeta, gradient);
    void *const owned[] = {apart, together, args.sums, args.dgamma, args.dbeta};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        assert_int_equal(dml_gpu_free(gpu.ctx, owned[i]), DML_OK);
}

static void one_kernel_has_the_bits_of_three(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        struct bench b;
        open_bench(&b, &cases[i / 2], i % 2 != 0);
        void *test = forward(&b, CNN_KERNEL_norm_test, CNN_KERNEL_norm_add_test);
        void *sum = forward(&b, CNN_KERNEL_norm, CNN_KERNEL_norm_add);
        backward(&b, sum);
        assert_int_equal(dml_gpu_free(gpu.ctx, sum), DML_OK);
        assert_int_equal(dml_gpu_free(gpu.ctx, test), DML_OK);
        close_bench(&b);
    }
}

/* By the net, too: the layer of the batch norm leaves its output to the sum's. */
static void a_sum_takes_the_output(void **state)
{
    enum { ROWS = 2, C = 3, SIDE = 4 };
    const struct net_shape shape = {ROWS, C, SIDE, SIDE, 2};
    const size_t count = (size_t)ROWS * C * SIDE * SIDE;
    float images[ROWS * C * SIDE * SIDE], got[ROWS * C * SIDE * SIDE];
    float zeros[ROWS * C * SIDE * SIDE] = {0};
    struct net *net = NULL;
    struct value *side = NULL;
    int norms = 0;
    (void)state;
    for (size_t i = 0; i < count; i++)
        images[i] = (float)dml_rng_normal(SEED, 7, i);
    assert_int_equal(net_create_on(&gpu, &shape, 1, 0, &net), DML_OK);
    struct value *x = net_conv(net, net->input, C, 1, 1, 0, true);
    x = net_batch_norm(net, net_fork(net, x, &side), false);
    struct value *sum = net_add(net, x, side);
    x = net_logits(net, net_relu(net, sum));
    assert_int_equal(net_finish(net, x), DML_OK);
    assert_int_equal(net->backend->input(net, NET_TRAIN, images), DML_OK);
    for (int i = 0; i < net->nlayers; i++) {
        struct layer *layer = net->layers[i];
        assert_int_equal(layer->ops->forward(layer, NET_TRAIN), DML_OK);
        device_get(&gpu, got, sum->data_at, sizeof got);
        if (strcmp(layer->ops->kind, "norm") == 0) {
            assert_memory_equal(got, zeros, sizeof got);
            norms++;
        }
    }
    assert_int_equal(norms, 1);
    assert_memory_not_equal(got, zeros, sizeof got);
    net_destroy(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_kernel_has_the_bits_of_three),
        cmocka_unit_test(a_sum_takes_the_output),
    };
    if (!device_begin(&gpu, argc > 1 ? argv[1] : "plain"))
        return 1;
    printf("seed %d\n", SEED);
    return device_end(&gpu, cmocka_run_group_tests(tests, NULL, NULL));
}
