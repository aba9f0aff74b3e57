/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an optimizer on a device works on: tables of tensors, the state of a step, and
 * blocks of DML_OPTIM_BLOCK elements, a warp each, of which a lane loads and stores its
 * part. optim_sweep.h is what it does with them.
 */
#ifndef DML__GPU_OPTIM_BLOCK_H
#define DML__GPU_OPTIM_BLOCK_H

#include "core/half.h"
#include "gpu/kernel_code.h"
#include "optim/factors.h"
#include "optim/optim_device.h"

enum {
    DML__OPTIM_EACH = DML_OPTIM_BLOCK / DML__WARP, /* elements of a lane */
    DML__OPTIM_TILE = 8,                           /* that a lane has in hand at once */
    DML__OPTIM_MORE = 16                           /* where it has few vectors */
};

/* Which loop a rule has. */
enum dml__optim_family {
    DML__OPTIM_LIKE_SGD,
    DML__OPTIM_LIKE_ADAM,
    DML__OPTIM_LIKE_LAMB
};

struct dml__gpu_tensor {
    void *param;
    const void *grad;
    float *w; /* the master copy, or param */
    float *m; /* the first vector of state: velocity or mean; NULL: none */
    float *v; /* the second: squares; NULL: none */
    uint64_t count, first;
    uint64_t first_work, first_sum, nsums; /* as in struct dml__optim_tensor */
    unsigned flags;
    int dtype, grad_dtype;
    unsigned wide; /* all begin at what four elements are read from at once */
};

struct dml__gpu_optim_state {
    dml_optim_counters counters;
    struct dml__optim_now now; /* of the step under way, or of the next one */
    double grad_norm, clip;
    uint32_t skip, last_skipped;
    uint32_t found; /* least tensor that the update finds not finite */
    /* A tensor, and what was wrong with it: nothing is done until the host has seen it.
     */
    uint32_t fault, fault_kind;
    uint32_t finish_tickets, update_tickets; /* blocks that are done */
};

struct dml__gpu_optim_args {
    dml_optim_opts opts;
    dml_optim_rule rule;
    uint32_t ntensors;
    uint32_t width;   /* columns of sums */
    uint32_t moments; /* sums are those of the moments' sweep */
    uint32_t checks;  /* the update looks for what is not finite */
    uint64_t nwork;
    const struct dml__gpu_tensor *tensors; /* [ntensors] */
    const uint32_t *owners;                /* [nwork] the tensor of a block */
    double *sums;                          /* [nsums][width] */
    double *totals;                        /* [ntensors][2] */
    double *ratios;                        /* [ntensors] */
    struct dml__gpu_optim_state *state;
    const double *rate; /* NULL: it is lr */
    double lr;
};

/* What is here of a block. */
struct dml__gpu_part {
    struct dml__gpu_tensor tensor;
    uint32_t index; /* of the tensor */
    unsigned wide;  /* lanes have four neighbours at a time, else every 32nd */
    uint64_t begin, n, number;
};

/* Block "block" of the shards. Sums need wide = 0: it is their order. */
DML__LANE struct dml__gpu_part dml__gpu_part_of(const struct dml__gpu_optim_args *args,
                                                uint64_t block, unsigned wide)
{
    const uint64_t B = DML_OPTIM_BLOCK;
    struct dml__gpu_part part;
    part.index = args->owners[block];
    part.tensor = args->tensors[part.index];
    struct dml__gpu_tensor *t = &part.tensor;
    t->param = DML__VIEW(void *, t->param);
    t->grad = DML__VIEW(const void *, t->grad);
    t->w = DML__VIEW(float *, t->w);
    t->m = DML__VIEW(float *, t->m);
    t->v = DML__VIEW(float *, t->v);
    const uint64_t last = t->first + t->count;
    const uint64_t number = t->first / B + (block - t->first_work);
    const uint64_t at = number * B > t->first ? number * B : t->first;
    const uint64_t stop = last - number * B > B ? (number + 1) * B : last;
    part.begin = at - t->first;
    part.n = stop - at;
    part.number = t->first_sum + number;
    part.wide = wide && t->wide && part.n == B && part.begin % 4 == 0;
    return part;
}

/* Where element k of a lane lies in the block. */
DML__LANE uint64_t dml__gpu_element(const struct dml__gpu_part *part, unsigned lane,
                                    unsigned k)
{
    return part->wide ? k / 4 * (4 * DML__WARP) + lane * 4 + k % 4
                      : k * DML__WARP + lane;
}

/* Elements k to k + count of a lane; 0 past the end of the block. */
DML__LANE void dml__gpu_load(float *x, unsigned k, unsigned count, const float *from,
                             const struct dml__gpu_part *part, unsigned lane)
{
    from += part->begin;
#ifdef __CUDA_ARCH__
    if (part->wide) {
#pragma unroll
        for (unsigned i = 0; i < count; i += 4) {
            const float4 four =
                *(const float4 *)(from + dml__gpu_element(part, lane, k + i));
            x[i] = four.x;
            x[i + 1] = four.y;
            x[i + 2] = four.z;
            x[i + 3] = four.w;
        }
        return;
    }
#endif
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        const uint64_t at = dml__gpu_element(part, lane, k + i);
        x[i] = at < part->n ? from[at] : 0;
    }
}

/* By __stcs it is one store of 16 bytes: of a float4 that is assigned the compiler made
 * four, where it saw that the other way below stores the first one too. What a sweep
 * has written it does not read again. */
DML__LANE void dml__gpu_store(float *to, unsigned k, unsigned count, const float *x,
                              const struct dml__gpu_part *part, unsigned lane)
{
    to += part->begin;
#ifdef __CUDA_ARCH__
    if (part->wide) {
#pragma unroll
        for (unsigned i = 0; i < count; i += 4)
            __stcs((float4 *)(to + dml__gpu_element(part, lane, k + i)),
                   make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]));
        return;
    }
#endif
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        const uint64_t at = dml__gpu_element(part, lane, k + i);
        if (at < part->n)
            to[at] = x[i];
    }
}

DML__LANE float dml__gpu_widen(int dtype, uint16_t bits)
{
    return dtype == DML_BF16 ? dml__bf16_to_f32(bits) : dml__f16_to_f32(bits);
}

DML__LANE uint16_t dml__gpu_narrow(int dtype, float x)
{
    return dtype == DML_BF16 ? dml__f32_to_bf16(x) : dml__f32_to_f16(x);
}

DML__LANE void dml__gpu_load_half(float *x, unsigned k, unsigned count, int dtype,
                                  const uint16_t *from,
                                  const struct dml__gpu_part *part, unsigned lane)
{
    from += part->begin;
#ifdef __CUDA_ARCH__
    if (part->wide) {
#pragma unroll
        for (unsigned i = 0; i < count; i += 4) {
            const ushort4 four =
                *(const ushort4 *)(from + dml__gpu_element(part, lane, k + i));
            x[i] = dml__gpu_widen(dtype, four.x);
            x[i + 1] = dml__gpu_widen(dtype, four.y);
            x[i + 2] = dml__gpu_widen(dtype, four.z);
            x[i + 3] = dml__gpu_widen(dtype, four.w);
        }
        return;
    }
#endif
    uint16_t bits[DML__OPTIM_EACH]; /* all are asked for before one is widened */
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        const uint64_t at = dml__gpu_element(part, lane, k + i);
        bits[i] = at < part->n ? from[at] : 0;
    }
    DML__UNROLL
    for (unsigned i = 0; i < count; i++)
        x[i] = dml__gpu_widen(dtype, bits[i]);
}

DML__LANE void dml__gpu_store_half(uint16_t *to, unsigned k, unsigned count, int dtype,
                                   const float *x, const struct dml__gpu_part *part,
                                   unsigned lane)
{
    to += part->begin;
#ifdef __CUDA_ARCH__
    if (part->wide) {
#pragma unroll
        for (unsigned i = 0; i < count; i += 4)
            __stcs((ushort4 *)(to + dml__gpu_element(part, lane, k + i)),
                   make_ushort4(dml__gpu_narrow(dtype, x[i]),
                                dml__gpu_narrow(dtype, x[i + 1]),
                                dml__gpu_narrow(dtype, x[i + 2]),
                                dml__gpu_narrow(dtype, x[i + 3])));
        return;
    }
#endif
    DML__UNROLL
    for (unsigned i = 0; i < count; i++) {
        const uint64_t at = dml__gpu_element(part, lane, k + i);
        if (at < part->n)
            to[at] = dml__gpu_narrow(dtype, x[i]);
    }
}

#endif
