/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images that are made up: the same for the same arguments, alike within a class, and
 * refused where a shape cannot be.
 */
#include "data_fixture.h"

enum {
    COUNT = 600,
    CHANNELS = 3,
    HEIGHT = 5,
    WIDTH = 7,
    ROW = CHANNELS * HEIGHT * WIDTH
};

static dml_images *make(dml_ctx *ctx, size_t nclasses, uint64_t seed, uint32_t part)
{
    const dml_images_info shape = {.count = COUNT,
                                   .channels = CHANNELS,
                                   .height = HEIGHT,
                                   .width = WIDTH,
                                   .nclasses = nclasses};
    dml_images *images = NULL;
    assert_int_equal(dml_images_make(ctx, &shape, seed, part, &images), DML_OK);
    dml_images_info info;
    dml_images_get_info(images, &info);
    assert_memory_equal(&info, &shape, sizeof info);
    return images;
}

/* Mean distance of the pixels of two images. */
static double distance(const dml_images *a, size_t i, const dml_images *b, size_t k)
{
    const uint8_t *x = dml_images_pixels(a, i, NULL),
                  *y = dml_images_pixels(b, k, NULL);
    double sum = 0;
    for (size_t p = 0; p < ROW; p++)
        sum += abs(x[p] - y[p]);
    return sum / ROW;
}

/* A pixel is the mean of a pattern's and of noise, both even in 0 ... 255: two images
 * of a class are 256 / 6 = 43 apart, those of two classes 256 * 7 / 30 = 60. */
static void classes_have_patterns(void **state)
{
    fixture *f = *state;
    dml_images *images = make(f->ctx, 4, 9, 0);
    double same = 0, other = 0;
    for (size_t i = 0; i + 5 < COUNT; i++) {
        same += distance(images, i, images, i + 4) / (COUNT - 5);
        other += distance(images, i, images, i + 5) / (COUNT - 5);
    }
    assert_true(same > 41 && same < 45 && other > 56 && other < 64);
    dml_images_destroy(images);
}

static void arguments_give_the_same_images(void **state)
{
    fixture *f = *state;
    dml_images *images = make(f->ctx, 4, 9, 0), *again = make(f->ctx, 4, 9, 0),
               *seed = make(f->ctx, 4, 10, 0), *part = make(f->ctx, 4, 9, 1);
    double same = 0, pattern = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(distance(images, i, again, i) == 0);
        same += distance(images, i, part, i) / COUNT;
        pattern += distance(images, i, seed, i) / COUNT;
    }
    assert_true(same > 41 && same < 45);       /* other noise on the same pattern */
    assert_true(pattern > 56 && pattern < 64); /* both are others */
    dml_images_destroy(images);
    dml_images_destroy(again);
    dml_images_destroy(seed);
    dml_images_destroy(part);
}

static void labels_go_round(void **state)
{
    fixture *f = *state;
    static const size_t classes[] = {1, 3, 256, 257, 65536};
    for (size_t c = 0; c < sizeof classes / sizeof classes[0]; c++) {
        dml_images *images = make(f->ctx, classes[c], 1, 0);
        for (size_t i = 0; i < COUNT; i++) {
            int32_t label = -1;
            dml_images_pixels(images, i, &label);
            assert_int_equal(label, i % classes[c]);
        }
        dml_images_destroy(images);
    }
}

static void shapes_that_cannot_be(void **state)
{
    fixture *f = *state;
    const size_t big = ((size_t)1 << 16) + 1;
    const dml_images_info wrong[] = {
        {0, 1, 1, 1, 1},
        {1, 0, 1, 1, 1},
        {1, 1, 0, 1, 1},
        {1, 1, 1, 0, 1},
        {1, 1, 1, 1, 0},
        {1, big, 1, 1, 1},
        {1, 1, big, 1, 1},
        {1, 1, 1, big, 1},
        {1, 1, 1, 1, big},
        {((size_t)1 << 40) + 1, 1, 1, 1, 1},
        {(size_t)1 << 40, big - 1, big - 1, 1, 1},
    };
    dml_images *images = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(dml_images_make(f->ctx, &wrong[i], 1, 0, &images), DML_EINVAL);
    const dml_images_info fine = {1, 1, 1, 1, 1};
    assert_int_equal(dml_images_make(f->ctx, NULL, 1, 0, &images), DML_EINVAL);
    assert_int_equal(dml_images_make(f->ctx, &fine, 1, 0, NULL), DML_EINVAL);
    assert_int_equal(dml_images_make(NULL, &fine, 1, 0, &images), DML_EINVAL);
    assert_null(images);
}

static void failing_memory_is_reported(void **state)
{
    (void)state;
    const dml_images_info shape = {3, 1, 2, 2, 2};
    int allocations = 0;
    for (dml_images *images = NULL; images == NULL; allocations++) {
        dml_ctx *ctx = ctx_failing_at(allocations + 1);
        dml_status status = dml_images_make(ctx, &shape, 1, 0, &images);
        assert_int_equal(status, images != NULL ? DML_OK : DML_ENOMEM);
        dml_images_destroy(images);
        dml_ctx_destroy(ctx);
    }
    assert_int_equal(allocations, 4); /* pixels, labels, the set; and none fails */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(classes_have_patterns),
        DATA_TEST(arguments_give_the_same_images),
        DATA_TEST(labels_go_round),
        DATA_TEST(shapes_that_cannot_be),
        DATA_TEST(failing_memory_is_reported),
    };
    return cmocka_run_group_tests_name("images made up", tests, NULL, NULL);
}
