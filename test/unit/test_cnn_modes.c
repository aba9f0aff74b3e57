/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What layers of dml-cnn do differently in training and in tests: dropout and batch
 * normalisation; and what builders refuse.
 */
#include "nets.h"
#include "unit.h"

#include <math.h>

#define OUTPUTS 3

/* ---- dropout -------------------------------------------------------------------- */

#define DROP_ROWS  8
#define DROP_WIDTH 96

/* Layers: linear, dropout, linear; the dropped numbers are those that are 0 after it.
 */
static struct net *dropout_net(size_t rows, uint64_t first_row, uint64_t step)
{
    struct net *net = NULL;
    struct net_shape shape = {rows, 1, 4, 4, OUTPUTS};
    assert_int_equal(net_create(&shape, 5, 0, &net), DML_OK);
    struct value *x = net_conv(net, net->input, DROP_WIDTH, 4, 1, 0, true);
    x = net_dropout(net, x, 0.25);
    assert_int_equal(net_finish(net, net_linear(net, x, OUTPUTS)), DML_OK);
    net->first_row = first_row;
    net->step = step;
    return net;
}

static void forward_ones(struct net *net, enum net_mode mode, float *out, size_t rows)
{
    float images[DROP_ROWS * 16];
    for (size_t i = 0; i < DROP_ROWS * 16; i++)
        images[i] = 1;
    assert_int_equal(net_forward(net, mode, images), DML_OK);
    const float *data = dnn_data(net->layers[1]->out[0]->data);
    for (size_t i = 0; i < rows * DROP_WIDTH; i++)
        out[i] = data[i];
}

static void dropout_drops_a_share_and_keeps_the_mean(void **state)
{
    (void)state;
    float kept[DROP_ROWS * DROP_WIDTH], dropped[DROP_ROWS * DROP_WIDTH];
    struct net *net = dropout_net(DROP_ROWS, 0, 3);
    forward_ones(net, NET_TEST, kept, DROP_ROWS);
    forward_ones(net, NET_TRAIN, dropped, DROP_ROWS);
    size_t zeros = 0;
    for (size_t i = 0; i < DROP_ROWS * DROP_WIDTH; i++) {
        zeros += dropped[i] == 0;
        if (dropped[i] != 0)
            assert_true(fabsf(dropped[i] - kept[i] / 0.75f) <= 1e-5f * fabsf(kept[i]));
    }
    /* 768 numbers, p = 1/4: 192 with standard deviation 12. */
    assert_in_range(zeros, 192 - 60, 192 + 60);
    /* The gradient passes where the number did. */
    float *grad = dnn_data(net->output->grad);
    for (size_t i = 0; i < DROP_ROWS * OUTPUTS; i++)
        grad[i] = 1;
    assert_int_equal(net_backward(net, NULL, NULL), DML_OK);
    const float *back = dnn_data(net->layers[1]->in[0]->grad);
    for (size_t i = 0; i < DROP_ROWS * DROP_WIDTH; i++)
        assert_int_equal(back[i] == 0, dropped[i] == 0);
    net_destroy(net);
}

static void dropout_does_not_depend_on_the_split_of_rows(void **state)
{
    (void)state;
    float whole[DROP_ROWS * DROP_WIDTH], part[DROP_ROWS * DROP_WIDTH];
    float other[DROP_ROWS * DROP_WIDTH];
    struct net *net = dropout_net(DROP_ROWS, 0, 3);
    forward_ones(net, NET_TRAIN, whole, DROP_ROWS);
    net->step = 4;
    forward_ones(net, NET_TRAIN, other, DROP_ROWS);
    net_destroy(net);
    net = dropout_net(DROP_ROWS / 2, DROP_ROWS / 2, 3);
    forward_ones(net, NET_TRAIN, part, DROP_ROWS / 2);
    net_destroy(net);
    size_t changed = 0;
    for (size_t i = 0; i < DROP_ROWS * DROP_WIDTH; i++)
        changed += (whole[i] == 0) != (other[i] == 0);
    assert_true(changed > 100);
    for (size_t i = 0; i < DROP_ROWS / 2 * DROP_WIDTH; i++)
        assert_int_equal(part[i] == 0, whole[DROP_ROWS / 2 * DROP_WIDTH + i] == 0);
}

/* ---- running averages and misuse ------------------------------------------------ */

static void tests_use_the_running_averages(void **state)
{
    (void)state;
    struct net *net = NULL;
    struct net_shape shape = {4, 1, 4, 4, OUTPUTS};
    float images[4 * 16];
    for (size_t i = 0; i < 64; i++)
        images[i] = (float)dml_rng_normal(9, 1, i);
    assert_int_equal(net_create(&shape, 5, 0, &net), DML_OK);
    struct value *x = net_conv(net, net->input, 3, 1, 1, 0, true);
    x = net_batch_norm(net, x, false);
    assert_int_equal(net_finish(net, net_linear(net, x, OUTPUTS)), DML_OK);
    float before[4 * OUTPUTS];
    /* After many equal batches the averages are the batch's, so both modes agree, but
     * for n/(n-1) in the variance: n = 64. */
    for (int i = 0; i < 200; i++)
        assert_int_equal(net_forward(net, NET_TRAIN, images), DML_OK);
    const float *logits = dnn_data(net->output->data);
    for (int i = 0; i < 4 * OUTPUTS; i++)
        before[i] = logits[i];
    assert_int_equal(net_forward(net, NET_TEST, images), DML_OK);
    double factor = sqrt(63.0 / 64.0);
    for (int i = 0; i < 4 * OUTPUTS; i++)
        assert_true(fabs((double)logits[i] - factor * (double)before[i]) < 1e-3);
    net_destroy(net);
}

/* Where another layer has yet to read what they would overwrite. */
static void in_place_layers_are_refused(struct net *net)
{
    struct value *side, *x = net_conv(net, net->input, 2, 1, 1, 0, false);
    x = net_fork(net, x, &side);
    assert_null(net_relu(net, x));
    assert_null(net_dropout(net, side, 0.5));
    struct value *a = net_batch_norm(net, x, false);
    struct value *b = net_relu(net, net_conv(net, side, 2, 1, 1, 0, false));
    assert_null(net_add(net, a, b));
    assert_null(net_add(net, b, a));
    assert_null(net_add(net, x, a));
    assert_non_null(net_add(net, a, net_conv(net, side, 2, 1, 1, 0, false)));
}

static void builders_refuse_what_does_not_fit(void **state)
{
    (void)state;
    struct net *net = NULL;
    struct net_shape shape = {2, 1, 4, 4, OUTPUTS};
    assert_int_equal(net_create(&shape, 5, 0, &net), DML_OK);
    assert_null(net_conv(net, net->input, 3, 5, 1, 0, true));
    assert_non_null(net_error(net)[0] ? net_error(net) : NULL);
    assert_null(net_max_pool(net, net->input, 5, 1));
    assert_null(net_relu(net, net->input));
    assert_null(net_relu(net, NULL));
    in_place_layers_are_refused(net);
    assert_true(net_finish(net, NULL) != DML_OK);
    net_destroy(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropout_drops_a_share_and_keeps_the_mean),
        cmocka_unit_test(dropout_does_not_depend_on_the_split_of_rows),
        cmocka_unit_test(tests_use_the_running_averages),
        cmocka_unit_test(builders_refuse_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
