/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The list of a snapshot's files with their lengths and checksums: what makes a folder
 * a snapshot. It is read by its length, which is a function of the number of ranks.
 */
#include "ckpt/ckpt.h"
#include "core/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char magic[8] = "DMLSNAPS";

size_t dml__manifest_bytes(uint32_t ranks)
{
    return DML__MANIFEST_HEAD + (size_t)ranks * DML__MANIFEST_ENTRY + DML__CKPT_SUM;
}

void dml__manifest_pack(const dml_ctx *ctx, const struct dml__manifest *m,
                        uint8_t *bytes)
{
    size_t summed = dml__manifest_bytes(m->ranks) - DML__CKPT_SUM;
    memset(bytes, 0, summed);
    memcpy(bytes, magic, sizeof magic);
    dml__put_u32(bytes + 8, DML__CKPT_VERSION);
    dml__put_u32(bytes + 12, m->ranks);
    dml__put_u64(bytes + 16, m->id);
    dml__put_u64(bytes + 24, m->step);
    dml__put_u64(bytes + 32, m->serial);
    dml__put_u64(bytes + 40, m->unix_s);
    uint8_t *to = bytes + DML__MANIFEST_HEAD;
    for (uint32_t r = 0; r < m->ranks; r++, to += DML__MANIFEST_ENTRY) {
        dml__put_u64(to, m->entries[r].file_bytes);
        dml__put_u32(to + 8, m->entries[r].crc);
    }
    dml__put_u32(to, dml__ckpt_crc(ctx, 0, bytes, summed));
}

static dml_status bad(dml_ctx *ctx, const char *where, const char *path,
                      const char *what)
{
    return dml__fail(ctx, DML_EFORMAT, where, "%.200s: %s", path, what);
}

/* Up to "room" bytes from the file's start. */
static dml_status read_start(dml_ctx *ctx, const char *where, const char *path, int fd,
                             uint8_t *to, size_t room, size_t *got)
{
    *got = 0;
    while (*got < room) {
        ssize_t n = pread(fd, to + *got, room - *got, (off_t)*got);
        if (n < 0 && errno != EINTR)
            return dml__fail(ctx, DML_EIO, where, "%.200s: cannot read: %s", path,
                             strerror(errno));
        if (n == 0)
            break;
        *got += n > 0 ? (size_t)n : 0;
    }
    return DML_OK;
}

static dml_status take_entries(dml_ctx *ctx, const char *where, const char *path,
                               const uint8_t *bytes, struct dml__manifest *m)
{
    m->entries = dml__alloc(ctx, dml__mul(m->ranks, sizeof *m->entries));
    if (m->entries == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "%.200s: no memory for %u ranks", path,
                         m->ranks);
    const uint8_t *from = bytes + DML__MANIFEST_HEAD;
    for (uint32_t r = 0; r < m->ranks; r++, from += DML__MANIFEST_ENTRY)
        m->entries[r] =
            (struct dml__manifest_entry){dml__get_u64(from), dml__get_u32(from + 8)};
    return DML_OK;
}

static dml_status take_all(dml_ctx *ctx, const char *where, const char *path, int fd,
                           struct dml__manifest *m)
{
    size_t bytes = dml__manifest_bytes(m->ranks), got = 0;
    uint8_t *all = dml__alloc(ctx, bytes + 1);
    if (all == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "%.200s: no memory for %zu bytes",
                         path, bytes);
    dml_status status = read_start(ctx, where, path, fd, all, bytes + 1, &got);
    if (status == DML_OK && got != bytes)
        status =
            bad(ctx, where, path, got < bytes ? "cut short" : "longer than it says");
    size_t summed = bytes - DML__CKPT_SUM;
    if (status == DML_OK &&
        dml__ckpt_crc(ctx, 0, all, summed) != dml__get_u32(all + summed))
        status = bad(ctx, where, path,
                     "wrong checksum; it is damaged: go on from an older one");
    if (status == DML_OK)
        status = take_entries(ctx, where, path, all, m);
    dml__free(all);
    return status;
}

static dml_status take_head(dml_ctx *ctx, const char *where, const char *path, int fd,
                            struct dml__manifest *m)
{
    uint8_t head[DML__MANIFEST_HEAD];
    size_t got = 0;
    DML_TRY(read_start(ctx, where, path, fd, head, sizeof head, &got));
    if (got < sizeof head)
        return bad(ctx, where, path, "cut short");
    if (memcmp(head, magic, sizeof magic) != 0)
        return bad(ctx, where, path, "not the list of a snapshot's files");
    if (dml__get_u32(head + 8) != DML__CKPT_VERSION)
        return bad(ctx, where, path, "of a version that this libdml does not read");
    *m = (struct dml__manifest){.ranks = dml__get_u32(head + 12),
                                .id = dml__get_u64(head + 16),
                                .step = dml__get_u64(head + 24),
                                .serial = dml__get_u64(head + 32),
                                .unix_s = dml__get_u64(head + 40)};
    if (m->ranks == 0 || m->ranks > DML__CKPT_MOST_RANKS)
        return bad(ctx, where, path, "its number of ranks makes no sense");
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0 || (uint64_t)end != dml__manifest_bytes(m->ranks))
        return bad(ctx, where, path, "its length does not fit its number of ranks");
    return DML_OK;
}

dml_status dml__manifest_read(dml_ctx *ctx, const char *where, const char *path,
                              struct dml__manifest *m)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return dml__fail(ctx, errno == ENOENT ? DML_EFORMAT : DML_EIO, where,
                         "%.200s: cannot open: %s", path, strerror(errno));
    dml_status status = take_head(ctx, where, path, fd, m);
    if (status == DML_OK)
        status = take_all(ctx, where, path, fd, m);
    close(fd);
    return status;
}
