/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frame of one record in a file, as TFRecord files have it: length (u64), masked
 * CRC32C of the length's bytes (u32), the record, masked CRC32C of the record (u32);
 * all little endian. Source: the TFRecord format, tensorflow.org/tutorials/load_data/
 * tfrecord.
 */
#ifndef DML__FRAME_H
#define DML__FRAME_H

#include "core/wire.h"
#include "kernels/bytes.h"
#include "kernels/kernels.h"

#include <stdint.h>

#define DML__FRAME_HEAD 12 /* bytes before the record */
#define DML__FRAME_TAIL 4  /* and behind it */

/* Stored checksums are masked, so that those of data that holds checksums are good. */
static inline uint32_t dml__mask(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* The loops of this context's processor. */
static inline const struct dml__byte_kernels *dml__ctx_bytes(const dml_ctx *ctx)
{
    return dml__byte_kernels(dml__ctx_kernels(ctx)->name);
}

/* Is the checksum of a frame's length right? */
static inline bool dml__frame_head_ok(const struct dml__byte_kernels *k,
                                      const uint8_t *head)
{
    return dml__mask(k->crc32c(0, head, 8)) == dml__get_u32(head + 8);
}

#endif
