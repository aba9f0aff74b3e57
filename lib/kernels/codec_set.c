/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One set of the codecs' loops. Compiled like set.c: once per instruction set, with
 * DML__SET as its name; all sets give the same bits, because no sum's order depends on
 * the width of a register and nothing is fused.
 *
 * Everything here is static but the table.
 */
#include "kernels/codec.h"

#include <math.h>
#include <string.h>

#define JOIN_(a, b) a##_##b
#define JOIN(a, b)  JOIN_(a, b)
#define FN(name)    JOIN(name, NAME)

/* No iteration reads what another writes. */
#define INDEPENDENT _Pragma("omp simd")

#include "kernels/codec_blocks.h"
#include "kernels/codec_matrix.h"
#include "kernels/codec_sparse.h"
#include "kernels/codec_tern.h"
#include "kernels/half_block.h"

#define NAME    F16
#define LARGEST DML__F16_MOST
#include "kernels/codec_half_tmpl.h"

#define NAME    BF16
#define LARGEST DML__BF16_MOST
#include "kernels/codec_half_tmpl.h"

#define TABLE_(set) dml__codec_kernels_##set
#define TABLE(set)  TABLE_(set)

extern const struct dml__codec_kernels TABLE(DML__SET);

const struct dml__codec_kernels TABLE(DML__SET) = {
    .onebit_encode = onebit_encode,
    .onebit_decode = onebit_decode,
    .sign_encode = sign_encode,
    .sign_decode = sign_decode,
    .eightbit_encode = eightbit_encode,
    .eightbit_decode = eightbit_decode,
    .f16_encode = encode_F16,
    .bf16_encode = encode_BF16,
    .tern_scales = tern_scales,
    .tern_encode = tern_encode,
    .tern_decode = tern_decode,
    .select = select_above,
    .momentum = momentum_step,
    .accumulate = accumulate,
    .power_left = power_left,
    .power_right = power_right,
    .power_product = power_product,
};
