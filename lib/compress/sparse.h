/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What top-k and dgc share. Code: for each 65,536 elements how many of them are sent
 * (u32), then the values (f32), then their indices within those elements (u16), then
 * zeros: it is as long as if every slot were used. So a code says itself where its
 * parts begin, whatever step of a warm-up it comes from.
 */
#ifndef DML__COMPRESS_SPARSE_H
#define DML__COMPRESS_SPARSE_H

#include "compress/codec.h"

dml_status dml__sparse_open(dml_codec *codec);
void dml__sparse_reset(dml_codec *codec);
size_t dml__sparse_bytes(const dml_codec *codec);
void *dml__sparse_kept(dml_codec *codec, size_t *bytes);

/* factor: of the gradient, on its way into the velocity. */
uint32_t dml__sparse_encode(dml_codec *codec, const float *g, float factor, void *code);
void dml__sparse_decode(const dml_codec *codec, const void *code, float scale, bool add,
                        float *dst);

#endif
