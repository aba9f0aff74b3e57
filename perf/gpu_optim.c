/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-gpu-optim: bytes per second of the optimizers' steps on a device, over many
 * tensors, beside a copy within the device in the same run.
 */
#include "gpu_bench.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TENSORS = 4096, APART = 128 };

static const char usage[] =
    "usage: dml-perf-gpu-optim [--optimizer NAME] [--params N] [--tensors N]\n"
    "                          [--dtype f32|bf16|f16] [--clip] [--rounds N]\n"
    "                          [--json FILE]\n"
    "Prints the time of a step by the device's events, GB/s of the bytes that must\n"
    "move, and their ratio to a copy within the device, as medians.\n"
    "  --optimizer NAME  sgd, adam, adamw, lars or lamb (default: all)\n"
    "  --params N        of all tensors together (default 350000000)\n"
    "  --tensors N       among which they are dealt out (default 300)\n"
    "  --dtype NAME      of parameters and gradients (default f32)\n"
    "  --clip            clip by global norm, which costs a sweep over the gradients\n"
    "  --rounds N        at most 1001 (default 31)\n"
    "  --json FILE       one object a line: optimizer tensors params dtype clip\n"
    "                    step_ms bytes_per_param gbs copy_gbs of_copy\n";

static const struct {
    const char *name;
    dml_optim_rule rule;
    size_t sweeps;   /* f32 vectors of w, m and v, and master copies: read or written */
    size_t grads;    /* times the gradient is read */
    bool sums_grads; /* clipping needs no more sweeps */
} optimizers[] = {
    {"sgd", DML_OPTIM_SGD, 4, 1, false},   /* w v, both ways */
    {"adam", DML_OPTIM_ADAM, 6, 1, false}, /* w m v, both ways */
    {"adamw", DML_OPTIM_ADAMW, 6, 1, false},
    {"lars", DML_OPTIM_LARS, 5, 2, true},  /* and w once more, for its norm */
    {"lamb", DML_OPTIM_LAMB, 9, 1, false}, /* w m v in, m v out; w m v in, w out */
};
enum { NOPTIMIZERS = sizeof optimizers / sizeof *optimizers };

struct options {
    const char *optimizer;
    size_t params, tensors, rounds;
    dml_dtype dtype;
    bool clip;
    FILE *json;
};

/* Sizes as nets have them: few large tensors, many small ones, none a round number.
 * Each begins where allocators let it, as its peer's do: at a multiple of APART
 * elements. */
static void deal(const struct options *o, dml_param *p, char *w, char *g)
{
    const size_t element = dml_dtype_bytes(o->dtype);
    size_t left = o->params, at = 0;
    for (size_t i = 0; i < o->tensors; i++) {
        const size_t even = left / (o->tensors - i);
        const size_t count = i + 1 == o->tensors ? left
                             : i % 3 == 0        ? 768 < even ? 768 : even
                                                 : (even + even / 3) | 1;
        p[i] = (dml_param){.param = w + at * element,
                           .grad = g + at * element,
                           .count = count < left ? count : left,
                           .dtype = o->dtype,
                           .grad_dtype = o->dtype,
                           .flags = dml_param_flags(i % 3 == 0 ? 1 : 2)};
        at += (p[i].count + APART - 1) / APART * APART;
        left -= p[i].count;
    }
}

static size_t bytes_per_param(const struct options *o, size_t index)
{
    size_t element = dml_dtype_bytes(o->dtype);
    size_t grads = optimizers[index].grads + (o->clip && !optimizers[index].sums_grads);
    size_t narrowed = o->dtype == DML_F32 ? 0 : element; /* the parameter, written */
    return optimizers[index].sweeps * sizeof(float) + grads * element + narrowed;
}

static int step(void *user, size_t round)
{
    (void)round;
    return dml_optim_step(user, 1e-4) != DML_OK;
}

static int report(const struct options *o, size_t index,
                  const struct gpu_bench_result *r)
{
    const char *name = optimizers[index].name, *dtype = dml_dtype_name(o->dtype);
    const int bytes = (int)bytes_per_param(o, index);
    printf("%-6s %7zu %7.1f %5s %5s %9.3f %4d %8.1f %8.1f %6.3f\n", name, o->tensors,
           (double)o->params * 1e-6, dtype, o->clip ? "clip" : "-", 1e3 * r->seconds,
           bytes, r->gbs, r->copy_gbs, r->of_copy);
    fflush(stdout);
    if (o->json == NULL)
        return 0;
    json_t *line = json_pack(
        "{ss sI sI ss sb sf si sf sf sf}", "optimizer", name, "tensors",
        (json_int_t)o->tensors, "params", (json_int_t)o->params, "dtype", dtype, "clip",
        o->clip, "step_ms", 1e3 * r->seconds, "bytes_per_param", bytes, "gbs", r->gbs,
        "copy_gbs", r->copy_gbs, "of_copy", r->of_copy);
    int bad = line == NULL || json_dumpf(line, o->json, JSON_COMPACT) != 0 ||
              fputc('\n', o->json) == EOF || fflush(o->json) != 0;
    json_decref(line);
    return bad;
}

static int run_optimizer(const struct options *o, struct gpu_bench *bench, size_t index,
                         const dml_param *params)
{
    const double bytes = (double)bytes_per_param(o, index) * (double)o->params;
    struct gpu_bench_result result;
    dml_optim *optim = NULL;
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, optimizers[index].rule);
    opts.clip_norm = o->clip ? 1 : 0;
    if (dml_optim_create(bench->ctx, optimizers[index].rule, params, o->tensors, &opts,
                         &optim) != DML_OK) {
        dml_error error;
        dml_ctx_last_error(bench->ctx, &error);
        fprintf(stderr, "%s: %s\n", error.where, error.text);
        return 1;
    }
    int bad =
        gpu_bench_measure(bench, step, optim, o->rounds, 1e-9 * bytes, &result) != 0;
    dml_optim_destroy(optim);
    return bad || report(o, index, &result) != 0;
}

static int run(const struct options *o, struct gpu_bench *bench)
{
    static dml_param params[MAX_TENSORS];
    const size_t room = o->params + o->tensors * APART;
    char *w = gpu_bench_vector(bench, o->dtype, room, 1);
    char *g = gpu_bench_vector(bench, o->dtype, room, 0.01f);
    int bad = w == NULL || g == NULL;
    if (!bad) {
        deal(o, params, w, g);
        printf("%-6s %7s %7s %5s %5s %9s %4s %8s %8s %6s\n", "rule", "tensors", "Mpar",
               "type", "clip", "step ms", "B/p", "GB/s", "copy", "ratio");
    }
    for (size_t i = 0; i < NOPTIMIZERS && !bad; i++)
        if (o->optimizer == NULL || strcmp(o->optimizer, optimizers[i].name) == 0)
            bad = run_optimizer(o, bench, i, params);
    dml_gpu_free(bench->ctx, w);
    dml_gpu_free(bench->ctx, g);
    return bad;
}

/* ---- the program -------------------------------------------------------------------
 */

static const char *fault_of(const struct options *o)
{
    bool known = o->optimizer == NULL;
    for (size_t i = 0; i < NOPTIMIZERS; i++)
        known |= o->optimizer != NULL && strcmp(o->optimizer, optimizers[i].name) == 0;
    if (!known)
        return "--optimizer must be sgd, adam, adamw, lars or lamb";
    if (o->rounds < 1 || o->rounds > GPU_BENCH_ROUNDS)
        return "--rounds must lie in 1 .. 1001";
    if (o->tensors < 1 || o->tensors > MAX_TENSORS)
        return "--tensors must lie in 1 .. 4096";
    if (o->params < 1 || o->params > (size_t)1 << 36)
        return "--params must lie in 1 .. 2^36";
    return NULL;
}

static const char *take(struct options *o, int c)
{
    if (c == 'o')
        o->optimizer = optarg;
    else if (c == 'c')
        o->clip = true;
    else if (c == 'p')
        o->params = strtoul(optarg, NULL, 10);
    else if (c == 't')
        o->tensors = strtoul(optarg, NULL, 10);
    else if (c == 'r')
        o->rounds = strtoul(optarg, NULL, 10);
    else if (c == 'j' && (o->json = fopen(optarg, "w")) == NULL)
        return "--json: cannot open the file";
    if (c != 'd')
        return NULL;
    for (o->dtype = 0; o->dtype < DML_NDTYPES; o->dtype++)
        if (strcmp(optarg, dml_dtype_name(o->dtype)) == 0 &&
            (o->dtype == DML_F32 || o->dtype == DML_F16 || o->dtype == DML_BF16))
            return NULL;
    return "--dtype must be f32, f16 or bf16";
}

/* 0 when the program should go on, 1 to end well, 2 on a mistake. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"optimizer", required_argument, NULL, 'o'},
        {"params", required_argument, NULL, 'p'},
        {"tensors", required_argument, NULL, 't'},
        {"dtype", required_argument, NULL, 'd'},
        {"clip", no_argument, NULL, 'c'},
        {"rounds", required_argument, NULL, 'r'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *fault = NULL;
    int c;
    *o = (struct options){.params = 350000000, .tensors = 300, .rounds = 31};
    while (fault == NULL && (c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 1;
        }
        if (c == '?')
            return 2;
        fault = take(o, c);
    }
    if (fault == NULL)
        fault = optind < argc ? "too many arguments" : fault_of(o);
    if (fault != NULL)
        fprintf(stderr, "dml-perf-gpu-optim: %s\n", fault);
    return fault != NULL ? 2 : 0;
}

int main(int argc, char **argv)
{
    struct options o;
    struct gpu_bench bench;
    const int end = parse(argc, argv, &o);
    if (end != 0)
        return end - 1;
    int bad = gpu_bench_open(&bench) != 0 || run(&o, &bench) != 0;
    gpu_bench_close(&bench);
    if (o.json != NULL && fclose(o.json) != 0)
        bad = 1;
    return bad;
}
