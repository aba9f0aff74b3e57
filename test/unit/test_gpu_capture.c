/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steps of optimizers and codes captured in a graph: replayed N times they are N steps.
 * And what may not be done meanwhile. On the fake device unless DML_GPU says otherwise.
 */
#include "dml/compress.h"

#include "gpu/gpu.h"
#include "gpu_optim_fixture.h"

enum { REPLAYS = 4, CODES = 3079 };

static const struct dml__gpu *gpu(void)
{
    return dml__gpu_opened(gpu_ctx);
}

static dml_gpu_stream new_stream(void)
{
    dml_gpu_stream stream = NULL;
    assert_int_equal(dml_gpu_stream_create(gpu_ctx, &stream), DML_OK);
    return stream;
}

static void begin(dml_gpu_stream stream)
{
    bool captured = false;
    assert_int_equal(dml_gpu_capture_begin(gpu_ctx, stream), DML_OK);
    assert_int_equal(dml__gpu_enter(gpu()), DML_OK);
    assert_int_equal(gpu()->ops->stream_captured(gpu(), stream, &captured), DML_OK);
    assert_true(captured);
    dml__gpu_leave(gpu());
}

static dml_gpu_graph end(dml_gpu_stream stream)
{
    dml_gpu_graph graph = NULL;
    dml_error error = {.text = ""};
    dml_status status = dml_gpu_capture_end(gpu_ctx, stream, &graph);
    dml_ctx_last_error(gpu_ctx, &error);
    if (status != DML_OK)
        fail_msg("the capture failed: %s", error.text);
    return graph;
}

static void replay(dml_gpu_graph graph, dml_gpu_stream stream)
{
    assert_int_equal(dml_gpu_graph_launch(gpu_ctx, graph, stream), DML_OK);
    assert_int_equal(dml_gpu_stream_sync(gpu_ctx, stream), DML_OK);
}

static void destroy(dml_gpu_graph graph)
{
    assert_int_equal(dml_gpu_graph_free(gpu_ctx, graph), DML_OK);
}

/* ---- optimizers --------------------------------------------------------------------
 */

static const size_t counts[] = {5, 0, 1024, 1, 33, 1025, 3079};

/* The first step of all is the one that is captured. */
static void steps_of(dml_optim_rule rule, bool clipped)
{
    char what[64];
    dml_optim_opts opts;
    dml_optim_opts_init(&opts, rule);
    opts.clip_norm = clipped ? 0.5 : 0;
    opts.loss_scale = clipped ? 128 : 0;
    snprintf(what, sizeof what, "rule %d, clipped %d", (int)rule, clipped);
    struct pair *p =
        make(counts, sizeof counts / sizeof *counts, DML_F32, DML_F32, false);
    open_pair(p, rule, &opts);
    dml_gpu_stream stream = new_stream();
    assert_int_equal(dml_optim_set_stream(p->on_device, stream), DML_OK);
    begin(stream);
    assert_int_equal(dml_optim_step(p->on_device, 0.1), DML_OK);
    dml_gpu_graph graph = end(stream);
    expect_same(p, what); /* captured is not done */
    for (int i = 0; i < REPLAYS; i++) {
        new_grads(p, false);
        assert_int_equal(dml_optim_step(p->on_host, 0.1), DML_OK);
        replay(graph, stream);
        expect_same(p, what);
    }
    assert_int_equal(dml_optim_wait(p->on_device), DML_OK);
    expect_same_info(p);
    destroy(graph);
    close_pair(p);
    assert_int_equal(dml_gpu_stream_destroy(gpu_ctx, stream), DML_OK);
}

static void replayed_steps_are_steps(void **state)
{
    static const dml_optim_rule rules[] = {DML_OPTIM_SGD, DML_OPTIM_ADAMW,
                                           DML_OPTIM_LARS, DML_OPTIM_LAMB,
                                           DML_OPTIM_ADAGRAD};
    (void)state;
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (int clipped = 0; clipped < 2; clipped++)
            steps_of(rules[r], clipped != 0);
}

/* ---- codecs ------------------------------------------------------------------------
 */

static void new_vector(float *host, float *device)
{
    for (size_t i = 0; i < CODES; i++)
        host[i] = gpu_value(false);
    gpu_copy(device, host, CODES * sizeof *host);
}

static void codes_of(const char *spec)
{
    dml_codec *on_host = NULL, *on_device = NULL;
    static float g[CODES], seen[CODES], wanted[CODES];
    assert_int_equal(dml_codec_create(gpu_ctx, spec, CODES, 1, 5, &on_host), DML_OK);
    assert_int_equal(dml_codec_create(gpu_ctx, spec, CODES, 1, 5, &on_device), DML_OK);
    const size_t bytes = dml_codec_bytes(on_host);
    void *code = calloc(1, bytes), *device_code = gpu_new(bytes);
    float *device_g = gpu_new(sizeof g), *out = gpu_new(sizeof g);
    dml_gpu_stream stream = new_stream();
    dml_gpu_graph graph = NULL;
    for (int i = 0; i <= REPLAYS; i++) {
        new_vector(g, device_g);
        assert_int_equal(dml_codec_encode(on_host, g, code), DML_OK);
        assert_int_equal(dml_codec_decode(on_host, code, 1, false, wanted), DML_OK);
        if (i == 0) { /* takes it to the device */
            assert_int_equal(dml_codec_encode(on_device, device_g, device_code),
                             DML_OK);
            assert_int_equal(dml_codec_set_stream(on_device, stream), DML_OK);
            continue;
        }
        if (i == 1) {
            begin(stream);
            assert_int_equal(dml_codec_encode(on_device, device_g, device_code),
                             DML_OK);
            assert_int_equal(dml_codec_decode(on_device, device_code, 1, false, out),
                             DML_OK);
            graph = end(stream);
        }
        replay(graph, stream);
        gpu_copy(seen, out, sizeof seen);
        gpu_expect_same(seen, wanted, CODES, spec);
    }
    destroy(graph);
    dml_codec_destroy(on_host);
    dml_codec_destroy(on_device);
    gpu_delete(device_code);
    gpu_delete(device_g);
    gpu_delete(out);
    free(code);
    assert_int_equal(dml_gpu_stream_destroy(gpu_ctx, stream), DML_OK);
}

static void replayed_codes_are_codes(void **state)
{
    (void)state;
    codes_of("onebit");
    codes_of("sign");
    codes_of("8bit");
    codes_of("topk:0.02");
    codes_of("f16");
    codes_of("dgc:0.02,clip=1");
}

/* They would draw the same numbers in each replay, or never end their warm-up, of which
 * what is refused is no step. */
static void codes_that_would_repeat_are_refused(void **state)
{
    (void)state;
    static const char *const specs[] = {"terngrad", "randomk:0.1", "dgc:0.1,warmup=2"};
    for (size_t s = 0; s < sizeof specs / sizeof *specs; s++) {
        dml_codec *codec = NULL;
        dml_error error;
        dml_gpu_stream stream = new_stream();
        float *g = gpu_new(CODES * sizeof *g);
        assert_int_equal(dml_codec_create(gpu_ctx, specs[s], CODES, 1, 5, &codec),
                         DML_OK);
        void *code = gpu_new(dml_codec_bytes(codec));
        assert_int_equal(dml_codec_encode(codec, g, code), DML_OK);
        assert_int_equal(dml_codec_wait(codec), DML_OK);
        assert_int_equal(dml_codec_set_stream(codec, stream), DML_OK);
        begin(stream);
        for (int i = 0; i < 3; i++)
            assert_int_equal(dml_codec_encode(codec, g, code), DML_EUNSUPPORTED);
        dml_ctx_last_error(gpu_ctx, &error);
        assert_non_null(strstr(error.text, s < 2 ? "the same random numbers"
                                                 : "warm-up's 2 steps (1 so far)"));
        destroy(end(stream));
        assert_int_equal(dml_codec_encode(codec, g, code), DML_OK);
        if (s == 2) { /* which is over */
            begin(stream);
            assert_int_equal(dml_codec_encode(codec, g, code), DML_OK);
            destroy(end(stream));
        }
        dml_codec_destroy(codec);
        gpu_delete(code);
        gpu_delete(g);
        assert_int_equal(dml_gpu_stream_destroy(gpu_ctx, stream), DML_OK);
    }
}

/* ---- what is refused ---------------------------------------------------------------
 */

static void dummy(const void *args, unsigned blocks)
{
    (void)args, (void)blocks;
}

static const struct dml_gpu_kernel never_loaded = {"none", "none", 32, dummy};

enum forbidden { ALLOCATION, SYNC, QUERY, EVENT, LOADING, NFORBIDDEN };

static dml_status forbidden(enum forbidden what, dml_gpu_stream stream,
                            dml_gpu_event event)
{
    const int args = 0;
    void *memory = NULL;
    switch (what) {
    case ALLOCATION:
        return dml_gpu_alloc(gpu_ctx, 100, &memory);
    case SYNC:
        return dml_gpu_stream_sync(gpu_ctx, stream);
    case QUERY:
        return dml_gpu_stream_query(gpu_ctx, stream);
    case EVENT:
        return dml_gpu_event_query(gpu_ctx, event);
    default:
        return gpu()->ops->launch(gpu(), &never_loaded, 1, &args, sizeof args, stream);
    }
}

/* As CUDA does, and the fake device must, or tests on it say nothing. */
static void a_capture_is_spoilt(void **state)
{
    dml_gpu_stream stream = NULL;
    dml_gpu_event event = NULL;
    dml_gpu_graph graph = NULL;
    (void)state;
    if (strcmp(gpu()->ops->name, "fake") != 0)
        skip();
    stream = new_stream();
    assert_int_equal(dml_gpu_event_create(gpu_ctx, false, &event), DML_OK);
    for (int what = 0; what < NFORBIDDEN; what++) {
        begin(stream);
        assert_int_equal(dml_gpu_event_record(gpu_ctx, event, stream), DML_OK);
        assert_true(forbidden((enum forbidden)what, stream, event) < 0);
        assert_true(dml_gpu_capture_end(gpu_ctx, stream, &graph) < 0);
        assert_null(graph);
    }
    assert_int_equal(dml_gpu_stream_sync(gpu_ctx, stream), DML_OK);
    assert_int_equal(dml_gpu_event_destroy(gpu_ctx, event), DML_OK);
    assert_int_equal(dml_gpu_stream_destroy(gpu_ctx, stream), DML_OK);
}

/* A thread in relaxed mode allocates beside a capture; an event takes another stream
 * into it. */
static void captures_of_two_streams(void **state)
{
    dml_gpu_stream first = new_stream(), second = new_stream();
    dml_gpu_event event = NULL;
    unsigned char seen[64];
    void *x = gpu_new(sizeof seen), *y = gpu_new(sizeof seen), *other = NULL;
    int mode = DML__GPU_RELAXED;
    (void)state;
    assert_int_equal(dml_gpu_event_create(gpu_ctx, false, &event), DML_OK);
    begin(first);
    gpu()->ops->capture_mode(gpu(), &mode);
    assert_int_equal(dml_gpu_alloc(gpu_ctx, 100, &other), DML_OK);
    assert_int_equal(dml_gpu_free(gpu_ctx, other), DML_OK);
    gpu()->ops->capture_mode(gpu(), &mode);
    assert_int_equal(dml_gpu_fill(gpu_ctx, x, 7, sizeof seen, first), DML_OK);
    assert_int_equal(dml_gpu_event_record(gpu_ctx, event, first), DML_OK);
    assert_int_equal(dml_gpu_stream_wait(gpu_ctx, second, event), DML_OK);
    assert_int_equal(dml_gpu_copy(gpu_ctx, y, x, sizeof seen, second), DML_OK);
    assert_int_equal(dml_gpu_event_record(gpu_ctx, event, second), DML_OK);
    assert_int_equal(dml_gpu_stream_wait(gpu_ctx, first, event), DML_OK);
    dml_gpu_graph graph = end(first);
    assert_int_equal(dml_gpu_fill(gpu_ctx, y, 1, sizeof seen, NULL), DML_OK);
    assert_int_equal(dml_gpu_stream_sync(gpu_ctx, NULL), DML_OK);
    replay(graph, first);
    gpu_copy(seen, y, sizeof seen);
    for (size_t i = 0; i < sizeof seen; i++)
        assert_int_equal(seen[i], 7);
    destroy(graph);
    gpu_delete(x);
    gpu_delete(y);
    assert_int_equal(dml_gpu_event_destroy(gpu_ctx, event), DML_OK);
    assert_int_equal(dml_gpu_stream_destroy(gpu_ctx, first), DML_OK);
    assert_int_equal(dml_gpu_stream_destroy(gpu_ctx, second), DML_OK);
}

int main(void)
{
    gpu_skip_without_device();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replayed_steps_are_steps),
        cmocka_unit_test(replayed_codes_are_codes),
        cmocka_unit_test(codes_that_would_repeat_are_refused),
        cmocka_unit_test(a_capture_is_spoilt),
        cmocka_unit_test(captures_of_two_streams),
    };
    return cmocka_run_group_tests(tests, gpu_open, gpu_close);
}
