/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a codec is: one "struct dml__codec_kind" in a file of its own, and a line in
 * kinds.c. Rank-local; lib/sync sends the codes in the way that their form asks for.
 */
#ifndef DML__COMPRESS_CODEC_H
#define DML__COMPRESS_CODEC_H

#include "dml/compress.h"

#include "kernels/codec.h"
#include "kernels/kernels.h"

/* How codes are averaged over the ranks. */
enum dml__form {
    DML__FORM_SHARDS,       /* blocks: every rank decodes, adds and encodes its share */
    DML__FORM_SPARSE,       /* other elements on each rank: all codes to all */
    DML__FORM_SAME_INDICES, /* f32 of the same elements on all ranks: an all-reduce */
    DML__FORM_FACTORS       /* two thin matrices: an all-reduce of each (powersgd.h) */
};

/* What the text of a codec says. */
struct dml__codec_spec {
    const struct dml__codec_kind *kind; /* NULL: none */
    double number;                      /* its ratio, rank or clip */
    double momentum, clip;
    uint64_t warmup, seed, start;
    bool force;
};

struct dml__codec_kind {
    const char *name, *description;
    enum dml__form form;
    size_t block_bytes; /* code of a block, of DML__FORM_SHARDS */
    bool residual;      /* keeps what the code leaves out */
    bool velocity;      /* keeps momentum, also in steps without the codec */
    bool own_stream;    /* random numbers differ between the ranks */
    const char *number; /* what the number is, in capitals; NULL: there is none */
    double least, most; /* of the number */
    bool whole;         /* it has no fraction */
    double usual;       /* when it is left out; 0: it may not be */
    const char *keys;   /* that it knows, each with a blank on both sides */

    dml_status (*open)(dml_codec *codec);    /* gets memory, once; NULL: needs none */
    void (*reset)(dml_codec *codec);         /* to starting values; NULL: has none */
    size_t (*bytes)(const dml_codec *codec); /* NULL: block_bytes for each block */
    /* Fills codec->shared [nshared], of which all ranks then take the maximum; NULL:
     * nothing is shared. Returns the largest magnitude, as encode does. */
    uint32_t (*prepare)(dml_codec *codec, const float *g);
    uint32_t (*encode)(dml_codec *codec, const float *g, void *code);
    void (*decode)(const dml_codec *codec, const void *code, float scale, bool add,
                   float *dst);
    /* What it keeps from code to code beside residual, velocity and step: plain data,
     * for snapshots; NULL: nothing. */
    void *(*kept)(dml_codec *codec, size_t *bytes);
};

struct dml_codec {
    dml_ctx *ctx;
    const struct dml__codec_kernels *loops;
    const struct dml__kernels *kernels;
    struct dml__codec_spec spec;
    size_t count;
    struct dml__matrix shape; /* of powersgd */
    uint64_t stream, step;    /* step: codes so far */
    uint64_t age;             /* of the warm-up: codes so far, or the reducer's steps */
    uint64_t read;            /* codes decoded so far, of one that has made none */
    int nranks;               /* among which the gradient is averaged, for dgc's clip */
    float *residual;          /* [count] or NULL */
    bool waiting;             /* it may hold something */
    float *velocity;          /* [count] or NULL */
    float *shared;            /* [nshared] see prepare */
    size_t nshared;
    void *work;                       /* the kind's own; freed with the codec */
    struct dml__codec_device *device; /* NULL: on the host */
    void *device_stream;              /* that work for a device is queued in */
};

/* Reads a text; DML_EINVAL says on "where" what is wrong. */
dml_status dml__codec_parse(const dml_ctx *ctx, const char *text, const char *where,
                            struct dml__codec_spec *spec);

dml_status dml__codec_open(dml_ctx *ctx, const struct dml__codec_spec *spec,
                           size_t count, size_t rows, uint64_t stream,
                           dml_codec **codec);

/* Takes what waits along in a gradient that is sent whole: g += weight * residual, with
 * dgc by way of the velocity. Nothing waits then. Returns the velocity's largest
 * magnitude, else 0. */
uint32_t dml__codec_flush(dml_codec *codec, float weight, float *g);

/* Forgets residual and momentum, after numbers that are not finite. A device that fails
 * says so in the next call. */
void dml__codec_clear(dml_codec *codec);

/* By what dgc multiplies a gradient (of a bucket) whose norm is above its share of the
 * limit, which is clip / sqrt(nranks): the average of independent gradients is that
 * much shorter. */
float dml__codec_clip(const dml_codec *codec, const float *g);
double dml__codec_limit(const dml_codec *codec);

size_t dml__codec_blocks(size_t count);

/* Elements that the lists of top-k and dgc have room for. */
size_t dml__sparse_room(const dml_codec *codec);

/* Elements that top-k, dgc and random-k send of "count" in the next code; and the most
 * that top-k and dgc send, which is in the first of a warm-up. */
size_t dml__codec_slots(const dml_codec *codec);
size_t dml__sparse_most(const dml_codec *codec);

/* The largest magnitude is one that a codec takes. */
static inline bool dml__codec_finite(uint32_t top)
{
    return top < DML__CODEC_TOP;
}

extern const struct dml__codec_kind dml__codec_f16, dml__codec_bf16,
    dml__codec_eightbit, dml__codec_onebit, dml__codec_sign, dml__codec_terngrad,
    dml__codec_topk, dml__codec_dgc, dml__codec_randomk, dml__codec_powersgd;

/* NULL past the end. */
const struct dml__codec_kind *dml__codec_kind(size_t index);

#endif
