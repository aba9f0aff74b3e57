/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reader of idx files, the format of MNIST and its kin: a big-endian magic number (0,
 * 0, element type, number of dimensions), the dimensions, then the bytes. Source:
 * LeCun, The MNIST database.
 */
#include "data/images.h"
#include "data/reader.h"

#define IMAGES_MAGIC 0x00000803u /* unsigned bytes, three dimensions */
#define LABELS_MAGIC 0x00000801u /* unsigned bytes, one dimension */
#define MAX_DIMS     3

static uint32_t big_endian(const uint8_t *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static dml_status read_header(dml__reader *r, uint32_t magic, size_t dims[MAX_DIMS])
{
    uint8_t header[4 + 4 * MAX_DIMS];
    size_t ndims = magic & 0xff, want = 4 + 4 * ndims, got = 0;
    DML_TRY(dml__reader_read(r, header, want, &got));
    if (got >= 4 && big_endian(header) != magic) {
        const char *other = magic == IMAGES_MAGIC ? "labels" : "images";
        uint32_t seen = big_endian(header);
        bool swapped = seen == IMAGES_MAGIC || seen == LABELS_MAGIC;
        return dml__fail_values(
            r->ctx, DML_EFORMAT, r->where, -1, seen, magic,
            "%s: not an idx file of %s: magic 0x%08x found, 0x%08x expected; %s%s",
            r->path, magic == IMAGES_MAGIC ? "images" : "labels", seen, magic,
            swapped ? "it holds " : "check the path", swapped ? other : "");
    }
    if (got < want)
        return dml__reader_wrong_length(r, got, want);
    for (size_t i = 0; i < ndims; i++)
        dims[i] = big_endian(header + 4 + 4 * i);
    return DML_OK;
}

/* Reads the bytes after the header into new memory: exactly count, or an error. */
static dml_status read_body(dml__reader *r, size_t count, uint8_t **out)
{
    size_t header = r->offset;
    if (count > PTRDIFF_MAX - header)
        return dml__fail_values(r->ctx, DML_EFORMAT, r->where, -1, INT64_MAX,
                                PTRDIFF_MAX,
                                "%s: its header announces more bytes than memory can "
                                "address, at most %td expected; it is damaged",
                                r->path, (ptrdiff_t)PTRDIFF_MAX);
    size_t whole = header + count;
    DML_TRY(dml__reader_check_room(r, whole));
    dml__bytes bytes = {0};
    bool more = false;
    dml_status status = dml__reader_append(r, count, &bytes);
    if (status == DML_OK && bytes.count < count)
        status = dml__reader_wrong_length(r, header + bytes.count, whole);
    if (status == DML_OK)
        status = dml__reader_more(r, &more);
    if (status == DML_OK && more)
        status = dml__reader_wrong_length(r, whole + 1, whole);
    if (status != DML_OK)
        dml__free(bytes.data);
    else
        *out = bytes.data;
    return status;
}

static dml_status read_images(dml__reader *r, dml_images_info *shape, uint8_t **pixels)
{
    size_t dims[MAX_DIMS] = {0};
    DML_TRY(read_header(r, IMAGES_MAGIC, dims));
    size_t bytes = dml__mul(dims[0], dml__mul(dims[1], dims[2]));
    if (bytes == 0)
        return dml__fail_values(r->ctx, DML_EFORMAT, r->where, -1, 0, 1,
                                "%s: holds no pixels (%zu images of %zu x %zu); at "
                                "least one was expected",
                                r->path, dims[0], dims[1], dims[2]);
    *shape = (dml_images_info){
        .count = dims[0], .channels = 1, .height = dims[1], .width = dims[2]};
    return read_body(r, bytes, pixels);
}

/* A file has bytes. */
static dml_status widen(dml__reader *r, size_t count, const uint8_t *bytes,
                        uint16_t **labels)
{
    *labels = dml__alloc(r->ctx, dml__mul(count, sizeof **labels));
    if (*labels == NULL)
        return dml__fail(r->ctx, DML_ENOMEM, r->where, "no memory for %zu labels",
                         count);
    for (size_t i = 0; i < count; i++)
        (*labels)[i] = bytes[i];
    return DML_OK;
}

static dml_status read_labels(dml__reader *r, size_t count, uint16_t **labels)
{
    size_t dims[MAX_DIMS] = {0};
    uint8_t *bytes = NULL;
    DML_TRY(read_header(r, LABELS_MAGIC, dims));
    if (dims[0] != count)
        return dml__fail_values(r->ctx, DML_EFORMAT, r->where, -1, (int64_t)dims[0],
                                (int64_t)count,
                                "%s: %zu labels found, %zu expected, one per image; "
                                "give the two files of one set",
                                r->path, dims[0], count);
    DML_TRY(read_body(r, count, &bytes));
    dml_status status = widen(r, count, bytes, labels);
    dml__free(bytes);
    return status;
}

dml_status dml_images_open_idx(dml_ctx *ctx, const char *images_path,
                               const char *labels_path, dml_images **images)
{
    if (images_path == NULL || labels_path == NULL || images == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "a path or the result is NULL");
    dml_images_info shape = {0};
    uint8_t *pixels = NULL;
    uint16_t *labels = NULL;
    dml__reader reader;
    dml_status status = dml__reader_open(&reader, ctx, __func__, images_path);
    if (status == DML_OK)
        status = read_images(&reader, &shape, &pixels);
    dml__reader_close(&reader);
    if (status != DML_OK)
        return status;
    status = dml__reader_open(&reader, ctx, __func__, labels_path);
    if (status == DML_OK)
        status = read_labels(&reader, shape.count, &labels);
    dml__reader_close(&reader);
    if (status != DML_OK) {
        dml__free(pixels);
        return status;
    }
    return dml__images_new(ctx, __func__, &shape, pixels, labels, images);
}
