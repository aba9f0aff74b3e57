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

#endif
