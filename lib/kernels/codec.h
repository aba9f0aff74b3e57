/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loops of the gradient codecs (lib/compress): one table per instruction set, all
 * of which give the same bits.
 *
 * Encoders read a gradient g [n] and a residual e [n] once, and leave in e what the
 * code does not hold of p = g + e. They return the largest magnitude of p as the bits
 * of an f32, which order as the magnitudes do, with NaN above all. Blocks are of
 * DML__CODEC_BLOCK elements; the code of the last, shorter one is as long as the
 * others'. Decoders do dst = scale * value, or dst += with "add". Codes are aligned to
 * 4 bytes.
 */
#ifndef DML__CODEC_H
#define DML__CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DML__CODEC_BLOCK 1024

/* Magnitudes from here on are errors: 2^100, whose sums over a block stay finite. */
#define DML__CODEC_TOP 0x71800000u

/* Bytes of the codes of one block: two f32 (one for sign) and the elements' bits. */
#define DML__ONEBIT_BYTES   (8 + DML__CODEC_BLOCK / 8)
#define DML__SIGN_BYTES     (4 + DML__CODEC_BLOCK / 8)
#define DML__EIGHTBIT_BYTES (8 + DML__CODEC_BLOCK)
#define DML__TERN_BYTES     (4 + DML__CODEC_BLOCK / 4)

typedef uint32_t dml__encode_fn(size_t n, const float *g, float *e, void *code);
typedef void dml__decode_fn(size_t n, const void *code, float scale, bool add,
                            float *dst);

/* Random numbers of one call: a pure function of these and the element's index. */
struct dml__draw {
    uint64_t seed, stream, step;
};

/* How elements are gathered for selection, and where those taken are listed: the lists
 * have room for DML__SELECT_SPARE more, which may be overwritten with anything. */
struct dml__select_args {
    float limit;     /* magnitudes from here on are taken */
    float momentum;  /* of the velocity */
    float factor;    /* of the gradient */
    size_t capacity; /* no more than this many are taken */
    uint16_t *index; /* of each */
    float *values;   /* from e */
    float *pushes;   /* from u, where there is one */
};

#define DML__SELECT_SPARE 16

/*
 * e += g, or with a velocity u: u = momentum * u + factor * g, e += u; without g
 * neither. Then the elements with |e| >= limit are taken out of e and u, which become 0
 * there, and listed in order. Returns how many. At most 65,536 elements, so that an
 * index has 16 bits.
 */
typedef size_t dml__select_fn(size_t n, const float *g, float *e, float *u,
                              const struct dml__select_args *args, uint32_t *top);

/* M [rows * cols] by rows; thin matrices are kept column by column. The rank is at most
 * DML__POWER_MOST. */
#define DML__POWER_MOST 16

/* Partial sums of an inner product of PowerSGD's. */
#define DML__POWER_LANES 256

struct dml__matrix {
    size_t rows, cols, rank;
};

struct dml__codec_kernels {
    dml__encode_fn *onebit_encode, *sign_encode, *eightbit_encode;
    dml__encode_fn *f16_encode, *bf16_encode; /* kernels.h has what decodes them */
    dml__decode_fn *onebit_decode, *sign_decode, *eightbit_decode, *tern_decode;

    /* scales [blocks] = max |g|, or clip standard deviations where that is less. */
    uint32_t (*tern_scales)(size_t n, const float *g, float clip, float *scales);
    void (*tern_encode)(size_t n, const float *g, const float *scales,
                        const struct dml__draw *draw, void *code);

    dml__select_fn *select;
    /* u = momentum * u + factor * g, g = u. */
    uint32_t (*momentum)(size_t n, float momentum, float factor, float *g, float *u);
    /* e += g. */
    uint32_t (*accumulate)(size_t n, const float *g, float *e);

    /* m = g + m; p [rank][rows] = m q, with q [rank][cols]. */
    uint32_t (*power_left)(const struct dml__matrix *shape, const float *g, float *m,
                           const float *q, float *p);
    /* q [rank][cols] = m^T p. */
    void (*power_right)(const struct dml__matrix *shape, const float *m, const float *p,
                        float *q);
    /* dst = scale p q^T, or dst += with "add"; then m -= dst, unless m is NULL. */
    void (*power_product)(const struct dml__matrix *shape, const float *p,
                          const float *q, float scale, bool add, float *m, float *dst);
};

/* Those of the set of kernels with this name. */
const struct dml__codec_kernels *dml__codec_kernels(const char *set);

#endif
