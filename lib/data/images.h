/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the readers of the file formats make and the loader reads.
 */
#ifndef DML__IMAGES_H
#define DML__IMAGES_H

#include "dml/data.h"

#include "core/core.h"

struct dml_images {
    dml_images_info info;
    uint8_t *pixels;  /* [N][C][H][W] */
    uint16_t *labels; /* [N] */
};

/* Make a data set that takes both arrays, also on failure. nclasses is computed. */
dml_status dml__images_new(dml_ctx *ctx, const char *where,
                           const dml_images_info *shape, uint8_t *pixels,
                           uint16_t *labels, dml_images **images);

#endif
