/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs on a device, and their kernels.
 */
#ifndef DML__GPU_CODEC_H
#define DML__GPU_CODEC_H

#include "compress/codec_device.h"
#include "gpu/codec_power.h"
#include "gpu/codec_topk.h"
#include "gpu/gpu.h"

struct dml__codec_device {
    struct dml__gpu *gpu;
    void *stream;
    float *residual;
    struct dml__gpu_codec_state *state;  /* device memory; top-k's is longer */
    struct dml__gpu_codec_state *mirror; /* pinned: the state after the last code */
    char *work; /* top-k's chunks and lists, or PowerSGD's factor */
};

/* Is its code one of blocks? */
static inline bool dml__gpu_is_block(const struct dml__codec_kind *kind)
{
    return kind == &dml__codec_onebit || kind == &dml__codec_sign ||
           kind == &dml__codec_eightbit;
}

/* Parts of top-k's memory, in bytes from its beginning. */
struct dml__topk_parts {
    size_t masks, chunks, above, equal, listed, places, bytes;
};

static inline struct dml__topk_parts dml__topk_parts(const dml_codec *c)
{
    const size_t nchunks = (size_t)dml__topk_chunks(c->count), each = sizeof(uint32_t);
    const size_t room = (size_t)dml__sparse_capacity(dml__codec_slots(c), c->count);
    struct dml__topk_parts at = {0};
    at.chunks = at.masks + nchunks * DML__WARP * each;
    at.above = at.chunks + nchunks * each;
    at.equal = at.above + nchunks * each;
    at.listed = at.equal + nchunks * each;
    at.places = at.listed + room * each;
    at.bytes = at.places + room * each;
    return at;
}

extern const struct dml_gpu_kernel dml__codec_kernel_encode_blocks,
    dml__codec_kernel_decode_blocks, dml__codec_kernel_flush;

extern const struct dml_gpu_kernel dml__topk_kernel_begin, dml__topk_kernel_mark,
    dml__topk_kernel_plan, dml__topk_kernel_gather, dml__topk_kernel_edge,
    dml__topk_kernel_count, dml__topk_kernel_scan, dml__topk_kernel_emit,
    dml__topk_kernel_scatter;

extern const struct dml_gpu_kernel dml__power_kernel_left,
    dml__power_kernel_orthonormal, dml__power_kernel_right, dml__power_kernel_product,
    dml__power_kernel_keep;

#endif
