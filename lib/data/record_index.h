/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The index of a record file as it grows and as it is stored; doc/data.md describes the
 * bytes.
 */
#ifndef DML__RECORD_INDEX_H
#define DML__RECORD_INDEX_H

#include "dml/records.h"

#include "data/frame.h"
#include "data/partial.h"

#define DML__INDEX_SUFFIX  ".index"
#define DML__INDEX_MAGIC   "DMLINDEX"
#define DML__INDEX_VERSION 1
#define DML__INDEX_HEAD    64
#define DML__INDEX_ENTRY   32

struct dml_record_index {
    dml_ctx *ctx;
    dml_record_entry *entries; /* [capacity] */
    size_t count, capacity;
    uint32_t digest;     /* CRC32C of the heads and tails of all frames */
    uint64_t file_bytes; /* of the record file */
    int64_t mtime_ns;    /* its time of last change */
};

dml_status dml__index_new(dml_ctx *ctx, const char *where, dml_record_index **index);

/* Room for one more record. */
dml_status dml__index_reserve(dml_record_index *index, const char *where);

/* Add a record, for which there is room; head and tail are its frame's. */
void dml__index_add(dml_record_index *index, const dml_record_entry *entry,
                    const uint8_t head[DML__FRAME_HEAD],
                    const uint8_t tail[DML__FRAME_TAIL]);

/* All bytes of the index file; it is not renamed yet. */
dml_status dml__index_store(const dml_record_index *index, dml__partial *file,
                            bool sync);

#endif
