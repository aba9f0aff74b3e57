/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which table of codec loops belongs to a set of kernels.
 */
#include "kernels/codec.h"

#include <string.h>

extern const struct dml__codec_kernels dml__codec_kernels_c;
#ifdef DML__KERNELS_X86
extern const struct dml__codec_kernels dml__codec_kernels_avx2;
extern const struct dml__codec_kernels dml__codec_kernels_avx512;
#endif

const struct dml__codec_kernels *dml__codec_kernels(const char *set)
{
#ifdef DML__KERNELS_X86
    if (strcmp(set, "avx512") == 0)
        return &dml__codec_kernels_avx512;
    if (strcmp(set, "avx2") == 0)
        return &dml__codec_kernels_avx2;
#endif
    (void)set;
    return &dml__codec_kernels_c;
}
