/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values whose reduction is exact in every type and repeats along the vector, so that
 * writing and checking them costs no more than copying and comparing memory.
 *
 * Element i of rank r in iteration k is (i + 3r + k) mod 5, or for products 1 or 2. Any
 * result is a function of i mod 5: it is computed for five elements and laid out as a
 * tile that is copied, or compared, along the whole buffer.
 */
#include "perf_coll.h"

#include <stdint.h>
#include <string.h>

enum { PERIOD = 5, TILE = PERIOD * 512 };

static long input(const struct perf_coll *c, int rank, size_t i, size_t iteration)
{
    long v = (long)((i + 3 * (size_t)rank + iteration) % PERIOD);
    return c->o->op == DML_PROD && perf_coll_reduces(c->o->coll) ? 1 + v % 2 : v;
}

static long reduced(const struct perf_coll *c, size_t i, size_t iteration)
{
    long total = input(c, 0, i, iteration);
    for (int r = 1; r < c->nranks; r++) {
        long v = input(c, r, i, iteration);
        if (c->o->op == DML_PROD)
            total *= v;
        else if (c->o->op == DML_MIN)
            total = v < total ? v : total;
        else if (c->o->op == DML_MAX)
            total = v > total ? v : total;
        else
            total += v;
    }
    return total;
}

/* dst = numerator / denominator in the type: floats are divided in f64 or f32, and
 * rounded once more to 16 bits; integers are cut, after their sum has wrapped. */
static void encode(const struct perf_coll *c, void *dst, long numerator,
                   int denominator)
{
    dml_dtype dtype = c->o->dtype;
    float f32 = (float)numerator / (float)denominator;
    double f64 = (double)numerator / denominator;
    int8_t i8 = (int8_t)((int8_t)numerator / denominator);
    uint8_t u8 = (uint8_t)((uint8_t)numerator / denominator);
    int32_t i32 = (int32_t)numerator / denominator;
    int64_t i64 = (int64_t)numerator / denominator;
    const void *from = &i64;
    if (dtype == DML_F16 || dtype == DML_BF16) {
        dml_vec_convert(dml_comm_ctx(c->comm), dst, dtype, &f32, DML_F32, 1);
        return;
    }
    if (dtype == DML_F32)
        from = &f32;
    else if (dtype == DML_F64)
        from = &f64;
    else if (dtype == DML_I8)
        from = &i8;
    else if (dtype == DML_U8)
        from = &u8;
    else if (dtype == DML_I32)
        from = &i32;
    memcpy(dst, from, c->element);
}

/* A tile of rank's input from element `first` on, or with rank -1 of the result. */
static void make_tile(const struct perf_coll *c, unsigned char *tile, int rank,
                      size_t first, size_t iteration)
{
    bool avg = rank < 0 && c->o->op == DML_AVG;
    for (size_t i = 0; i < TILE; i++) {
        unsigned char *dst = tile + i * c->element;
        if (i >= PERIOD)
            memcpy(dst, dst - PERIOD * c->element, c->element);
        else
            encode(c, dst,
                   rank < 0 ? reduced(c, first + i, iteration)
                            : input(c, rank, first + i, iteration),
                   avg ? c->nranks : 1);
    }
}

static void lay_tile(const struct perf_coll *c, const unsigned char *tile,
                     unsigned char *dst, size_t count)
{
    for (size_t i = 0; i < count; i += TILE)
        memcpy(dst + i * c->element, tile,
               (count - i < TILE ? count - i : TILE) * c->element);
}

static size_t differing(const struct perf_coll *c, const unsigned char *tile,
                        const unsigned char *got, size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i += TILE) {
        size_t n = count - i < TILE ? count - i : TILE;
        const unsigned char *part = got + i * c->element;
        if (memcmp(part, tile, n * c->element) == 0)
            continue;
        for (size_t k = 0; k < n; k++)
            wrong +=
                memcmp(part + k * c->element, tile + k * c->element, c->element) != 0;
    }
    return wrong;
}

void perf_coll_fill(const struct perf_coll *c, void *send, void *recv, size_t iteration)
{
    unsigned char tile[TILE * 8];
    make_tile(c, tile, c->rank, 0, iteration);
    lay_tile(c, tile, send, c->send_len);
    if ((c->o->coll == DML_COLL_BCAST && c->rank == 0) || c->o->in_place)
        lay_tile(c, tile, recv, c->recv_len);
    else
        memset(recv, 0x7f, c->recv_len * c->element);
}

size_t perf_coll_wrong(const struct perf_coll *c, const void *recv, size_t iteration)
{
    unsigned char tile[TILE * 8];
    const unsigned char *got = recv;
    size_t own = (size_t)c->rank * c->count, wrong = 0;
    switch (c->o->coll) {
    case DML_COLL_ALLREDUCE:
    case DML_COLL_REDUCE:
    case DML_COLL_REDUCE_SCATTER:
        make_tile(c, tile, -1, c->o->coll == DML_COLL_REDUCE_SCATTER ? own : 0,
                  iteration);
        return differing(c, tile, got, c->recv_len);
    case DML_COLL_BCAST:
    case DML_COLL_SCATTER:
        make_tile(c, tile, 0, c->o->coll == DML_COLL_SCATTER ? own : 0, iteration);
        return differing(c, tile, got, c->recv_len);
    default: /* a block of every rank, where this rank receives at all */
        for (int r = 0; r < c->nranks && c->recv_len > 0; r++) {
            make_tile(c, tile, r, c->o->coll == DML_COLL_ALLTOALL ? own : 0, iteration);
            wrong +=
                differing(c, tile, got + (size_t)r * c->count * c->element, c->count);
        }
        return wrong;
    }
}
