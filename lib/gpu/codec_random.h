/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random-k on a device: the gradient is added to what waits, then the elements drawn
 * are taken out. Which they are is reckoned from their number
 * (compress/random_rules.h), as on the host.
 */
#ifndef DML__GPU_CODEC_RANDOM_H
#define DML__GPU_CODEC_RANDOM_H

#include "compress/random_rules.h"
#include "gpu/codec_block.h"

enum { DML__RANDOM_EACH = 8 }; /* elements that a lane adds at a time, every 32nd */

struct dml__gpu_random_args {
    const float *g; /* [n] add */
    float *e;       /* [n] add, take */
    float *values;  /* [k] the code: written by take, read by put */
    float *dst;     /* [n] put */
    uint64_t step;
    float scale;
    struct dml__random_draw draw;
    struct dml__gpu_codec_state *state; /* add */
};

DML__LANE void dml__random_take(const struct dml__gpu_random_args *a, uint64_t i)
{
    const uint64_t place = dml__random_index(&a->draw, i);
    a->values[i] = a->e[place];
    a->e[place] = 0;
}

DML__LANE void dml__random_put(const struct dml__gpu_random_args *a, uint64_t i)
{
    a->dst[dml__random_index(&a->draw, i)] += a->values[i] * a->scale;
}

#endif
