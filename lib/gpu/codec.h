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

/* What codecs of a family do on a device; all is queued in the codec's stream. */
struct dml__codec_runs {
    const struct dml_gpu_kernel *const *kernels; /* [nkernels] its own */
    size_t nkernels;
    bool draws; /* at random by the number of the step: never the same step again */
    size_t (*work_bytes)(const dml_codec *c); /* of its memory; NULL: it needs none */
    /* Where on the device that lies which the host's kind->kept() has; NULL: nothing.
     */
    void *(*kept)(const dml_codec *c);
    dml_status (*prepare)(const dml_codec *c, const float *g); /* as the kind's */
    dml_status (*encode)(const dml_codec *c, const float *g, void *code);
    dml_status (*decode)(const dml_codec *c, const void *code, float scale, bool add,
                         float *dst);
    dml_status (*push)(const dml_codec *c, float *g); /* g = velocity, of dgc */
};

extern const struct dml__codec_runs dml__codec_runs_blocks, dml__codec_runs_topk,
    dml__codec_runs_power, dml__codec_runs_random, dml__codec_runs_tern;

struct dml__codec_device {
    struct dml__gpu *gpu;
    const struct dml__codec_runs *runs;
    void *stream;
    float *residual, *velocity;         /* NULL: the kind keeps none */
    float *shared;                      /* as the codec's; of dml__gpu_memory_alloc() */
    struct dml__gpu_codec_state *state; /* device memory; top-k's is longer */
    struct dml__gpu_codec_state *mirror; /* pinned: the state after the last code */
    char *work; /* top-k's chunks and lists, or PowerSGD's factor */
};

/* For n threads, at least one block of them. */
dml_status dml__codec_launch(const dml_codec *c, const struct dml_gpu_kernel *kernel,
                             uint64_t n, const void *args, size_t bytes);
/* The state as it is then, for the host. */
dml_status dml__codec_show_state(const dml_codec *c);

/* Parts of top-k's memory, in bytes from its beginning. */
struct dml__topk_parts {
    size_t sums, masks, chunks, above, equal, listed, places, bytes;
};

static inline struct dml__topk_parts dml__topk_parts(const dml_codec *c)
{
    const size_t nchunks = (size_t)dml__topk_chunks(c->count), each = sizeof(uint32_t);
    const size_t room = dml__sparse_room(c);
    struct dml__topk_parts at = {0};
    at.masks = at.sums + (c->spec.clip > 0 ? dml__codec_blocks(c->count) : 0) * 8;
    at.chunks = at.masks + nchunks * DML__WARP * each;
    at.above = at.chunks + nchunks * each;
    at.equal = at.above + nchunks * each;
    at.listed = at.equal + nchunks * each;
    at.places = at.listed + room * each;
    at.bytes = at.places + room * each;
    return at;
}

extern const struct dml_gpu_kernel dml__codec_kernel_encode_blocks,
    dml__codec_kernel_encode_casts, dml__codec_kernel_decode_blocks,
    dml__codec_kernel_flush;

extern const struct dml_gpu_kernel dml__topk_kernel_begin, dml__topk_kernel_mark,
    dml__topk_kernel_plan, dml__topk_kernel_gather, dml__topk_kernel_edge,
    dml__topk_kernel_count, dml__topk_kernel_scan, dml__topk_kernel_emit,
    dml__topk_kernel_scatter;

extern const struct dml_gpu_kernel dml__momentum_kernel_norm, dml__momentum_kernel_push;

extern const struct dml_gpu_kernel dml__random_kernel_add, dml__random_kernel_take,
    dml__random_kernel_put;

extern const struct dml_gpu_kernel dml__tern_kernel_scales, dml__tern_kernel_encode,
    dml__tern_kernel_decode;

extern const struct dml_gpu_kernel dml__power_kernel_left,
    dml__power_kernel_orthonormal, dml__power_kernel_right, dml__power_kernel_product,
    dml__power_kernel_keep;

#endif
