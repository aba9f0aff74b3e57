/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images in records: channels, height, width and label as u32, little endian, then the
 * bytes [C][H][W].
 */
#ifndef RECORDS_IMAGES_H
#define RECORDS_IMAGES_H

#include "convert.h"

int images_to_records(struct conversion *c);
int records_to_images(struct conversion *c);

#endif
