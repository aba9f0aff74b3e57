/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PowerSGD (Vogels, Karimireddy and Jaggi, NeurIPS 2019): the gradient as a matrix
 * becomes a product of two thin ones, found by one step of subspace iteration from the
 * step before. Both factors are linear in the gradient, so they are averaged by
 * ordinary all-reduces. The average's product is taken from the residual.
 *
 * Factors are kept column by column: p [rank][rows], q [rank][cols].
 */
#include "compress/powersgd.h"

#include "dml/rng.h"

#include <math.h>
#include <string.h>

size_t dml__power_left_count(const dml_codec *c)
{
    return c->shape.rank * c->shape.rows;
}

size_t dml__power_right_count(const dml_codec *c)
{
    return c->shape.rank * c->shape.cols;
}

bool dml__power_saves(size_t count, size_t rows, size_t rank)
{
    return rows > 1 && count / rows > 1 && (rows + count / rows) * rank <= count / 2;
}

/* A column of zeros would stay one for ever: it begins anew, alike on all ranks. */
static void start_column(const dml_codec *c, size_t k, float *q)
{
    const uint64_t stream = c->stream ^ c->step << 32;
    float *column = q + k * c->shape.cols;
    for (size_t j = 0; j < c->shape.cols; j++)
        column[j] = (float)dml_rng_normal(c->spec.seed, stream, k * c->shape.cols + j);
}

static dml_status open_factor(dml_codec *c)
{
    size_t rank = (size_t)c->spec.number;
    c->shape.cols = c->shape.rows > 0 ? c->count / c->shape.rows : 0;
    rank = rank < c->shape.rows ? rank : c->shape.rows;
    c->shape.rank = rank < c->shape.cols ? rank : c->shape.cols;
    c->work = dml__alloc(c->ctx, dml__power_right_count(c) * sizeof(float));
    if (c->work == NULL)
        return dml__fail(c->ctx, DML_ENOMEM, "dml_codec_create",
                         "no memory for the factor of powersgd");
    return DML_OK;
}

static void reset_factor(dml_codec *c)
{
    for (size_t k = 0; k < c->shape.rank; k++)
        start_column(c, k, c->work);
}

uint32_t dml__power_first(dml_codec *c, const float *g, float *p)
{
    return c->loops->power_left(&c->shape, g, c->residual, c->work, p);
}

/* Element i goes to partial sum i mod LANES, and these are added pairwise, the upper
 * half to the lower: in one order everywhere, and many at a time. */
static double inner(size_t n, const float *a, const float *b)
{
    enum { LANES = DML__POWER_LANES };
    double sum[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            sum[j] += (double)a[i + j] * b[i + j];
    for (size_t j = 0; i + j < n; j++)
        sum[j] += (double)a[i + j] * b[i + j];
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            sum[j] += sum[j + half];
    return sum[0];
}

/* column -= its part along each of the columns before it. */
static void project(const float *before, size_t nbefore, size_t n, float *column)
{
    for (size_t k = 0; k < nbefore; k++) {
        float along = (float)inner(n, column, before + k * n);
        for (size_t i = 0; i < n; i++)
            column[i] -= along * before[k * n + i];
    }
}

/*
 * Modified Gram-Schmidt, each column twice, which makes it orthogonal to working
 * precision (Giraud, Langou and Rozloznik 2005). A column of which hardly anything is
 * left is rounding noise, and may lie along the others after all: it becomes 0, or the
 * residual would grow.
 */
static void orthonormalise(const struct dml__matrix *shape, float *p)
{
    const size_t n = shape->rows;
    for (size_t k = 0; k < shape->rank; k++) {
        float *column = p + k * n;
        double whole = sqrt(inner(n, column, column));
        for (int pass = 0; pass < 2; pass++) {
            project(p, k, n, column);
            double norm = sqrt(inner(n, column, column));
            double factor = norm > 1e-5 * whole ? 1 / norm : 0;
            for (size_t i = 0; i < n; i++)
                column[i] = (float)(column[i] * factor);
            whole = 1;
        }
    }
}

void dml__power_second(dml_codec *c, float *p, float *q)
{
    orthonormalise(&c->shape, p);
    c->loops->power_right(&c->shape, c->residual, p, q);
}

static void keep_factor(dml_codec *c, const float *q)
{
    c->step++;
    memcpy(c->work, q, dml__power_right_count(c) * sizeof *q);
    for (size_t k = 0; k < c->shape.rank; k++) {
        const float *column = q + k * c->shape.cols;
        if (!(inner(c->shape.cols, column, column) > 0))
            start_column(c, k, c->work);
    }
}

void dml__power_third(dml_codec *c, const float *p, const float *q, float *dst)
{
    c->loops->power_product(&c->shape, p, q, 1, false, c->residual, dst);
    keep_factor(c, q);
}

static size_t bytes(const dml_codec *c)
{
    return (dml__power_left_count(c) + dml__power_right_count(c)) * sizeof(float);
}

static void decode(const dml_codec *c, const void *code, float scale, bool add,
                   float *dst)
{
    const float *p = code, *q = p + dml__power_left_count(c);
    c->loops->power_product(&c->shape, p, q, scale, add, NULL, dst);
}

/* All three parts on one rank: code is p, then q. */
static uint32_t encode(dml_codec *c, const float *g, void *code)
{
    float *p = code, *q = p + dml__power_left_count(c);
    uint32_t top = dml__power_first(c, g, p);
    dml__power_second(c, p, q);
    c->loops->power_product(&c->shape, p, q, -1, true, NULL, c->residual);
    keep_factor(c, q);
    return top;
}

static void *kept(dml_codec *c, size_t *bytes)
{
    *bytes = dml__power_right_count(c) * sizeof(float);
    return c->work;
}

const struct dml__codec_kind dml__codec_powersgd = {
    .name = "powersgd",
    .description = "a product of two thin matrices",
    .form = DML__FORM_FACTORS,
    .residual = true,
    .number = "RANK",
    .whole = true,
    .least = 1,
    .most = DML__POWER_MOST,
    .keys = " seed start ",
    .open = open_factor,
    .reset = reset_factor,
    .bytes = bytes,
    .encode = encode,
    .decode = decode,
    .kept = kept,
};
