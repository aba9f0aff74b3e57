/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-optim: bytes per second of the optimizers' steps over many parameters,
 * beside the limit of the memory: a STREAM triad (McCalpin 1995), and the same loop in
 * place, which writes no line that it has not read, as an optimizer does.
 *
 * A step and the limits are timed in turn, so that all meet the same state of a shared
 * machine; medians, and medians of the rounds' ratios, are printed.
 */
#include "dml/dml.h"

#include "limit.h"
#include "median.h"

#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROUNDS = 1001, MAX_TENSORS = 256 };

static const char usage[] =
    "usage: dml-perf-optim [--optimizer NAME] [--tensors one|bert] [--threads LIST]\n"
    "                      [--params N] [--dtype f32|bf16|f16] [--clip] [--isa NAME]\n"
    "                      [--rounds N] [--json FILE]\n"
    "Prints the time of an optimizer's step and GB/s of the bytes that must move,\n"
    "beside a triad and an update in place, measured in the same run.\n"
    "  --optimizer NAME  sgd, adam, adamw, lars or lamb (default: all)\n"
    "  --tensors one     one tensor of N parameters\n"
    "            bert    the 199 tensors of BERT-base, 109.5 M (default: both)\n"
    "  --threads LIST    for example 1,2 (default 1)\n"
    "  --params N        of the one tensor (default 100000000)\n"
    "  --dtype NAME      of parameters and gradients; with f16 and bf16 the optimizer\n"
    "                    has f32 master copies (default f32)\n"
    "  --clip            clip by global norm, which costs a sweep over the gradients\n"
    "  --isa NAME        kernel set: c, avx2 or avx512 (default: the best one)\n"
    "  --rounds N        at most 1001 (default 7)\n"
    "  --json FILE       one object a line: optimizer tensors params threads dtype "
    "clip\n"
    "                    isa step_ms bytes_per_param gbs triad_gbs in_place_gbs\n"
    "                    of_triad of_in_place\n";

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
    const char *optimizer, *tensors, *isa;
    int threads[8], nthreads;
    size_t params, rounds;
    dml_dtype dtype;
    bool clip;
    FILE *json;
};

/* ---- tensors -----------------------------------------------------------------------
 */

static size_t bert_layer(dml_param *p)
{
    static const size_t counts[] = {
        589824,  768,  589824,  768, 589824, 768, 589824, 768, /* query to output */
        768,     768,                                          /* norm */
        2359296, 3072, 2359296, 768,                           /* feed forward */
        768,     768,                                          /* norm */
    };
    enum { N = sizeof counts / sizeof *counts };
    for (size_t i = 0; i < N; i++)
        p[i] = (dml_param){.count = counts[i],
                           .flags = dml_param_flags(counts[i] > 3072 ? 2 : 1)};
    return N;
}

/* The tensors without their memory; returns their number, *count their elements. */
static size_t shapes(const struct options *o, bool bert, dml_param *p, size_t *count)
{
    size_t n = 0;
    if (bert) {
        static const size_t embedding[] = {30522 * 768, 512 * 768, 2 * 768, 768, 768};
        for (; n < 5; n++)
            p[n] = (dml_param){.count = embedding[n],
                               .flags = dml_param_flags(n < 3 ? 2 : 1)};
        for (int layer = 0; layer < 12; layer++)
            n += bert_layer(p + n);
        p[n++] = (dml_param){.count = 589824};
        p[n++] = (dml_param){.count = 768, .flags = dml_param_flags(1)};
    } else {
        p[n++] = (dml_param){.count = o->params};
    }
    *count = 0;
    for (size_t i = 0; i < n; i++)
        *count += p[i].count;
    return n;
}

/* Values in [-1, 1) times scale; for 16-bit types positive ones below 1, whose squares
 * are far from denormal. */
static void fill(void *to, dml_dtype dtype, size_t count, float scale)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (dtype == DML_F32)
            ((float *)to)[i] = ((float)(seed >> 8) / 0x1p23f - 1) * scale;
        else
            ((uint16_t *)to)[i] = (uint16_t)(0x3000u + (seed >> 21));
    }
}

/* ---- measuring ---------------------------------------------------------------------
 */

struct result {
    double step_s, gbs, triad_gbs, in_place_gbs, of_triad, of_in_place;
};

struct bench {
    dml_ctx *ctx;
    dml_param params[MAX_TENSORS];
    size_t nparams, count;
    struct limit limit;
};

/* 0 when all went well. gigabytes: moved by a step. */
static int measure(struct bench *b, dml_optim *optim, int threads, size_t rounds,
                   double gigabytes, struct result *r)
{
    static double step[MAX_ROUNDS], triads[MAX_ROUNDS], places[MAX_ROUNDS],
        of_triad[MAX_ROUNDS], of_place[MAX_ROUNDS];
    const struct limit *limit = &b->limit;
    for (size_t i = 0; i <= rounds; i++) {
        double t = limit_triad(limit, threads), u = limit_in_place(limit, threads);
        double start = now_s();
        if (dml_optim_step(optim, 1e-4) != DML_OK)
            return 1;
        double took = now_s() - start;
        if (i == 0) /* warm-up: first touch of the state */
            continue;
        t = (t + limit_triad(limit, threads)) / 2; /* before and after the step */
        u = (u + limit_in_place(limit, threads)) / 2;
        step[i - 1] = took;
        triads[i - 1] = t;
        places[i - 1] = u;
        of_triad[i - 1] = gigabytes / took / t;
        of_place[i - 1] = gigabytes / took / u;
    }
    r->step_s = perf_median(step, rounds);
    r->gbs = gigabytes / r->step_s;
    r->triad_gbs = perf_median(triads, rounds);
    r->in_place_gbs = perf_median(places, rounds);
    r->of_triad = perf_median(of_triad, rounds);
    r->of_in_place = perf_median(of_place, rounds);
    return 0;
}

static size_t bytes_per_param(const struct options *o, size_t index)
{
    size_t element = dml_dtype_bytes(o->dtype);
    size_t grads = optimizers[index].grads + (o->clip && !optimizers[index].sums_grads);
    size_t narrowed = o->dtype == DML_F32 ? 0 : element; /* the parameter, written */
    return optimizers[index].sweeps * sizeof(float) + grads * element + narrowed;
}

static int report(const struct options *o, struct bench *b, size_t index,
                  const char *tensors, int threads, struct result r)
{
    const char *name = optimizers[index].name, *dtype = dml_dtype_name(o->dtype);
    int bytes = (int)bytes_per_param(o, index);
    printf("%-6s %-5s %7.1f %4d %5s %5s %8.1f %4d %7.1f %7.1f %8.1f %7.2f %8.2f\n",
           name, tensors, (double)b->count * 1e-6, threads, dtype,
           o->clip ? "clip" : "-", 1e3 * r.step_s, bytes, r.gbs, r.triad_gbs,
           r.in_place_gbs, r.of_triad, r.of_in_place);
    fflush(stdout);
    if (o->json == NULL)
        return 0;
    json_t *line =
        json_pack("{ss ss sI si ss sb ss sf si sf sf sf sf sf}", "optimizer", name,
                  "tensors", tensors, "params", (json_int_t)b->count, "threads",
                  threads, "dtype", dtype, "clip", o->clip, "isa", dml_ctx_isa(b->ctx),
                  "step_ms", 1e3 * r.step_s, "bytes_per_param", bytes, "gbs", r.gbs,
                  "triad_gbs", r.triad_gbs, "in_place_gbs", r.in_place_gbs, "of_triad",
                  r.of_triad, "of_in_place", r.of_in_place);
    int bad = line == NULL || json_dumpf(line, o->json, JSON_COMPACT) != 0 ||
              fputc('\n', o->json) == EOF;
    json_decref(line);
    return bad;
}

static int run_optimizer(const struct options *o, struct bench *b, size_t index,
                         const char *tensors)
{
    double gigabytes = 1e-9 * (double)(bytes_per_param(o, index) * b->count);
    for (int i = 0; i < o->nthreads; i++) {
        dml_optim_opts opts;
        dml_optim_opts_init(&opts, optimizers[index].rule);
        opts.threads = o->threads[i];
        opts.clip_norm = o->clip ? 1 : 0;
        dml_optim *optim = NULL;
        struct result r;
        if (dml_optim_create(b->ctx, optimizers[index].rule, b->params, b->nparams,
                             &opts, &optim) != DML_OK)
            return 1;
        int bad = measure(b, optim, o->threads[i], o->rounds, gigabytes, &r);
        dml_optim_destroy(optim);
        if (bad || report(o, b, index, tensors, o->threads[i], r) != 0)
            return 1;
    }
    return 0;
}

static int run_tensors(const struct options *o, struct bench *b, bool bert)
{
    size_t element = dml_dtype_bytes(o->dtype), at = 0;
    const char *tensors = bert ? "bert" : "one";
    int bad = 1;
    b->nparams = shapes(o, bert, b->params, &b->count);
    char *w = limit_alloc(b->count * element), *g = limit_alloc(b->count * element);
    if (w == NULL || g == NULL)
        goto out;
    fill(w, o->dtype, b->count, 1);
    fill(g, o->dtype, b->count, 0.01f);
    for (size_t i = 0; i < b->nparams; at += b->params[i++].count * element) {
        dml_param *p = &b->params[i];
        p->param = w + at;
        p->grad = g + at;
        p->dtype = p->grad_dtype = o->dtype;
    }
    bad = 0;
    for (size_t i = 0; i < NOPTIMIZERS && !bad; i++)
        if (o->optimizer == NULL || strcmp(o->optimizer, optimizers[i].name) == 0)
            bad = run_optimizer(o, b, i, tensors);
out:
    free(w);
    free(g);
    return bad;
}

/* ---- the program -------------------------------------------------------------------
 */

/* "1,2" into o->threads; false if it is no such list. */
static bool parse_threads(struct options *o, const char *list)
{
    o->nthreads = 0;
    for (const char *at = list;; at++) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 1 || n > 64 || o->nthreads == 8)
            return false;
        o->threads[o->nthreads++] = (int)n;
        if (*end != ',')
            return *end == '\0';
        at = end;
    }
}

static const char *fault_of(const struct options *o)
{
    bool known = o->optimizer == NULL;
    for (size_t i = 0; i < NOPTIMIZERS; i++)
        known |= o->optimizer != NULL && strcmp(o->optimizer, optimizers[i].name) == 0;
    if (!known)
        return "--optimizer must be sgd, adam, adamw, lars or lamb";
    if (o->tensors != NULL && strcmp(o->tensors, "one") != 0 &&
        strcmp(o->tensors, "bert") != 0)
        return "--tensors must be one or bert";
    if (o->rounds < 1 || o->rounds > MAX_ROUNDS)
        return "--rounds must lie in 1 .. 1001";
    if (o->params < 1 || o->params > (size_t)1 << 36)
        return "--params must lie in 1 .. 2^36";
    return NULL;
}

static const char *take(struct options *o, int c)
{
    if (c == 'o')
        o->optimizer = optarg;
    else if (c == 't')
        o->tensors = optarg;
    else if (c == 'i')
        o->isa = optarg;
    else if (c == 'c')
        o->clip = true;
    else if (c == 'p')
        o->params = strtoul(optarg, NULL, 10);
    else if (c == 'r')
        o->rounds = strtoul(optarg, NULL, 10);
    else if (c == 'T' && !parse_threads(o, optarg))
        return "--threads takes a list such as 1,2, each in 1 .. 64";
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
        {"tensors", required_argument, NULL, 't'},
        {"threads", required_argument, NULL, 'T'},
        {"params", required_argument, NULL, 'p'},
        {"dtype", required_argument, NULL, 'd'},
        {"clip", no_argument, NULL, 'c'},
        {"isa", required_argument, NULL, 'i'},
        {"rounds", required_argument, NULL, 'r'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    *o = (struct options){
        .threads = {1}, .nthreads = 1, .params = 100000000, .rounds = 7};
    const char *fault = NULL;
    for (int c;
         fault == NULL && (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 1;
        }
        if (c == '?')
            return 2;
        fault = take(o, c);
    }
    if (fault == NULL)
        fault = optind < argc ? argv[optind] : fault_of(o);
    if (fault != NULL)
        fprintf(stderr, "dml-perf-optim: %s; see --help\n", fault);
    return fault != NULL ? 2 : 0;
}

int main(int argc, char **argv)
{
    enum { LIMIT_COUNT = 16 << 20 }; /* 128 MiB a vector */
    struct options o;
    static struct bench b;
    int stop = parse(argc, argv, &o), bad = 1;
    if (stop != 0)
        return stop == 1 ? 0 : 2;
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    if (o.isa != NULL)
        opts.isa = o.isa;
    if (dml_ctx_create(&opts, &b.ctx) != DML_OK || limit_open(&b.limit, LIMIT_COUNT)) {
        fprintf(stderr, "dml-perf-optim: no such kernel set, or no memory\n");
        goto out;
    }
    printf(
        "# libdml %s, kernels %s: steps against a triad x = y + 3 z (f64) and an\n"
        "# update in place x = x + 3 y, on as many threads, three vectors of 128 MiB;\n"
        "# B: bytes that must move for a parameter; GB/s: those over the step's time;\n"
        "# medians of %zu rounds, limits before and after each step\n",
        dml_version(), dml_ctx_isa(b.ctx), o.rounds);
    printf("%-6s %-5s %7s %4s %5s %5s %8s %4s %7s %7s %8s %7s %8s\n", "rule", "size",
           "Mparams", "thr", "dtype", "clip", "step ms", "B", "GB/s", "triad",
           "in place", "/triad", "/in place");
    bad = 0;
    if (o.tensors == NULL || strcmp(o.tensors, "one") == 0)
        bad = run_tensors(&o, &b, false);
    if (!bad && (o.tensors == NULL || strcmp(o.tensors, "bert") == 0))
        bad = run_tensors(&o, &b, true);
    if (bad)
        fprintf(stderr, "dml-perf-optim: a step failed, or memory or output did\n");
out:
    if (o.json != NULL && fclose(o.json) != 0)
        bad = 1;
    limit_close(&b.limit);
    dml_ctx_destroy(b.ctx);
    return bad;
}
