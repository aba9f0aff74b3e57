/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The idx reader: what was written comes back, and each way in which a file can be
 * wrong is named. The real Fashion-MNIST is read where it is installed.
 */
#include "dml/rng.h"

#include "data_fixture.h"

#include <math.h>

#define N      37
#define H      5
#define W      6
#define PIXELS (N * H * W)

static const char *const fashion = "/usr/share/datasets/fashion-mnist";

/* Bytes of an idx file with random elements; returns how many. */
static size_t idx(uint8_t *out, uint32_t magic, const uint32_t *dims, size_t count)
{
    size_t at = 0;
    for (uint32_t i = 0; i <= (magic & 0xff); i++) {
        uint32_t word = i == 0 ? magic : dims[i - 1];
        for (int shift = 24; shift >= 0; shift -= 8)
            out[at++] = (uint8_t)(word >> shift);
    }
    for (size_t i = 0; i < count; i++)
        out[at++] = (uint8_t)(dml_rng_u64(9, magic, i) % 251);
    return at;
}

static void write_images(const fixture *f, bool gzip, uint32_t n, uint32_t h,
                         uint32_t w, size_t count)
{
    uint8_t *bytes = malloc(16 + count);
    assert_non_null(bytes);
    write_file(f->images, gzip, bytes, idx(bytes, 0x803, (uint32_t[]){n, h, w}, count));
    free(bytes);
}

static void write_labels(const fixture *f, bool gzip, uint32_t n, size_t count)
{
    uint8_t *bytes = malloc(8 + count);
    assert_non_null(bytes);
    write_file(f->labels, gzip, bytes, idx(bytes, 0x801, (uint32_t[]){n}, count));
    free(bytes);
}

static void write_pair(const fixture *f, bool gzip)
{
    write_images(f, gzip, N, H, W, PIXELS);
    write_labels(f, gzip, N, N);
}

static dml_error refuse(const fixture *f, dml_status status, const char *words)
{
    dml_images *images = NULL;
    assert_int_equal(dml_images_open_idx(f->ctx, f->images, f->labels, &images),
                     status);
    assert_null(images);
    dml_error error = last_error(f, status, words);
    assert_string_equal(error.where, "dml_images_open_idx");
    return error;
}

static void refuse_values(const fixture *f, dml_status status, const char *words,
                          int64_t found, int64_t expected)
{
    dml_error error = refuse(f, status, words);
    assert_int_equal(error.seen, found);
    assert_int_equal(error.expected, expected);
}

/* Through the public interface alone: an unshuffled loader shows every byte. */
static void assert_contents(const fixture *f, const dml_images *images)
{
    dml_images_info info;
    dml_images_get_info(images, &info);
    assert_int_equal(info.count, N);
    assert_int_equal(info.channels, 1);
    assert_int_equal(info.height, H);
    assert_int_equal(info.width, W);
    dml_loader_opts opts;
    dml_loader_opts_init(&opts);
    opts.batch = N;
    opts.shuffle = false;
    dml_loader *loader = NULL;
    dml_batch b;
    assert_int_equal(dml_loader_create(f->ctx, images, &opts, &loader), DML_OK);
    assert_int_equal(dml_loader_next(loader, &b), DML_OK);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < PIXELS; i++) {
        int byte = (int)(dml_rng_u64(9, 0x803, i) % 251);
        assert_int_equal(lrintf(b.images[i] * 255), byte);
        sum += byte / 255.0;
        squares += byte / 255.0 * (byte / 255.0);
    }
    size_t largest = 0;
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(b.labels[i], dml_rng_u64(9, 0x801, i) % 251);
        largest = (size_t)b.labels[i] > largest ? (size_t)b.labels[i] : largest;
    }
    assert_int_equal(info.nclasses, largest + 1);
    float mean, stddev;
    dml_images_moments(images, &mean, &stddev);
    double m = sum / PIXELS, v = squares / PIXELS - m * m;
    assert_true(fabs((double)mean - m) < 1e-6);
    assert_true(fabs((double)stddev - sqrt(v)) < 1e-6);
    dml_loader_destroy(loader);
}

static void what_was_written_comes_back(void **state)
{
    fixture *f = *state;
    for (int gzip = 0; gzip < 2; gzip++) {
        dml_images *images = NULL;
        write_pair(f, gzip);
        assert_int_equal(dml_images_open_idx(f->ctx, f->images, f->labels, &images), 0);
        assert_contents(f, images);
        dml_images_destroy(images);
    }
    dml_images_destroy(NULL);
}

/* More decoded bytes than the first guess of memory. */
static void a_large_gzip_file_grows(void **state)
{
    fixture *f = *state;
    const uint32_t n = 3000, h = 40, w = 40;
    size_t count = (size_t)n * h * w;
    uint8_t *bytes = malloc(16 + count);
    assert_non_null(bytes);
    idx(bytes, 0x803, (uint32_t[]){n, h, w}, 0);
    for (size_t i = 0; i < count; i++)
        bytes[16 + i] = (uint8_t)(i / 1600 % 256);
    write_file(f->images, true, bytes, 16 + count);
    write_labels(f, true, n, n);
    struct stat info;
    assert_int_equal(stat(f->images, &info), 0);
    assert_true((size_t)info.st_size < count / 100);

    dml_images *images = NULL;
    assert_int_equal(dml_images_open_idx(f->ctx, f->images, f->labels, &images),
                     DML_OK);
    float mean, stddev, sum = 0;
    dml_images_moments(images, &mean, &stddev);
    for (uint32_t i = 0; i < n; i++)
        sum += (float)(i % 256);
    assert_true(fabsf(mean - sum / (float)n / 255) < 1e-5f);
    dml_images_destroy(images);
    free(bytes);
}

static void files_that_cannot_be_opened(void **state)
{
    fixture *f = *state;
    write_labels(f, false, N, N);
    refuse(f, DML_EIO,
           "images: cannot open: No such file or directory; check the path");
    assert_int_equal(mkfifo(f->images, 0600), 0);
    refuse(f, DML_EIO, "not a regular file");
    unlink(f->images);
    write_images(f, false, N, H, W, PIXELS);
    unlink(f->labels);
    refuse(f, DML_EIO, "labels: cannot open");
    snprintf(f->images, sizeof f->images, "%s", f->folder);
    refuse(f, DML_EIO, "it is a directory");
    memset(f->images, 'x', sizeof f->images - 1);
    f->images[0] = '/';
    refuse(f, DML_EIO, "cannot open: File name too long; check the path");
    dml_images *images = NULL;
    assert_int_equal(dml_images_open_idx(f->ctx, NULL, f->labels, &images), DML_EINVAL);
}

/* Every shorter version of each file, plain and gzip, is cut short. */
static void files_cut_anywhere(void **state)
{
    fixture *f = *state;
    for (int gzip = 0; gzip < 2; gzip++) {
        for (int which = 0; which < 2; which++) {
            uint8_t bytes[4096];
            write_pair(f, gzip);
            const char *path = which == 0 ? f->images : f->labels;
            size_t count = read_raw(path, bytes, sizeof bytes);
            for (size_t kept = 0; kept < count; kept++) {
                write_file(path, false, bytes, kept);
                refuse(f, DML_EFORMAT, "cut short");
            }
        }
    }
    write_images(f, false, N, H, W, PIXELS - 1);
    refuse_values(f, DML_EFORMAT, "cut short: 1125 bytes found, 1126 expected",
                  16 + PIXELS - 1, 16 + PIXELS);
    /* A whole gzip stream of too few bytes. */
    write_images(f, true, N, H, W, PIXELS - 1);
    refuse_values(f, DML_EFORMAT, "1125 bytes (decoded) found, 1126 expected",
                  16 + PIXELS - 1, 16 + PIXELS);
}

static void files_too_long(void **state)
{
    fixture *f = *state;
    for (int gzip = 0; gzip < 2; gzip++) {
        write_pair(f, gzip);
        write_images(f, gzip, N, H, W, PIXELS + 1);
        refuse_values(f, DML_EFORMAT, "images: longer than announced", 16 + PIXELS + 1,
                      16 + PIXELS);
        write_pair(f, gzip);
        write_labels(f, gzip, N, N + 1);
        refuse_values(f, DML_EFORMAT, "labels: longer than announced", 8 + N + 1,
                      8 + N);
    }
}

/* No changed byte of a gzip file crashes the reader, or passes unseen: the checksum,
 * the format or the header finds it, or it does not matter. */
static void gzip_files_damaged_anywhere(void **state)
{
    fixture *f = *state;
    uint8_t bytes[4096];
    write_pair(f, true);
    size_t count = read_raw(f->images, bytes, sizeof bytes);
    int refused = 0;
    for (size_t i = 0; i < count; i++) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        write_file(f->images, false, bytes, count);
        bytes[i] ^= (uint8_t)(1u << i % 8);
        dml_images *images = NULL;
        dml_status status = dml_images_open_idx(f->ctx, f->images, f->labels, &images);
        if (status == DML_OK)
            assert_contents(f, images);
        else
            assert_true(status == DML_EFORMAT);
        refused += status != DML_OK;
        dml_images_destroy(images);
    }
    assert_true(refused > (int)count - 10); /* ten bytes of header, most of no weight */
}

static void files_of_another_kind(void **state)
{
    fixture *f = *state;
    write_pair(f, false);
    uint8_t bytes[64];
    write_file(f->images, false, bytes,
               idx(bytes, 0x0d02, (uint32_t[]){1, 1}, 8)); /* floats, two dimensions */
    refuse_values(f, DML_EFORMAT, "magic 0x00000d02 found, 0x00000803 expected", 0xd02,
                  0x803);
    write_file(f->images, true, "P6\n28 28\n255\n", 13);
    refuse(f, DML_EFORMAT, "magic 0x50360a32 found, 0x00000803 expected");
    write_pair(f, false);
    char kept[PATH_BYTES];
    memcpy(kept, f->images, sizeof kept);
    memcpy(f->images, f->labels, sizeof kept);
    refuse_values(f, DML_EFORMAT, "labels: not an idx file of images", 0x801, 0x803);
    refuse(f, DML_EFORMAT, "it holds labels");
    memcpy(f->labels, kept, sizeof kept);
    memcpy(f->images, kept, sizeof kept);
    refuse_values(f, DML_EFORMAT, "it holds images", 0x803, 0x801);
}

static void files_that_do_not_belong_together(void **state)
{
    fixture *f = *state;
    write_pair(f, true);
    write_labels(f, true, N + 2, N + 2);
    refuse_values(f, DML_EFORMAT, "39 labels found, 37 expected, one per image", N + 2,
                  N);
    write_labels(f, true, 0, 0);
    refuse_values(f, DML_EFORMAT, "0 labels found, 37 expected", 0, N);
}

static void headers_that_cannot_be_true(void **state)
{
    fixture *f = *state;
    const uint32_t max = UINT32_MAX;
    write_pair(f, false);
    for (int gzip = 0; gzip < 2; gzip++) {
        write_images(f, gzip, 0, H, W, 0);
        refuse_values(f, DML_EFORMAT, "holds no pixels (0 images of 5 x 6)", 0, 1);
        write_images(f, gzip, N, 0, W, 0);
        refuse(f, DML_EFORMAT, "holds no pixels (37 images of 0 x 6)");
        write_images(f, gzip, max, max, max, PIXELS);
        refuse(f, DML_EFORMAT, "more bytes than memory can address");
        write_images(f, gzip, 1u << 31, 1u << 16, 1u << 16, PIXELS);
        refuse(f, DML_EFORMAT, "more bytes than memory can address");
    }
    /* Petabytes that could be addressed: the file is too small for them. */
    const int64_t huge = 16 + (INT64_C(1) << 50);
    write_images(f, false, 1u << 30, 1u << 10, 1u << 10, PIXELS);
    refuse_values(f, DML_EFORMAT, "cut short: 1126 bytes found", 16 + PIXELS, huge);
    write_images(f, true, 1u << 30, 1u << 10, 1u << 10, PIXELS);
    dml_error error = refuse(f, DML_EFORMAT, "bytes cannot hold");
    assert_int_equal(error.expected, huge);
}

static void failing_memory_is_reported(void **state)
{
    fixture *f = *state;
    write_pair(f, true);
    write_images(f, true, N, 1 << 9, 1 << 9, 0);
    uint8_t *zeros = calloc(1, 16 + ((size_t)N << 18));
    assert_non_null(zeros);
    idx(zeros, 0x803, (uint32_t[]){N, 1 << 9, 1 << 9}, 0);
    write_file(f->images, true, zeros, 16 + ((size_t)N << 18)); /* grows four times */
    free(zeros);
    int allocations = 0;
    for (dml_images *images = NULL; images == NULL; allocations++) {
        dml_ctx *ctx = ctx_failing_at(allocations + 1);
        dml_status status = dml_images_open_idx(ctx, f->images, f->labels, &images);
        dml_error error;
        dml_ctx_last_error(ctx, &error);
        assert_int_equal(status, images == NULL ? DML_ENOMEM : DML_OK);
        assert_int_equal(error.status, status);
        dml_images_destroy(images);
        dml_ctx_destroy(ctx);
    }
    assert_true(allocations > 6);
}

static void check_fashion(const fixture *f, const char *part, size_t count)
{
    char images_path[PATH_BYTES], labels_path[PATH_BYTES];
    snprintf(images_path, PATH_BYTES, "%s/%s-images-idx3-ubyte.gz", fashion, part);
    snprintf(labels_path, PATH_BYTES, "%s/%s-labels-idx1-ubyte.gz", fashion, part);
    dml_images *images = NULL;
    dml_images_info info;
    float mean, stddev;
    assert_int_equal(dml_images_open_idx(f->ctx, images_path, labels_path, &images),
                     DML_OK);
    dml_images_get_info(images, &info);
    dml_images_moments(images, &mean, &stddev);
    assert_int_equal(info.count, count);
    assert_int_equal(info.channels, 1);
    assert_int_equal(info.height, 28);
    assert_int_equal(info.width, 28);
    assert_int_equal(info.nclasses, 10);
    assert_true(fabsf(mean - 0.2860f) < 1e-3f);
    assert_true(fabsf(stddev - 0.3530f) < 1e-3f);
    dml_images_destroy(images);
}

static void fashion_mnist_is_read(void **state)
{
    fixture *f = *state;
    if (access(fashion, R_OK) != 0)
        skip();
    check_fashion(f, "train", 60000);
    check_fashion(f, "t10k", 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DATA_TEST(what_was_written_comes_back),
        DATA_TEST(a_large_gzip_file_grows),
        DATA_TEST(files_that_cannot_be_opened),
        DATA_TEST(files_cut_anywhere),
        DATA_TEST(files_too_long),
        DATA_TEST(gzip_files_damaged_anywhere),
        DATA_TEST(files_of_another_kind),
        DATA_TEST(files_that_do_not_belong_together),
        DATA_TEST(headers_that_cannot_be_true),
        DATA_TEST(failing_memory_is_reported),
        DATA_TEST(fashion_mnist_is_read),
    };
    return cmocka_run_group_tests_name("idx", tests, NULL, NULL);
}
