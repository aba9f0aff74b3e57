/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot that is open for reading.
 */
#ifndef DML__SNAPSHOT_H
#define DML__SNAPSHOT_H

#include "ckpt/ckpt.h"

/* A section and the rank that wrote it. */
struct dml__part {
    const struct dml__section *section;
    uint32_t rank;
};

struct dml_snapshot {
    dml_ctx *ctx;
    char *path; /* owned */
    struct dml__manifest manifest;
    struct dml__shard *shards; /* [manifest.ranks] */
    struct dml__part *parts;   /* [nparts] by name */
    size_t nparts;
    uint64_t bytes; /* of all shards */
};

/* The path of a shard, in memory of its own; NULL: there is none. */
char *dml__snapshot_file(const dml_snapshot *snapshot, uint32_t rank);

#endif
