/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Made-up images: the pattern of a class, and as much noise. Every pixel is a function
 * of seed, part, image and place, so all ranks make the same ones.
 */
#include "dml/rng.h"

#include "data/images.h"

static const char where[] = "dml_images_make";

/* Sides of at most 2^16 cannot overflow when multiplied; numbers of images have 40 bits
 * in the key of their noise. */
static bool bytes_of(const dml_images_info *s, size_t *row, size_t *all)
{
    const size_t most = (size_t)1 << 16;
    if (s->count == 0 || s->channels == 0 || s->height == 0 || s->width == 0 ||
        s->nclasses == 0 || s->channels > most || s->height > most || s->width > most ||
        s->nclasses > most || s->count > (size_t)1 << 40)
        return false;
    *row = s->channels * s->height * s->width;
    *all = *row * s->count;
    return *all / *row == s->count;
}

static void make_image(uint8_t *pixels, size_t bytes, uint64_t seed, uint64_t label,
                       uint64_t noise)
{
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t a = dml_rng_u64(seed, label, i / 8);
        uint64_t b = dml_rng_u64(seed, noise, i / 8);
        for (size_t k = i; k < i + 8 && k < bytes; k++, a >>= 8, b >>= 8)
            pixels[k] = (uint8_t)(((a & 0xff) + (b & 0xff)) / 2);
    }
}

dml_status dml_images_make(dml_ctx *ctx, const dml_images_info *shape, uint64_t seed,
                           uint32_t part, dml_images **images)
{
    size_t row = 0, all = 0;
    if (ctx == NULL)
        return DML_EINVAL;
    if (shape == NULL || images == NULL || !bytes_of(shape, &row, &all))
        return dml__fail(ctx, DML_EINVAL, where,
                         "an argument is NULL, or the shape has a 0, a side, channels "
                         "or classes above 65536, or more bytes than addresses");
    uint8_t *pixels = dml__alloc(ctx, all);
    uint16_t *labels = dml__alloc(ctx, dml__mul(shape->count, sizeof *labels));
    if (pixels == NULL || labels == NULL) {
        dml__free(pixels);
        dml__free(labels);
        return dml__fail(
            ctx, DML_ENOMEM, where,
            "no memory for %zu bytes of images: make fewer, or smaller ones", all);
    }
    for (size_t i = 0; i < shape->count; i++) {
        labels[i] = (uint16_t)(i % shape->nclasses);
        make_image(pixels + i * row, row, seed, labels[i],
                   (uint64_t)(part + 1) << 40 | i);
    }
    DML_TRY(dml__images_new(ctx, where, shape, pixels, labels, images));
    (*images)->info.nclasses = shape->nclasses;
    return DML_OK;
}
