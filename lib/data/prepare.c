/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From stored bytes to floats: one table look-up a pixel. An image is handled row by
 * row, so that shift and flip decide which rows and which part of a row are read, and
 * no pixel is tested by itself.
 */
#include "data/prepare.h"

#include "core/philox.h"

#include <stdlib.h>
#include <string.h>

/* Keeps these draws apart from the loader's order and from the streams of callers. */
#define STREAM (UINT64_C(3) << 62)

/* Uniform in -shift .. shift; the bias, below 2^-20, is nothing for augmentation. */
static int draw_shift(uint32_t word, int shift)
{
    uint64_t choices = 2 * (uint64_t)shift + 1;
    return (int)(word * choices >> 32) - shift;
}

dml__augment dml__augment_draw(uint64_t seed, uint64_t epoch, size_t image, int shift,
                               bool flip)
{
    uint32_t words[4];
    dml__philox(seed, STREAM + epoch, image, words);
    return (dml__augment){
        .dx = draw_shift(words[0], shift),
        .dy = draw_shift(words[1], shift),
        .flip = flip && (words[2] & 1) != 0,
    };
}

void dml__prepare_table(size_t channels, const float *mean, const float *stddev,
                        float *table)
{
    for (size_t c = 0; c < channels; c++) {
        double m = mean != NULL ? (double)mean[c] : 0;
        double s = stddev != NULL ? (double)stddev[c] : 1;
        for (int byte = 0; byte < 256; byte++)
            table[c * 256 + (size_t)byte] = (float)((byte / 255.0 - m) / s);
    }
}

static void convert(const uint8_t *restrict in, int count, const float *restrict table,
                    float *restrict out)
{
    for (int i = 0; i < count; i++)
        out[i] = table[in[i]];
}

static void convert_reversed(const uint8_t *restrict in, int count,
                             const float *restrict table, float *restrict out)
{
    for (int i = 0; i < count; i++)
        out[i] = table[in[count - 1 - i]];
}

static void zero(float *out, int count)
{
    memset(out, 0, (size_t)count * sizeof *out);
}

void dml__prepare_image(const uint8_t *restrict in, size_t channels, int height,
                        int width, const float *table, const dml__augment *augment,
                        float *restrict out)
{
    int dx = augment->dx, dy = augment->dy;
    int seen = width - abs(dx);   /* columns of the image that stay in sight */
    int before = dx > 0 ? dx : 0; /* zero columns at the left */
    int after = dx < 0 ? -dx : 0; /* and at the right */
    int skip = augment->flip ? before : after; /* stored columns lost at the left */
    for (size_t c = 0; c < channels; c++) {
        const float *values = table + c * 256;
        const uint8_t *plane = in + c * (size_t)height * (size_t)width;
        for (int y = 0; y < height; y++, out += width) {
            if (y - dy < 0 || y - dy >= height) {
                zero(out, width);
                continue;
            }
            const uint8_t *row = plane + (size_t)(y - dy) * (size_t)width + skip;
            zero(out, before);
            if (augment->flip)
                convert_reversed(row, seen, values, out + before);
            else
                convert(row, seen, values, out + before);
            zero(out + before + seen, after);
        }
    }
}
