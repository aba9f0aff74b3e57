/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Items of the kernels that slide windows over images: convolutions, by the definition
 * and so slowly, for the fake device and to check others by; pools; and shortcuts.
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
    at.c = (int)cnn_split(&number, channels);
    at.j = (int)cnn_split(&number, width);
    at.i = (int)cnn_split(&number, height);
    at.n = (int)number;
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

/* An item takes some channels of a pixel. Those of each channel: */
struct cnn_best {
    uint8_t v[CNN_VECTOR];
};

ITEM struct cnn_best cnn_get_best(const uint8_t *from, size_t at, struct cnn_group g)
{
    struct cnn_best best = {{0}};
#ifdef __CUDACC__
    if (g.whole) {
        uchar4 w = *(const uchar4 *)(from + at);
        best.v[0] = w.x, best.v[1] = w.y, best.v[2] = w.z, best.v[3] = w.w;
        return best;
    }
#endif
    for (int k = 0; k < CNN_VECTOR; k++)
        if (k < g.count)
            best.v[k] = from[at + (size_t)k];
    return best;
}

ITEM void cnn_put_best(uint8_t *from, size_t at, struct cnn_best best,
                       struct cnn_group g)
{
#ifdef __CUDACC__
    if (g.whole) {
        *(uchar4 *)(from + at) =
            make_uchar4(best.v[0], best.v[1], best.v[2], best.v[3]);
        return;
    }
#endif
    for (int k = 0; k < CNN_VECTOR; k++)
        if (k < g.count)
            from[at + (size_t)k] = best.v[k];
}

/* The first of the largest numbers; or the mean over those that are in the image. */
ITEM void cnn_do_pool(const struct cnn_pool_args *a, struct cnn_group g)
{
    const struct cnn_window *s = &a->window;
    const void *x = VIEW(const void *, a->x);
    struct cnn_place y = cnn_place_of(g.row, s->p, s->q, 1);
    size_t number = g.row * (size_t)s->k + g.first;
    struct cnn_four sum = {{0}}, most = {{0}};
    struct cnn_best found = {{0}};
    int none = 1;
    for (int r = 0; r < s->height; r++)
        for (int t = 0; t < s->width; t++) {
            int i = y.i * s->stride + r - s->pad, j = y.j * s->stride + t - s->pad;
            if (i < 0 || i >= s->h || j < 0 || j >= s->w)
                continue;
            size_t at = cnn_pixel(y.n, i, j, s->h, s->w, s->c) + g.first;
            struct cnn_four v = cnn_get4(x, at, g.count, g.whole, g.half);
            for (int k = 0; k < CNN_VECTOR; k++) {
                sum.v[k] += v.v[k];
                if (none || v.v[k] > most.v[k] || v.v[k] != v.v[k]) {
                    most.v[k] = v.v[k];
                    found.v[k] = (uint8_t)(r * s->width + t);
                }
            }
            none = 0;
        }
    if (a->from) {
        cnn_put_best(VIEW(uint8_t *, a->from), number, found, g);
    } else {
        float count = (float)cnn_inside(s, y.i, y.j);
        for (int k = 0; k < CNN_VECTOR; k++)
            most.v[k] = sum.v[k] / count;
    }
    cnn_put4(VIEW(void *, a->y), number, most, g.count, g.whole, g.half);
}

ITEM void cnn_item_pool(const struct cnn_pool_args *a, size_t i)
{
    CNN_BY_FORM(a->window.k % CNN_VECTOR == 0, cnn_of_matrix, a->window.k, cnn_do_pool,
                a, i);
}

/* Outputs [*first, *last) have the row, or column, "at" in their windows. */
ITEM void cnn_outputs_of(int at, int window, const struct cnn_window *s, int count,
                         int *first, int *last)
{
    int below =
        at + s->pad - window + 1; /* the window's first place is at least that */
    *first = below > 0 ? (below + s->stride - 1) / s->stride : 0;
    *last = (at + s->pad) / s->stride + 1;
    *last = *last < count ? *last : count;
}

ITEM void cnn_do_pool_back(const struct cnn_pool_args *a, struct cnn_group g)
{
    const struct cnn_window *s = &a->window;
    const void *y = VIEW(const void *, a->y);
    struct cnn_place x = cnn_place_of(g.row, s->h, s->w, 1);
    struct cnn_four sum = {{0}};
    int top, bottom, left, right;
    cnn_outputs_of(x.i, s->height, s, s->p, &top, &bottom);
    cnn_outputs_of(x.j, s->width, s, s->q, &left, &right);
    for (int p = bottom - 1; p >= top; p--)
        for (int q = right - 1; q >= left; q--) {
            size_t at = cnn_pixel(x.n, p, q, s->p, s->q, s->k) + g.first;
            struct cnn_four v = cnn_get4(y, at, g.count, g.whole, g.half);
            int place = (x.i + s->pad - p * s->stride) * s->width + x.j + s->pad -
                        q * s->stride;
            float share = 1;
            struct cnn_best best = {{0}};
            if (a->from)
                best = cnn_get_best(VIEW(const uint8_t *, a->from), at, g);
            else
                share = (float)cnn_inside(s, p, q);
            for (int k = 0; k < CNN_VECTOR; k++)
                if (!a->from)
                    sum.v[k] += v.v[k] / share;
                else if (best.v[k] == place)
                    sum.v[k] += v.v[k];
        }
    cnn_put4(VIEW(void *, a->x), g.row * (size_t)s->k + g.first, sum, g.count, g.whole,
             g.half);
}

ITEM void cnn_item_pool_back(const struct cnn_pool_args *a, size_t i)
{
    CNN_BY_FORM(a->window.k % CNN_VECTOR == 0, cnn_of_matrix, a->window.k,
                cnn_do_pool_back, a, i);
}

/* ---- shortcut: every stride-th pixel, further channels are zero ------------------ */

ITEM void cnn_item_shortcut(const struct cnn_shortcut_args *a, size_t i)
{
    size_t n = i, k = cnn_split(&n, a->k), q = cnn_split(&n, a->q);
    size_t p = cnn_split(&n, a->p), stride = (size_t)a->stride;
    size_t from =
        ((n * (size_t)a->h + p * stride) * (size_t)a->w + q * stride) * (size_t)a->c +
        k;
    float value =
        k < (size_t)a->c ? cnn_get(VIEW(const void *, a->x), from, a->half) : 0;
    cnn_put(VIEW(void *, a->y), i, value, a->half);
}

ITEM void cnn_item_shortcut_back(const struct cnn_shortcut_args *a, size_t i)
{
    size_t n = i, c = cnn_split(&n, a->c), w = cnn_split(&n, a->w);
    size_t h = cnn_split(&n, a->h), p = h, q = w;
    int taken = cnn_split(&p, a->stride) == 0;
    taken = cnn_split(&q, a->stride) == 0 && taken;
    size_t from = ((n * (size_t)a->p + p) * (size_t)a->q + q) * (size_t)a->k + c;
    cnn_put(VIEW(void *, a->x), i,
            taken ? cnn_get(VIEW(const void *, a->y), from, a->half) : 0, a->half);
}

#endif
