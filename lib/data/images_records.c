/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images in record files: one image a record, which tells its own shape, so that any
 * record of any file can be read by itself. dml/data.h states the bytes.
 */
#include "dml/records.h"

#include "data/frame.h"
#include "data/images.h"

#include <string.h>

#define HEAD          16
#define LARGEST_LABEL UINT16_MAX
#define LARGEST_SIDE  (1u << 20) /* so that products of the sides fit */

/* Images as they come in. */
struct images {
    dml_images_info shape; /* count: so far */
    size_t capacity;
    uint8_t *pixels; /* [capacity] */
    uint16_t *labels;
};

static dml_status bad(dml_ctx *ctx, const char *where, const char *path,
                      const dml_record *record, uint64_t seen, uint64_t expected,
                      const char *what)
{
    return dml__fail_values(ctx, DML_EFORMAT, where, -1, (int64_t)seen,
                            (int64_t)expected,
                            "%.200s: record at offset %llu %s: %llu found, %llu "
                            "expected",
                            path, (unsigned long long)record->offset, what,
                            (unsigned long long)seen, (unsigned long long)expected);
}

/* Twice the room, or that for a few images at first. */
static dml_status grow(dml_ctx *ctx, const char *where, struct images *im)
{
    size_t capacity = im->capacity > 0 ? dml__mul(im->capacity, 2) : 64;
    size_t pixels = im->shape.channels * im->shape.height * im->shape.width;
    uint8_t *more_pixels = dml__alloc(ctx, dml__mul(capacity, pixels));
    uint16_t *more_labels = dml__alloc(ctx, dml__mul(capacity, sizeof *more_labels));
    if (more_pixels == NULL || more_labels == NULL) {
        dml__free(more_labels);
        dml__free(more_pixels);
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for %zu images", capacity);
    }
    if (im->shape.count > 0) {
        memcpy(more_pixels, im->pixels, im->shape.count * pixels);
        memcpy(more_labels, im->labels, im->shape.count * sizeof *more_labels);
    }
    dml__free(im->pixels);
    dml__free(im->labels);
    im->pixels = more_pixels;
    im->labels = more_labels;
    im->capacity = capacity;
    return DML_OK;
}

static dml_status append(dml_ctx *ctx, const char *where, const char *path,
                         const dml_record *record, struct images *im)
{
    const uint8_t *head = record->data;
    if (record->bytes < HEAD)
        return bad(ctx, where, path, record, record->bytes, HEAD,
                   "is too short for an image's head");
    uint32_t channels = dml__get_u32(head), height = dml__get_u32(head + 4);
    uint32_t width = dml__get_u32(head + 8), label = dml__get_u32(head + 12);
    if (label > LARGEST_LABEL)
        return bad(ctx, where, path, record, label, LARGEST_LABEL, "has a large label");
    uint64_t pixels = (uint64_t)channels * height * width;
    if (channels > LARGEST_SIDE || height > LARGEST_SIDE || width > LARGEST_SIDE ||
        pixels == 0 || pixels != record->bytes - HEAD)
        return bad(ctx, where, path, record, record->bytes - HEAD, pixels,
                   "does not have its pixels");
    if (im->shape.count == 0) {
        im->shape.channels = channels;
        im->shape.height = height;
        im->shape.width = width;
    }
    const dml_images_info *s = &im->shape;
    if (channels != s->channels || height != s->height || width != s->width)
        return bad(ctx, where, path, record, pixels, s->channels * s->height * s->width,
                   "has another shape than the first image; pixels");
    if (s->count == im->capacity)
        DML_TRY(grow(ctx, where, im));
    memcpy(im->pixels + s->count * pixels, head + HEAD, (size_t)pixels);
    im->labels[im->shape.count++] = (uint16_t)label;
    return DML_OK;
}

static dml_status append_file(dml_ctx *ctx, const char *where, const char *path,
                              struct images *im)
{
    dml_records *records = NULL;
    dml_record record;
    dml_status status = dml_records_open(ctx, path, NULL, &records);
    while (status == DML_OK) {
        status = dml_records_next(records, &record);
        if (status == DML_OK)
            status = append(ctx, where, path, &record, im);
    }
    dml_records_close(records);
    return status == DML_EEND ? DML_OK : status;
}

dml_status dml_images_open_records(dml_ctx *ctx, const char *const *paths,
                                   size_t npaths, dml_images **images)
{
    if (paths == NULL || npaths == 0 || images == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no file given, or the result is NULL");
    struct images im = {0};
    dml_status status = DML_OK;
    for (size_t i = 0; i < npaths && status == DML_OK; i++)
        status = paths[i] != NULL
                     ? append_file(ctx, __func__, paths[i], &im)
                     : dml__fail(ctx, DML_EINVAL, __func__, "path %zu is NULL", i);
    if (status == DML_OK && im.shape.count == 0)
        status = dml__fail_values(ctx, DML_EFORMAT, __func__, -1, 0, 1,
                                  "%.200s: holds no images; at least one expected",
                                  paths[0]);
    if (status == DML_OK)
        return dml__images_new(ctx, __func__, &im.shape, im.pixels, im.labels, images);
    dml__free(im.labels);
    dml__free(im.pixels);
    return status;
}
