/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The codecs of lib/compress on one rank: the codes and the last residual add up to
 * what was put in, codes have the bytes that they should, odd vectors and texts are
 * handled or refused.
 *
 * DML_TEST_SEED=n repeats a run.
 */
#include "codec_fixture.h"

#include <locale.h>

/* ---- nothing is lost ---------------------------------------------------------------
 */

/* Relative to the magnitudes put in: one rounding of f32 each when a gradient meets its
 * residual, when a value is taken from it, and when codes are summed up. */
static const struct {
    const char *text;
    double tolerance;
    bool exact; /* with small whole numbers: nothing has to be rounded */
} kept[] = {
    {"f16", 1e-6, true},
    {"bf16", 1e-6, true},
    {"8bit", 1e-6, false},
    {"onebit", 1e-6, false},
    {"sign", 1e-6, false},
    {"topk:0.01", 1e-6, true},
    {"topk:0.3", 1e-6, true},
    {"topk:1", 1e-6, true},
    {"dgc:0.02,momentum=0", 1e-6, true},
    {"randomk:0.05", 1e-6, true},
    {"randomk:1", 1e-6, true},
    {"powersgd:1", 3e-6, false},
    {"powersgd:4", 3e-6, false},
};

static void add_up(const char *text, size_t count, size_t rows, enum look look,
                   double tolerance)
{
    enum { STEPS = 9 };
    dml_codec *codec = open_codec(text, count, rows);
    float *g = room(count), *decoded = room(count);
    double *put = calloc(3 * count + 1, sizeof *put), *got = put + count;
    double *size = got + count;
    for (int step = 0; step < STEPS; step++) {
        void *code = malloc(dml_codec_bytes(codec) + 1);
        look_like(g, count, look);
        assert_int_equal(dml_codec_encode(codec, g, code), DML_OK);
        assert_int_equal(dml_codec_decode(codec, code, 1, false, decoded), DML_OK);
        for (size_t i = 0; i < count; i++) {
            put[i] += (double)g[i];
            got[i] += (double)decoded[i];
            size[i] += fabs((double)g[i]);
        }
        free(code);
    }
    for (size_t first = 0; first < count; first += 1024) {
        const size_t end = first + 1024 < count ? first + 1024 : count;
        double most = 0;
        for (size_t i = first; i < end; i++)
            most = size[i] > most ? size[i] : most;
        for (size_t i = first; i < end; i++) {
            double sum = got[i] + (double)dml_codec_residual(codec)[i];
            if (fabs(sum - put[i]) > tolerance * (most + 0x1p-120))
                fail_msg("%s, %zu elements, look %d: element %zu: put in %.17g, came "
                         "out %.17g",
                         text, count, (int)look, i, put[i], sum);
        }
    }
    free(put);
    free(decoded);
    free(g);
    dml_codec_destroy(codec);
}

static void test_nothing_lost(void **unused)
{
    (void)unused;
    static const size_t shapes[][2] = {{0, 1},     {1, 1},     {2, 2},
                                       {7, 1},     {1000, 8},  {1024, 32},
                                       {1025, 25}, {5000, 50}, {140000, 70}};
    for (size_t k = 0; k < sizeof kept / sizeof *kept; k++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (enum look look = NORMAL; look < NLOOKS; look++) {
                bool exact = kept[k].exact && look == INTEGERS;
                add_up(kept[k].text, shapes[s][0], shapes[s][1], look,
                       exact ? 0 : kept[k].tolerance);
            }
}

/* Scale and add of every decoder, against its plain form. */
static void test_decode(void **unused)
{
    (void)unused;
    const size_t count = 2500;
    const char *const texts[] = {"f16",         "bf16",      "8bit",     "onebit",
                                 "sign",        "terngrad",  "topk:0.1", "dgc:0.1",
                                 "randomk:0.1", "powersgd:2"};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        dml_codec *codec = open_codec(texts[k], count, 50);
        dml_codec *like_it = open_codec(texts[k], count, 50);
        float *g = room(count), *plain = room(count), *added = room(count);
        void *code = malloc(dml_codec_bytes(codec));
        look_like(g, count, NORMAL);
        look_like(added, count, NORMAL);
        float *before = room(count);
        memcpy(before, added, count * sizeof *before);
        assert_int_equal(dml_codec_encode(codec, g, code), DML_OK);
        assert_int_equal(dml_codec_decode(codec, code, 1, false, plain), DML_OK);
        assert_int_equal(dml_codec_decode(codec, code, 0.5f, true, added), DML_OK);
        for (size_t i = 0; i < count; i++)
            assert_true(fabsf(added[i] - (before[i] + 0.5f * plain[i])) < 1e-6f);
        assert_int_equal(dml_codec_decode(like_it, code, 1, false, added), DML_OK);
        assert_memory_equal(added, plain, count * sizeof *plain);
        dml_codec_destroy(like_it);
        free(code);
        free(before);
        free(added);
        free(plain);
        free(g);
        dml_codec_destroy(codec);
    }
}

/* ---- bytes -------------------------------------------------------------------------
 */

static void test_bytes(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        size_t count, bytes;
        double ratio; /* at least */
    } codes[] = {
        {"f16", 1 << 20, 2 << 20, 2},
        {"bf16", 1001, 2002, 2},
        {"8bit", 1 << 20, 1024 * 1032, 3.9},
        {"8bit", 1025, 2 * 1032, 0},
        {"onebit", 1 << 20, 1024 * 136, 30},
        {"onebit", 1, 136, 0},
        {"sign", 1 << 20, 1024 * 132, 31},
        {"terngrad", 1 << 20, 1024 * 260, 15},
        {"topk:0.01", 1 << 20, 16 * 4 + 10486 * 6, 45},
        {"topk:0.001", 1 << 20, 16 * 4 + 1049 * 4 + 1050 * 2, 450},
        {"topk:0.01", 1, 4 + 4 + 4, 0},
        {"dgc:0.001", 1 << 20, 16 * 4 + 1049 * 4 + 1050 * 2, 450},
        {"randomk:0.01", 1 << 20, 10486 * 4, 99},
        {"powersgd:2", 1 << 20, (1024 + 1024) * 2 * 4, 255},
        {"f16", 0, 0, 0},
        {"onebit", 0, 0, 0},
        {"topk:0.5", 0, 0, 0},
        {"randomk:0.5", 0, 0, 0},
    };
    for (size_t k = 0; k < sizeof codes / sizeof *codes; k++) {
        dml_codec *codec = open_codec(codes[k].text, codes[k].count,
                                      codes[k].count == 1 << 20 ? 1024 : 1);
        if (dml_codec_bytes(codec) != codes[k].bytes)
            fail_msg("%s of %zu elements: %zu bytes, not %zu", codes[k].text,
                     codes[k].count, dml_codec_bytes(codec), codes[k].bytes);
        assert_true(4.0 * (double)codes[k].count >=
                    codes[k].ratio * (double)codes[k].bytes);
        dml_codec_destroy(codec);
    }
}

/* ---- errors ------------------------------------------------------------------------
 */

static void test_not_finite(void **unused)
{
    (void)unused;
    const size_t count = 3000;
    const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p100f, -0x1p120f};
    for (size_t k = 0; dml_codec_name(k) != NULL; k++)
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            char text[DML_CODEC_TEXT_MAX];
            usual_text(k, text);
            dml_codec *codec = open_codec(text, count, 30);
            float *g = room(count);
            void *code = malloc(dml_codec_bytes(codec));
            for (int step = 0; step < 4; step++) {
                look_like(g, count, NORMAL);
                if (step == 2)
                    g[count - 5 - b] = bad[b];
                dml_status status = dml_codec_encode(codec, g, code);
                if (status != (step == 2 ? DML_ENUMERIC : DML_OK))
                    fail_msg("%s: %g in step %d: %s", text, (double)g[count - 5 - b],
                             step, dml_status_str(status));
                const float *e = dml_codec_residual(codec);
                for (size_t i = 0; step == 2 && e != NULL && i < count; i++)
                    assert_true(e[i] == 0);
                for (size_t i = 0; e != NULL && i < count; i++)
                    assert_true(isfinite(e[i]));
            }
            free(code);
            free(g);
            dml_codec_destroy(codec);
        }
}

static const char *const good[] = {"none",
                                   "",
                                   "f16",
                                   "bf16,force",
                                   "8bit",
                                   "onebit,start=100",
                                   "sign",
                                   "terngrad",
                                   "terngrad:0",
                                   "terngrad:3.5,seed=9",
                                   "topk:1",
                                   "topk:1e-4,force",
                                   "dgc:0.001,momentum=0.8,clip=2,warmup=500,start=3",
                                   "randomk:0.5,seed=1",
                                   "powersgd:1",
                                   "powersgd:16,force"};
/* What is wrong, and what the message must speak of. */
static const char *const bad[][2] = {
    {"gzip", "gzip"},
    {"top", "use one of"},
    {" f16", "use one of"},
    {"topk", "needs its RATIO"},
    {"topk:", "RATIO"},
    {"topk:0", "from 1e-09 to 1"},
    {"topk:1.01", "1.01"},
    {"topk:-0.1", "-0.1"},
    {"topk:nan", "nan"},
    {"topk:1%", "1%"},
    {"topk:0.1x", "0.1x"},
    {"f16:3", "takes no number"},
    {"powersgd", "needs its RANK"},
    {"powersgd:0", "whole number"},
    {"powersgd:2.5", "whole number"},
    {"powersgd:17", "from 1 to 16"},
    {"terngrad:-1", "CLIP"},
    {"topk:0.1,momentum=0.9", "momentum"},
    {"dgc:0.1,momentum=1", "momentum"},
    {"dgc:0.1,momentum=", "momentum"},
    {"dgc:0.1,warmup=1.5", "whole number"},
    {"dgc:0.1,warmup=-1", "warmup"},
    {"dgc:0.1,", "unknown"},
    {"dgc:0.1,forced", "forced"},
    {"dgc:0.1,force=1", "force"},
    {"randomk:0.1,seed=one", "seed"},
    {"none,force", "none takes no"},
    {"none:1", "none takes no"},
};

static void test_texts(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (dml_codec_check(test_ctx, good[i]) != DML_OK)
            fail_msg("\"%s\" is refused", good[i]);
    assert_int_equal(dml_codec_check(test_ctx, NULL), DML_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dml_error error;
        if (dml_codec_check(test_ctx, bad[i][0]) != DML_EINVAL)
            fail_msg("\"%s\" is taken", bad[i][0]);
        dml_ctx_last_error(test_ctx, &error);
        if (strstr(error.text, bad[i][1]) == NULL)
            fail_msg("\"%s\": \"%s\" does not speak of %s", bad[i][0], error.text,
                     bad[i][1]);
    }
    char longest[300];
    memset(longest, 'x', sizeof longest);
    longest[299] = '\0';
    assert_int_equal(dml_codec_check(test_ctx, longest), DML_EINVAL);
}

/* A locale with a decimal comma: one that is there, or one made in a folder of its own.
 */
static bool use_comma(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE",
                                        "fr_FR.utf8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_NUMERIC, names[i]) != NULL)
            return localeconv()->decimal_point[0] == ',';
    char folder[] = "/tmp/dml-locale-XXXXXX", command[128];
    if (mkdtemp(folder) == NULL)
        return false;
    snprintf(command, sizeof command,
             "localedef -c -i de_DE -f UTF-8 %s/de_DE >/dev/null 2>&1", folder);
    bool made = system(command) == 0 && setenv("LOCPATH", folder, 1) == 0 &&
                setlocale(LC_NUMERIC, "de_DE") != NULL;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 && made && localeconv()->decimal_point[0] == ',';
}

/* The texts mean the same in a program that speaks German. */
static void test_locale(void **unused)
{
    (void)unused;
    if (!use_comma())
        skip();
    dml_status point = dml_codec_check(test_ctx, "topk:0.01");
    dml_status comma = dml_codec_check(test_ctx, "topk:0,01");
    setlocale(LC_NUMERIC, "C");
    assert_int_equal(point, DML_OK);
    assert_int_equal(comma, DML_EINVAL);
}

static void test_misuse(void **unused)
{
    (void)unused;
    dml_codec *codec = NULL;
    assert_int_equal(dml_codec_create(NULL, "f16", 1, 0, 0, &codec), DML_EINVAL);
    assert_int_equal(dml_codec_create(test_ctx, "f16", 1, 0, 0, NULL), DML_EINVAL);
    assert_int_equal(dml_codec_create(test_ctx, "none", 1, 0, 0, &codec), DML_EINVAL);
    assert_int_equal(dml_codec_create(test_ctx, "f17", 1, 0, 0, &codec), DML_EINVAL);
    assert_int_equal(dml_codec_create(test_ctx, "powersgd:2", 10, 0, 0, &codec),
                     DML_EINVAL);
    assert_int_equal(dml_codec_create(test_ctx, "powersgd:2", 10, 3, 0, &codec),
                     DML_EINVAL);
    assert_int_equal(dml_codec_create(test_ctx, "onebit", SIZE_MAX / 2, 0, 0, &codec),
                     DML_ENOMEM);
    assert_int_equal(dml_codec_create(test_ctx, "topk:0.1", SIZE_MAX / 4, 0, 0, &codec),
                     DML_ENOMEM);
    assert_null(codec);
    dml_codec_destroy(NULL);
    for (size_t k = 0; dml_codec_name(k) != NULL; k++)
        assert_true(strlen(dml_codec_description(k)) > 10);
    assert_null(dml_codec_description(1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_lost), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_bytes),        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_texts),        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_locale),
    };
    return cmocka_run_group_tests(tests, codec_open, codec_close);
}
