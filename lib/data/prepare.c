/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From stored bytes to floats, by one table look-up a pixel, or to bytes. An image is
 * handled row by row, so that shift and flip decide which rows and which part of a row
 * are read, and no pixel is tested by itself.
 */
#include "data/prepare.h"

#include "core/philox.h"
#include "core/wire.h"

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

dml_image_area dml__augment_area(const dml__augment *augment, int height, int width)
{
    int dx = augment->dx, dy = augment->dy;
    return (dml_image_area){
        .top = (uint32_t)(dy > 0 ? dy : 0),
        .left = (uint32_t)(dx > 0 ? dx : 0),
        .bottom = (uint32_t)(dy < 0 ? height + dy : height),
        .right = (uint32_t)(dx < 0 ? width + dx : width),
    };
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

/* Eight bytes at a time, in the order from most to least significant. */
static void reverse(const uint8_t *restrict in, size_t count, uint8_t *restrict out)
{
    size_t done = 0;
    for (; done + 8 <= count; done += 8) {
        uint64_t eight = dml__get_u64(in + count - done - 8);
        for (int k = 0; k < 8; k++)
            out[done + (size_t)k] = (uint8_t)(eight >> (56 - 8 * k));
    }
    for (; done < count; done++)
        out[done] = in[count - 1 - done];
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

void dml__prepare_bytes(const uint8_t *restrict in, size_t channels, int height,
                        int width, const dml__augment *augment, uint8_t *restrict out)
{
    const dml_image_area area = dml__augment_area(augment, height, width);
    const size_t w = (size_t)width, plane = (size_t)height * w;
    const size_t lines = area.bottom - area.top, columns = area.right - area.left;
    const size_t skip = augment->flip ? area.left : w - area.right;
    if (lines * columns < plane)
        memset(out, 0, channels * plane);
    for (size_t c = 0; c < channels; c++) {
        const uint8_t *from = in + c * plane + skip;
        uint8_t *to = out + c * plane + area.top * w + area.left;
        from += augment->dy < 0 ? (size_t)-augment->dy * w : 0;
        for (size_t y = 0; y < lines; y++, from += w, to += w)
            if (augment->flip)
                reverse(from, columns, to);
            else
                memcpy(to, from, columns);
    }
}
