/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which sets of loops fit a processor.
 */
#include "lanes_set.h"

#include <string.h>

const struct lanes_set *lanes_for(const char *isa)
{
#ifdef PRF_LANES_X86
    if (strcmp(isa, "avx512") == 0)
        return &lanes_set_avx512;
    if (strcmp(isa, "avx2") == 0)
        return &lanes_set_avx2;
#endif
    (void)isa;
    return &lanes_set_c;
}

const struct bins_set *bins_for(const char *isa)
{
#ifdef PRF_LANES_X86
    if (strcmp(isa, "avx512") == 0)
        return &bins_set_avx512;
    if (strcmp(isa, "avx2") == 0)
        return &bins_set_avx2;
#endif
    (void)isa;
    return &bins_set_c;
}
