/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Batches of bytes against batches of numbers: from the values of the loader both have
 * the same bits in every row, also those that carry no image; and memory of the
 * caller's own, as pinned memory is.
 */
#include "loader_fixture.h"

#include <stdio.h>
#include <string.h>

enum { SEED = 20261122, EPOCHS = 3 };

static const float mean[] = {0.25f, 0.5f, 0.4f}, stddev[] = {0.5f, 0.125f, 0.3f};

static dml_loader *create(fixture *f, const dml_images *images,
                          const dml_loader_opts *opts)
{
    dml_loader *loader = NULL;
    assert_int_equal(dml_loader_create(f->ctx, images, opts, &loader), DML_OK);
    return loader;
}

/* Rows of bytes as the documentation turns them into numbers. */
static void compare_pixels(const dml_images_info *shape, const float *values,
                           const dml_batch *numbers, const dml_batch *bytes)
{
    const size_t plane = shape->height * shape->width;
    for (size_t i = 0; i < numbers->rows * shape->channels * plane; i++) {
        const dml_image_area *a = &bytes->areas[i / plane / shape->channels];
        const size_t c = i / plane % shape->channels;
        const size_t y = i % plane / shape->width, x = i % shape->width;
        bool seen = y >= a->top && y < a->bottom && x >= a->left && x < a->right;
        float value = seen ? values[c * 256 + bytes->bytes[i]] : 0;
        assert_memory_equal(&value, &numbers->images[i], sizeof value);
        assert_true(seen || bytes->bytes[i] == 0);
    }
}

static void compare_next(const dml_images_info *shape, dml_loader *in_numbers,
                         dml_loader *in_bytes)
{
    dml_batch numbers, bytes;
    assert_int_equal(dml_loader_next(in_numbers, &numbers), DML_OK);
    assert_int_equal(dml_loader_next(in_bytes, &bytes), DML_OK);
    assert_null(bytes.images);
    assert_null(numbers.bytes);
    assert_null(numbers.areas);
    assert_int_equal(bytes.count, numbers.count);
    assert_int_equal(bytes.rows, numbers.rows);
    assert_int_equal(bytes.global_count, numbers.global_count);
    assert_int_equal(bytes.first_row, numbers.first_row);
    assert_int_equal(bytes.epoch, numbers.epoch);
    assert_int_equal(bytes.step, numbers.step);
    assert_memory_equal(bytes.labels, numbers.labels,
                        bytes.rows * sizeof *bytes.labels);
    compare_pixels(shape, dml_loader_values(in_bytes), &numbers, &bytes);
}

/* Some epochs of a rank, and a step that is sought. */
static void compare(fixture *f, const dml_images *images, dml_loader_opts opts)
{
    dml_images_info shape;
    dml_images_get_info(images, &shape);
    opts.dtype = DML_F32;
    dml_loader *numbers = create(f, images, &opts);
    opts.dtype = DML_U8;
    opts.threads = 3;
    dml_loader *bytes = create(f, images, &opts);
    const uint64_t steps = dml_loader_steps(numbers);
    assert_int_equal(dml_loader_steps(bytes), steps);
    for (uint64_t i = 0; i < EPOCHS * steps; i++)
        compare_next(&shape, numbers, bytes);
    assert_int_equal(dml_loader_seek_step(numbers, 1, steps - 1), DML_OK);
    assert_int_equal(dml_loader_seek_step(bytes, 1, steps - 1), DML_OK);
    compare_next(&shape, numbers, bytes);
    compare_next(&shape, numbers, bytes);
    dml_loader_destroy(bytes);
    dml_loader_destroy(numbers);
}

static void bytes_have_the_bits_of_numbers(void **state)
{
    fixture *f = *state;
    for (int variant = 0; variant < 32; variant++) {
        dml_loader_opts opts = f->opts;
        opts.batch = (variant & 16) != 0 ? 15 : 24;
        opts.drop_last = (variant & 1) != 0;
        opts.pad = (variant & 2) != 0;
        opts.shift = (variant & 4) != 0 ? H - 1 : 0;
        opts.flip = (variant & 8) != 0;
        opts.mean = mean;
        opts.stddev = stddev;
        for (opts.nranks = 1; opts.nranks <= 3; opts.nranks += 2)
            for (opts.rank = 0; opts.rank < opts.nranks; opts.rank++)
                compare(f, f->images, opts);
    }
}

/* Ranks own unequal numbers of images, the last of them none. */
static void so_do_unequal_shards(void **state)
{
    fixture *f = *state;
    uint32_t owner[N];
    for (uint32_t i = 0; i < N; i++)
        owner[i] = i % 7 == 0 ? 1 : 0;
    for (int uneven = DML_UNEVEN_JOIN; uneven <= DML_UNEVEN_SHARE; uneven++)
        for (int rank = 0; rank < 3; rank++) {
            dml_loader_opts opts = f->opts;
            opts.batch = 25;
            opts.nranks = 3;
            opts.rank = rank;
            opts.owner = owner;
            opts.uneven = (dml_uneven)uneven;
            opts.pad = rank != 1;
            opts.shift = 3;
            opts.flip = true;
            compare(f, f->images, opts);
        }
}

static void so_do_images_of_any_shape(void **state)
{
    fixture *f = *state;
    static const dml_images_info shapes[] = {
        {.count = 1, .channels = 1, .height = 1, .width = 1, .nclasses = 1},
        {.count = 5, .channels = 3, .height = 1, .width = 9, .nclasses = 2},
        {.count = 11, .channels = 1, .height = 17, .width = 2, .nclasses = 3},
        {.count = 7, .channels = 3, .height = 33, .width = 65, .nclasses = 7},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const dml_images_info *s = &shapes[i];
        const size_t side = s->height < s->width ? s->height : s->width;
        dml_images *images = NULL;
        dml_loader_opts opts = f->opts;
        assert_int_equal(dml_images_make(f->ctx, s, SEED, 0, &images), DML_OK);
        opts.batch = 3;
        opts.drop_last = false;
        opts.shift = (int)side - 1;
        opts.flip = true;
        opts.mean = i % 2 == 0 ? mean : NULL;
        opts.stddev = i < 2 ? stddev : NULL;
        compare(f, images, opts);
        dml_images_destroy(images);
    }
}

/* ---- memory of the caller's ----------------------------------------------------- */

/* What was given out; the callbacks have no more than a context. */
static struct {
    char *begin[64];
    size_t bytes[64];
    int given, held, fail_at;
    dml_status failure;
} memory;

static void begin_giving(int fail_at, dml_status failure)
{
    memset(&memory, 0, sizeof memory);
    memory.fail_at = fail_at;
    memory.failure = failure;
}

static dml_status give(dml_ctx *ctx, size_t bytes, void **to)
{
    (void)ctx;
    if (memory.given == memory.fail_at)
        return memory.failure;
    char *begin = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(begin);
    memset(begin, 0xa5, bytes); /* as memory is that nobody has cleared */
    memory.begin[memory.given] = begin;
    memory.bytes[memory.given++] = bytes;
    memory.held++;
    *to = begin;
    return DML_OK;
}

static dml_status take_back(dml_ctx *ctx, void *from)
{
    (void)ctx;
    memory.held--;
    free(from);
    return DML_OK;
}

static bool is_given(const void *begin, size_t bytes)
{
    for (int i = 0; i < memory.given; i++)
        if (begin == memory.begin[i])
            return bytes == memory.bytes[i];
    return false;
}

static void batches_lie_in_memory_that_is_given(void **state)
{
    fixture *f = *state;
    for (int bytes = 0; bytes < 2; bytes++) {
        dml_loader_opts opts = f->opts;
        dml_batch b;
        begin_giving(-1, DML_OK);
        opts.drop_last = false; /* rows without an image must be 0 */
        opts.shift = 2;
        opts.dtype = bytes != 0 ? DML_U8 : DML_F32;
        opts.alloc = give;
        opts.release = take_back;
        compare(f, f->images, opts);
        assert_int_equal(memory.held, 0);
        begin_giving(-1, DML_OK);
        dml_loader *loader = create(f, f->images, &opts);
        assert_int_equal(dml_loader_next(loader, &b), DML_OK);
        assert_true(is_given(b.labels, B * sizeof *b.labels));
        if (bytes != 0) {
            assert_true(is_given(b.bytes, (size_t)B * C * H * W));
            assert_true(is_given(b.areas, B * sizeof *b.areas));
        } else {
            assert_true(is_given(b.images, (size_t)B * C * H * W * sizeof *b.images));
        }
        dml_loader_destroy(loader);
        assert_int_equal(memory.held, 0);
    }
}

static void memory_that_is_not_given_is_told(void **state)
{
    fixture *f = *state;
    static const dml_status failures[] = {DML_ENOMEM, DML_EIO};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        for (int at = 0;; at++) {
            dml_loader_opts opts = f->opts;
            dml_loader *loader = NULL;
            begin_giving(at, failures[i]);
            opts.dtype = DML_U8;
            opts.alloc = give;
            opts.release = take_back;
            dml_status status = dml_loader_create(f->ctx, f->images, &opts, &loader);
            dml_loader_destroy(loader);
            assert_int_equal(memory.held, 0);
            if (status == DML_OK) { /* 3 fields of 3 batches */
                assert_int_equal(at, 9);
                break;
            }
            assert_int_equal(status, failures[i]);
        }
    dml_loader_opts opts = f->opts;
    dml_loader *loader = NULL;
    opts.alloc = give;
    assert_int_equal(dml_loader_create(f->ctx, f->images, &opts, &loader), DML_EINVAL);
    assert_null(loader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOADER_TEST(bytes_have_the_bits_of_numbers),
        LOADER_TEST(so_do_unequal_shards),
        LOADER_TEST(so_do_images_of_any_shape),
        LOADER_TEST(batches_lie_in_memory_that_is_given),
        LOADER_TEST(memory_that_is_not_given_is_told),
    };
    printf("seed %d\n", SEED);
    return cmocka_run_group_tests_name("loader of bytes", tests, NULL, NULL);
}
