/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Items of the kernels of the loss: softmax cross-entropy in double precision, as in
 * loss.c. A row is shared by up to CNN_LANES items that take its classes in turn, so
 * that neighbours read neighbours; each has the largest of its logits and the sum of
 * exp(logit - largest), and sums are brought to one largest when they meet: the formula
 * of Milakov and Gimelshein 2018, section 3.1.
 */
#ifndef CNN_KERNELS_LOSS_H
#define CNN_KERNELS_LOSS_H

#include "kernels_items.h"

ITEM double cnn_logit(const struct cnn_loss_args *a, size_t at)
{
    return (double)cnn_get(VIEW(const void *, a->logits), at, a->half);
}

/* exp(x - top), and 1 where both are the same, also without end. */
ITEM double cnn_weight(double x, double top)
{
    return x == top ? 1 : exp(x - top);
}

ITEM void cnn_item_loss_parts(const struct cnn_loss_args *a, size_t i)
{
    size_t row = i, j = cnn_split(&row, a->lanes), step = (size_t)a->lanes;
    size_t classes = (size_t)a->classes, first = row * classes;
    struct cnn_loss_part part = {0, cnn_logit(a, first + j), (int32_t)j};
    for (; j < classes; j += step) {
        double x = cnn_logit(a, first + j);
        if (x > part.top) {
            part.sum = part.sum * exp(part.top - x) + 1;
            part.top = x;
            part.best = (int32_t)j;
        } else {
            part.sum += cnn_weight(x, part.top);
        }
    }
    VIEW(struct cnn_loss_part *, a->parts)[i] = part;
}

ITEM void cnn_item_loss_rows(const struct cnn_loss_args *a, size_t i)
{
    const struct cnn_pass *pass = VIEW(const struct cnn_pass *, a->pass);
    const struct cnn_loss_part *part =
        VIEW(const struct cnn_loss_part *, a->parts) + i * (size_t)a->lanes;
    struct cnn_loss_row *row = VIEW(struct cnn_loss_row *, a->rows) + i;
    double top = part[0].top, sum = 0;
    int32_t best = part[0].best, counts = i < (size_t)pass->count;
    for (int k = 1; k < a->lanes; k++)
        if (part[k].top > top || (part[k].top == top && part[k].best < best)) {
            top = part[k].top;
            best = part[k].best;
        }
    for (int k = 0; k < a->lanes; k++)
        sum += part[k].sum * cnn_weight(part[k].top, top);
    row->log_sum = top + log(sum);
    row->label = counts ? VIEW(const int32_t *, a->labels)[i] : -1;
    row->loss = 0;
    row->hit = counts && best == row->label;
    if (counts)
        row->loss = log(sum) -
                    (cnn_logit(a, i * (size_t)a->classes + (size_t)row->label) - top);
}

/* Item: a logit. */
ITEM void cnn_item_loss_grad(const struct cnn_loss_args *a, size_t i)
{
    const struct cnn_pass *pass = VIEW(const struct cnn_pass *, a->pass);
    size_t n = i, j = cnn_split(&n, a->classes);
    const struct cnn_loss_row *row = VIEW(const struct cnn_loss_row *, a->rows) + n;
    double g = 0;
    if (row->label >= 0)
        g = pass->scale *
            (exp(cnn_logit(a, i) - row->log_sum) - ((int32_t)j == row->label ? 1 : 0));
    cnn_put(VIEW(void *, a->grad), i, (float)g, a->half);
}

/* Sums of CNN_FOLD rows each, and of these. */
ITEM void cnn_item_loss_fold(const struct cnn_loss_args *a, size_t i)
{
    const struct cnn_loss_row *rows = VIEW(const struct cnn_loss_row *, a->rows);
    struct cnn_loss_row sum = {0, 0, 0, 0};
    size_t row = i * CNN_FOLD, last = row + CNN_FOLD;
    last = last < (size_t)a->nrows ? last : (size_t)a->nrows;
    for (; row < last; row++) {
        sum.loss += rows[row].loss;
        sum.hit += rows[row].hit;
    }
    VIEW(struct cnn_loss_row *, a->folded)[i] = sum;
}

ITEM void cnn_item_loss_sum(const struct cnn_loss_args *a, size_t i)
{
    const struct cnn_pass *pass = VIEW(const struct cnn_pass *, a->pass);
    const struct cnn_loss_row *sums = VIEW(const struct cnn_loss_row *, a->folded);
    float *head = VIEW(float *, a->head);
    double loss = 0, hits = 0;
    for (size_t k = 0; k * CNN_FOLD < (size_t)a->nrows; k++) {
        loss += sums[k].loss;
        hits += sums[k].hit;
    }
    head[i] += (float)(loss * pass->scale);
    head[i + 1] += (float)(hits * pass->scale);
}

#endif
