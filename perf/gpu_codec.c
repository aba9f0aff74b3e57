/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-perf-gpu-codec: bytes per second of the codecs on a device, with error feedback,
 * beside a copy within the device in the same run.
 */
#include "gpu_bench.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: dml-perf-gpu-codec [--codec TEXT] [--count N] [--rounds N] [--json FILE]\n"
    "Prints the time to encode and to decode a gradient, GB/s of the bytes that must\n"
    "move, and their ratio to a copy within the device, as medians. Gradients rotate.\n"
    "  --codec TEXT  as in dml/compress.h (default: one after the other f16, bf16,\n"
    "                8bit, onebit, sign, terngrad, topk:0.01, topk:0.001, dgc:0.01,\n"
    "                randomk:0.01 and powersgd:4)\n"
    "  --count N     elements, of which powersgd makes rows of 4096 (default "
    "67108864)\n"
    "  --rounds N    at most 1001 (default 31)\n"
    "  --json FILE   one object a line: codec part count ms bytes gbs copy_gbs "
    "of_copy\n";

/* Times 4 bytes an element, beside the code: gradient and residual in, residual out.
 * dgc has a velocity too; PowerSGD also reads the residual for its right factor, and
 * reads and writes it for the product; TernGrad has none, and reads the gradient twice.
 */
static const struct {
    const char *text;
    double vectors;
} codecs[] = {
    {"f16", 3},      {"bf16", 3},         {"8bit", 3},       {"onebit", 3},
    {"sign", 3},     {"terngrad", 2},     {"topk:0.01", 3},  {"topk:0.001", 3},
    {"dgc:0.01", 5}, {"randomk:0.01", 3}, {"powersgd:4", 6},
};

enum { GRADIENTS = 3, COLUMNS = 4096 };

struct options {
    const char *codec;
    size_t count, rounds;
    FILE *json;
};

struct run {
    dml_codec *codec;
    float *gradients[GRADIENTS], *out;
    void *code;
};

static int encode(void *user, size_t round)
{
    struct run *r = user;
    return dml_codec_encode(r->codec, r->gradients[round % GRADIENTS], r->code) !=
           DML_OK;
}

static int decode(void *user, size_t round)
{
    struct run *r = user;
    (void)round;
    return dml_codec_decode(r->codec, r->code, 1, false, r->out) != DML_OK;
}

static double vectors_of(const char *text)
{
    const size_t name = strcspn(text, ":,");
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (strcspn(codecs[i].text, ":") == name &&
            strncmp(codecs[i].text, text, name) == 0)
            return codecs[i].vectors;
    return 3;
}

static double bytes_of(const struct options *o, const char *text, size_t code,
                       bool encodes)
{
    const double vector = 4.0 * (double)o->count;
    if (!encodes)
        return vector + (double)code;
    return vectors_of(text) * vector + (double)code;
}

static int report(const struct options *o, const char *text, bool encodes, double bytes,
                  const struct gpu_bench_result *r)
{
    const char *part = encodes ? "encode" : "decode";
    printf("%-12s %-6s %10zu %9.3f %8.1f %8.1f %6.3f\n", text, part, o->count,
           1e3 * r->seconds, r->gbs, r->copy_gbs, r->of_copy);
    fflush(stdout);
    if (o->json == NULL)
        return 0;
    json_t *line =
        json_pack("{ss ss sI sf sf sf sf sf}", "codec", text, "part", part, "count",
                  (json_int_t)o->count, "ms", 1e3 * r->seconds, "bytes", bytes, "gbs",
                  r->gbs, "copy_gbs", r->copy_gbs, "of_copy", r->of_copy);
    int bad = line == NULL || json_dumpf(line, o->json, JSON_COMPACT) != 0 ||
              fputc('\n', o->json) == EOF || fflush(o->json) != 0;
    json_decref(line);
    return bad;
}

static int run_codec(const struct options *o, struct gpu_bench *bench, struct run *r,
                     const char *text)
{
    const size_t rows = o->count % COLUMNS == 0 ? o->count / COLUMNS : 1;
    int bad = 0;
    if (dml_codec_create(bench->ctx, text, o->count, rows, 1, &r->codec) != DML_OK) {
        fprintf(stderr, "dml-perf-gpu-codec: no codec %s\n", text);
        return 1;
    }
    const size_t code = dml_codec_bytes(r->codec);
    bad = dml_gpu_alloc(bench->ctx, code, &r->code) != DML_OK;
    for (int encodes = 1; encodes >= 0 && !bad; encodes--) {
        struct gpu_bench_result result;
        const double bytes = bytes_of(o, text, code, encodes != 0);
        bad = gpu_bench_measure(bench, encodes ? encode : decode, r, o->rounds,
                                1e-9 * bytes, &result) != 0 ||
              report(o, text, encodes != 0, bytes, &result) != 0;
    }
    dml_gpu_free(bench->ctx, r->code);
    dml_codec_destroy(r->codec);
    return bad;
}

static int run_all(const struct options *o, struct gpu_bench *bench)
{
    struct run r = {.out = gpu_bench_vector(bench, DML_F32, o->count, 1)};
    int bad = r.out == NULL;
    for (int i = 0; i < GRADIENTS; i++) {
        r.gradients[i] =
            gpu_bench_vector(bench, DML_F32, o->count, 1.0f / (float)(1 + i));
        bad |= r.gradients[i] == NULL;
    }
    printf("%-12s %-6s %10s %9s %8s %8s %6s\n", "codec", "part", "count", "ms", "GB/s",
           "copy", "ratio");
    if (o->codec != NULL && !bad)
        bad = run_codec(o, bench, &r, o->codec);
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs && o->codec == NULL && !bad;
         i++)
        bad = run_codec(o, bench, &r, codecs[i].text);
    for (int i = 0; i < GRADIENTS; i++)
        dml_gpu_free(bench->ctx, r.gradients[i]);
    dml_gpu_free(bench->ctx, r.out);
    return bad;
}

/* ---- the program -------------------------------------------------------------------
 */

/* 0 when the program should go on, 1 to end well, 2 on a mistake. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option known[] = {
        {"codec", required_argument, NULL, 'c'},
        {"count", required_argument, NULL, 'n'},
        {"rounds", required_argument, NULL, 'r'},
        {"json", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    *o = (struct options){.count = (size_t)1 << 26, .rounds = 31};
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 1;
        } else if (c == 'c') {
            o->codec = optarg;
        } else if (c == 'n') {
            o->count = strtoul(optarg, NULL, 10);
        } else if (c == 'r') {
            o->rounds = strtoul(optarg, NULL, 10);
        } else if (c == '?' || (o->json = fopen(optarg, "w")) == NULL) {
            return 2;
        }
    }
    if (optind < argc || o->count < 1 || o->count > UINT32_MAX || o->rounds < 1 ||
        o->rounds > GPU_BENCH_ROUNDS) {
        fprintf(stderr, "dml-perf-gpu-codec: --count must lie in 1 .. 2^32 - 1, "
                        "--rounds in 1 .. 1001\n");
        return 2;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options o;
    struct gpu_bench bench;
    const int end = parse(argc, argv, &o);
    if (end != 0)
        return end - 1;
    int bad = gpu_bench_open(&bench) != 0 || run_all(&o, &bench) != 0;
    gpu_bench_close(&bench);
    if (o.json != NULL && fclose(o.json) != 0)
        bad = 1;
    return bad;
}
