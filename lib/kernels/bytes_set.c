/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One set of the loops over bytes. Compiled like set.c: once per instruction set, with
 * DML__SET as its name.
 *
 * Everything here is static but the table.
 */
#include "kernels/bytes.h"

#include <string.h>

#if defined(__PCLMUL__) && defined(__SSE4_2__)
#include "kernels/bytes_crc_sse42.h"
#else
#include "kernels/bytes_crc_c.h"
#endif

#if defined(__AVX2__)
#include "kernels/bytes_marks_x86.h"
#else
#include "kernels/bytes_marks_c.h"
#endif

#define TABLE_(set) dml__byte_kernels_##set
#define TABLE(set)  TABLE_(set)

extern const struct dml__byte_kernels TABLE(DML__SET);

const struct dml__byte_kernels TABLE(DML__SET) = {
    .crc32c = crc32c,
    .find_marks = find_marks,
};
