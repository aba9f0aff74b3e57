/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-kernels: bytes per second of the vector kernels, in each kernel set, beside
 * a STREAM triad (McCalpin 1995) on a working set of the same size.
 *
 * Kernel and triad are timed in turn, block by block, so that both meet the same state
 * of a shared machine; medians and the median of the blocks' ratios are printed.
 */
#include "dml/dml.h"

#include "median.h"

#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_BLOCKS = 1001 };

static const char usage[] =
    "usage: dml-perf-kernels [--isa c|avx2|avx512] [--kernel NAME] [--blocks N]\n"
    "                        [--memory MIB] [--json FILE]\n"
    "Prints GB/s of the kernels for working sets in L1, L2, L3 and memory, beside a\n"
    "triad measured in the same run.\n"
    "  --isa NAME     only this kernel set (default: all this processor can run)\n"
    "  --kernel NAME  only kernels whose name contains NAME\n"
    "  --blocks N     timed blocks per figure, at most 1001 (default 21)\n"
    "  --memory MIB   size of each of the three vectors in memory (default 128)\n"
    "  --json FILE    one object a line: isa kernel level vector_bytes gbs triad_gbs\n"
    "                 ratio\n";

/* Three vectors of equal size, and what the timed calls need. */
struct bench {
    dml_ctx *ctx;
    dml_optim *sgd; /* on x (parameters) and y (gradients) */
    void *x, *y, *z;
    size_t count;
    double sink; /* keeps results in use */
};

static void sum_apart(struct bench *b, dml_dtype type)
{
    dml_vec_reduce(b->ctx, b->x, b->y, b->z, b->count, type, DML_SUM);
}

static void sum_in_place(struct bench *b, dml_dtype type)
{
    dml_vec_reduce(b->ctx, b->x, b->x, b->y, b->count, type, DML_SUM);
}

static void prod_apart(struct bench *b, dml_dtype type)
{
    dml_vec_reduce(b->ctx, b->x, b->y, b->z, b->count, type, DML_PROD);
}

static void max_apart(struct bench *b, dml_dtype type)
{
    dml_vec_reduce(b->ctx, b->x, b->y, b->z, b->count, type, DML_MAX);
}

static void widen(struct bench *b, dml_dtype type)
{
    dml_vec_convert(b->ctx, b->x, DML_F32, b->y, type, b->count);
}

static void narrow(struct bench *b, dml_dtype type)
{
    dml_vec_convert(b->ctx, b->x, type, b->y, DML_F32, b->count);
}

static void axpy(struct bench *b, dml_dtype type)
{
    (void)type;
    dml_vec_axpy(b->ctx, b->count, 1e-3f, b->y, b->x);
}

static void scale(struct bench *b, dml_dtype type)
{
    (void)type;
    dml_vec_scale(b->ctx, b->count, 1.0f, b->x);
}

static void sumsq(struct bench *b, dml_dtype type)
{
    (void)type;
    b->sink += dml_vec_sumsq(b->ctx, b->count, b->x);
}

static void sgd(struct bench *b, dml_dtype type)
{
    (void)type;
    dml_optim_step(b->sgd, 1e-6);
}

/* moved: bytes read and written per element, as STREAM counts them; widest: bytes of an
 * element of the widest operand. */
static const struct kernel {
    const char *name;
    void (*run)(struct bench *b, dml_dtype type);
    dml_dtype type;
    size_t moved, widest;
} kernels[] = {
    {"sum f32", sum_apart, DML_F32, 12, 4},
    {"sum f32 in place", sum_in_place, DML_F32, 12, 4},
    {"sum f64", sum_apart, DML_F64, 24, 8},
    {"sum f16", sum_apart, DML_F16, 6, 2},
    {"sum bf16", sum_apart, DML_BF16, 6, 2},
    {"sum bf16 in place", sum_in_place, DML_BF16, 6, 2},
    {"max f32", max_apart, DML_F32, 12, 4},
    {"max bf16", max_apart, DML_BF16, 6, 2},
    {"sum i8", sum_apart, DML_I8, 3, 1},
    {"prod i8", prod_apart, DML_I8, 3, 1},
    {"sum i32", sum_apart, DML_I32, 12, 4},
    {"max i64", max_apart, DML_I64, 24, 8},
    {"prod i64", prod_apart, DML_I64, 24, 8},
    {"f16 to f32", widen, DML_F16, 6, 4},
    {"f32 to f16", narrow, DML_F16, 6, 4},
    {"bf16 to f32", widen, DML_BF16, 6, 4},
    {"f32 to bf16", narrow, DML_BF16, 6, 4},
    {"axpy f32", axpy, DML_F32, 12, 4},
    {"scale f32", scale, DML_F32, 8, 4},
    {"sumsq f32", sumsq, DML_F32, 4, 4},
    {"sgd f32", sgd, DML_F32, 20, 4},
};

/* ---- the limit ---------------------------------------------------------------------
 */

#if defined(__x86_64__) && defined(__GLIBC__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void
triad(double *restrict x, const double *restrict y, const double *restrict z, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = y[i] + 3.0 * z[i];
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one block: repeats passes over the working set. */
static double time_kernel(struct bench *b, const struct kernel *k, size_t repeats)
{
    double start = now_s();
    for (size_t i = 0; i < repeats; i++)
        k->run(b, k->type);
    return now_s() - start;
}

static double time_triad(struct bench *b, size_t bytes, size_t repeats)
{
    double start = now_s();
    for (size_t i = 0; i < repeats; i++)
        triad(b->x, b->y, b->z, bytes / sizeof(double));
    return now_s() - start;
}

/* ---- measuring ---------------------------------------------------------------------
 */

struct result {
    double kernel_gbs, triad_gbs, ratio;
};

/* Vectors of this many bytes. */
static struct result measure(struct bench *b, const struct kernel *k, size_t bytes,
                             size_t blocks)
{
    static double kernel_gbs[MAX_BLOCKS], triad_gbs[MAX_BLOCKS], ratio[MAX_BLOCKS];
    b->count = bytes / k->widest;
    double kernel_gb = 1e-9 * (double)(k->moved * b->count);
    double triad_gb = 1e-9 * 3 * (double)bytes;
    size_t repeats = 1 + (size_t)(0.005 / triad_gb); /* of 5 MB or more a block */
    for (size_t i = 0; i <= blocks; i++) {
        double t = time_kernel(b, k, repeats), limit = time_triad(b, bytes, repeats);
        if (i == 0) /* warm-up */
            continue;
        kernel_gbs[i - 1] = (double)repeats * kernel_gb / t;
        triad_gbs[i - 1] = (double)repeats * triad_gb / limit;
        ratio[i - 1] = kernel_gbs[i - 1] / triad_gbs[i - 1];
    }
    return (struct result){perf_median(kernel_gbs, blocks),
                           perf_median(triad_gbs, blocks), perf_median(ratio, blocks)};
}

/* ---- the program -------------------------------------------------------------------
 */

struct options {
    const char *isa, *kernel;
    size_t blocks, memory_mib;
    FILE *json;
};

/* Bytes of each of the three vectors: together they fill half of a cache. What a
 * virtual machine says of its last cache is capped, as it may be the whole host's. */
static size_t vector_bytes(const struct options *o, int level)
{
    if (level == 3)
        return o->memory_mib << 20;
    static const int names[] = {_SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE,
                                _SC_LEVEL3_CACHE_SIZE};
    static const long usual[] = {32 << 10, 1 << 20, 32 << 20};
    long cache = sysconf(names[level]);
    if (cache <= 0 || cache > usual[2])
        cache = usual[level];
    return (size_t)cache / 6 / 64 * 64;
}

static const char *const levels[] = {"L1", "L2", "L3", "memory"};

static int report(const struct options *o, const char *isa, const struct kernel *k,
                  int level, size_t bytes, struct result r)
{
    printf("%-7s %-18s %-6s %10zu %9.1f %9.1f %6.2f\n", isa, k->name, levels[level],
           bytes / 1024, r.kernel_gbs, r.triad_gbs, r.ratio);
    if (o->json == NULL)
        return 0;
    json_t *line =
        json_pack("{ss ss ss sI sf sf sf}", "isa", isa, "kernel", k->name, "level",
                  levels[level], "vector_bytes", (json_int_t)bytes, "gbs", r.kernel_gbs,
                  "triad_gbs", r.triad_gbs, "ratio", r.ratio);
    int bad = line == NULL || json_dumpf(line, o->json, JSON_COMPACT) != 0 ||
              fputc('\n', o->json) == EOF;
    json_decref(line);
    return bad;
}

/* Everything in one kernel set; 0 when all went well. */
static int run_set(const struct options *o, const char *isa)
{
    int bad = 1;
    size_t largest = vector_bytes(o, 3);
    struct bench b = {0};
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.isa = isa;
    if (dml_ctx_create(&opts, &b.ctx) != DML_OK)
        return 1;
    b.x = aligned_alloc(64, largest);
    b.y = aligned_alloc(64, largest);
    b.z = aligned_alloc(64, largest);
    if (b.x == NULL || b.y == NULL || b.z == NULL) {
        fprintf(stderr, "dml-perf-kernels: no memory for 3 x %zu bytes\n", largest);
        goto out;
    }
    memset(b.x, 0, largest);
    memset(b.y, 0, largest);
    memset(b.z, 0, largest);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (o->kernel != NULL && strstr(kernels[i].name, o->kernel) == NULL)
            continue;
        for (int level = 0; level < 4; level++) {
            size_t bytes = vector_bytes(o, level);
            dml_param param = {
                .param = b.x, .grad = b.y, .count = bytes / sizeof(float)};
            if (dml_optim_create(b.ctx, DML_OPTIM_SGD, &param, 1, NULL, &b.sgd) != 0)
                goto out;
            struct result r = measure(&b, &kernels[i], bytes, o->blocks);
            dml_optim_destroy(b.sgd);
            if (report(o, isa, &kernels[i], level, bytes, r) != 0) {
                fprintf(stderr, "dml-perf-kernels: --json: cannot write\n");
                goto out;
            }
        }
    }
    bad = 0;
out:
    free(b.x);
    free(b.y);
    free(b.z);
    dml_ctx_destroy(b.ctx);
    return bad;
}

/* True if a context accepts this set on this processor. */
static bool usable(const char *isa)
{
    dml_ctx *ctx = NULL;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.isa = isa;
    opts.log_level = DML_LOG_ERROR;
    bool ok = dml_ctx_create(&opts, &ctx) == DML_OK;
    dml_ctx_destroy(ctx);
    return ok;
}

/* 0 when the program should go on, 1 to end well, 2 on a mistake. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"isa", required_argument, NULL, 'i'},
        {"kernel", required_argument, NULL, 'k'},
        {"blocks", required_argument, NULL, 'b'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    *o = (struct options){.blocks = 21, .memory_mib = 128};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 1;
        }
        if (c == 'i')
            o->isa = optarg;
        if (c == 'k')
            o->kernel = optarg;
        if (c == 'b')
            o->blocks = strtoul(optarg, NULL, 10);
        if (c == 'm')
            o->memory_mib = strtoul(optarg, NULL, 10);
        if (c == 'j' && (o->json = fopen(optarg, "w")) == NULL) {
            fprintf(stderr, "dml-perf-kernels: --json %s: cannot open it\n", optarg);
            return 2;
        }
        if (c == '?')
            return 2;
    }
    const char *fault = NULL;
    if (optind < argc)
        fault = argv[optind];
    else if (o->blocks < 1 || o->blocks > MAX_BLOCKS)
        fault = "--blocks must lie in 1 .. 1001";
    else if (o->memory_mib < 1 || o->memory_mib > 1 << 20)
        fault = "--memory must lie in 1 .. 1048576";
    if (fault != NULL)
        fprintf(stderr, "dml-perf-kernels: %s; see --help\n", fault);
    return fault != NULL ? 2 : 0;
}

int main(int argc, char **argv)
{
    struct options o;
    int stop = parse(argc, argv, &o);
    if (stop != 0)
        return stop == 1 ? 0 : 2;
    printf(
        "# libdml %s: kernels on one thread against a triad x = y + 3 z (f64)\n"
        "# bytes count as in STREAM: each operand once per use, no fill of a written\n"
        "# line; medians of %zu blocks, kernel and triad in turn, vectors aligned to\n"
        "# 64 bytes; KiB is the size of each of the three vectors\n",
        dml_version(), o.blocks);
    printf("%-7s %-18s %-6s %10s %9s %9s %6s\n", "set", "kernel", "level", "KiB",
           "GB/s", "triad", "ratio");
    static const char *const sets[] = {"c", "avx2", "avx512"};
    int bad = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets && bad == 0; i++) {
        if (o.isa != NULL ? strcmp(o.isa, sets[i]) == 0 : usable(sets[i]))
            bad = run_set(&o, sets[i]);
    }
    if (o.json != NULL && fclose(o.json) != 0)
        bad = 1;
    return bad;
}
