/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The loader when options are wrong, memory is short, or it is destroyed while its
 * thread works.
 */
#include "loader_fixture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void refuse(fixture *f, const dml_loader_opts *opts, int64_t found,
                   int64_t expected, const char *words)
{
    dml_loader *loader = NULL;
    dml_error error;
    assert_int_equal(dml_loader_create(f->ctx, f->images, opts, &loader), DML_EINVAL);
    assert_null(loader);
    dml_ctx_last_error(f->ctx, &error);
    assert_int_equal(error.status, DML_EINVAL);
    assert_string_equal(error.where, "dml_loader_create");
    assert_int_equal(error.seen, found);
    assert_int_equal(error.expected, expected);
    assert_non_null(strstr(error.text, words));
}

static void wrong_options_are_refused(void **state)
{
    fixture *f = *state;
    dml_loader_opts o = f->opts;
    o.batch = 0;
    refuse(f, &o, 0, 1, "batch is 0");
    o.batch = N + 1;
    refuse(f, &o, N + 1, N, "batch 204 is larger than the data, 203 images");
    o = f->opts;
    o.nranks = 5;
    refuse(f, &o, B, 5, "batch 24 cannot be divided evenly by 5 ranks");
    o.nranks = 0;
    refuse(f, &o, 0, 0, "rank 0 of 0 ranks");
    o.nranks = o.rank = 2;
    refuse(f, &o, 2, 2, "rank 2 of 2 ranks");
    o.rank = -1;
    refuse(f, &o, -1, 2, "rank -1 of 2 ranks");
    o = f->opts;
    o.shift = -1;
    refuse(f, &o, -1, H - 1, "shift -1");
    o.shift = H;
    refuse(f, &o, H, H - 1, "shift 5; choose 0 .. 4");
    o = f->opts;
    o.depth = 0;
    refuse(f, &o, 0, 1024, "depth 0");
    o.depth = INT32_MAX;
    refuse(f, &o, INT32_MAX, 1024, "depth 2147483647; choose 1 .. 1024");
    o = f->opts;
    static const float constant[C] = {1, 0}, diverged[C] = {NAN, 1};
    o.stddev = constant;
    refuse(f, &o, 0, 0, "stddev of channel 1 is 0");
    o.stddev = diverged;
    refuse(f, &o, 0, 0, "stddev of channel 0 is");
    o = f->opts;
    o.dtype = DML_F16;
    refuse(f, &o, DML_F16, DML_U8, "choose DML_F32 or DML_U8");
    o = f->opts;
    o.size--;
    refuse(f, &o, 0, 0, "dml_loader_opts_init()");
    refuse(f, NULL, 0, 0, "dml_loader_opts_init()");
}

static void destroy_returns_at_any_time(void **state)
{
    fixture *f = *state;
    dml_loader_destroy(NULL);
    dml_images *many = make_images(f->ctx, 4000, 8, 8);
    for (uint64_t i = 0; i < 150; i++) {
        dml_loader_opts opts = f->opts;
        opts.batch = i % 2 != 0 ? 4000 : 50; /* the thread prepares, or waits */
        opts.shift = 1;
        dml_loader *loader = NULL;
        assert_int_equal(dml_loader_create(f->ctx, many, &opts, &loader), DML_OK);
        if (i % 3 == 0)
            usleep((unsigned)(dml_rng_u64(13, 0, i) % 1000));
        if (i % 5 == 0)
            assert_int_equal(dml_loader_seek(loader, i), DML_OK);
        if (i % 7 == 0) {
            dml_batch b;
            assert_int_equal(dml_loader_next(loader, &b), DML_OK);
        }
        dml_loader_destroy(loader);
    }
    dml_images_destroy(many);
}

/* After a seek nothing is ready; only a caller held up between the two calls does not
 * have to wait. */
static void waiting_is_counted(void **state)
{
    fixture *f = *state;
    f->opts.batch = N;
    dml_loader *loader = NULL;
    dml_batch b;
    assert_int_equal(dml_loader_create(f->ctx, f->images, &f->opts, &loader), DML_OK);
    assert_true(dml_loader_wait_s(loader) == 0);
    double waited = 0;
    for (uint64_t i = 0; i < 10000 && waited == 0; i++) {
        assert_int_equal(dml_loader_seek(loader, i), DML_OK);
        assert_int_equal(dml_loader_next(loader, &b), DML_OK);
        waited = dml_loader_wait_s(loader);
    }
    assert_true(waited > 0 && waited < 100);
    dml_loader_destroy(loader);
}

static dml_ctx *ctx_failing_at(int allocation)
{
    char text[16];
    snprintf(text, sizeof text, "%d", allocation);
    setenv("DML_TEST_ALLOC_FAIL", text, 1);
    dml_ctx *ctx = NULL;
    assert_int_equal(dml_ctx_create(NULL, &ctx), DML_OK);
    unsetenv("DML_TEST_ALLOC_FAIL");
    return ctx;
}

static void memory_is_taken_at_creation_only(void **state)
{
    fixture *f = *state;
    dml_loader *loader = NULL;
    int allocations = 0;
    for (;; allocations++) {
        dml_ctx *ctx = ctx_failing_at(allocations + 1);
        dml_status status = dml_loader_create(ctx, f->images, &f->opts, &loader);
        if (status != DML_OK) {
            dml_error error;
            dml_ctx_last_error(ctx, &error);
            assert_int_equal(status, DML_ENOMEM);
            assert_int_equal(error.status, DML_ENOMEM);
            assert_null(loader);
            dml_ctx_destroy(ctx);
            continue;
        }
        assert_true(allocations > 1);
        dml_batch b;
        for (int i = 0; i < 100; i++)
            assert_int_equal(dml_loader_next(loader, &b), DML_OK);
        assert_int_equal(dml_loader_seek(loader, 3), DML_OK);
        assert_int_equal(dml_loader_next(loader, &b), DML_OK);
        dml_loader_destroy(loader);
        /* The allocation that must fail has not been asked for yet. */
        assert_null(dml__alloc(ctx, 1));
        dml_ctx_destroy(ctx);
        return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOADER_TEST(wrong_options_are_refused),
        LOADER_TEST(destroy_returns_at_any_time),
        LOADER_TEST(waiting_is_counted),
        LOADER_TEST(memory_is_taken_at_creation_only),
    };
    return cmocka_run_group_tests_name("loader faults", tests, NULL, NULL);
}
