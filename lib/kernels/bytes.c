/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which table of loops over bytes belongs to a set of kernels.
 */
#include "kernels/bytes.h"

#include <string.h>

extern const struct dml__byte_kernels dml__byte_kernels_c;
#ifdef DML__KERNELS_X86
extern const struct dml__byte_kernels dml__byte_kernels_avx2;
extern const struct dml__byte_kernels dml__byte_kernels_avx512;
#endif

const struct dml__byte_kernels *dml__byte_kernels(const char *set)
{
#ifdef DML__KERNELS_X86
    if (strcmp(set, "avx512") == 0)
        return &dml__byte_kernels_avx512;
    if (strcmp(set, "avx2") == 0)
        return &dml__byte_kernels_avx2;
#endif
    (void)set;
    return &dml__byte_kernels_c;
}
