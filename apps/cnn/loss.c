/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Softmax cross-entropy, computed in double precision: a few numbers per row, so that
 * exactness costs nothing. The largest logit is taken off first, so that nothing
 * overflows; a logit that is not finite gives a loss that is not finite.
 */
#include "loss.h"

#include <math.h>

/* log(sum over j of exp(row[j] - largest)), and the largest. */
static double log_sum(const float *row, size_t classes, size_t *largest)
{
    size_t best = 0;
    for (size_t j = 1; j < classes; j++)
        if (row[j] > row[best])
            best = j;
    double sum = 0;
    for (size_t j = 0; j < classes; j++)
        sum += exp((double)row[j] - (double)row[best]);
    *largest = best;
    return log(sum);
}

struct loss loss_forward(const float *logits, const int32_t *labels, size_t rows,
                         size_t classes)
{
    struct loss loss = {0};
    for (size_t i = 0; i < rows; i++) {
        const float *row = logits + i * classes;
        size_t largest = 0, label = (size_t)labels[i];
        double log_total = log_sum(row, classes, &largest);
        loss.sum += log_total - ((double)row[label] - (double)row[largest]);
        loss.correct += largest == label;
    }
    return loss;
}

void loss_backward(const float *logits, const int32_t *labels, size_t rows,
                   size_t classes, double scale, float *grad)
{
    for (size_t i = 0; i < rows; i++) {
        const float *row = logits + i * classes;
        size_t largest = 0;
        double log_total = log_sum(row, classes, &largest);
        for (size_t j = 0; j < classes; j++) {
            double p = exp((double)row[j] - (double)row[largest] - log_total);
            double target = j == (size_t)labels[i] ? 1 : 0;
            grad[i * classes + j] = (float)(scale * (p - target));
        }
    }
}
