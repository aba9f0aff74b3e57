/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A codec for one vector: what is common to all kinds.
 */
#include "compress/codec.h"

#include "compress/codec_device.h"
#include "compress/sparse_rules.h"

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
    if (spec->kind->reset != NULL)
        spec->kind->reset(c);
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
    if (codec->device == NULL) {
        dml__free(codec->velocity);
        dml__free(codec->shared);
        dml__free(codec->residual);
    }
    dml__codec_device_close(codec->device);
    dml__free(codec);
}

size_t dml_codec_bytes(const dml_codec *codec)
{
    const struct dml__codec_kind *kind = codec->spec.kind;
    return kind->bytes != NULL ? kind->bytes(codec)
                               : dml__codec_blocks(codec->count) * kind->block_bytes;
}

static dml_status unusable(const dml_codec *codec, const char *where, uint64_t step)
{
    return dml__fail(codec->ctx, DML_ENUMERIC, where,
                     "gradient %llu of the codec %s holds an element that is not "
                     "finite, or of magnitude 2^100 or more",
                     (unsigned long long)step, codec->spec.kind->name);
}

/* Once on a device, a codec stays there. */
static dml_status go_to_device(dml_codec *codec, const void *vector)
{
    bool on = false;
    if (codec->device != NULL)
        return DML_OK;
    DML_TRY(dml__codec_on_device(codec, vector, &on));
    if (!on)
        return DML_OK;
    DML_TRY(dml__codec_device_open(codec));
    return dml__codec_device_stream(codec, codec->device_stream);
}

static dml_status look(dml_codec *codec, bool wait, const char *where)
{
    uint64_t step = 0;
    dml_status status = dml__codec_device_look(codec, wait, &step);
    return status == DML_ENUMERIC ? unusable(codec, where, step + 1) : status;
}

dml_status dml_codec_wait(dml_codec *codec)
{
    return codec->device != NULL ? look(codec, true, __func__) : DML_OK;
}

dml_status dml_codec_set_stream(dml_codec *codec, void *stream)
{
    codec->device_stream = stream;
    return codec->device != NULL ? dml__codec_device_stream(codec, stream) : DML_OK;
}

dml_status dml_codec_encode(dml_codec *codec, const float *gradient, void *code)
{
    DML_TRY(go_to_device(codec, gradient));
    if (codec->device != NULL) {
        DML_TRY(look(codec, false, __func__));
        DML_TRY(dml__codec_device_prepare(codec, gradient));
        DML_TRY(dml__codec_device_encode(codec, gradient, code));
        codec->age++;
        return DML_OK;
    }
    const struct dml__codec_kind *kind = codec->spec.kind;
    uint32_t top = kind->prepare != NULL ? kind->prepare(codec, gradient) : 0;
    uint32_t coded = kind->encode(codec, gradient, code);
    codec->age++;
    if (dml__codec_finite(top) && dml__codec_finite(coded))
        return DML_OK;
    dml__codec_clear(codec);
    return unusable(codec, __func__, codec->step);
}

dml_status dml_codec_decode(dml_codec *codec, const void *code, float scale, bool add,
                            float *dst)
{
    DML_TRY(go_to_device(codec, dst)); /* also one that only decodes */
    dml_status status = DML_OK;
    if (codec->device != NULL)
        status = dml__codec_device_decode(codec, code, scale, add, dst);
    else
        codec->spec.kind->decode(codec, code, scale, add, dst);
    codec->read += codec->step == 0 && status == DML_OK;
    return status;
}

const float *dml_codec_residual(const dml_codec *codec)
{
    return codec->residual;
}

double dml__codec_limit(const dml_codec *c)
{
    return c->spec.clip / sqrt((double)c->nranks);
}

/* Squares are summed block by block, and block i goes to partial sum i mod LANES: a
 * device has many at a time, and the same bits. */
float dml__codec_clip(const dml_codec *c, const float *g)
{
    enum { LANES = DML__CLIP_LANES };
    double sums[LANES] = {0};
    if (!(c->spec.clip > 0))
        return 1;
    for (size_t i = 0; i < dml__codec_blocks(c->count); i++) {
        const size_t at = i * DML__CODEC_BLOCK, left = c->count - at;
        const size_t n = left < DML__CODEC_BLOCK ? left : DML__CODEC_BLOCK;
        sums[i % LANES] += c->kernels->sumsq_f32(n, g + at);
    }
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            sums[j] += sums[j + half];
    return dml__clip_factor(sums[0], dml__codec_limit(c));
}

uint32_t dml__codec_flush(dml_codec *c, float weight, float *g)
{
    uint32_t top = 0;
    if (c->velocity != NULL)
        top = c->loops->momentum(c->count, (float)c->spec.momentum,
                                 dml__codec_clip(c, g), g, c->velocity);
    if (c->residual != NULL && c->waiting) {
        c->kernels->axpy_f32(c->count, weight, c->residual, g);
        memset(c->residual, 0, c->count * sizeof *g);
    }
    c->waiting = false;
    return top;
}

void dml__codec_clear(dml_codec *c)
{
    if (c->residual != NULL && c->device == NULL)
        memset(c->residual, 0, c->count * sizeof(float));
    if (c->velocity != NULL && c->device == NULL)
        memset(c->velocity, 0, c->count * sizeof(float));
    c->waiting = false;
    if (c->spec.kind->reset != NULL)
        c->spec.kind->reset(c);
    if (c->device != NULL)
        (void)dml__codec_device_clear(c);
}
