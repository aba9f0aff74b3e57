/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images in record files: what was written comes back, several files make one set, and
 * records that are no images, or others than the first, are refused with their place.
 */
#include "dml/records.h"

#include "loader_fixture.h"

#include <stdio.h>
#include <string.h>

typedef struct folder {
    fixture *f;
    char path[64], first[96], second[96];
} folder;

static int make_folder(void **state)
{
    folder *d = calloc(1, sizeof *d);
    assert_non_null(d);
    setup((void **)&d->f);
    snprintf(d->path, sizeof d->path, "/tmp/dml-images-XXXXXX");
    assert_non_null(mkdtemp(d->path));
    snprintf(d->first, sizeof d->first, "%s/a.records", d->path);
    snprintf(d->second, sizeof d->second, "%s/b.records", d->path);
    *state = d;
    return 0;
}

static int remove_folder(void **state)
{
    folder *d = *state;
    const char *const paths[] = {d->first, d->second};
    for (int i = 0; i < 2; i++) {
        char index[112];
        snprintf(index, sizeof index, "%s.index", paths[i]);
        unlink(index);
        unlink(paths[i]);
    }
    rmdir(d->path);
    teardown((void **)&d->f);
    free(d);
    return 0;
}

static void put_u32(uint8_t *to, size_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

/* As dml-records writes them. */
static void write_images(dml_ctx *ctx, const dml_images *images, const char *path)
{
    dml_record_writer *writer = NULL;
    uint8_t record[16 + C * H * W];
    const size_t head[] = {C, H, W};
    for (int i = 0; i < 3; i++)
        put_u32(record + 4 * i, head[i]);
    assert_int_equal(dml_record_writer_create(ctx, path, NULL, &writer), DML_OK);
    for (size_t i = 0; i < images->info.count; i++) {
        int32_t label;
        memcpy(record + 16, dml_images_pixels(images, i, &label), C * H * W);
        put_u32(record + 12, (size_t)label);
        assert_int_equal(dml_record_writer_append(writer, record, sizeof record, 0, 1),
                         DML_OK);
    }
    assert_int_equal(dml_record_writer_commit(writer), DML_OK);
    dml_record_writer_destroy(writer);
}

static void what_was_written_comes_back(void **state)
{
    folder *d = *state;
    dml_ctx *ctx = d->f->ctx;
    dml_images *other = make_images(ctx, 11, H, W), *both = NULL;
    const char *const paths[] = {d->first, d->second};
    write_images(ctx, d->f->images, d->first);
    write_images(ctx, other, d->second);
    assert_int_equal(dml_images_open_records(ctx, paths, 2, &both), DML_OK);
    dml_images_info info;
    dml_images_get_info(both, &info);
    assert_true(info.count == N + 11 && info.channels == C);
    assert_true(info.height == H && info.width == W);
    size_t bytes = (size_t)C * H * W;
    assert_memory_equal(both->pixels, d->f->images->pixels, N * bytes);
    assert_memory_equal(both->pixels + N * bytes, other->pixels, 11 * bytes);
    const size_t each = sizeof *both->labels;
    assert_memory_equal(both->labels, d->f->images->labels, N * each);
    assert_memory_equal(both->labels + N, other->labels, 11 * each);
    dml_images_destroy(both);
    dml_images_destroy(other);
}

/* More classes than a byte can tell, made up and written. */
static void labels_reach_all_classes(void **state)
{
    folder *d = *state;
    dml_ctx *ctx = d->f->ctx;
    const dml_images_info shape = {2003, C, H, W, 1000};
    dml_images *made = NULL, *back = NULL;
    dml_images_info info;
    const char *const paths[] = {d->first};
    assert_int_equal(dml_images_make(ctx, &shape, 1, 0, &made), DML_OK);
    write_images(ctx, made, d->first);
    assert_int_equal(dml_images_open_records(ctx, paths, 1, &back), DML_OK);
    dml_images_get_info(back, &info);
    assert_int_equal(info.nclasses, 1000);
    for (size_t i = 0; i < shape.count; i++) {
        int32_t label = -1, read = -1;
        (void)dml_images_pixels(made, i, &label);
        (void)dml_images_pixels(back, i, &read);
        assert_int_equal(label, i % 1000);
        assert_int_equal(read, label);
    }
    dml_images_destroy(back);
    dml_images_destroy(made);
}

/* A good image first, then the record in question. */
static void refuse(folder *d, const void *data, size_t bytes, const char *words)
{
    dml_ctx *ctx = d->f->ctx;
    const uint8_t good[18] = {1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 6};
    dml_record_writer *writer = NULL;
    dml_images *images = NULL;
    const char *path = d->first;
    assert_int_equal(dml_record_writer_create(ctx, path, NULL, &writer), DML_OK);
    assert_int_equal(dml_record_writer_append(writer, good, sizeof good, 0, 1), DML_OK);
    if (data != NULL)
        assert_int_equal(dml_record_writer_append(writer, data, bytes, 0, 1), DML_OK);
    assert_int_equal(dml_record_writer_commit(writer), DML_OK);
    dml_record_writer_destroy(writer);
    dml_status status = dml_images_open_records(ctx, &path, 1, &images);
    if (data == NULL) {
        assert_int_equal(status, DML_OK);
        dml_images_destroy(images);
        return;
    }
    dml_error error;
    char place[128];
    assert_int_equal(status, DML_EFORMAT);
    dml_ctx_last_error(ctx, &error);
    snprintf(place, sizeof place, "%s: record at offset 34 %s", path, words);
    assert_non_null(strstr(error.text, place));
}

static void records_that_are_no_images(void **state)
{
    folder *d = *state;
    uint8_t r[20] = {1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 6, 7, 8};
    refuse(d, NULL, 0, "");
    refuse(d, r, 15, "is too short for an image's head: 15 found, 16 expected");
    refuse(d, r, 17, "does not have its pixels: 1 found, 2 expected");
    refuse(d, r, 19, "does not have its pixels: 3 found, 2 expected");
    r[8] = 2;
    refuse(d, r, 20, "has another shape than the first image; pixels: 4 found");
    r[8] = 0;
    refuse(d, r, 16, "does not have its pixels");
    memset(r, 0xff, 12);
    refuse(d, r, 20, "does not have its pixels");
    r[14] = 1;
    refuse(d, r, 20, "has a large label: 65537 found, 65535 expected");
}

static void files_that_hold_nothing(void **state)
{
    folder *d = *state;
    dml_ctx *ctx = d->f->ctx;
    dml_record_writer *writer = NULL;
    dml_images *images = NULL;
    const char *path = d->first;
    assert_int_equal(dml_images_open_records(ctx, &path, 1, &images), DML_EIO);
    assert_int_equal(dml_images_open_records(ctx, NULL, 1, &images), DML_EINVAL);
    assert_int_equal(dml_record_writer_create(ctx, path, NULL, &writer), DML_OK);
    assert_int_equal(dml_record_writer_commit(writer), DML_OK);
    dml_record_writer_destroy(writer);
    assert_int_equal(dml_images_open_records(ctx, &path, 1, &images), DML_EFORMAT);
    assert_null(images);
}

#define FOLDER_TEST(name) \
    cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(what_was_written_comes_back),
        FOLDER_TEST(labels_reach_all_classes),
        FOLDER_TEST(records_that_are_no_images),
        FOLDER_TEST(files_that_hold_nothing),
    };
    return cmocka_run_group_tests_name("images in records", tests, NULL, NULL);
}
