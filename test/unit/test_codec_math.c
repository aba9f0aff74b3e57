/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each codec promises: definitions written here one element at a time, and for
 * those that draw lots, statistics. The seed of the statistics is fixed and printed;
 * bounds are five standard deviations, which chance exceeds once in two million times.
 *
 * DML_TEST_SEED=n repeats a run with other vectors.
 */
#include "codec_fixture.h"

static void *encode(dml_codec *codec, const float *g)
{
    void *code = malloc(dml_codec_bytes(codec) + 1);
    assert_int_equal(dml_codec_encode(codec, g, code), DML_OK);
    return code;
}

/* Encodes and decodes at once. */
static void send(dml_codec *codec, const float *g, float *decoded)
{
    void *code = encode(codec, g);
    assert_int_equal(dml_codec_decode(codec, code, 1, false, decoded), DML_OK);
    free(code);
}

/* ---- blocks ------------------------------------------------------------------------
 */

static void test_onebit(void **unused)
{
    (void)unused;
    enum { N = 2500 };
    float g[N], decoded[N];
    look_like(g, N, NORMAL);
    for (int i = 0; i < 1024; i++)
        g[i] = fabsf(g[i]); /* an empty side */
    for (int sign = 0; sign < 2; sign++) {
        dml_codec *codec = open_codec(sign ? "sign" : "onebit", N, 0);
        send(codec, g, decoded);
        for (int first = 0; first < N; first += 1024) {
            int end = first + 1024 < N ? first + 1024 : N;
            double sum[2] = {0};
            int count[2] = {0};
            for (int i = first; i < end; i++) {
                sum[g[i] >= 0] += (double)g[i];
                count[g[i] >= 0]++;
            }
            double both = (sum[1] - sum[0]) / (end - first);
            for (int i = first; i < end; i++) {
                int side = g[i] >= 0;
                double mean = sum[side] / count[side];
                if (sign)
                    mean = side ? both : -both;
                assert_true(fabs((double)decoded[i] - mean) < 1e-6);
            }
        }
        dml_codec_destroy(codec);
    }
}

/* At most half a step off: a step is 1/255 of the block's range. */
static void test_levels(void **unused)
{
    (void)unused;
    enum { N = 3000 };
    float g[N], decoded[N];
    look_like(g, N, NORMAL);
    g[5] = 2;
    dml_codec *codec = open_codec("8bit", N, 0);
    send(codec, g, decoded);
    for (int first = 0; first < N; first += 1024) {
        int end = first + 1024 < N ? first + 1024 : N;
        float low = end - first < 1024 ? 0 : g[first], high = low;
        for (int i = first; i < end; i++) {
            low = fminf(low, g[i]);
            high = fmaxf(high, g[i]);
        }
        for (int i = first; i < end; i++)
            assert_true(fabsf(decoded[i] - g[i]) <= 0.5001f * (high - low) / 255);
    }
    dml_codec_destroy(codec);
}

/* Mean of many draws, and that each is -s, 0 or s. */
static void test_terngrad(void **unused)
{
    (void)unused;
    enum { N = 1030, DRAWS = 20000 };
    static float g[N], decoded[N];
    static double sum[N];
    printf("terngrad draws with seed 77\n");
    look_like(g, N, NORMAL);
    g[0] = 0;
    g[1] = -0.9f;
    g[N - 1] = 0.25f;
    dml_codec *codec = open_codec("terngrad:0,seed=77", N, 0);
    for (int d = 0; d < DRAWS; d++) {
        send(codec, g, decoded);
        for (int i = 0; i < N; i++)
            sum[i] += (double)decoded[i];
    }
    for (int first = 0; first < N; first += 1024) {
        int end = first + 1024 < N ? first + 1024 : N;
        double s = 0;
        for (int i = first; i < end; i++)
            s = fmax(s, fabs((double)g[i]));
        for (int i = first; i < end; i++) {
            double p = fabs((double)g[i]) / s, x = fabs((double)decoded[i]);
            double bound = 5 * s * sqrt(p * (1 - p) / DRAWS) + 1e-6;
            assert_true(x == 0 || fabs(x - s) < 1e-6);
            if (fabs(sum[i] / DRAWS - (double)g[i]) > bound)
                fail_msg("element %d: %g in the mean of %d draws, wanted %g +- %g", i,
                         sum[i] / DRAWS, DRAWS, (double)g[i], bound);
        }
    }
    dml_codec_destroy(codec);
}

/* Clipping: nothing is larger than CLIP standard deviations. */
static void test_clip(void **unused)
{
    (void)unused;
    enum { N = 1024 };
    float g[N], decoded[N];
    double squares = 0;
    look_like(g, N, NORMAL);
    g[100] = 40;
    for (int i = 0; i < N; i++)
        squares += (double)g[i] * (double)g[i];
    double s = 2.5 * sqrt(squares / N);
    dml_codec *codec = open_codec("terngrad", N, 0);
    send(codec, g, decoded);
    assert_true(fabs((double)decoded[100] - s) < 1e-5 * s);
    dml_codec_destroy(codec);
}

/* ---- picked elements ---------------------------------------------------------------
 */

/* Every element has the same chance; chi-square over all of them. */
static void test_randomk(void **unused)
{
    (void)unused;
    enum { N = 1003, STEPS = 5000 };
    float g[N], decoded[N];
    double times[N] = {0}, chi = 0;
    printf("randomk draws with seed 5\n");
    dml_codec *codec = open_codec("randomk:0.03,seed=5", N, 0);
    for (int i = 0; i < N; i++)
        g[i] = 1;
    for (int step = 0; step < STEPS; step++) {
        int sent = 0;
        send(codec, g, decoded);
        for (int i = 0; i < N; i++) {
            times[i] += decoded[i] > 0;
            sent += decoded[i] > 0;
        }
        assert_int_equal(sent, 31);
    }
    double expected = 31.0 * STEPS / N;
    for (int i = 0; i < N; i++)
        chi += (times[i] - expected) * (times[i] - expected) / expected;
    /* N - 1 degrees of freedom: mean N - 1, variance below 2 (N - 1). */
    if (chi > N + 5 * sqrt(2.0 * N))
        fail_msg("chi-square %g of %d degrees of freedom", chi, N - 1);
    dml_codec_destroy(codec);
}

static int by_magnitude(const void *a, const void *b)
{
    float x = fabsf(*(const float *)a), y = fabsf(*(const float *)b);
    return (x < y) - (x > y);
}

/* No element that waits is larger than one that is sent, and as good as all slots are
 * used, however the vectors change from step to step. */
static void test_topk(void **unused)
{
    (void)unused;
    enum { N = 150000 };
    static const enum look looks[] = {NORMAL, NORMAL,      NORMAL, NORMAL,   ZERO,
                                      NORMAL, MOSTLY_ZERO, NORMAL, CONSTANT, NORMAL,
                                      NORMAL, DENORMAL,    NORMAL};
    const char *const texts[] = {"topk:0.001", "topk:0.01", "topk:0.3"};
    const size_t slots[] = {150, 1500, 45000};
    float *g = room(N), *decoded = room(N), *p = room(N);
    for (size_t t = 0; t < 3; t++) {
        dml_codec *codec = open_codec(texts[t], N, 0);
        for (size_t step = 0; step < sizeof looks / sizeof *looks; step++) {
            size_t sent = 0;
            float least = INFINITY, waits = 0;
            look_like(g, N, looks[step]);
            for (int i = 0; i < N; i++)
                g[i] *= step % 3 == 1 ? 100 : 1;
            for (int i = 0; i < N; i++)
                p[i] = g[i] + dml_codec_residual(codec)[i];
            send(codec, g, decoded);
            for (int i = 0; i < N; i++) {
                if (decoded[i] != 0) {
                    assert_true(decoded[i] == p[i]);
                    sent++;
                    least = fminf(least, fabsf(p[i]));
                } else {
                    waits = fmaxf(waits, fabsf(p[i]));
                }
            }
            qsort(p, N, sizeof *p, by_magnitude);
            if (sent > slots[t] || (sent < slots[t] * 4 / 5 && waits > 0))
                fail_msg("%s, step %zu: %zu sent of %zu", texts[t], step, sent,
                         slots[t]);
            if (least < waits)
                fail_msg("%s, step %zu: %g is sent, %g waits", texts[t], step,
                         (double)least, (double)waits);
        }
        dml_codec_destroy(codec);
    }
    free(p);
    free(decoded);
    free(g);
}

/* Among equal elements all have their turn. */
static void test_turns(void **unused)
{
    (void)unused;
    enum { N = 1000, STEPS = 200 };
    float g[N], decoded[N];
    int last[N];
    memset(last, 0, sizeof last);
    look_like(g, N, CONSTANT);
    dml_codec *codec = open_codec("topk:0.05", N, 0);
    for (int step = 1; step <= STEPS; step++) {
        send(codec, g, decoded);
        for (int i = 0; i < N; i++) {
            last[i] = decoded[i] != 0 ? step : last[i];
            if (step - last[i] > 60)
                fail_msg("element %d waits since step %d", i, last[i]);
        }
    }
    dml_codec_destroy(codec);
}

/* ---- dgc ---------------------------------------------------------------------------
 */

/* Velocity, masking, clipping and warm-up as in the paper, one element at a time. */
static void test_dgc(void **unused)
{
    (void)unused;
    enum { N = 5000, STEPS = 12 };
    static float g[N], decoded[N];
    static double u[N], v[N];
    const double ratio = 0.01, clip = 5, m = 0.7;
    const size_t warm = 5;
    dml_codec *codec = open_codec("dgc:0.01,momentum=0.7,clip=5,warmup=5", N, 0);
    for (size_t step = 0; step < STEPS; step++) {
        double stage = step < warm ? (double)(step * 5 / warm + 1) / 5 : 1;
        size_t slots = (size_t)ceil(pow(ratio, stage) * N), sent = 0;
        assert_int_equal(dml_codec_bytes(codec),
                         4 + 4 * slots + 2 * (slots + slots % 2));
        look_like(g, N, NORMAL);
        double squares = 0;
        for (int i = 0; i < N; i++)
            squares += (double)g[i] * (double)g[i];
        double factor = fmin(1, clip / sqrt(squares));
        send(codec, g, decoded);
        for (int i = 0; i < N; i++) {
            u[i] = m * u[i] + factor * (double)g[i];
            v[i] += u[i];
            double out = (double)decoded[i];
            assert_true(out == 0 || fabs(out - v[i]) < 1e-5);
            sent += decoded[i] != 0;
            v[i] = decoded[i] != 0 ? 0 : v[i];
            u[i] = decoded[i] != 0 ? 0 : u[i];
            assert_true(fabs((double)dml_codec_residual(codec)[i] - v[i]) < 1e-5);
        }
        assert_true(sent <= slots && sent >= slots * 4 / 5);
    }
    dml_codec_destroy(codec);
}

/* ---- powersgd ----------------------------------------------------------------------
 */

/* rows x cols of rank r. */
static void low_rank(float *x, size_t rows, size_t cols, size_t r)
{
    float left[64], right[64];
    memset(x, 0, rows * cols * sizeof *x);
    for (size_t k = 0; k < r; k++) {
        look_like(left, rows, NORMAL);
        look_like(right, cols, NORMAL);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < cols; j++)
                x[i * cols + j] += left[i] * right[j];
    }
}

static double norm(const float *x, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    return sqrt(squares);
}

/* A matrix of the codec's rank, also a full one, is sent whole; of others the residual
 * stays bounded; zeros first do not spoil it. */
static void test_powersgd(void **unused)
{
    (void)unused;
    enum { ROWS = 40, COLS = 55, N = ROWS * COLS };
    static float g[N], decoded[N];
    for (size_t rank = 1; rank <= 5; rank++) {
        char text[32];
        snprintf(text, sizeof text, "powersgd:%zu", rank);
        dml_codec *codec = open_codec(text, N, ROWS);
        memset(g, 0, sizeof g);
        send(codec, g, decoded);
        assert_true(norm(decoded, N) == 0);
        low_rank(g, ROWS, COLS, rank);
        send(codec, g, decoded);
        if (norm(dml_codec_residual(codec), N) > 1e-4 * norm(g, N))
            fail_msg("rank %zu: %g of %g is left", rank,
                     norm(dml_codec_residual(codec), N), norm(g, N));
        low_rank(g, ROWS, COLS, 12);
        for (int step = 0; step < 60; step++)
            send(codec, g, decoded);
        assert_true(norm(dml_codec_residual(codec), N) < 60 * norm(g, N));
        dml_codec_destroy(codec);
    }
    look_like(g, 4 * 300, NORMAL);
    dml_codec *codec = open_codec("powersgd:8", 4 * 300, 4);
    send(codec, g, decoded);
    for (int i = 0; i < 4 * 300; i++)
        assert_true(fabsf(decoded[i] - g[i]) < 1e-5f);
    dml_codec_destroy(codec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onebit),   cmocka_unit_test(test_levels),
        cmocka_unit_test(test_terngrad), cmocka_unit_test(test_clip),
        cmocka_unit_test(test_randomk),  cmocka_unit_test(test_topk),
        cmocka_unit_test(test_turns),    cmocka_unit_test(test_dgc),
        cmocka_unit_test(test_powersgd),
    };
    return cmocka_run_group_tests(tests, codec_open, codec_close);
}
