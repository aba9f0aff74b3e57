/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of lib/ckpt share: the two kinds of files that a snapshot is made of
 * (doc/checkpoints.md has their bytes), and what is done to folders.
 */
#ifndef DML__CKPT_H
#define DML__CKPT_H

#include "dml/ckpt.h"

#include "core/core.h"
#include "kernels/bytes.h"
#include "kernels/kernels.h"

#define DML__CKPT_VERSION    1
#define DML__SHARD_HEAD      64 /* bytes before the table of sections */
#define DML__SECTION_HEAD    40 /* bytes of a section's entry before its name */
#define DML__MANIFEST_HEAD   64
#define DML__MANIFEST_ENTRY  16
#define DML__CKPT_SUM        4 /* bytes of the checksum after head and table */
#define DML__CKPT_MOST_RANKS ((uint32_t)1 << 20)

/* Names in a snapshot's folder, and in the folder of snapshots. */
#define DML__MANIFEST_NAME "manifest"
#define DML__LOCK_NAME     "lock"
#define DML__NAME_ROOM     80 /* of each of them */

/* CRC32C, continued from that of what came before (0 at first). */
static inline uint32_t dml__ckpt_crc(const dml_ctx *ctx, uint32_t crc, const void *data,
                                     size_t bytes)
{
    return dml__byte_kernels(dml__ctx_kernels(ctx)->name)->crc32c(crc, data, bytes);
}

/* ---- shards ----------------------------------------------------------------------
 */

/* A section: its entry in the table, and where its data are in the file. */
struct dml__section {
    char name[DML_CKPT_NAME_MAX];
    uint32_t kind, dtype;         /* dml_section_kind, dml_dtype */
    uint32_t crc;                 /* of the data */
    uint64_t first, count, total; /* elements; of bytes 0, n and n */
    uint64_t offset, bytes;       /* not in the table, which they follow from */
};

struct dml__shard {
    uint32_t rank, ranks;
    uint64_t id, step, file_bytes;
    struct dml__section *sections; /* [nsections] owned */
    size_t nsections;
    uint32_t crc; /* of head and table, which hold the checksums of all data */
};

/* Bytes of head, table and checksum. */
size_t dml__shard_head_bytes(const struct dml__section *sections, size_t nsections);

/* The sections' "offset" and "bytes", and file_bytes, from the rest; DML_EINVAL where
 * they do not fit into numbers. */
dml_status dml__shard_place(struct dml__shard *shard);

/* Head, table and checksum [dml__shard_head_bytes()]; sets shard->crc. */
void dml__shard_pack(const dml_ctx *ctx, struct dml__shard *shard, uint8_t *bytes);

/* Reads head and table of a file. On success free shard->sections. */
dml_status dml__shard_read(dml_ctx *ctx, const char *where, const char *path,
                           struct dml__shard *shard);

/* Reads elements of a section, from number "first" of the section on; if that is the
 * whole section its checksum is compared. */
dml_status dml__section_read(dml_ctx *ctx, const char *where, const char *path,
                             const struct dml__section *section, uint64_t first,
                             uint64_t count, void *data);

/* Compares the checksums of all data of a file. */
dml_status dml__shard_check(dml_ctx *ctx, const char *where, const char *path,
                            const struct dml__shard *shard);

/* ---- manifests -------------------------------------------------------------------
 */

struct dml__manifest_entry {
    uint64_t file_bytes;
    uint32_t crc; /* dml__shard.crc */
};

struct dml__manifest {
    uint32_t ranks;
    uint64_t id, step, serial, unix_s;
    struct dml__manifest_entry *entries; /* [ranks] owned */
};

size_t dml__manifest_bytes(uint32_t ranks);
void dml__manifest_pack(const dml_ctx *ctx, const struct dml__manifest *manifest,
                        uint8_t *bytes);
/* On success free manifest->entries. */
dml_status dml__manifest_read(dml_ctx *ctx, const char *where, const char *path,
                              struct dml__manifest *manifest);

/* ---- folders ---------------------------------------------------------------------
 */

/* DIR/NAME in memory of its own, or NULL. */
char *dml__ckpt_path(dml_ctx *ctx, const char *dir, const char *name);

void dml__shard_name(int rank, char name[DML__NAME_ROOM]);
void dml__snapshot_name(uint64_t serial, uint64_t step, char name[DML__NAME_ROOM]);
void dml__unnamed_name(uint64_t id, uint64_t serial, char name[DML__NAME_ROOM]);
/* Is this the name of a snapshot, and which number has it? */
bool dml__is_snapshot(const char *name, uint64_t *serial);
/* Is it one of what is not, or no longer, a snapshot? */
bool dml__is_unnamed(const char *name);

/* A file with these two pieces, brought to the disk with "sync"; it may not be there
 * before. */
dml_status dml__ckpt_write(dml_ctx *ctx, const char *where, const char *path,
                           const void *head, size_t head_bytes, const void *data,
                           size_t bytes, bool sync);

dml_status dml__ckpt_mkdir(dml_ctx *ctx, const char *where, const char *path);
/* What happened to a folder's names is brought to the disk. */
dml_status dml__ckpt_sync_dir(dml_ctx *ctx, const char *where, const char *path);
dml_status dml__ckpt_rename(dml_ctx *ctx, const char *where, const char *from,
                            const char *to);
/* A folder and the files in it; what cannot be removed stays. */
void dml__ckpt_remove(dml_ctx *ctx, const char *path);

/* A folder's snapshots, the newest first: [*count], to be freed. DML_EEND: there is no
 * such folder. */
struct dml__found {
    uint64_t serial;
    char name[DML__NAME_ROOM];
};
dml_status dml__ckpt_list(dml_ctx *ctx, const char *where, const char *dir,
                          struct dml__found **found, size_t *count);

/* Removes what writers that were killed left. */
void dml__ckpt_clean(dml_ctx *ctx, const char *dir);

/* Takes the folder's lock; waits up to so many seconds. *fd is to be closed. */
dml_status dml__ckpt_lock(dml_ctx *ctx, const char *where, const char *dir,
                          double seconds, int *fd);
/* Takes it again, with a warning, where the folder or the lock's file was replaced:
 * then the lock that is held keeps nobody out. */
dml_status dml__ckpt_keep_lock(dml_ctx *ctx, const char *where, const char *dir,
                               int *fd);

/* ---- one snapshot ----------------------------------------------------------------
 */

/* Reads all heads of a folder that is, or becomes, a snapshot: they fit each other and
 * the manifest, and vectors have neither gaps nor overlaps. Local. */
dml_status dml__snapshot_load(dml_ctx *ctx, const char *where, const char *path,
                              dml_snapshot **snapshot);
/* Compares the data of shard number r with their checksums. Local. */
dml_status dml__snapshot_check(const dml_snapshot *snapshot, const char *where,
                               uint32_t r);

#endif
