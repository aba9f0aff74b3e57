/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From stored bytes to the floats that a network reads: normalisation and augmentation.
 */
#ifndef DML__PREPARE_H
#define DML__PREPARE_H

#include "dml/data.h"

#include "core/core.h"

/* Shift by (dx, dy) pixels to the right and down after an optional left-right flip. */
typedef struct dml__augment {
    int dx, dy;
    bool flip;
} dml__augment;

/* What (seed, epoch, image) draws; each way -shift .. shift. Pure. */
dml__augment dml__augment_draw(uint64_t seed, uint64_t epoch, size_t image, int shift,
                               bool flip);

/* table [C][256]: (byte / 255 - mean[c]) / stddev[c]; NULL stands for 0 and for 1. */
void dml__prepare_table(size_t channels, const float *mean, const float *stddev,
                        float *table);

/* Where the image is then. */
dml_image_area dml__augment_area(const dml__augment *augment, int height, int width);

/* One image [C][H][W]. Pixels that come from outside become 0. |dx| < W, |dy| < H. */
void dml__prepare_image(const uint8_t *restrict in, size_t channels, int height,
                        int width, const float *table, const dml__augment *augment,
                        float *restrict out);

/* The same without normalisation. */
void dml__prepare_bytes(const uint8_t *restrict in, size_t channels, int height,
                        int width, const dml__augment *augment, uint8_t *restrict out);

#endif
