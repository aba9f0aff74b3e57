/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Items of the kernels that slide windows over images: convolutions, by the definition
 * and so slowly, for the fake device and to check others by; and pools.
 */
#ifndef CNN_KERNELS_WINDOW_H
#define CNN_KERNELS_WINDOW_H

#include "kernels_items.h"

/* Number of a pixel's first channel. */
ITEM size_t cnn_pixel(int n, int i, int j, int height, int width, int channels)
{
    return (((size_t)n * (size_t)height + (size_t)i) * (size_t)width + (size_t)j) *
           (size_t)channels;
}

struct cnn_place {
    int n, i, j, c;
};

/* The image, row, column and channel of a number. */
ITEM struct cnn_place cnn_place_of(size_t number, int height, int width, int channels)
{
    struct cnn_place at;
    at.c = (int)(number % (size_t)channels);
    number /= (size_t)channels;
    at.j = (int)(number % (size_t)width);
    number /= (size_t)width;
    at.i = (int)(number % (size_t)height);
    at.n = (int)(number / (size_t)height);
    return at;
}

/* The output row, or column, in whose window "at" is the r-th; -1: none. */
ITEM int cnn_output_of(int at, int r, int stride, int pad, int count)
{
    int first = at + pad - r;
    return first >= 0 && first % stride == 0 && first / stride < count ? first / stride
                                                                       : -1;
}

/* ---- convolutions --------------------------------------------------------------- */

ITEM void cnn_item_conv(const struct cnn_conv_args *a, size_t number)
{
    const struct cnn_window *s = &a->window;
    const void *x = VIEW(const void *, a->x), *weight = VIEW(const void *, a->weight);
    struct cnn_place y = cnn_place_of(number, s->p, s->q, s->k);
    double sum = 0;
    for (int r = 0; r < s->height; r++)
        for (int t = 0; t < s->width; t++) {
            int i = y.i * s->stride + r - s->pad, j = y.j * s->stride + t - s->pad;
            if (i < 0 || i >= s->h || j < 0 || j >= s->w)
                continue;
            size_t from = cnn_pixel(y.n, i, j, s->h, s->w, s->c);
            size_t by = cnn_pixel(y.c, r, t, s->height, s->width, s->c);
            for (size_t c = 0; c < (size_t)s->c; c++)
                sum += (double)cnn_get(x, from + c, a->half) *
                       (double)cnn_get(weight, by + c, a->half);
        }
    cnn_put(VIEW(void *, a->y), number, (float)sum, a->half);
}

ITEM void cnn_item_conv_data(const struct cnn_conv_args *a, size_t number)
{
    const struct cnn_window *s = &a->window;
    const void *y = VIEW(const void *, a->y), *weight = VIEW(const void *, a->weight);
    struct cnn_place x = cnn_place_of(number, s->h, s->w, s->c);
    double sum = 0;
    for (int r = 0; r < s->height; r++)
        for (int t = 0; t < s->width; t++) {
            int p = cnn_output_of(x.i, r, s->stride, s->pad, s->p);
            int q = cnn_output_of(x.j, t, s->stride, s->pad, s->q);
            if (p < 0 || q < 0)
                continue;
            size_t from = cnn_pixel(x.n, p, q, s->p, s->q, s->k);
            for (int k = 0; k < s->k; k++) {
                size_t by = cnn_pixel(k, r, t, s->height, s->width, s->c) + (size_t)x.c;
                sum += (double)cnn_get(y, from + (size_t)k, a->half) *
                       (double)cnn_get(weight, by, a->half);
            }
        }
    cnn_put(VIEW(void *, a->x), number, (float)sum, a->half);
}

ITEM void cnn_item_conv_weight(const struct cnn_conv_args *a, size_t number)
{
    const struct cnn_window *s = &a->window;
    const void *x = VIEW(const void *, a->x), *y = VIEW(const void *, a->y);
    struct cnn_place at = cnn_place_of(number, s->height, s->width, s->c);
    double sum = 0;
    for (int n = 0; n < s->rows; n++)
        for (int p = 0; p < s->p; p++)
            for (int q = 0; q < s->q; q++) {
                int i = p * s->stride + at.i - s->pad;
                int j = q * s->stride + at.j - s->pad;
                if (i < 0 || i >= s->h || j < 0 || j >= s->w)
                    continue;
                size_t from = cnn_pixel(n, i, j, s->h, s->w, s->c) + (size_t)at.c;
                size_t to = cnn_pixel(n, p, q, s->p, s->q, s->k) + (size_t)at.n;
                sum +=
                    (double)cnn_get(x, from, a->half) * (double)cnn_get(y, to, a->half);
            }
    cnn_put(VIEW(void *, a->weight), number, (float)sum, a->half);
}

/* ---- pools ---------------------------------------------------------------------- */

/* Pixels of a window that are in the image. */
ITEM int cnn_inside(const struct cnn_window *s, int p, int q)
{
    int top = p * s->stride - s->pad, left = q * s->stride - s->pad;
    int bottom = top + s->height < s->h ? top + s->height : s->h;
    int right = left + s->width < s->w ? left + s->width : s->w;
    return (bottom - (top > 0 ? top : 0)) * (right - (left > 0 ? left : 0));
}

/* The first of the largest numbers; or the mean over those that are in the image. */
ITEM void cnn_item_pool(const struct cnn_pool_args *a, size_t number)
{
    const struct cnn_window *s = &a->window;
    const void *x = VIEW(const void *, a->x);
    uint8_t *best = a->from ? VIEW(uint8_t *, a->from) : (uint8_t *)0;
    struct cnn_place y = cnn_place_of(number, s->p, s->q, s->k);
    float sum = 0, most = 0;
    int found = -1;
    for (int r = 0; r < s->height; r++)
        for (int t = 0; t < s->width; t++) {
            int i = y.i * s->stride + r - s->pad, j = y.j * s->stride + t - s->pad;
            if (i < 0 || i >= s->h || j < 0 || j >= s->w)
                continue;
            size_t at = cnn_pixel(y.n, i, j, s->h, s->w, s->c) + (size_t)y.c;
            float value = cnn_get(x, at, a->half);
            sum += value;
            if (found < 0 || value > most || value != value) {
                most = value;
                found = r * s->width + t;
            }
        }
    if (best)
        best[number] = (uint8_t)found;
    else
        most = sum / (float)cnn_inside(s, y.i, y.j);
    cnn_put(VIEW(void *, a->y), number, most, a->half);
}

ITEM void cnn_item_pool_back(const struct cnn_pool_args *a, size_t number)
{
    const struct cnn_window *s = &a->window;
    const void *y = VIEW(const void *, a->y);
    const uint8_t *best = a->from ? VIEW(const uint8_t *, a->from) : (const uint8_t *)0;
    struct cnn_place x = cnn_place_of(number, s->h, s->w, s->c);
    float sum = 0;
    for (int r = 0; r < s->height; r++)
        for (int t = 0; t < s->width; t++) {
            int p = cnn_output_of(x.i, r, s->stride, s->pad, s->p);
            int q = cnn_output_of(x.j, t, s->stride, s->pad, s->q);
            if (p < 0 || q < 0)
                continue;
            size_t at = cnn_pixel(x.n, p, q, s->p, s->q, s->k) + (size_t)x.c;
            float value = cnn_get(y, at, a->half);
            if (!best)
                sum += value / (float)cnn_inside(s, p, q);
            else if (best[at] == r * s->width + t)
                sum += value;
        }
    cnn_put(VIEW(void *, a->x), number, sum, a->half);
}

#endif
