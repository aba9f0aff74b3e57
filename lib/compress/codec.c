/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A codec for one vector: what is common to all kinds.
 */
#include "compress/codec.h"

#include <math.h>
#include <string.h>

size_t dml__codec_blocks(size_t count)
{
    return count / DML__CODEC_BLOCK + (count % DML__CODEC_BLOCK != 0);
}

dml_status dml__codec_open(dml_ctx *ctx, const struct dml__codec_spec *spec,
                           size_t count, size_t rows, uint64_t stream, dml_codec **out)
{
    dml_codec *c = dml__alloc(ctx, sizeof *c);
    dml_status status = DML_OK;
    if (c == NULL)
        goto fail;
    c->ctx = ctx;
    c->kernels = dml__ctx_kernels(ctx);
    c->loops = dml__codec_kernels(c->kernels->name);
    c->spec = *spec;
    c->count = count;
    c->stream = stream;
    c->nranks = 1;
    c->shape.rows = rows;
    const size_t bytes = dml__mul(count, sizeof(float));
    if (spec->kind->residual && (c->residual = dml__alloc(ctx, bytes)) == NULL)
        goto fail;
    if (spec->kind->velocity && (c->velocity = dml__alloc(ctx, bytes)) == NULL)
        goto fail;
    if (spec->kind->open != NULL)
        status = spec->kind->open(c);
    if (status != DML_OK) {
        dml_codec_destroy(c);
        return status;
    }
    *out = c;
    return DML_OK;
fail:
    dml_codec_destroy(c);
    return dml__fail(ctx, DML_ENOMEM, "dml_codec_create",
                     "no memory for the codec %s of %zu elements", spec->kind->name,
                     count);
}

dml_status dml_codec_create(dml_ctx *ctx, const char *spec, size_t count, size_t rows,
                            uint64_t stream, dml_codec **out)
{
    struct dml__codec_spec read;
    if (ctx == NULL)
        return DML_EINVAL;
    if (out == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "codec is NULL");
    DML_TRY(dml__codec_parse(ctx, spec, __func__, &read));
    if (read.kind == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "\"none\" is no codec");
    if (read.kind->form == DML__FORM_FACTORS && (rows == 0 || count % rows != 0))
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "%s needs a matrix: %zu elements are not of %zu rows",
                         read.kind->name, count, rows);
    return dml__codec_open(ctx, &read, count, rows, stream, out);
}

void dml_codec_destroy(dml_codec *codec)
{
    if (codec == NULL)
        return;
    dml__free(codec->work);
    dml__free(codec->shared);
    dml__free(codec->velocity);
    dml__free(codec->residual);
    dml__free(codec);
}

size_t dml_codec_bytes(const dml_codec *codec)
{
    const struct dml__codec_kind *kind = codec->spec.kind;
    return kind->bytes != NULL ? kind->bytes(codec)
                               : dml__codec_blocks(codec->count) * kind->block_bytes;
}

dml_status dml_codec_encode(dml_codec *codec, const float *gradient, void *code)
{
    const struct dml__codec_kind *kind = codec->spec.kind;
    uint32_t top = kind->prepare != NULL ? kind->prepare(codec, gradient) : 0;
    uint32_t coded = kind->encode(codec, gradient, code);
    codec->age++;
    if (dml__codec_finite(top) && dml__codec_finite(coded))
        return DML_OK;
    dml__codec_clear(codec);
    return dml__fail(codec->ctx, DML_ENUMERIC, __func__,
                     "gradient %llu of the codec %s holds an element that is not "
                     "finite, or of magnitude 2^100 or more",
                     (unsigned long long)codec->step, kind->name);
}

void dml_codec_decode(const dml_codec *codec, const void *code, float scale, bool add,
                      float *dst)
{
    codec->spec.kind->decode(codec, code, scale, add, dst);
}

const float *dml_codec_residual(const dml_codec *codec)
{
    return codec->residual;
}

float dml__codec_clip(const dml_codec *c, const float *g)
{
    if (!(c->spec.clip > 0))
        return 1;
    double norm = sqrt(c->kernels->sumsq_f32(c->count, g));
    double limit = c->spec.clip / sqrt((double)c->nranks);
    return norm > limit ? (float)(limit / norm) : 1;
}

uint32_t dml__codec_flush(dml_codec *c, float weight, float *g)
{
    uint32_t top = 0;
    if (c->velocity != NULL)
        top = c->loops->momentum(c->count, (float)c->spec.momentum,
                                 dml__codec_clip(c, g), g, c->velocity);
    if (c->residual == NULL || !c->waiting)
        return top;
    c->kernels->axpy_f32(c->count, weight, c->residual, g);
    memset(c->residual, 0, c->count * sizeof *g);
    c->waiting = false;
    return top;
}

void dml__codec_clear(dml_codec *c)
{
    if (c->residual != NULL)
        memset(c->residual, 0, c->count * sizeof(float));
    if (c->velocity != NULL)
        memset(c->velocity, 0, c->count * sizeof(float));
    c->waiting = false;
    if (c->spec.kind->open != NULL)
        c->spec.kind->open(c);
}
