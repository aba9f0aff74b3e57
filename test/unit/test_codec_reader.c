/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codes that are read by a codec that has made none: of another one, and bytes that are
 * no code. AddressSanitizer sees what lies outside.
 *
 * DML_TEST_SEED=n repeats a run.
 */
#include "codec_fixture.h"

/* A codec that only reads has the same numbers from code to code, also while a warm-up
 * makes them shorter, and each in memory of its own length. */
static void test_reader(void **unused)
{
    (void)unused;
    static const char *const texts[] = {
        "f16",         "bf16",      "8bit",      "onebit",
        "sign",        "terngrad",  "topk:0.1",  "dgc:0.01,warmup=5",
        "dgc:0.1",     "topk:1",    "dgc:1",     "dgc:0.3,warmup=11,clip=1",
        "randomk:0.1", "randomk:1", "powersgd:2"};
    static const size_t shapes[][2] = {{0, 1},      {1, 1},     {7, 7},
                                       {10000, 50}, {65537, 1}, {140000, 70}};
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const size_t count = shapes[s][0];
            dml_codec *codec = open_codec(texts[k], count, shapes[s][1]);
            dml_codec *reader = open_codec(texts[k], count, shapes[s][1]);
            float *g = room(count), *own = room(count), *read = malloc(4 * count + 1);
            for (int step = 0; step < 13; step++) {
                void *code = malloc(dml_codec_bytes(codec) + 1);
                look_like(g, count, step == 3 ? ZERO : NORMAL);
                assert_int_equal(dml_codec_encode(codec, g, code), DML_OK);
                assert_int_equal(dml_codec_decode(codec, code, 1, false, own), DML_OK);
                assert_int_equal(dml_codec_decode(reader, code, 1, false, read),
                                 DML_OK);
                if (memcmp(read, own, count * sizeof *own) != 0)
                    fail_msg("%s, %zu elements: code %d reads otherwise", texts[k],
                             count, step + 1);
                free(code);
            }
            free(read);
            free(own);
            free(g);
            dml_codec_destroy(reader);
            dml_codec_destroy(codec);
        }
}

/* Bytes that are no code stay within the vector, and within the longest code. */
static void test_no_code(void **unused)
{
    (void)unused;
    static const char *const more[] = {"dgc:0.01,warmup=5", "topk:1", "randomk:1"};
    static const size_t shapes[][2] = {{1, 1}, {1000, 10}, {65536, 64}, {65600, 82}};
    size_t nkinds = 0;
    while (dml_codec_name(nkinds) != NULL)
        nkinds++;
    for (size_t k = 0; k < nkinds + 3; k++) {
        char text[DML_CODEC_TEXT_MAX];
        if (k < nkinds)
            usual_text(k, text);
        else
            snprintf(text, sizeof text, "%s", more[k - nkinds]);
        for (size_t s = 0; s < 4 * sizeof shapes / sizeof *shapes; s++) {
            const size_t count = shapes[s / 4][0];
            dml_codec *codec = open_codec(text, count, shapes[s / 4][1]);
            const size_t bytes = dml_codec_bytes(codec);
            unsigned char *code = malloc(bytes);
            float *dst = malloc(count * sizeof *dst);
            for (size_t i = 0; i < bytes; i++)
                code[i] = s % 4 == 0 ? 0xff : (unsigned char)next_random();
            for (size_t i = 0; s % 4 == 2 && i < 4 && i < bytes; i++)
                code[i] = i < 2 ? 0xff : 0; /* 65,535 in the first segment */
            for (size_t i = 0; s % 4 == 3 && i < 4 && i < bytes; i++)
                code[i] = i == 0; /* one */
            assert_int_equal(dml_codec_decode(codec, code, 1, false, dst), DML_OK);
            free(dst);
            free(code);
            dml_codec_destroy(codec);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_no_code),
    };
    return cmocka_run_group_tests(tests, codec_open, codec_close);
}
