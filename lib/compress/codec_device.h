/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A codec whose vectors lie on a device: what lib/compress asks of lib/gpu then.
 */
#ifndef DML__CODEC_DEVICE_H
#define DML__CODEC_DEVICE_H

#include "compress/codec.h"

struct dml__codec_device;

/* Does p lie on the context's device? DML_EINVAL where on another. */
dml_status dml__codec_on_device(const dml_codec *codec, const void *p, bool *on);

/* Takes residual and factors of a codec to the device, where they stay. */
dml_status dml__codec_device_open(dml_codec *codec);
void dml__codec_device_close(struct dml__codec_device *device);

/* Queued; what was wrong comes with a later call, or with look(). */
dml_status dml__codec_device_prepare(dml_codec *codec, const float *g);
dml_status dml__codec_device_encode(dml_codec *codec, const float *g, void *code);
dml_status dml__codec_device_decode(const dml_codec *codec, const void *code,
                                    float scale, bool add, float *dst);
dml_status dml__codec_device_stream(dml_codec *codec, void *stream);

/* Queued: g += weight * residual, which is 0 then. */
dml_status dml__codec_device_flush(dml_codec *codec, float weight, float *g);

/* Queued: the three parts of a step of PowerSGD (powersgd.h). */
dml_status dml__codec_device_power_first(dml_codec *codec, const float *g, float *p);
dml_status dml__codec_device_power_second(dml_codec *codec, float *p, float *q);
dml_status dml__codec_device_power_third(dml_codec *codec, float *p, float *q,
                                         float *dst);

/* Where that lies on the device which kind->kept() has on the host; and a copy from or
 * to there, or the residual, which is waited for. */
void *dml__codec_device_kept(const dml_codec *codec);
dml_status dml__codec_device_copy(const dml_codec *codec, void *to, const void *from,
                                  size_t bytes);

/* What the host's codec keeps goes there once more; the residual becomes 0. Waits. */
dml_status dml__codec_device_clear(dml_codec *codec);

/* Waits, if asked; DML_ENUMERIC with the number of the gradient that was unusable. */
dml_status dml__codec_device_look(dml_codec *codec, bool wait, uint64_t *step);

#endif
