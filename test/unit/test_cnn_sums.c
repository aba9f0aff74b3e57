/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sums of dml-cnn's kernels, over matrices that are cut into one part, several, and
 * so many that they are folded, last parts being short: mean, variance and gradients of
 * batch normalisation and bias against sums in f64, also far from 0; that no row is
 * lost or taken twice; the loss against that of the processor. Twice, to the same bits:
 * that can fail where threads run in another order each time, on a device and emulated
 * (test/gpu/emulate), not in the fake device's loop.
 *
 * Argument: plain, for the GPU that $DML_GPU names.
 */
#include "cnn_device.h"
#include "kernels_items.h"
#include "loss.h"
#include "unit.h"

#include <dml/rng.h>
#include <math.h>
#include <stdlib.h>

enum { SEED = 20261122 };

static struct gpu gpu;

/* ---- rows ----------------------------------------------------------------------- */

struct matrix_case {
    size_t rows;
    int channels;
    double centre; /* of numbers whose standard deviation is 1 */
    int half;
};

static const struct matrix_case cases[] = {
    {1, 1, 0, 0},        {2, 4, 0, 0},      {16, 3, 5, 0},      {17, 8, 5, 0},
    {64, 5, -3, 1},      {1024, 4, 1e4, 0}, {1025, 4, 1e4, 0},  {1040, 7, 1e4, 0},
    {5003, 12, 30, 1},   {4099, 3, 300, 1}, {65536, 2, 1e3, 0}, {70001, 4, 1e3, 0},
    {65537, 3, -1e3, 0}, {33, 2052, 1, 0},  {4177, 2048, 1, 1},
};

#define NCASES (sizeof cases / sizeof cases[0])

/* The first two are not folded; the last parts have 8, 1, 17 and 2 rows. */
static const struct {
    struct matrix_case matrix;
    size_t part_rows;
} marked_cases[] = {
    {{1000, 5, 0, 0}, 16},  {{1000, 5, 0, 1}, 16},  {{1025, 4, 0, 0}, 16},
    {{70001, 4, 0, 0}, 18}, {{70001, 4, 0, 1}, 18}, {{65537, 3, 0, 1}, 17},
};
#define NMARKED (sizeof marked_cases / sizeof marked_cases[0])

struct matrix {
    const struct matrix_case *t;
    size_t part_rows; /* where rows are marked; else 0 */
    size_t count, channels;
    void *x, *y;           /* as the device has them */
    struct net net;        /* what sums need of one */
    struct gpu_net room;   /* its part on the device */
    float *mean, *inverse; /* results */
    float *running_mean, *running_variance, *dgamma, *dbeta;
};

static double number(const struct matrix *m, const void *of, size_t row, size_t c)
{
    return (double)cnn_get(of, row * m->channels + c, m->t->half);
}

static void *draw(const struct matrix *m, uint64_t stream, double centre)
{
    void *to = must(calloc(m->count + 1, sizeof(float)));
    for (size_t i = 0; i < m->count; i++)
        cnn_put(to, i, (float)(centre + dml_rng_normal(SEED, stream, i)), m->t->half);
    return to;
}

/* Rows at the ends of parts, of the parts that are folded into one, and of the matrix
 * get values of which even the least makes up 1/28 of each sum, and 1/140 of that of
 * squares or products: more than any tolerance of check_channel(). No two are equal, so
 * that one cannot stand in for another; all are numbers of bf16. */
static void mark_rows(const struct matrix *m)
{
    const size_t rows = m->t->rows, part = m->part_rows, fold = part * CNN_FOLD;
    const size_t last = (rows - 1) / part * part; /* the last part's first */
    const size_t marked[] = {part - 1, part, fold - 1, fold, last - 1, last, rows - 1};
    for (size_t i = 0; i < sizeof marked / sizeof marked[0]; i++)
        for (size_t c = 0; c < m->channels && marked[i] < rows; c++) {
            const size_t at = marked[i] * m->channels + c;
            cnn_put(m->x, at, (float)(1024 * (i + 1)), m->t->half);
            cnn_put(m->y, at, (float)(8192 * (i + 1)), m->t->half);
        }
}

static float *get_floats(const void *from, size_t count)
{
    float *to = must(calloc(count + 1, sizeof *to));
    device_get(&gpu, to, from, count * sizeof *to);
    return to;
}

/* Gradients of parameters are bf16 where activations are. */
static float *get_gradient(const struct matrix *m, const void *from)
{
    char *raw = must(calloc(m->channels, sizeof(float)));
    float *to = must(calloc(m->channels, sizeof *to));
    device_get(&gpu, raw, from, m->channels * (m->t->half ? 2 : sizeof(float)));
    for (size_t c = 0; c < m->channels; c++)
        to[c] = cnn_get(raw, c, m->t->half);
    free(raw);
    return to;
}

/* A bias's gradient is beta's without a ReLU, to the bit, by kernels of its own. */
static void check_bias(const struct matrix *m, struct cnn_norm_args *args)
{
    static const struct gpu_sums sums = {CNN_KERNEL_bias_parts, CNN_KERNEL_sum_fold,
                                         CNN_KERNEL_bias_sums};
    assert_int_equal(
        dml_gpu_fill(gpu.ctx, args->dbeta, 0, m->channels * sizeof(float), gpu.stream),
        DML_OK);
    assert_int_equal(gpu_sum_rows(&m->net, &sums, args), DML_OK);
    float *bias = get_gradient(m, args->dbeta);
    assert_memory_equal(bias, m->dbeta, m->channels * sizeof *bias);
    free(bias);
}

static void run_sums(struct matrix *m)
{
    static const struct gpu_sums stat = {CNN_KERNEL_stat_parts, CNN_KERNEL_stat_fold,
                                         CNN_KERNEL_stat};
    static const struct gpu_sums grad = {CNN_KERNEL_norm_parts, CNN_KERNEL_sum_fold,
                                         CNN_KERNEL_norm_sums};
    const size_t bytes = m->channels * sizeof(float);
    float *ones = must(calloc(m->channels, sizeof *ones));
    float *zeros = must(calloc(m->channels, sizeof *zeros));
    for (size_t c = 0; c < m->channels; c++)
        ones[c] = 1;
    struct cnn_norm_args args = {
        .x = device_put(&gpu, m->x, m->count * sizeof(float)),
        .y = device_put(&gpu, m->y, m->count * sizeof(float)),
        .gamma = device_put(&gpu, ones, bytes),
        .beta = device_put(&gpu, zeros, bytes),
        .dgamma = device_put(&gpu, NULL, bytes),
        .dbeta = device_put(&gpu, NULL, bytes),
        .mean = device_put(&gpu, NULL, bytes),
        .inverse = device_put(&gpu, NULL, bytes),
        .running_mean = device_put(&gpu, zeros, bytes),
        .running_variance = device_put(&gpu, ones, bytes),
        .rows = m->t->rows,
        .channels = m->t->channels,
        .half = m->t->half,
    };
    void *owned[] = {
        (void *)args.x,    (void *)args.y,       (void *)args.gamma, (void *)args.beta,
        args.dgamma,       args.dbeta,           args.mean,          args.inverse,
        args.running_mean, args.running_variance};
    assert_int_equal(gpu_sum_rows(&m->net, &stat, &args), DML_OK);
    if (m->part_rows > 0) /* args has that of the last kernel */
        assert_int_equal(args.part_rows,
                         m->part_rows * (args.parts == m->room.parts ? 1 : CNN_FOLD));
    assert_int_equal(gpu_sum_rows(&m->net, &grad, &args), DML_OK);
    m->mean = get_floats(args.mean, m->channels);
    m->inverse = get_floats(args.inverse, m->channels);
    m->running_mean = get_floats(args.running_mean, m->channels);
    m->running_variance = get_floats(args.running_variance, m->channels);
    m->dgamma = get_gradient(m, args.dgamma);
    m->dbeta = get_gradient(m, args.dbeta);
    check_bias(m, &args);
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        assert_int_equal(dml_gpu_free(gpu.ctx, owned[i]), DML_OK);
    free(zeros);
    free(ones);
}

static void open_matrix(struct matrix *m, const struct matrix_case *t, size_t part_rows)
{
    *m = (struct matrix){
        .t = t, .part_rows = part_rows, .channels = (size_t)t->channels};
    m->count = t->rows * m->channels;
    m->x = draw(m, 1, t->centre);
    m->y = draw(m, 2, 0.25);
    if (part_rows > 0)
        mark_rows(m);
    m->room.gpu = &gpu;
    m->net.gpu = &m->room;
    gpu_need_sums(&m->net, t->rows, t->channels);
    m->room.parts = device_put(&gpu, NULL, m->room.nparts * sizeof(float));
    m->room.sums = device_put(&gpu, NULL, m->room.nsums * sizeof(float));
    run_sums(m);
}

static void close_matrix(struct matrix *m)
{
    void *const results[] = {
        m->mean, m->inverse, m->running_mean, m->running_variance, m->dgamma, m->dbeta,
        m->x,    m->y};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
        free(results[i]);
    dml_gpu_free(gpu.ctx, m->room.parts);
    dml_gpu_free(gpu.ctx, m->room.sums);
}

static void near(const struct matrix *m, const char *what, size_t c, float got,
                 double expected, double tolerance)
{
    if (!(fabs((double)got - expected) <= tolerance))
        fail_msg("%zu rows, %d channels around %g, half %d: %s of channel %zu is %.9g, "
                 "expected %.9g within %.3g (seed %d)",
                 m->t->rows, m->t->channels, m->t->centre, m->t->half, what, c,
                 (double)got, expected, tolerance, SEED);
}

/* What one channel should have. An f32 number near the centre is known to centre times
 * 2^-24, and so are mean and the parts' means. */
static void check_channel(const struct matrix *m, size_t c)
{
    const size_t rows = m->t->rows;
    double n = (double)rows, mean = 0, squares = 0, grad = 0, product = 0;
    const double ulp = 6e-8, rounding = m->t->half ? 4e-3 : 1e-6;
    for (size_t row = 0; row < rows; row++)
        mean += number(m, m->x, row, c) / n;
    for (size_t row = 0; row < rows; row++)
        squares += pow(number(m, m->x, row, c) - mean, 2);
    double variance = squares / n, inverse = 1 / sqrt(variance + 1e-5);
    for (size_t row = 0; row < rows; row++) {
        double normal =
            (number(m, m->x, row, c) - (double)m->mean[c]) * (double)m->inverse[c];
        grad += number(m, m->y, row, c);
        product += number(m, m->y, row, c) * normal;
    }
    near(m, "mean", c, m->mean[c], mean, 4 * ulp * (fabs(mean) + 1));
    near(m, "inverse", c, m->inverse[c], inverse, 2e-5 * inverse);
    near(m, "running mean", c, m->running_mean[c], 0.1 * mean, 1e-6 * (fabs(mean) + 1));
    near(m, "running variance", c, m->running_variance[c],
         0.9 + 0.1 * variance * (rows > 1 ? n / (n - 1) : 1), 2e-5 * (1 + variance));
    near(m, "dbeta", c, m->dbeta[c], grad, 1e-5 * (1 + n) + rounding * fabs(grad));
    near(m, "dgamma", c, m->dgamma[c], product,
         1e-5 * (1 + n) + rounding * fabs(product));
}

static void sum_rows(const struct matrix_case *t, size_t part_rows)
{
    struct matrix one, again;
    open_matrix(&one, t, part_rows);
    for (size_t c = 0; c < one.channels; c++)
        check_channel(&one, c);
    open_matrix(&again, t, part_rows);
    const size_t bytes = one.channels * sizeof(float);
    assert_memory_equal(one.mean, again.mean, bytes);
    assert_memory_equal(one.inverse, again.inverse, bytes);
    assert_memory_equal(one.dgamma, again.dgamma, bytes);
    assert_memory_equal(one.dbeta, again.dbeta, bytes);
    close_matrix(&again);
    close_matrix(&one);
}

static void rows_are_summed(void **state)
{
    (void)state;
    for (size_t i = 0; i < NCASES; i++)
        sum_rows(&cases[i], 0);
}

static void no_row_is_lost(void **state)
{
    (void)state;
    for (size_t i = 0; i < NMARKED; i++)
        sum_rows(&marked_cases[i].matrix, marked_cases[i].part_rows);
}

/* ---- the loss ------------------------------------------------------------------- */

static struct net *logits_only(size_t rows, size_t classes)
{
    const struct net_shape shape = {rows, 1, 1, 1, classes};
    struct net *net = NULL;
    assert_int_equal(net_create_on(&gpu, &shape, 1, 0, &net), DML_OK);
    assert_int_equal(net_finish(net, net_logits(net, net->input)), DML_OK);
    return net;
}

static void run_loss(struct net *net, const float *logits, const int32_t *labels,
                     size_t count, double scale, float *grad, float head[2])
{
    const size_t rows = net->shape.rows, cells = rows * net->shape.classes;
    const struct cnn_pass pass = {.scale = scale, .count = (int32_t)count};
    void *device_labels = device_put(&gpu, labels, rows * sizeof *labels);
    void *device_pass = device_put(&gpu, &pass, sizeof pass);
    net->gpu->pass = device_pass;
    assert_int_equal(dml_gpu_copy(gpu.ctx, net->output->data_at, logits,
                                  cells * sizeof *logits, gpu.stream),
                     DML_OK);
    assert_int_equal(
        dml_gpu_fill(gpu.ctx, net->param_grad, 0, 2 * sizeof *head, gpu.stream),
        DML_OK);
    assert_int_equal(gpu_loss(net, device_labels), DML_OK);
    device_get(&gpu, grad, net->output->grad_at, cells * sizeof *grad);
    device_get(&gpu, head, net->param_grad, 2 * sizeof *head);
    dml_gpu_free(gpu.ctx, device_pass);
    dml_gpu_free(gpu.ctx, device_labels);
}

/* The last row has no label where there are several; every third logit is the row's
 * largest or equal to it. */
static void compare_loss(size_t rows, size_t classes)
{
    const size_t cells = rows * classes, count = rows > 1 ? rows - 1 : rows;
    const double scale = 1.0 / (double)count;
    struct net *net = logits_only(rows, classes);
    float *logits = must(calloc(cells, sizeof *logits)), head[2];
    float *grad = must(calloc(cells, sizeof *grad));
    float *expected = must(calloc(cells, sizeof *expected));
    int32_t *labels = must(calloc(rows, sizeof *labels));
    for (size_t i = 0; i < cells; i++)
        logits[i] = i % 3 == 2 ? 12.0f : (float)(4 * dml_rng_normal(SEED, 3, i));
    for (size_t i = 0; i < rows; i++)
        labels[i] = (int32_t)(dml_rng_u64(SEED, 4, i) % classes);
    run_loss(net, logits, labels, count, scale, grad, head);
    struct loss loss = loss_forward(logits, labels, count, classes);
    loss_backward(logits, labels, count, classes, scale, expected);
    for (size_t i = 0; i < cells; i++)
        if (!(fabs((double)grad[i] - (double)expected[i]) <= 1e-7 * scale))
            fail_msg("%zu rows, %zu classes: gradient %zu is %.9g, expected %.9g", rows,
                     classes, i, (double)grad[i], (double)expected[i]);
    assert_true(fabs((double)head[0] - loss.sum * scale) <=
                1e-6 * (1 + loss.sum * scale));
    assert_true(fabs((double)head[1] - (double)loss.correct * scale) <= 1e-6);
    free(labels);
    free(expected);
    free(grad);
    free(logits);
    net_destroy(net);
}

static void loss_is_the_processors(void **state)
{
    static const size_t rows[] = {1, 2, 64, 65, 131}, classes[] = {1, 2, 10, 33, 1000};
    (void)state;
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 5; k++)
            compare_loss(rows[i], classes[k]);
}

/* A logit that is not finite gives a loss that is not; one that is minus infinity has
 * no weight. */
static void bad_logits_are_told(void **state)
{
    static const struct {
        float bad;
        size_t at;
        bool finite;
    } tries[] = {{NAN, 0, false},       {NAN, 40, false},     {INFINITY, 0, false},
                 {INFINITY, 69, false}, {-INFINITY, 0, true}, {-INFINITY, 33, true},
                 {-INFINITY, 69, true}};
    enum { CLASSES = 70 };
    const int32_t label = 1;
    (void)state;
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        struct net *net = logits_only(1, CLASSES);
        float logits[CLASSES] = {0}, grad[CLASSES], head[2];
        logits[tries[i].at] = tries[i].bad;
        run_loss(net, logits, &label, 1, 1, grad, head);
        assert_int_equal(isfinite(head[0]) != 0, tries[i].finite);
        if (tries[i].finite)
            assert_true(fabs((double)head[0] - log(CLASSES - 1)) < 1e-6);
        net_destroy(net);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_summed),
        cmocka_unit_test(no_row_is_lost),
        cmocka_unit_test(loss_is_the_processors),
        cmocka_unit_test(bad_logits_are_told),
    };
    if (!device_begin(&gpu, argc > 1 ? argv[1] : "plain"))
        return 1;
    return device_end(&gpu, cmocka_run_group_tests(tests, NULL, NULL));
}
