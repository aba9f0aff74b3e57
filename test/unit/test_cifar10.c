/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The CIFAR-10 reader on generated files: several of them, plain and gzip, and each way
 * in which one can be wrong.
 */
#include "dml/rng.h"

#include "data/images.h"
#include "data_fixture.h"

#define RECORD 3073
#define N      1000 /* of the first file; more bytes than the first guess of memory */

/* Record i of the whole set: label i % 10, pixels from its number. */
static uint8_t byte_of(size_t record, size_t at)
{
    return (uint8_t)(at == 0 ? record % 10 : record * 7 + at / 64);
}

static void write_records(const char *path, bool gzip, size_t first, size_t bytes)
{
    uint8_t *out = malloc(bytes);
    assert_non_null(out);
    for (size_t i = 0; i < bytes; i++)
        out[i] = byte_of(first + i / RECORD, i % RECORD);
    write_file(path, gzip, out, bytes);
    free(out);
}

static void assert_contents(const dml_images *images, size_t count)
{
    dml_images_info info;
    dml_images_get_info(images, &info);
    assert_int_equal(info.count, count);
    assert_int_equal(info.channels, 3);
    assert_int_equal(info.height, 32);
    assert_int_equal(info.width, 32);
    assert_int_equal(info.nclasses, 10);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(images->labels[i], i % 10);
        for (size_t k = 1; k < RECORD; k++)
            if (images->pixels[i * (RECORD - 1) + k - 1] != byte_of(i, k))
                fail_msg("pixel %zu of image %zu differs", k, i);
    }
}

static void several_files_make_one_set(void **state)
{
    fixture *f = *state;
    const char *paths[] = {f->images, f->labels, f->images};
    for (int gzip = 0; gzip < 4; gzip++) {
        dml_images *images = NULL;
        write_records(f->images, (gzip & 1) != 0, 0, N * RECORD);
        write_records(f->labels, (gzip & 2) != 0, N, 15 * RECORD);
        assert_int_equal(dml_images_open_cifar10(f->ctx, paths, 2, &images), DML_OK);
        assert_contents(images, N + 15);
        dml_images_destroy(images);
    }
    dml_images *images = NULL;
    dml_images_info info;
    assert_int_equal(dml_images_open_cifar10(f->ctx, paths, 3, &images), DML_OK);
    dml_images_get_info(images, &info);
    assert_int_equal(info.count, 2 * N + 15);
    dml_images_destroy(images);
}

/* The mean of one channel may differ from the others'. */
static void moments_are_those_of_each_channel(void **state)
{
    fixture *f = *state;
    uint8_t record[2 * RECORD] = {3};
    const char *path = f->images;
    for (size_t i = 0; i < 1024; i++) {
        record[1 + i] = 255;                          /* red of the first image */
        record[1 + 2048 + i] = (uint8_t)(51 + i % 2); /* blue */
        record[RECORD + 1 + 2048 + i] = (uint8_t)(51 + i % 2);
    }
    write_file(path, false, record, sizeof record);
    dml_images *images = NULL;
    float mean[3], stddev[3];
    assert_int_equal(dml_images_open_cifar10(f->ctx, &path, 1, &images), DML_OK);
    dml_images_moments(images, mean, stddev);
    assert_float_equal(mean[0], 0.5, 1e-6);
    assert_float_equal(stddev[0], 0.5, 1e-6);
    assert_float_equal(mean[1], 0, 0);
    assert_float_equal(stddev[1], 0, 0);
    assert_float_equal(mean[2], 51.5 / 255, 1e-6);
    assert_float_equal(stddev[2], 0.5 / 255, 1e-6);
    dml_images_destroy(images);
}

static void refuse(const fixture *f, size_t npaths, const char *second,
                   dml_status status, const char *words, int64_t found,
                   int64_t expected)
{
    const char *paths[] = {f->images, second};
    dml_images *images = NULL;
    assert_int_equal(dml_images_open_cifar10(f->ctx, paths, npaths, &images), status);
    assert_null(images);
    dml_error error = last_error(f, status, words);
    assert_string_equal(error.where, "dml_images_open_cifar10");
    assert_int_equal(error.seen, found);
    assert_int_equal(error.expected, expected);
}

static void wrong_files_are_refused(void **state)
{
    fixture *f = *state;
    uint8_t record[2 * RECORD] = {0};
    write_records(f->images, false, 0, 2 * RECORD);
    refuse(f, 0, NULL, DML_EINVAL, "no file given", 0, 0);
    refuse(f, 2, f->labels, DML_EIO, "labels: cannot open: No such file", 0, 0);
    refuse(f, 2, f->folder, DML_EIO, "it is a directory", 0, 0);
    refuse(f, 2, NULL, DML_EINVAL, "path 1 is NULL", 0, 0);
    for (int gzip = 0; gzip < 2; gzip++) {
        write_file(f->labels, gzip, record, 0);
        refuse(f, 2, f->labels, DML_EFORMAT, "labels: 0 bytes found", 0, RECORD);
        write_file(f->labels, gzip, record, 2 * RECORD - 1);
        refuse(f, 2, f->labels, DML_EFORMAT, "labels: 6145 bytes found", 2 * RECORD - 1,
               2 * RECORD);
        write_file(f->labels, gzip, record, RECORD + 1);
        refuse(f, 2, f->labels, DML_EFORMAT, "whole records of 3073 bytes expected",
               RECORD + 1, 2 * RECORD);
        record[RECORD] = 10;
        write_file(f->labels, gzip, record, 2 * RECORD);
        record[RECORD] = 0;
        refuse(f, 2, f->labels, DML_EFORMAT,
               "record 1 has label 10, at most 9 expected", 10, 9);
    }
}

static void a_cut_gzip_stream_is_refused(void **state)
{
    fixture *f = *state;
    const char *path = f->images;
    uint8_t bytes[4096];
    write_records(path, true, 0, 2 * RECORD);
    size_t count = read_raw(path, bytes, sizeof bytes);
    for (size_t kept = 0; kept < count; kept++) {
        dml_images *images = NULL;
        write_file(path, false, bytes, kept);
        assert_int_equal(dml_images_open_cifar10(f->ctx, &path, 1, &images),
                         DML_EFORMAT);
    }
    last_error(f, DML_EFORMAT, "cut short: its gzip stream ends after");
}

static void failing_memory_is_reported(void **state)
{
    fixture *f = *state;
    const char *paths[] = {f->images, f->labels};
    write_records(f->images, true, 0, N * RECORD);
    write_records(f->labels, false, N, 15 * RECORD);
    int allocations = 0;
    for (dml_images *images = NULL; images == NULL; allocations++) {
        dml_ctx *ctx = ctx_failing_at(allocations + 1);
        dml_status status = dml_images_open_cifar10(ctx, paths, 2, &images);
        dml_error error;
        dml_ctx_last_error(ctx, &error);
        assert_int_equal(status, images == NULL ? DML_ENOMEM : DML_OK);
        assert_int_equal(error.status, status);
        dml_images_destroy(images);
        dml_ctx_destroy(ctx);
    }
    assert_true(allocations > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(several_files_make_one_set),
        DATA_TEST(moments_are_those_of_each_channel),
        DATA_TEST(wrong_files_are_refused),
        DATA_TEST(a_cut_gzip_stream_is_refused),
        DATA_TEST(failing_memory_is_reported),
    };
    return cmocka_run_group_tests_name("cifar10", tests, NULL, NULL);
}
