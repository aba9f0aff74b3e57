/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each kernel does for one item (kernels.h): compiled by nvcc for a device, and by
 * the C compiler for the fake one, where device addresses are turned into those that
 * can be read.
 */
#ifndef CNN_KERNELS_ITEMS_H
#define CNN_KERNELS_ITEMS_H

#include "kernels.h"

#include <math.h>
#include <string.h>

#ifdef __CUDACC__
#define ITEM          static __device__ __forceinline__
#define VIEW(type, p) ((type)(p))
#define CNN_UNROLL    _Pragma("unroll 4") /* so many loads are under way */
#define CNN_ONCE      _Pragma("unroll 1") /* the body is long */
#else
#include <dml/gpu.h>
#define ITEM          static inline
#define VIEW(type, p) ((type)dml_gpu_view(p))
#define CNN_UNROLL
#define CNN_ONCE
#endif

#define CNN_EPSILON  1e-5f
#define CNN_MOMENTUM 0.1f /* share of the newest batch in the running averages */

/* ---- numbers -------------------------------------------------------------------- */

/* bf16 is the upper half of an f32, rounded to nearest even. */
ITEM float cnn_get(const void *p, size_t i, int half)
{
    if (!half)
        return ((const float *)p)[i];
    uint32_t bits = (uint32_t)((const uint16_t *)p)[i] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

ITEM uint16_t cnn_round(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

ITEM void cnn_put(void *p, size_t i, float value, int half)
{
    if (half)
        ((uint16_t *)p)[i] = cnn_round(value);
    else
        ((float *)p)[i] = value;
}

ITEM float cnn_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- four numbers at a time, so that a thread moves 8 or 16 bytes ---------------- */

struct cnn_four {
    float v[CNN_VECTOR];
};

struct cnn_words {
    uint32_t w[CNN_VECTOR];
};

/* Two words, or four, from an address that is a multiple of their size. */
ITEM struct cnn_words cnn_load(const void *p, int half)
{
    struct cnn_words r = {{0}};
#ifdef __CUDACC__
    if (half) {
        uint2 w = *(const uint2 *)p;
        r.w[0] = w.x, r.w[1] = w.y;
    } else {
        uint4 w = *(const uint4 *)p;
        r.w[0] = w.x, r.w[1] = w.y, r.w[2] = w.z, r.w[3] = w.w;
    }
#else
    memcpy(&r, p, half ? sizeof r / 2 : sizeof r);
#endif
    return r;
}

ITEM void cnn_store(void *p, struct cnn_words r, int half)
{
#ifdef __CUDACC__
    if (half)
        *(uint2 *)p = make_uint2(r.w[0], r.w[1]);
    else
        *(uint4 *)p = make_uint4(r.w[0], r.w[1], r.w[2], r.w[3]);
#else
    memcpy(p, &r, half ? sizeof r / 2 : sizeof r);
#endif
}

/* Numbers i, i + 1 ..., "count" of them, the others 0. whole: count is four, and i and
 * the address are multiples of that. */
ITEM struct cnn_four cnn_get4(const void *p, size_t i, int count, int whole, int half)
{
    struct cnn_four r = {{0}};
    if (whole && half) {
        struct cnn_words w = cnn_load((const uint16_t *)p + i, 1);
        for (int k = 0; k < CNN_VECTOR; k++)
            r.v[k] = cnn_of_bits(k % 2 ? w.w[k / 2] & 0xffff0000u : w.w[k / 2] << 16);
    } else if (whole) {
        struct cnn_words w = cnn_load((const float *)p + i, 0);
        for (int k = 0; k < CNN_VECTOR; k++)
            r.v[k] = cnn_of_bits(w.w[k]);
    } else {
        for (int k = 0; k < CNN_VECTOR; k++)
            if (k < count)
                r.v[k] = cnn_get(p, i + (size_t)k, half);
    }
    return r;
}

ITEM void cnn_put4(void *p, size_t i, struct cnn_four r, int count, int whole, int half)
{
    struct cnn_words w = {{0}};
    if (whole && half) {
        for (int k = 0; k < CNN_VECTOR; k++)
            w.w[k / 2] |= (uint32_t)cnn_round(r.v[k]) << (k % 2 ? 16 : 0);
        cnn_store((uint16_t *)p + i, w, 1);
    } else if (whole) {
        memcpy(&w, &r, sizeof w);
        cnn_store((float *)p + i, w, 0);
    } else {
        for (int k = 0; k < CNN_VECTOR; k++)
            if (k < count)
                cnn_put(p, i + (size_t)k, r.v[k], half);
    }
}

/* *number / by, and the rest: quick, where 32 bits are enough. */
ITEM size_t cnn_split(size_t *number, int by)
{
    if (*number >> 32 == 0) {
        uint32_t n = (uint32_t)*number, q = n / (uint32_t)by;
        *number = q;
        return n - q * (uint32_t)by;
    }
    size_t rest = *number % (size_t)by;
    *number /= (size_t)by;
    return rest;
}

/* Neighbours for one item: channels of a row, or numbers of a vector. */
struct cnn_group {
    size_t row;   /* or pixel, or part of the rows; 0 */
    size_t first; /* channel, or number */
    int count, whole, half;
};

ITEM struct cnn_group cnn_of_matrix(size_t channels, size_t i, int whole, int half)
{
    struct cnn_group g;
    int left;
    g.first = CNN_VECTOR * cnn_split(&i, ((int)channels + CNN_VECTOR - 1) / CNN_VECTOR);
    left = (int)(channels - g.first);
    g.row = i;
    g.whole = whole;
    g.half = half;
    g.count = whole || left > CNN_VECTOR ? (int)CNN_VECTOR : left;
    return g;
}

ITEM struct cnn_group cnn_of_vector(size_t count, size_t i, int whole, int half)
{
    struct cnn_group g;
    g.row = 0;
    g.first = CNN_VECTOR * i;
    g.whole = whole;
    g.half = half;
    g.count = whole ? (int)CNN_VECTOR : (int)(count - g.first);
    return g;
}

/* The body of an item, compiled for each form of its numbers: a loop of loads that
 * depend on a condition would do them one by one. */
#define CNN_BY_FORM(is_whole, of, size, body, a, i)       \
    do {                                                  \
        if (!(is_whole))                                  \
            body(a, of((size_t)(size), i, 0, (a)->half)); \
        else if ((a)->half)                               \
            body(a, of((size_t)(size), i, 1, 1));         \
        else                                              \
            body(a, of((size_t)(size), i, 1, 0));         \
    } while (0)

#define CNN_EACH_ROW(body, a, i)                                                     \
    CNN_BY_FORM((a)->channels % CNN_VECTOR == 0, cnn_of_matrix, (a)->channels, body, \
                a, i)
#define CNN_EACH_NUMBER(body, a, i)                                                    \
    CNN_BY_FORM(CNN_VECTOR *(i + 1) <= (a)->count, cnn_of_vector, (a)->count, body, a, \
                i)

/* ---- number by number ----------------------------------------------------------- */

/* Item: a number of the output. */
ITEM void cnn_item_input(const struct cnn_input_args *a, size_t i)
{
    const float *x = VIEW(const float *, a->x);
    size_t n = i, c = cnn_split(&n, a->channels), pixel = cnn_split(&n, a->pixels);
    size_t plane = n * (size_t)a->channels + c;
    cnn_put(VIEW(void *, a->y), i, x[plane * (size_t)a->pixels + pixel], a->half);
}

/* Item: a number of the output. */
ITEM void cnn_item_bytes(const struct cnn_bytes_args *a, size_t i)
{
    size_t n = i, c = cnn_split(&n, a->channels);
    size_t x = cnn_split(&n, a->width), y = cnn_split(&n, a->height);
    const dml_image_area *area = VIEW(const dml_image_area *, a->areas) + n;
    size_t line = (n * (size_t)a->channels + c) * (size_t)a->height + y;
    float value = 0;
    if (x >= area->left && x < area->right && y >= area->top && y < area->bottom) {
        uint8_t byte = VIEW(const uint8_t *, a->x)[line * (size_t)a->width + x];
        value = VIEW(const float *, a->values)[c * 256 + byte];
    }
    cnn_put(VIEW(void *, a->y), i, value, a->half);
}

ITEM struct cnn_four cnn_read(const void *p, struct cnn_group g)
{
    return cnn_get4(VIEW(const void *, p), g.first, g.count, g.whole, g.half);
}

ITEM void cnn_write(void *p, struct cnn_four r, struct cnn_group g)
{
    cnn_put4(VIEW(void *, p), g.first, r, g.count, g.whole, g.half);
}

/* The others: an item for four numbers. */

ITEM void cnn_do_cast(const struct cnn_map_args *a, struct cnn_group g)
{
    struct cnn_four x;
    g.half = 0;
    x = cnn_read(a->x, g);
    g.half = 1;
    cnn_write(a->y, x, g);
}

ITEM void cnn_item_cast(const struct cnn_map_args *a, size_t i)
{
    CNN_EACH_NUMBER(cnn_do_cast, a, i);
}

ITEM void cnn_do_widen(const struct cnn_map_args *a, struct cnn_group g)
{
    struct cnn_four x = cnn_read(a->x, g);
    g.half = 0;
    cnn_write(a->y, x, g);
}

ITEM void cnn_item_widen(const struct cnn_map_args *a, size_t i)
{
    CNN_EACH_NUMBER(cnn_do_widen, a, i);
}

ITEM void cnn_do_bias(const struct cnn_map_args *a, struct cnn_group g)
{
    struct cnn_four b =
        cnn_get4(VIEW(const void *, a->channel), g.first, g.count, g.whole, 0);
    struct cnn_four y;
    g.first += g.row * (size_t)a->channels;
    y = cnn_read(a->y, g);
    for (int k = 0; k < CNN_VECTOR; k++)
        y.v[k] += b.v[k];
    cnn_write(a->y, y, g);
}

ITEM void cnn_item_bias(const struct cnn_map_args *a, size_t i)
{
    CNN_EACH_ROW(cnn_do_bias, a, i);
}

/* What is not a number stays so: the loss shall tell. */
ITEM float cnn_positive(float x)
{
    return x < 0 ? 0 : x;
}

ITEM void cnn_do_add(const struct cnn_map_args *a, struct cnn_group g)
{
    struct cnn_four x = cnn_read(a->x, g), y = cnn_read(a->y, g);
    for (int k = 0; k < CNN_VECTOR; k++)
        y.v[k] += x.v[k];
    cnn_write(a->y, y, g);
}

ITEM void cnn_item_add(const struct cnn_map_args *a, size_t i)
{
    CNN_EACH_NUMBER(cnn_do_add, a, i);
}

ITEM void cnn_do_add_relu(const struct cnn_map_args *a, struct cnn_group g)
{
    struct cnn_four x = cnn_read(a->x, g), y = cnn_read(a->y, g);
    for (int k = 0; k < CNN_VECTOR; k++)
        y.v[k] = cnn_positive(y.v[k] + x.v[k]);
    cnn_write(a->y, y, g);
}

ITEM void cnn_item_add_relu(const struct cnn_map_args *a, size_t i)
{
    CNN_EACH_NUMBER(cnn_do_add_relu, a, i);
}

ITEM void cnn_do_relu(const struct cnn_map_args *a, struct cnn_group g)
{
    struct cnn_four y = cnn_read(a->y, g);
    for (int k = 0; k < CNN_VECTOR; k++)
        y.v[k] = cnn_positive(y.v[k]);
    cnn_write(a->y, y, g);
}

ITEM void cnn_item_relu(const struct cnn_map_args *a, size_t i)
{
    CNN_EACH_NUMBER(cnn_do_relu, a, i);
}

ITEM void cnn_do_relu_back(const struct cnn_map_args *a, struct cnn_group g)
{
    struct cnn_four x = cnn_read(a->x, g), y = cnn_read(a->y, g);
    for (int k = 0; k < CNN_VECTOR; k++)
        y.v[k] = x.v[k] > 0 ? y.v[k] : 0;
    cnn_write(a->y, y, g);
}

ITEM void cnn_item_relu_back(const struct cnn_map_args *a, size_t i)
{
    CNN_EACH_NUMBER(cnn_do_relu_back, a, i);
}

ITEM void cnn_item_keep(const struct cnn_keep_args *a, size_t i)
{
    void *grad = VIEW(void *, a->grad);
    float *sum = VIEW(float *, a->sum), g = cnn_get(grad, i, a->half);
    if (a->last)
        cnn_put(grad, i, g + sum[i], a->half);
    else
        sum[i] = a->first ? g : sum[i] + g;
}

#endif
