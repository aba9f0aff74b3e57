/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sets of kernels there are, and which of them this processor can run.
 */
#include "kernels/kernels.h"

#include <string.h>
#ifdef DML__KERNELS_X86
#include <cpuid.h>
#endif

extern const struct dml__kernels dml__kernels_c;
#ifdef DML__KERNELS_X86
extern const struct dml__kernels dml__kernels_avx2, dml__kernels_avx512;
#endif

dml_dtype dml__acc_dtype(dml_dtype dtype)
{
    return dtype == DML_F16 || dtype == DML_BF16 ? DML_F32 : dtype;
}

static bool always(void)
{
    return true;
}

#ifdef DML__KERNELS_X86
/* The builtin asks the operating system too: registers it does not save cannot be used.
 * It does not know F16C in every compiler, hence the look at the processor's flags. */
static bool has_avx2(void)
{
    unsigned eax, ebx, ecx, edx;
    return __builtin_cpu_supports("avx2") && __get_cpuid(1, &eax, &ebx, &ecx, &edx) &&
           (ecx & bit_F16C) != 0 && (ecx & bit_PCLMUL) != 0;
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

/* Best last. */
static const struct {
    const struct dml__kernels *kernels;
    bool (*usable)(void);
} sets[] = {
    {&dml__kernels_c, always},
#ifdef DML__KERNELS_X86
    {&dml__kernels_avx2, has_avx2},
    {&dml__kernels_avx512, has_avx512},
#endif
};

const struct dml__kernels *dml__kernels_usable(size_t index)
{
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (sets[i].usable() && index-- == 0)
            return sets[i].kernels;
    return NULL;
}

const struct dml__kernels *dml__kernels_find(const char *name)
{
    const struct dml__kernels *found = NULL, *set;
    for (size_t i = 0; (set = dml__kernels_usable(i)) != NULL; i++)
        if (strcmp(name, "auto") == 0 || strcmp(name, set->name) == 0)
            found = set;
    return found;
}
