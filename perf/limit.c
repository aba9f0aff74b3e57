/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The STREAM triad (McCalpin 1995) and an update in place, each part of the vectors on
 * a thread of its own.
 */
#include "limit.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_THREADS = 64 };

struct part {
    const struct limit *limit;
    bool in_place;
    size_t begin, end;
};

double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void *limit_alloc(size_t bytes)
{
    enum { LINE = 64 };
    return aligned_alloc(LINE, (bytes + LINE) / LINE * LINE);
}

int limit_open(struct limit *limit, size_t count)
{
    size_t bytes = count * sizeof(double);
    *limit = (struct limit){limit_alloc(bytes), limit_alloc(bytes), limit_alloc(bytes),
                            count};
    if (limit->x == NULL || limit->y == NULL || limit->z == NULL) {
        limit_close(limit);
        return 1;
    }
    memset(limit->x, 0, bytes);
    memset(limit->y, 0, bytes);
    memset(limit->z, 0, bytes);
    return 0;
}

void limit_close(struct limit *limit)
{
    free(limit->x);
    free(limit->y);
    free(limit->z);
    *limit = (struct limit){0};
}

#if defined(__x86_64__) && defined(__GLIBC__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void
triad(double *restrict x, const double *restrict y, const double *restrict z, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = y[i] + 3.0 * z[i];
}

#if defined(__x86_64__) && defined(__GLIBC__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void
in_place(double *restrict x, const double *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] + 3.0 * y[i];
}

static void *run_part(void *arg)
{
    const struct part *p = arg;
    const struct limit *l = p->limit;
    if (p->in_place)
        in_place(l->x + p->begin, l->y + p->begin, p->end - p->begin);
    else
        triad(l->x + p->begin, l->y + p->begin, l->z + p->begin, p->end - p->begin);
    return NULL;
}

static double run(const struct limit *limit, bool place, int threads)
{
    pthread_t ids[MAX_THREADS];
    struct part parts[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    size_t n = threads < MAX_THREADS ? (size_t)threads : MAX_THREADS;
    double start = now_s();
    for (size_t i = n; i-- > 0;) {
        parts[i] = (struct part){limit, place, limit->count * i / n,
                                 limit->count * (i + 1) / n};
        started[i] = i > 0 && pthread_create(&ids[i], NULL, run_part, &parts[i]) == 0;
        if (!started[i])
            run_part(&parts[i]);
    }
    for (size_t i = 1; i < n; i++)
        if (started[i])
            pthread_join(ids[i], NULL);
    return 1e-9 * 3 * sizeof(double) * (double)limit->count / (now_s() - start);
}

double limit_triad(const struct limit *limit, int threads)
{
    return run(limit, false, threads);
}

double limit_in_place(const struct limit *limit, int threads)
{
    return run(limit, true, threads);
}
