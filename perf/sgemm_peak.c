/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The limit that convolutions are held against: the best rate of OpenBLAS's sgemm on
 * square matrices of some sizes, with as many threads as OPENBLAS_NUM_THREADS says.
 * Prints one JSON object.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LARGEST 1024
#define REPEATS 12

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Best of some repeats, in GFLOP/s; c = a b with n x n matrices. */
static double best_rate(int n, const float *a, const float *b, float *c)
{
    double best = 0;
    for (int i = 0; i < REPEATS; i++) {
        double start = now_s();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n,
                    0, c, n);
        double rate = 2e-9 * (double)n * n * n / (now_s() - start);
        if (rate > best)
            best = rate;
    }
    return best;
}

int main(void)
{
    static const int sizes[] = {256, 384, 512, 768, LARGEST};
    size_t count = (size_t)LARGEST * LARGEST;
    float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b);
    float *c = calloc(count, sizeof *c);
    double best = 0;
    int size = 0;
    if (!a || !b || !c) {
        fprintf(stderr, "sgemm_peak: out of memory\n");
        return 1;
    }
    for (size_t i = 0; i < count; i++)
        a[i] = b[i] = (float)(i % 97) / 97;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double rate = best_rate(sizes[i], a, b, c);
        if (rate > best) {
            best = rate;
            size = sizes[i];
        }
    }
    printf("{\"gflops\": %.1f, \"size\": %d, \"kernels\": \"%s\"}\n", best, size,
           openblas_get_corename());
    free(a);
    free(b);
    free(c);
    return 0;
}
