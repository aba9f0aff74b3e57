/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Speed of the codecs on one core, in bytes that must move: encoding reads gradient and
 * residual and writes the residual (12 bytes an element; dgc reads and writes a
 * velocity too: 20; TernGrad has no residual, but its scales are shared before it
 * encodes, so it reads the gradient twice: 8; PowerSGD needs one factor before the
 * other and both before the residual, so it reads that twice more and writes it once
 * more: 24), and writes the code; decoding reads the code and writes the vector (4) or
 * adds to it (8, of which the sparse codes touch a part only: above 100 % says no more
 * than that). The limits are measured in the same run, in turn with the codecs, on
 * vectors of the same length: y += a x (12 bytes an element) beside encoding, filling
 * (4) beside decoding, x *= a (8) beside adding.
 */
#include "codec.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENCODE, DECODE, ADD, NWAYS };

/* Encoded in turn, so that residuals come to rest as in training; steps until they do.
 */
enum { GRADIENTS = 3, WARM_UP = 12 };

struct timing {
    double codec_s[NWAYS][CODEC_MOST_TIMES], limit_s[NWAYS][CODEC_MOST_TIMES];
};

static const double limit_bytes[NWAYS] = {12, 4, 8};

struct vectors {
    float *gradient[GRADIENTS], *other;
    unsigned char *code;
};

static void time_limits(const struct codec_options *o, const struct vectors *v, int at,
                        struct timing *t)
{
    double begin_s = MPI_Wtime();
    dml_vec_axpy(o->ctx, o->count, 0.5f, v->gradient[0], v->other);
    t->limit_s[ENCODE][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    memset(v->other, at, o->count * sizeof *v->other);
    t->limit_s[DECODE][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    dml_vec_scale(o->ctx, o->count, 0.5f, v->other);
    t->limit_s[ADD][at] = MPI_Wtime() - begin_s;
}

static void time_codec(const struct codec_options *o, const struct vectors *v, int at,
                       dml_codec *codec, struct timing *t)
{
    double begin_s = MPI_Wtime();
    codec_need(o, "encode",
               dml_codec_encode(codec, v->gradient[at % GRADIENTS], v->code));
    t->codec_s[ENCODE][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    dml_codec_decode(codec, v->code, 1, false, v->other);
    t->codec_s[DECODE][at] = MPI_Wtime() - begin_s;
    begin_s = MPI_Wtime();
    dml_codec_decode(codec, v->code, 0.5f, true, v->other);
    t->codec_s[ADD][at] = MPI_Wtime() - begin_s;
}

static void report(const struct codec_options *o, const char *text, size_t code_bytes,
                   struct timing *t, FILE *json)
{
    const double n = (double)o->count, code = (double)code_bytes;
    double moved[NWAYS] = {12 * n + code, 4 * n + code, 8 * n + code};
    if (strncmp(text, "terngrad", 8) == 0)
        moved[ENCODE] = 8 * n + code;
    else if (strncmp(text, "dgc", 3) == 0)
        moved[ENCODE] = 20 * n + code;
    else if (strncmp(text, "powersgd", 8) == 0)
        moved[ENCODE] = 24 * n + code;
    static const char *const names[NWAYS] = {"encode", "decode", "add"};
    double speed[NWAYS], limit[NWAYS];
    printf("%-14s %8.2f", text, 4 * n / code);
    for (int way = 0; way < NWAYS; way++) {
        speed[way] = moved[way] / codec_median(t->codec_s[way], o->repeats) * 1e-9;
        limit[way] =
            limit_bytes[way] * n / codec_median(t->limit_s[way], o->repeats) * 1e-9;
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
    struct vectors v = {.other = codec_alloc(o->count * sizeof *v.other)};
    struct timing *t = codec_alloc(sizeof *t);
    FILE *json = o->json != NULL ? fopen(o->json, "w") : NULL;
    char text[DML_CODEC_TEXT_MAX];
    for (uint32_t i = 0; i < GRADIENTS; i++) {
        v.gradient[i] = codec_alloc(o->count * sizeof **v.gradient);
        codec_fill(v.gradient[i], o->count, i + 1);
    }
    printf("# %zu elements, kernels %s, medians of %d; GB/s of bytes that must move\n"
           "%-14s %8s  %-25s  %-25s  %-25s\n",
           o->count, dml_ctx_isa(o->ctx), o->repeats, "codec", "ratio",
           "encode of y += a x", "decode of filling", "decode, add of x *= a");
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
            time_codec(o, &v, i, codec, t);
        }
        report(o, text, code_bytes, t, json);
        free(v.code);
        dml_codec_destroy(codec);
    }
    if (json != NULL)
        fclose(json);
    free(t);
    free(v.other);
    for (int i = 0; i < GRADIENTS; i++)
        free(v.gradient[i]);
}
