/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generated images for the loader's tests: image i has label i (modulo 256), so labels
 * show the order; pixels are random.
 */
#ifndef LOADER_FIXTURE_H
#define LOADER_FIXTURE_H

#include "dml/data.h"
#include "dml/rng.h"

#include "data/images.h"
#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

#define N 203 /* images; prime to the batch, so that the last one is short */
#define B 24
#define C 2
#define H 5
#define W 7

typedef struct fixture {
    dml_ctx *ctx;
    dml_images *images; /* [N][C][H][W] */
    dml_loader_opts opts;
} fixture;

static dml_images *make_images(dml_ctx *ctx, size_t count, size_t height, size_t width)
{
    dml_images_info shape = {
        .count = count, .channels = C, .height = height, .width = width};
    size_t bytes = count * C * height * width;
    uint8_t *pixels = dml__alloc(ctx, bytes);
    uint16_t *labels = dml__alloc(ctx, count * sizeof *labels);
    assert_non_null(pixels);
    assert_non_null(labels);
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)dml_rng_u64(5, 0, i);
    for (size_t i = 0; i < count; i++)
        labels[i] = (uint8_t)i; /* as if they came from a file of bytes */
    dml_images *images = NULL;
    assert_int_equal(dml__images_new(ctx, "test", &shape, pixels, labels, &images),
                     DML_OK);
    return images;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(dml_ctx_create(NULL, &f->ctx), DML_OK);
    f->images = make_images(f->ctx, N, H, W);
    dml_loader_opts_init(&f->opts);
    f->opts.batch = B;
    *state = f;
    alarm(100); /* a loader that hangs ends the test */
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    alarm(0);
    dml_images_destroy(f->images);
    dml_ctx_destroy(f->ctx);
    free(f);
    return 0;
}

#define LOADER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
