/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A tree as bytes: how it lies in a model file, and travels between ranks. Little
 * endian: nnodes nshares nsets depth oob_rows oob_right (u32 each), oob_error (f64),
 * nodes (u64 each: link, then 21 bits feature, 2 kind, 1 missing goes left, 8
 * threshold), shares (u16), sets (4 u64 and a u32 child).
 */
#ifndef PRF_RECORD_H
#define PRF_RECORD_H

#include "tree.h"

#define RECORD_HEAD 32
#define RECORD_SET  36

/* Bytes of a tree's record. */
size_t record_bytes(const struct tree *tree, size_t nclasses);
void record_write(const struct tree *tree, size_t nclasses, unsigned char *bytes);

/* Bytes of the record whose head this is; 0: it cannot be a head. */
size_t record_bytes_of(const unsigned char head[RECORD_HEAD], size_t nclasses);

/* Read a whole record, and check that every walk from the root ends in a leaf that is
 * there. NULL, or what is wrong. */
const char *record_read(const unsigned char *bytes, size_t nclasses, size_t nfeatures,
                        struct tree *tree);

#endif
