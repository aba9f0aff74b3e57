/* SPDX-License-Identifier: BSD-3-Clause */
/* What lanes_set.c and bins_set.c are compiled to, once per instruction set. */
#ifndef PRF_LANES_SET_H
#define PRF_LANES_SET_H

#include "bins.h"
#include "lanes.h"

#define PRF_JOIN_(a, b, c) a##b##c
#define PRF_JOIN(a, b, c)  PRF_JOIN_(a, b, c)
#define PRF_SET_NAME(what) PRF_JOIN(what, _set_, PRF_SET)

extern const struct lanes_set lanes_set_c, lanes_set_avx2, lanes_set_avx512;
extern const struct bins_set bins_set_c, bins_set_avx2, bins_set_avx512;

#endif
