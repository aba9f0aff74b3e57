/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one clock: monotonic, unaffected by time-of-day changes.
 */
#include "core/core.h"

#include <time.h>

double dml__now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
