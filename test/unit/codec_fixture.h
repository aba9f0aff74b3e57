/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of lib/compress share: a context, random vectors of several looks.
 */
#ifndef CODEC_FIXTURE_H
#define CODEC_FIXTURE_H

#include "dml/compress.h"

#include "unit.h"

#include <cmocka.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dml_ctx *test_ctx;
static uint64_t test_state;

enum look { NORMAL, ZERO, CONSTANT, DENORMAL, INTEGERS, MOSTLY_ZERO, NLOOKS };

static inline void quiet(void *user, dml_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static inline int codec_open(void **unused)
{
    (void)unused;
    const char *seed = getenv("DML_TEST_SEED");
    test_state = seed != NULL ? strtoull(seed, NULL, 10) : 20261121;
    printf("seed %" PRIu64 "\n", test_state);
    dml_ctx_opts opts;
    dml_ctx_opts_init(&opts);
    opts.log = quiet;
    return dml_ctx_create(&opts, &test_ctx) != DML_OK;
}

static inline int codec_close(void **unused)
{
    (void)unused;
    dml_ctx_destroy(test_ctx);
    return 0;
}

static inline uint64_t next_random(void)
{
    uint64_t z = test_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void look_like(float *x, size_t count, enum look look)
{
    for (size_t i = 0; i < count; i++) {
        double y = (double)(next_random() >> 11) * 0x1p-52 - 1;
        switch (look) {
        case ZERO:
            y = 0;
            break;
        case CONSTANT:
            y = 0.37;
            break;
        case DENORMAL:
            y *= 0x1p-128;
            break;
        case INTEGERS:
            y = floor(y * 9);
            break;
        case MOSTLY_ZERO:
            y = next_random() % 500 == 0 ? y : 0;
            break;
        default:
            y = y * y * y;
            break;
        }
        x[i] = (float)y;
    }
}

static inline float *room(size_t count)
{
    float *memory = calloc(count + 1, sizeof *memory);
    assert_non_null(memory);
    return memory;
}

/* rows is for powersgd; others are given none. */
static inline dml_codec *open_codec(const char *text, size_t count, size_t rows)
{
    dml_codec *codec = NULL;
    if (strncmp(text, "powersgd", 8) != 0)
        rows = 0;
    assert_int_equal(dml_codec_create(test_ctx, text, count, rows, 1, &codec), DML_OK);
    return codec;
}

/* A text of the codec number "index". */
static inline void usual_text(size_t index, char text[DML_CODEC_TEXT_MAX])
{
    const char *name = dml_codec_name(index);
    const char *number = strcmp(name, "powersgd") == 0 ? ":2"
                         : strstr(name, "k") != NULL || strcmp(name, "dgc") == 0
                             ? ":0.1"
                             : "";
    snprintf(text, DML_CODEC_TEXT_MAX, "%s%s", name, number);
}

#endif
