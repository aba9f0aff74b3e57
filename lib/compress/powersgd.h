/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The three parts of a step of PowerSGD, between which the ranks average.
 */
#ifndef DML__COMPRESS_POWERSGD_H
#define DML__COMPRESS_POWERSGD_H

#include "compress/codec.h"

/* Elements of the two factors. */
size_t dml__power_left_count(const dml_codec *codec);
size_t dml__power_right_count(const dml_codec *codec);

/* Does the code have less than half of the elements? */
bool dml__power_saves(size_t count, size_t rows, size_t rank);

/* residual += g; p = residual * q, to be averaged. */
uint32_t dml__power_first(dml_codec *codec, const float *g, float *p);
/* p becomes orthonormal; q = residual^T * p, to be averaged. */
void dml__power_second(dml_codec *codec, float *p, float *q);
/* dst = p q^T; residual -= dst; q is kept for the next step. */
void dml__power_third(dml_codec *codec, const float *p, const float *q, float *dst);

#endif
