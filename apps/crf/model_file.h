/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Model files.
 *
 * Little endian. A header of 64-bit numbers, then sections, each at a multiple of 64
 * bytes so that a mapped file can be used as it is:
 *
 *     "DMLCRF\r\n"  version = 2  bytes of the file  checksum of the rest
 *     labels  attributes (of the dictionary, or 2^bits)  state features  transitions
 *     pair features  hash bits  format  label column  has a template
 *     NSECTIONS pairs: offset, bytes
 *
 *     template      text
 *     label text    each ends in a zero byte; u64 offsets [labels + 1]; u64 slots
 *     attr text     likewise; empty with hashing (see dict.h)
 *     rows          u64 [attributes + 1]: features of each attribute
 *     row labels    u16 [state features]
 *     from, to      u16 [transitions] each
 *     pair rows     u64 [attributes + 1]: pair features of each; empty without any
 *     pair from, to u16 [pair features] each
 *     weights       f32 [state features + transitions + pair features]
 *
 * Version 1, without what is said of pairs, is not read.
 *
 * The checksum is XXH3 with 64 bits of the header, with a 0 in the checksum's place,
 * plus that of what comes behind. A reader checks it, then that every number points
 * inside.
 */
#ifndef CRF_MODEL_FILE_H
#define CRF_MODEL_FILE_H

#include <stddef.h>
#include <stdint.h>

#define MODEL_MAGIC   "DMLCRF\r\n"
#define MODEL_VERSION 2u
#define SECTION_ALIGN 64

enum section {
    TEMPLATE,
    LABEL_TEXT,
    LABEL_OFFSETS,
    LABEL_SLOTS,
    ATTR_TEXT,
    ATTR_OFFSETS,
    ATTR_SLOTS,
    ROWS,
    ROW_LABELS,
    FROM,
    TO,
    PAIR_ROWS,
    PAIR_FROM,
    PAIR_TO,
    WEIGHTS,
    NSECTIONS
};

struct header {
    char magic[8];
    uint64_t version, bytes, checksum;
    uint64_t nlabels, nattrs, nstate, ntrans, npairs;
    uint64_t hash_bits, format;
    int64_t label;
    uint64_t has_template;
    struct {
        uint64_t offset, bytes;
    } section[NSECTIONS];
};

/* Of a file's bytes, which begin with the header. */
uint64_t model_checksum(const void *file, size_t bytes);

#endif
