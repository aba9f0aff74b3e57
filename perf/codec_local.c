/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Speed of the codecs on one core beside that of memory: of plain loops that move the
 * same bytes in the same way, measured in the same run, in turn with the codecs, on
 * vectors of the same length.
 *
 * Encoding reads gradient and residual and writes the residual, as y += a x does; dgc
 * reads and writes a velocity too (and x *= a); TernGrad has no residual, but its
 * scales are shared before it encodes, so it reads the gradient twice (two sums of
 * squares); PowerSGD needs one factor before the other and both before the residual (y
 * += a x, a sum of squares, x *= a). Decoding writes the vector (a fill), or adds to it
 * (x *= a; of which the sparse codes touch a part only: above 100 % says no more than
 * that). The codes' own bytes come on top.
 */
#include "codec.h"
#include "median.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENCODE, DECODE, ADD, NWAYS };
enum { AXPY, FILL, SCALE, READ, NLOOPS };

/* Steps before those that are timed, in which residuals come to rest. Every step has a
 * gradient of its own: one long vector, begun SHIFT elements later each time. */
enum { WARM_UP = 12, SHIFT = 4112 };

struct timing {
    double codec_s[NWAYS][CODEC_MOST_TIMES], loop_s[NLOOPS][CODEC_MOST_TIMES];
};

static const double loop_bytes[NLOOPS] = {12, 4, 8, 4};

/* How often each loop's bytes are moved. */
static const struct pattern {
    const char *codec; /* whose name begins so; the last stands for the others */
    int loops[NLOOPS];
} encoders[] = {
    {"dgc", {1, 0, 1, 0}},
    {"terngrad", {0, 0, 0, 2}},
    {"powersgd", {1, 0, 1, 1}},
    {"", {1, 0, 0, 0}},
};
static const struct pattern decoder = {"", {0, 1, 0, 0}}, adder = {"", {0, 0, 1, 0}};

struct vectors {
    float *gradients, *other;
    unsigned char *code;
};

static void time_limits(const struct codec_options *o, const struct vectors *v, int at,
                        struct timing *t)
{
    double begin_s = MPI_Wtime();
    dml_vec_axpy(o->ctx, o->count, 0.5f, v->gradients, v->other);
    t->loop_s[AXPY][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    memset(v->other, at, o->count * sizeof *v->other);
    t->loop_s[FILL][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    dml_vec_scale(o->ctx, o->count, 0.5f, v->other);
    t->loop_s[SCALE][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    o->sink[0] = dml_vec_sumsq(o->ctx, o->count, v->gradients);
    t->loop_s[READ][at] = MPI_Wtime() - begin_s;
}

static void time_codec(const struct codec_options *o, const struct vectors *v, int step,
                       dml_codec *codec, struct timing *t)
{
    const float *gradient = v->gradients + (size_t)step * SHIFT;
    const int at = step < WARM_UP ? 0 : step - WARM_UP;
    double begin_s = MPI_Wtime();
    codec_need(o, "encode", dml_codec_encode(codec, gradient, v->code));
    t->codec_s[ENCODE][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    codec_need(o, "decode", dml_codec_decode(codec, v->code, 1, false, v->other));
    t->codec_s[DECODE][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    codec_need(o, "decode", dml_codec_decode(codec, v->code, 0.5f, true, v->other));
    t->codec_s[ADD][at] = MPI_Wtime() - begin_s;
}

/* The time that stands for all of them; sorts them. */
static double typical(const struct codec_options *o, double *times_s)
{
    const double median_s = perf_median(times_s, (size_t)o->repeats);
    return o->fastest ? times_s[0] : median_s;
}

static void report(const struct codec_options *o, const char *text, size_t code_bytes,
                   struct timing *t, FILE *json)
{
    static const char *const names[NWAYS] = {"encode", "decode", "add"};
    const struct pattern *patterns[NWAYS] = {encoders, &decoder, &adder};
    const double n = (double)o->count, code = (double)code_bytes;
    double speed[NWAYS], limit[NWAYS], loop_s[NLOOPS];
    for (int loop = 0; loop < NLOOPS; loop++)
        loop_s[loop] = typical(o, t->loop_s[loop]);
    while (strncmp(text, patterns[ENCODE]->codec, strlen(patterns[ENCODE]->codec)) != 0)
        patterns[ENCODE]++;
    printf("%-14s %8.2f", text, 4 * n / code);
    for (int way = 0; way < NWAYS; way++) {
        double bytes = 0, seconds = 0;
        for (int loop = 0; loop < NLOOPS; loop++) {
            bytes += patterns[way]->loops[loop] * loop_bytes[loop] * n;
            seconds += patterns[way]->loops[loop] * loop_s[loop];
        }
        speed[way] = (bytes + code) / typical(o, t->codec_s[way]) * 1e-9;
        limit[way] = bytes / seconds * 1e-9;
        printf("  %7.2f of %6.2f %4.0f %%", speed[way], limit[way],
               100 * speed[way] / limit[way]);
    }
    printf("\n");
    fflush(stdout);
    if (json == NULL)
        return;
    json_t *line = json_pack("{s:s, s:I, s:I, s:f, s:s}", "codec", text, "bytes",
                             (json_int_t)(o->count * sizeof(float)), "code_bytes",
                             (json_int_t)code_bytes, "wire_ratio", 4 * n / code, "isa",
                             dml_ctx_isa(o->ctx));
    for (int way = 0; way < NWAYS; way++) {
        char key[32];
        snprintf(key, sizeof key, "%s_gbs", names[way]);
        json_object_set_new(line, key, json_real(speed[way]));
        snprintf(key, sizeof key, "%s_limit_gbs", names[way]);
        json_object_set_new(line, key, json_real(limit[way]));
    }
    json_dumpf(line, json, JSON_COMPACT);
    fputc('\n', json);
    json_decref(line);
}

void codec_local(const struct codec_options *o)
{
    const size_t longest = o->count + (size_t)(WARM_UP + o->repeats) * SHIFT;
    struct vectors v = {codec_alloc(longest * sizeof *v.gradients),
                        codec_alloc(o->count * sizeof *v.other), NULL};
    struct timing *t = codec_alloc(sizeof *t);
    FILE *json = o->json != NULL ? fopen(o->json, "w") : NULL;
    char text[DML_CODEC_TEXT_MAX];
    codec_fill(v.gradients, longest, 1);
    printf("# %zu elements, kernels %s, %s of %d; GB/s of bytes that must move\n"
           "%-14s %8s  %-25s  %-25s  %-25s\n",
           o->count, dml_ctx_isa(o->ctx), o->fastest ? "minima" : "medians", o->repeats,
           "codec", "ratio", "encode of the limit", "decode", "decode and add");
    for (const char *list = o->codecs; codec_next(&list, text) > 0;) {
        dml_codec *codec = NULL;
        codec_need(o, text,
                   dml_codec_create(o->ctx, text, o->count, o->rows, 0, &codec));
        size_t code_bytes = dml_codec_bytes(codec);
        v.code = codec_alloc(code_bytes);
        for (int i = 0; i < WARM_UP; i++)
            time_codec(o, &v, i, codec, t);
        for (int i = 0; i < o->repeats; i++) {
            time_limits(o, &v, i, t);
            time_codec(o, &v, WARM_UP + i, codec, t);
        }
        report(o, text, code_bytes, t, json);
        free(v.code);
        dml_codec_destroy(codec);
    }
    if (json != NULL)
        fclose(json);
    free(t);
    free(v.other);
    free(v.gradients);
}
