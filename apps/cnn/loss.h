/* SPDX-License-Identifier: BSD-3-Clause */
/* Softmax cross-entropy over rows of logits; see loss.c. */
#ifndef CNN_LOSS_H
#define CNN_LOSS_H

#include <stddef.h>
#include <stdint.h>

/* Sums over rows. */
struct loss {
    double sum;     /* of -log softmax(logits)[label] */
    size_t correct; /* rows whose largest logit is the label's */
};

/* logits: [rows][classes], labels: [rows]. */
struct loss loss_forward(const float *logits, const int32_t *labels, size_t rows,
                         size_t classes);

/* grad = scale * d(sum)/d(logits): [rows][classes], scale 1/rows for a mean. */
void loss_backward(const float *logits, const int32_t *labels, size_t rows,
                   size_t classes, double scale, float *grad);

#endif
