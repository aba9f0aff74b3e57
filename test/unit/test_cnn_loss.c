/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Softmax cross-entropy against values known in closed form and against sums in long
 * double; the gradient against central differences.
 */
#include "loss.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>

#define ROWS    5
#define CLASSES 7

/* Reproducible numbers of both signs. */
static float number(size_t i)
{
    return (float)((double)((i * 7919 + 13) % 2003) / 200.0 - 5);
}

static void equal_logits_give_log_of_classes(void **state)
{
    (void)state;
    float logits[3 * CLASSES], grad[3 * CLASSES];
    const int32_t labels[3] = {0, 3, 6};
    for (size_t i = 0; i < 3 * CLASSES; i++)
        logits[i] = 2.5f;
    struct loss loss = loss_forward(logits, labels, 3, CLASSES);
    assert_true(fabs(loss.sum - 3 * log(CLASSES)) < 1e-14);
    assert_int_equal(loss.correct, 1); /* of equal logits the first counts */
    loss_backward(logits, labels, 3, CLASSES, 1.0 / 3, grad);
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < CLASSES; j++) {
            double target = (int32_t)j == labels[i] ? 1 : 0;
            assert_true(grad[i * CLASSES + j] == (float)((1.0 / CLASSES - target) / 3));
        }
}

static void sums_are_exact(void **state)
{
    (void)state;
    float logits[ROWS * CLASSES], grad[ROWS * CLASSES];
    int32_t labels[ROWS];
    long double sum = 0;
    for (size_t i = 0; i < ROWS * CLASSES; i++)
        logits[i] = number(i);
    for (size_t i = 0; i < ROWS; i++)
        labels[i] = (int32_t)(i * 3 % CLASSES);
    loss_backward(logits, labels, ROWS, CLASSES, 0.25, grad);
    for (size_t i = 0; i < ROWS; i++) {
        long double total = 0;
        for (size_t j = 0; j < CLASSES; j++)
            total += expl((long double)logits[i * CLASSES + j]);
        sum += logl(total) - (long double)logits[i * CLASSES + (size_t)labels[i]];
        for (size_t j = 0; j < CLASSES; j++) {
            long double p = expl((long double)logits[i * CLASSES + j]) / total;
            long double expected = (p - ((int32_t)j == labels[i] ? 1 : 0)) / 4;
            assert_true(fabsl((long double)grad[i * CLASSES + j] - expected) <=
                        1e-7L * fabsl(expected) + 1e-12L);
        }
    }
    struct loss loss = loss_forward(logits, labels, ROWS, CLASSES);
    assert_true(fabsl((long double)loss.sum - sum) <= 1e-13L * sum);
}

static void gradient_is_the_difference_quotient(void **state)
{
    (void)state;
    float logits[CLASSES], grad[CLASSES];
    const int32_t label = 2;
    const float step = 1.0f / 1024; /* exact in float next to the logits used here */
    for (size_t j = 0; j < CLASSES; j++)
        logits[j] = (float)(j * j % 5) / 4;
    loss_backward(logits, &label, 1, CLASSES, 1, grad);
    for (size_t j = 0; j < CLASSES; j++) {
        float kept = logits[j];
        logits[j] = kept + step;
        double above = loss_forward(logits, &label, 1, CLASSES).sum;
        logits[j] = kept - step;
        double below = loss_forward(logits, &label, 1, CLASSES).sum;
        logits[j] = kept;
        double expected = (above - below) / (2 * (double)step);
        /* The third derivative is below 1: step^2/6 = 1.6e-7. */
        assert_true(fabs((double)grad[j] - expected) < 5e-7);
    }
}

static void large_logits_do_not_overflow(void **state)
{
    (void)state;
    const float logits[3] = {3e38f, -3e38f, 0};
    const int32_t right = 0, wrong = 1;
    float grad[3];
    struct loss loss = loss_forward(logits, &right, 1, 3);
    assert_true(loss.sum == 0 && loss.correct == 1);
    loss = loss_forward(logits, &wrong, 1, 3);
    assert_true(isfinite(loss.sum) && loss.sum > 5e38 && loss.correct == 0);
    loss_backward(logits, &wrong, 1, 3, 1, grad);
    assert_true(grad[0] == 1 && grad[1] == -1 && grad[2] == 0);
}

static void bad_logits_give_a_bad_loss(void **state)
{
    (void)state;
    const int32_t label = 1;
    for (int at = 0; at < 3; at++)
        for (int bad = 0; bad < 2; bad++) {
            float logits[3] = {0, 1, 2};
            logits[at] = bad ? NAN : INFINITY;
            assert_false(isfinite(loss_forward(logits, &label, 1, 3).sum));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_logits_give_log_of_classes),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(gradient_is_the_difference_quotient),
        cmocka_unit_test(large_logits_do_not_overflow),
        cmocka_unit_test(bad_logits_give_a_bad_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
