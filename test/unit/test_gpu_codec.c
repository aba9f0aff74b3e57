/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Codecs on a device against those on the host: codes, residuals and what is decoded,
 * bit for bit, and codes of one read by the other. On the fake device unless DML_GPU
 * says otherwise.
 */
#include "dml/compress.h"

#include "gpu_fixture.h"

enum look { NORMAL, ZERO, CONSTANT, DENORMAL, INTEGERS, MOSTLY_ZERO, ODD, NLOOKS };

static float look_value(enum look look)
{
    const float y = gpu_value(look == ODD);
    switch (look) {
    case ZERO:
        return 0;
    case CONSTANT:
        return 0.37f;
    case DENORMAL:
        return y * 0x1p-128f;
    case INTEGERS:
        return floorf(y * 9);
    case MOSTLY_ZERO:
        return gpu_random() % 500 == 0 ? y : 0;
    default:
        return y;
    }
}

/* The same codec twice. */
struct pair {
    size_t count, bytes;
    dml_codec *on_host, *on_device;
    float *g, *out, *seen;           /* [count] the host's */
    float *device_g, *device_out;    /* [count] */
    unsigned char *code, *seen_code; /* [bytes] the host's */
    void *device_code;               /* [bytes] */
};

static void open_pair(struct pair *p, const char *spec, size_t count, size_t rows)
{
    const size_t bytes = count * sizeof(float) + 64;
    *p = (struct pair){.count = count};
    assert_int_equal(dml_codec_create(gpu_ctx, spec, count, rows, 5, &p->on_host),
                     DML_OK);
    assert_int_equal(dml_codec_create(gpu_ctx, spec, count, rows, 5, &p->on_device),
                     DML_OK);
    p->bytes = dml_codec_bytes(p->on_host);
    assert_int_equal(dml_codec_bytes(p->on_device), p->bytes);
    p->g = malloc(bytes);
    p->out = calloc(1, bytes);
    p->seen = malloc(bytes);
    p->code = calloc(1, p->bytes + 8);
    p->seen_code = calloc(1, p->bytes + 8);
    p->device_g = gpu_new(bytes);
    p->device_out = gpu_new(bytes);
    p->device_code = gpu_new(p->bytes + 8);
    gpu_copy(p->device_out, p->out, count * sizeof(float));
}

static void close_pair(struct pair *p)
{
    dml_codec_destroy(p->on_host);
    dml_codec_destroy(p->on_device);
    gpu_delete(p->device_g);
    gpu_delete(p->device_out);
    gpu_delete(p->device_code);
    free(p->g);
    free(p->out);
    free(p->seen);
    free(p->code);
    free(p->seen_code);
}

static void expect_same_vector(struct pair *p, const float *device, const float *host,
                               const char *what)
{
    gpu_copy(p->seen, device, p->count * sizeof *p->seen);
    gpu_expect_same(p->seen, host, p->count, what);
}

/* Encodes and decodes the same on both; returns what the host says. */
static dml_status step(struct pair *p, enum look look, float spoilt, const char *what)
{
    for (size_t i = 0; i < p->count; i++)
        p->g[i] = look_value(look);
    if (spoilt != 0 && p->count > 0)
        p->g[p->count / 2] = spoilt;
    gpu_copy(p->device_g, p->g, p->count * sizeof *p->g);
    p->bytes = dml_codec_bytes(p->on_host); /* a warm-up shortens it */
    assert_int_equal(dml_codec_bytes(p->on_device), p->bytes);
    dml_status host = dml_codec_encode(p->on_host, p->g, p->code);
    dml_status queued = dml_codec_encode(p->on_device, p->device_g, p->device_code);
    dml_status device = queued == DML_OK ? dml_codec_wait(p->on_device) : queued;
    if (host != device)
        fail_msg("%s: %s, on the host %s", what, dml_status_name(device),
                 dml_status_name(host));
    if (dml_codec_residual(p->on_host) != NULL)
        expect_same_vector(p, dml_codec_residual(p->on_device),
                           dml_codec_residual(p->on_host), what);
    else
        assert_null(dml_codec_residual(p->on_device));
    if (host != DML_OK)
        return host;
    gpu_copy(p->seen_code, p->device_code, p->bytes);
    for (size_t i = 0; i < p->bytes; i++)
        if (p->seen_code[i] != p->code[i])
            fail_msg("%s, look %d: byte %zu of %zu of the code is %d, on the host %d",
                     what, (int)look, i, p->bytes, p->seen_code[i], p->code[i]);
    const bool add = gpu_random() % 2 == 0;
    assert_int_equal(dml_codec_decode(p->on_host, p->code, 0.3f, add, p->out), DML_OK);
    assert_int_equal(
        dml_codec_decode(p->on_device, p->device_code, 0.3f, add, p->device_out),
        DML_OK);
    expect_same_vector(p, p->device_out, p->out, what);
    return DML_OK;
}

static const size_t counts[] = {0, 1, 15, 16, 1000, 1023, 1024, 1025, 2048, 70001};
enum { NCOUNTS = sizeof counts / sizeof *counts };

static void vectors(const char *spec)
{
    for (size_t c = 0; c < NCOUNTS; c++)
        for (int look = 0; look < NLOOKS; look++) {
            struct pair p;
            char what[96];
            snprintf(what, sizeof what, "%s, %zu elements", spec, counts[c]);
            open_pair(&p, spec, counts[c], 0);
            for (int i = 0; i < 4; i++)
                assert_int_equal(step(&p, (enum look)look, 0, what), DML_OK);
            close_pair(&p);
        }
}

static void blocks_have_the_bits_of_the_host(void **state)
{
    (void)state;
    vectors("onebit");
    vectors("sign");
    vectors("8bit");
}

static void terngrad_has_the_bits_of_the_host(void **state)
{
    (void)state;
    vectors("terngrad");
    vectors("terngrad:0,seed=9");
}

static void random_k_has_the_bits_of_the_host(void **state)
{
    (void)state;
    vectors("randomk:0.01");
    vectors("randomk:0.3,seed=4");
}

static void casts_have_the_bits_of_the_host(void **state)
{
    (void)state;
    vectors("f16");
    vectors("bf16");
}

static void top_k_has_the_bits_of_the_host(void **state)
{
    (void)state;
    vectors("topk:0.01");
    vectors("topk:0.3");
    vectors("topk:1");
}

static void dgc_has_the_bits_of_the_host(void **state)
{
    (void)state;
    vectors("dgc:0.3,momentum=0.5,clip=0.7");
    vectors("dgc:0.02,warmup=3,clip=100");
}

/* Looks that follow each other put its limit far off, one way and the other. */
static void follow_a_gradient_that_changes(const char *spec, size_t count)
{
    static const enum look looks[] = {NORMAL, NORMAL, DENORMAL, CONSTANT, NORMAL, ZERO,
                                      ODD,    NORMAL, INTEGERS, CONSTANT, NORMAL};
    struct pair p;
    open_pair(&p, spec, count, 0);
    for (size_t i = 0; i < 3 * sizeof looks / sizeof *looks; i++)
        step(&p, looks[i % (sizeof looks / sizeof *looks)], 0, spec);
    close_pair(&p);
}

static void a_gradient_that_changes_is_followed(void **state)
{
    (void)state;
    follow_a_gradient_that_changes("topk:0.02", 200003);
    follow_a_gradient_that_changes("dgc:0.02,momentum=0.3", 70001);
    follow_a_gradient_that_changes("dgc:0.001,warmup=20,clip=3", 30011);
}

enum { BEHIND = 1 << 16 }; /* as far as an index of 16 bits goes */

static void read_no_code(struct pair *p, dml_codec *reader, size_t bytes)
{
    float *fence = calloc(BEHIND, sizeof *fence);
    float *out = gpu_new((p->count + BEHIND) * sizeof *out);
    gpu_copy(out + p->count, fence, BEHIND * sizeof *out);
    for (size_t i = 0; i < bytes; i++) /* 65,535 in the first segment */
        p->code[i] = i < 4 ? (i < 2 ? 255 : 0) : (unsigned char)gpu_random();
    gpu_copy(p->device_code, p->code, bytes);
    assert_int_equal(dml_codec_decode(reader, p->device_code, 1, false, out), DML_OK);
    gpu_copy(fence, out + p->count, BEHIND * sizeof *out);
    for (size_t i = 0; i < BEHIND; i++)
        assert_true(fence[i] == 0);
    gpu_delete(out);
    free(fence);
}

/* By a codec that makes none, from memory of the code's length; and bytes that are no
 * code stay within the vector, as on the host. */
static void codes_of_another_are_read(void **state)
{
    (void)state;
    static const char *const specs[] = {"topk:0.1", "dgc:0.01,warmup=5", "dgc:0.1",
                                        "randomk:0.1", "terngrad"};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++)
        for (size_t c = 4; c < NCOUNTS; c++) {
            struct pair p;
            dml_codec *reader = NULL;
            open_pair(&p, specs[s], counts[c], 0);
            assert_int_equal(
                dml_codec_create(gpu_ctx, specs[s], counts[c], 0, 5, &reader), DML_OK);
            const size_t longest = p.bytes;
            for (int i = 0; i < 7; i++) {
                step(&p, NORMAL, 0, specs[s]);
                assert_int_equal(dml_codec_decode(p.on_host, p.code, 2, false, p.out),
                                 DML_OK);
                assert_int_equal(
                    dml_codec_decode(reader, p.device_code, 2, false, p.device_out),
                    DML_OK);
                expect_same_vector(&p, p.device_out, p.out, specs[s]);
            }
            read_no_code(&p, reader, longest);
            dml_codec_destroy(reader);
            close_pair(&p);
        }
}

static void power_sgd_has_the_bits_of_the_host(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 1},  {3, 5},   {16, 16}, {33, 47},
                                       {64, 7}, {7, 300}, {301, 64}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int rank = 1; rank <= 8; rank += rank < 3 ? 1 : 5)
            for (int look = 0; look < NLOOKS; look++) {
                struct pair p;
                char spec[32];
                snprintf(spec, sizeof spec, "powersgd:%d", rank);
                open_pair(&p, spec, shapes[s][0] * shapes[s][1], shapes[s][0]);
                for (int i = 0; i < 4; i++)
                    step(&p, (enum look)look, 0, spec);
                close_pair(&p);
            }
}

static void gradients_that_are_not_finite_are_errors_and_forgotten(void **state)
{
    (void)state;
    static const char *const specs[] = {"onebit",      "sign",    "8bit", "topk:0.05",
                                        "powersgd:2",  "f16",     "bf16", "terngrad",
                                        "randomk:0.2", "dgc:0.05"};
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p100f};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++)
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            struct pair p;
            open_pair(&p, specs[s], 3000, 30);
            step(&p, NORMAL, 0, specs[s]);
            assert_int_equal(step(&p, NORMAL, bad[b], specs[s]), DML_ENUMERIC);
            assert_int_equal(step(&p, NORMAL, 0, specs[s]), DML_OK);
            assert_int_equal(step(&p, NORMAL, 0, specs[s]), DML_OK);
            close_pair(&p);
        }
}

/* Nobody waits between the codes: the one after the bad one begins without a residual.
 */
static void a_bad_code_is_reported_later(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, "onebit", 5000, 0);
    step(&p, NORMAL, 0, "before");
    p.g[7] = NAN;
    gpu_copy(p.device_g, p.g, p.count * sizeof *p.g);
    assert_int_equal(dml_codec_encode(p.on_host, p.g, p.code), DML_ENUMERIC);
    dml_status queued = dml_codec_encode(p.on_device, p.device_g, p.device_code);
    p.g[7] = 1;
    gpu_copy(p.device_g, p.g, p.count * sizeof *p.g);
    assert_int_equal(queued, DML_OK);
    queued = dml_codec_encode(p.on_device, p.device_g, p.device_code);
    assert_int_equal(queued, DML_ENUMERIC);
    dml_error error;
    dml_ctx_last_error(gpu_ctx, &error);
    assert_non_null(strstr(error.text, "gradient 2 of the codec onebit"));
    assert_int_equal(step(&p, NORMAL, 0, "after"), DML_OK);
    close_pair(&p);
}

/* Neither way may take it for the host's. */
static void memory_of_another_device_is_an_error(void **state)
{
    (void)state;
    int count = 0, device = 0;
    dml_ctx *other = NULL;
    dml_codec *codec = NULL;
    void *memory = NULL;
    unsigned char code[256] = {0};
    assert_int_equal(dml_gpu_count(gpu_ctx, &count), DML_OK);
    if (count < 2)
        skip();
    setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1", 1); /* it takes the next one */
    assert_int_equal(dml_ctx_create(NULL, &other), DML_OK);
    unsetenv("OMPI_COMM_WORLD_LOCAL_RANK");
    assert_int_equal(dml_gpu_alloc(other, 400, &memory), DML_OK);
    assert_int_equal(dml_gpu_device(other, &device), DML_OK);
    assert_int_equal(device, 1);
    assert_int_equal(dml_codec_create(gpu_ctx, "onebit", 100, 0, 1, &codec), DML_OK);
    assert_true(dml_codec_bytes(codec) <= sizeof code);
    assert_int_equal(dml_codec_encode(codec, memory, code), DML_EINVAL);
    assert_int_equal(dml_codec_decode(codec, code, 1, false, memory), DML_EINVAL);
    dml_codec_destroy(codec);
    assert_int_equal(dml_gpu_free(other, memory), DML_OK);
    dml_ctx_destroy(other);
}

int main(void)
{
    gpu_skip_without_device();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_of_another_device_is_an_error),
        cmocka_unit_test(blocks_have_the_bits_of_the_host),
        cmocka_unit_test(terngrad_has_the_bits_of_the_host),
        cmocka_unit_test(random_k_has_the_bits_of_the_host),
        cmocka_unit_test(casts_have_the_bits_of_the_host),
        cmocka_unit_test(top_k_has_the_bits_of_the_host),
        cmocka_unit_test(dgc_has_the_bits_of_the_host),
        cmocka_unit_test(a_gradient_that_changes_is_followed),
        cmocka_unit_test(codes_of_another_are_read),
        cmocka_unit_test(power_sgd_has_the_bits_of_the_host),
        cmocka_unit_test(gradients_that_are_not_finite_are_errors_and_forgotten),
        cmocka_unit_test(a_bad_code_is_reported_later),
    };
    return cmocka_run_group_tests(tests, gpu_open, gpu_close);
}
