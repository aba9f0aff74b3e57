/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reader of the CIFAR-10 binary format: records of one label and the red, green and
 * blue planes of a 32 x 32 image, nothing else. Source: Krizhevsky, Learning multiple
 * layers of features from tiny images, 2009.
 */
#include "data/images.h"
#include "data/reader.h"

#include <string.h>

#define SIDE          32
#define PIXELS        ((size_t)3 * SIDE * SIDE)
#define RECORD        (1 + PIXELS)
#define LARGEST_LABEL 9

static dml_status append_file(dml_ctx *ctx, const char *where, const char *path,
                              dml__bytes *records)
{
    size_t before = records->count;
    dml__reader r;
    dml_status status = dml__reader_open(&r, ctx, where, path);
    if (status == DML_OK)
        status = dml__reader_append(&r, SIZE_MAX, records);
    dml__reader_close(&r);
    if (status != DML_OK)
        return status;
    size_t bytes = records->count - before;
    if (bytes == 0 || bytes % RECORD != 0)
        return dml__fail_values(ctx, DML_EFORMAT, where, -1, (int64_t)bytes,
                                (int64_t)((bytes / RECORD + 1) * RECORD),
                                "%s: %zu bytes found, whole records of %zu bytes "
                                "expected; it is cut short or not CIFAR-10's binary "
                                "format",
                                r.path, bytes, RECORD);
    for (size_t i = before; i < records->count; i += RECORD)
        if (records->data[i] > LARGEST_LABEL)
            return dml__fail_values(
                ctx, DML_EFORMAT, where, -1, records->data[i], LARGEST_LABEL,
                "%s: record %zu has label %d, at most %d expected; "
                "it is damaged or not CIFAR-10's binary format",
                r.path, (i - before) / RECORD, records->data[i], LARGEST_LABEL);
    return DML_OK;
}

/* Moves the labels out and the pixels together, in place. */
static void split(dml__bytes *records, size_t count, uint16_t *labels)
{
    for (size_t i = 0; i < count; i++) {
        const uint8_t *record = records->data + i * RECORD;
        labels[i] = record[0];
        memmove(records->data + i * PIXELS, record + 1, PIXELS);
    }
}

dml_status dml_images_open_cifar10(dml_ctx *ctx, const char *const *paths,
                                   size_t npaths, dml_images **images)
{
    if (paths == NULL || npaths == 0 || images == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "no file given, or the result is NULL");
    for (size_t i = 0; i < npaths; i++)
        if (paths[i] == NULL)
            return dml__fail(ctx, DML_EINVAL, __func__, "path %zu is NULL", i);
    dml__bytes records = {0};
    dml_status status = DML_OK;
    for (size_t i = 0; i < npaths && status == DML_OK; i++)
        status = append_file(ctx, __func__, paths[i], &records);
    if (status != DML_OK)
        goto fail;
    size_t count = records.count / RECORD;
    uint16_t *labels = dml__alloc(ctx, dml__mul(count, sizeof *labels));
    if (labels == NULL) {
        status =
            dml__fail(ctx, DML_ENOMEM, __func__, "no memory for %zu labels", count);
        goto fail;
    }
    split(&records, count, labels);
    dml_images_info shape = {
        .count = count, .channels = 3, .height = SIDE, .width = SIDE};
    return dml__images_new(ctx, __func__, &shape, records.data, labels, images);
fail:
    dml__free(records.data);
    return status;
}
