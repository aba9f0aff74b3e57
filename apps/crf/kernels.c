/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of kernel sets. Each is kernels_set.c, compiled for its instruction set.
 */
#include "kernels.h"

#include <string.h>

extern const struct kernels kernels_c_f32, kernels_c_f64;
#ifdef CRF_KERNELS_X86
extern const struct kernels kernels_avx2_f32, kernels_avx2_f64;
extern const struct kernels kernels_avx512_f32, kernels_avx512_f64;
#endif

/* The reference last. */
static const struct kernels *const sets[] = {
#ifdef CRF_KERNELS_X86
    &kernels_avx512_f32, &kernels_avx512_f64, &kernels_avx2_f32, &kernels_avx2_f64,
#endif
    &kernels_c_f32,      &kernels_c_f64,
};

const struct kernels *kernels_find(const char *isa, size_t bytes)
{
    const struct kernels *found = NULL;
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        bool is_reference = strcmp(sets[i]->isa, "c") == 0;
        if (sets[i]->bytes == bytes && (is_reference || strcmp(sets[i]->isa, isa) == 0))
            found = found ? found : sets[i];
    }
    return found;
}

size_t kernels_pad(const struct kernels *kernels, size_t labels)
{
    size_t unit = kernels->lanes > KERNELS_PAD ? kernels->lanes : KERNELS_PAD;
    return (labels + unit - 1) / unit * unit;
}
