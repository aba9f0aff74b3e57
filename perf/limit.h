/* SPDX-License-Identifier: BSD-3-Clause */
/* What the memory allows: loops over three vectors, on some threads. */
#ifndef DML_PERF_LIMIT_H
#define DML_PERF_LIMIT_H

#include <stddef.h>

struct limit {
    double *x, *y, *z; /* [count] */
    size_t count;
};

/* Seconds that only grow. */
double now_s(void);

/* Aligned to a cache line, as frameworks do; NULL when there is none. For free(). */
void *limit_alloc(size_t bytes);

/* 0 when there is memory for three vectors of count; free with limit_close(). */
int limit_open(struct limit *limit, size_t count);
void limit_close(struct limit *limit);

/* GB/s of x = y + 3 z, as STREAM counts: three vectors. */
double limit_triad(const struct limit *limit, int threads);

/* GB/s of x = x + 3 y, which writes no line that it has not read. */
double limit_in_place(const struct limit *limit, int threads);

#endif
