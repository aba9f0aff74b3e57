/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which elements random-k sends next.
 */
#ifndef DML__COMPRESS_RANDOMK_H
#define DML__COMPRESS_RANDOMK_H

#include "compress/codec.h"
#include "compress/random_rules.h"

/* Of the codec's code with this number; k is 0 where it has no elements. */
struct dml__random_draw dml__random_draw(const dml_codec *codec, uint64_t step);

/* The number of the code that is decoded: its last one; and where it has made none
 * another codec's, whose codes are read one after the other. */
uint64_t dml__random_decoded(const dml_codec *codec);

#endif
