/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of labelled images in memory, whatever file format it came from.
 */
#include "data/images.h"

#include <assert.h>
#include <math.h>

dml_status dml__images_new(dml_ctx *ctx, const char *where,
                           const dml_images_info *shape, uint8_t *pixels,
                           uint16_t *labels, dml_images **out)
{
    dml_images *images = dml__alloc(ctx, sizeof *images);
    if (images == NULL) {
        dml__free(pixels);
        dml__free(labels);
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for a data set's shape");
    }
    images->info = *shape;
    images->pixels = pixels;
    images->labels = labels;
    uint16_t largest = 0;
    for (size_t i = 0; i < shape->count; i++)
        largest = labels[i] > largest ? labels[i] : largest;
    images->info.nclasses = (size_t)largest + 1;
    *out = images;
    return DML_OK;
}

void dml_images_destroy(dml_images *images)
{
    if (images == NULL)
        return;
    dml__free(images->labels);
    dml__free(images->pixels);
    dml__free(images);
}

void dml_images_get_info(const dml_images *images, dml_images_info *info)
{
    *info = images->info;
}

const uint8_t *dml_images_pixels(const dml_images *images, size_t image, int32_t *label)
{
    const dml_images_info *s = &images->info;
    assert(image < s->count);
    if (label != NULL)
        *label = images->labels[image];
    return images->pixels + image * s->channels * s->height * s->width;
}

void dml_images_moments(const dml_images *images, float *mean, float *stddev)
{
    const dml_images_info *s = &images->info;
    size_t plane = s->height * s->width;
    for (size_t c = 0; c < s->channels; c++) {
        /* Integers: exact in any order, and 2^64 / 255^2 pixels fit. */
        uint64_t sum = 0, squares = 0;
        for (size_t n = 0; n < s->count; n++) {
            const uint8_t *p = images->pixels + (n * s->channels + c) * plane;
            for (size_t i = 0; i < plane; i++) {
                sum += p[i];
                squares += (uint32_t)p[i] * p[i];
            }
        }
        double pixels = (double)s->count * (double)plane;
        double average = (double)sum / pixels;
        double variance = (double)squares / pixels - average * average;
        mean[c] = (float)(average / 255);
        stddev[c] = (float)(sqrt(variance > 0 ? variance : 0) / 255);
    }
}
