/* SPDX-License-Identifier: BSD-3-Clause */
/* The median that every benchmark here reports. */
#ifndef PERF_MEDIAN_H
#define PERF_MEDIAN_H

#include <stdlib.h>

static inline int perf_by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of n > 0 values, which are sorted; of an even number the mean of the two in the
 * middle. */
static inline double perf_median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, perf_by_value);
    return 0.5 * (values[n / 2] + values[(n - 1) / 2]);
}

#endif
