/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One snapshot as it is read: the heads of all its files, and a list of all sections
 * by name. That list is checked once, as a whole, so that a reader of a part of a
 * vector needs no more than a search.
 */
#include "ckpt/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dml_status bad(const dml_snapshot *s, const char *where, const char *name,
                      const char *what)
{
    return dml__fail(s->ctx, DML_EFORMAT, where, "%.220s: section %s: %s", s->path,
                     name, what);
}

char *dml__snapshot_file(const dml_snapshot *s, uint32_t r)
{
    char name[DML__NAME_ROOM];
    dml__shard_name((int)r, name);
    return dml__ckpt_path(s->ctx, s->path, name);
}

/* ---- loading ----------------------------------------------------------------------
 */

static dml_status read_manifest(dml_snapshot *s, const char *where)
{
    char *path = dml__ckpt_path(s->ctx, s->path, DML__MANIFEST_NAME);
    if (path == NULL)
        return dml__fail(s->ctx, DML_ENOMEM, where, "no memory for a path");
    dml_status status = dml__manifest_read(s->ctx, where, path, &s->manifest);
    dml__free(path);
    return status;
}

static dml_status read_shard(dml_snapshot *s, const char *where, uint32_t r)
{
    const struct dml__manifest *m = &s->manifest;
    struct dml__shard *shard = &s->shards[r];
    char *path = dml__snapshot_file(s, r);
    if (path == NULL)
        return dml__fail(s->ctx, DML_ENOMEM, where, "no memory for a path");
    dml_status status = dml__shard_read(s->ctx, where, path, shard);
    if (status == DML_OK &&
        (shard->rank != r || shard->ranks != m->ranks || shard->id != m->id ||
         shard->step != m->step || shard->file_bytes != m->entries[r].file_bytes ||
         shard->crc != m->entries[r].crc))
        status = dml__fail(s->ctx, DML_EFORMAT, where,
                           "%.220s: not the file that the manifest lists", path);
    dml__free(path);
    s->nparts += shard->nsections;
    s->bytes += shard->file_bytes;
    return status;
}

/* By name, then bytes by rank and the parts of a vector by their place. */
static int compare_parts(const void *a, const void *b)
{
    const struct dml__part *x = a, *y = b;
    int order = strcmp(x->section->name, y->section->name);
    if (order != 0)
        return order;
    if (x->section->kind != y->section->kind)
        return x->section->kind < y->section->kind ? -1 : 1;
    if (x->section->first != y->section->first)
        return x->section->first < y->section->first ? -1 : 1;
    if (x->section->count != y->section->count)
        return x->section->count < y->section->count ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static dml_status list_parts(dml_snapshot *s, const char *where)
{
    s->parts = dml__alloc(s->ctx, dml__mul(s->nparts, sizeof *s->parts));
    if (s->parts == NULL)
        return dml__fail(s->ctx, DML_ENOMEM, where, "no memory for %zu sections",
                         s->nparts);
    size_t n = 0;
    for (uint32_t r = 0; r < s->manifest.ranks; r++)
        for (size_t i = 0; i < s->shards[r].nsections; i++)
            s->parts[n++] = (struct dml__part){&s->shards[r].sections[i], r};
    if (n > 1)
        qsort(s->parts, n, sizeof *s->parts, compare_parts);
    return DML_OK;
}

/* The parts of one name, [first, end): do they make sense together? */
static dml_status check_group(const dml_snapshot *s, const char *where, size_t first,
                              size_t end)
{
    const struct dml__section *begin = s->parts[first].section;
    uint64_t next = 0;
    for (size_t i = first; i < end; i++) {
        const struct dml__section *part = s->parts[i].section;
        if (part->kind != begin->kind || part->dtype != begin->dtype)
            return bad(s, where, begin->name, "ranks disagree on its kind or type");
        if (part->kind == DML_SECTION_OWN && i > first &&
            s->parts[i].rank == s->parts[i - 1].rank)
            return bad(s, where, begin->name, "a rank has it twice");
        if (part->kind == DML_SECTION_SHARED && i > first)
            return bad(s, where, begin->name, "it is there twice");
        if (part->kind != DML_SECTION_VECTOR)
            continue;
        if (part->total != begin->total || part->first != next)
            return bad(s, where, begin->name,
                       "the ranks' parts leave gaps, overlap, or are of vectors of "
                       "different lengths");
        next += part->count;
    }
    if (begin->kind == DML_SECTION_VECTOR && next != begin->total)
        return bad(s, where, begin->name, "the ranks' parts do not reach its end");
    return DML_OK;
}

static dml_status check_parts(const dml_snapshot *s, const char *where)
{
    size_t first = 0;
    for (size_t i = 1; i <= s->nparts; i++) {
        if (i < s->nparts &&
            strcmp(s->parts[i].section->name, s->parts[first].section->name) == 0)
            continue;
        DML_TRY(check_group(s, where, first, i));
        first = i;
    }
    return DML_OK;
}

static dml_status load(dml_snapshot *s, const char *where)
{
    DML_TRY(read_manifest(s, where));
    s->shards = dml__alloc(s->ctx, dml__mul(s->manifest.ranks, sizeof *s->shards));
    if (s->shards == NULL)
        return dml__fail(s->ctx, DML_ENOMEM, where, "no memory for %u heads",
                         s->manifest.ranks);
    for (uint32_t r = 0; r < s->manifest.ranks; r++)
        DML_TRY(read_shard(s, where, r));
    DML_TRY(list_parts(s, where));
    return check_parts(s, where);
}

dml_status dml__snapshot_load(dml_ctx *ctx, const char *where, const char *path,
                              dml_snapshot **out)
{
    dml_snapshot *s = dml__alloc(ctx, sizeof *s);
    char *copy = dml__alloc(ctx, strlen(path) + 1);
    if (s == NULL || copy == NULL) {
        dml__free(s);
        dml__free(copy);
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for a snapshot");
    }
    s->ctx = ctx;
    s->path = strcpy(copy, path);
    dml_status status = load(s, where);
    if (status != DML_OK)
        dml_snapshot_close(s);
    else
        *out = s;
    return status;
}

dml_status dml__snapshot_check(const dml_snapshot *s, const char *where, uint32_t r)
{
    char *path = dml__snapshot_file(s, r);
    if (path == NULL)
        return dml__fail(s->ctx, DML_ENOMEM, where, "no memory for a path");
    dml_status status = dml__shard_check(s->ctx, where, path, &s->shards[r]);
    dml__free(path);
    return status;
}

void dml_snapshot_close(dml_snapshot *s)
{
    if (s == NULL)
        return;
    for (uint32_t r = 0; s->shards != NULL && r < s->manifest.ranks; r++)
        dml__free(s->shards[r].sections);
    dml__free(s->parts);
    dml__free(s->shards);
    dml__free(s->manifest.entries);
    dml__free(s->path);
    dml__free(s);
}

/* ---- reading ----------------------------------------------------------------------
 */

void dml_snapshot_get_info(const dml_snapshot *s, dml_snapshot_info *info)
{
    *info = (dml_snapshot_info){.step = s->manifest.step,
                                .serial = s->manifest.serial,
                                .unix_s = s->manifest.unix_s,
                                .ranks = (int)s->manifest.ranks,
                                .bytes = s->bytes,
                                .path = s->path};
}

/* The first part of this name, or NULL. */
static const struct dml__part *find(const dml_snapshot *s, const char *name)
{
    size_t low = 0, high = s->nparts;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(s->parts[middle].section->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < s->nparts && strcmp(s->parts[low].section->name, name) == 0;
    return found ? &s->parts[low] : NULL;
}

/* Bytes of a rank's own may differ in length, by which they are sorted. */
static const struct dml__part *find_of(const dml_snapshot *s, const char *name,
                                       int rank)
{
    const struct dml__part *part = find(s, name), *end = s->parts + s->nparts;
    if (part == NULL || part->section->kind != DML_SECTION_OWN)
        return part;
    for (; part < end && strcmp(part->section->name, name) == 0; part++)
        if ((int)part->rank == rank)
            return part;
    return NULL;
}

static dml_status missing(const dml_snapshot *s, const char *where, const char *name)
{
    return dml__fail(s->ctx, DML_EINVAL, where,
                     "%.200s: no section %.64s of this kind, type, length and rank",
                     s->path, name);
}

dml_status dml_snapshot_find(const dml_snapshot *s, const char *name, int rank,
                             dml_section_info *info)
{
    const struct dml__part *part = find_of(s, name, rank);
    if (part == NULL)
        return missing(s, __func__, name);
    *info = (dml_section_info){.kind = (dml_section_kind)part->section->kind,
                               .dtype = (dml_dtype)part->section->dtype,
                               .count = part->section->total};
    return DML_OK;
}

static dml_status read_host(const dml_snapshot *s, const char *where,
                            const struct dml__part *part, uint64_t first,
                            uint64_t count, void *data)
{
    char *path = dml__snapshot_file(s, part->rank);
    if (path == NULL)
        return dml__fail(s->ctx, DML_ENOMEM, where, "no memory for a path");
    dml_status status =
        dml__section_read(s->ctx, where, path, part->section, first, count, data);
    dml__free(path);
    return status;
}

/* The same into memory of either side. */
static dml_status read_part(const dml_snapshot *s, const char *where,
                            const struct dml__part *part, uint64_t first,
                            uint64_t count, void *data)
{
    const size_t bytes =
        (size_t)count * dml_dtype_bytes((dml_dtype)part->section->dtype);
    if (bytes == 0 || !dml__on_device(s->ctx, data))
        return read_host(s, where, part, first, count, data);
    const struct dml__device *device = dml__ctx_device(s->ctx);
    void *host = dml__alloc(s->ctx, bytes);
    if (host == NULL)
        return dml__fail(s->ctx, DML_ENOMEM, where, "no memory for %zu bytes", bytes);
    dml_status status = read_host(s, where, part, first, count, host);
    if (status == DML_OK)
        status = device->copy(device, NULL, data, host, bytes);
    dml__free(host);
    return status;
}

static dml_status get_bytes(const dml_snapshot *s, const char *where, const char *name,
                            dml_section_kind kind, int rank, void *data, size_t bytes)
{
    const struct dml__part *part = find_of(s, name, rank);
    if (part == NULL || part->section->kind != (uint32_t)kind ||
        part->section->bytes != bytes)
        return missing(s, where, name);
    return read_part(s, where, part, 0, bytes, data);
}

dml_status dml_snapshot_get_shared(const dml_snapshot *s, const char *name, void *data,
                                   size_t bytes)
{
    return get_bytes(s, __func__, name, DML_SECTION_SHARED, 0, data, bytes);
}

dml_status dml_snapshot_get_own(const dml_snapshot *s, const char *name, int rank,
                                void *data, size_t bytes)
{
    return get_bytes(s, __func__, name, DML_SECTION_OWN, rank, data, bytes);
}

dml_status dml_snapshot_get_vector(const dml_snapshot *s, const char *name, void *data,
                                   dml_dtype dtype, uint64_t first, uint64_t count,
                                   uint64_t total)
{
    const struct dml__part *part = find(s, name), *end = s->parts + s->nparts;
    if (part == NULL || part->section->kind != DML_SECTION_VECTOR ||
        part->section->dtype != (uint32_t)dtype || part->section->total != total ||
        count > total || first > total - count)
        return missing(s, __func__, name);
    size_t each = dml_dtype_bytes(dtype);
    uint8_t *to = data;
    for (; count > 0 && part < end; part++) {
        uint64_t stop = part->section->first + part->section->count;
        if (stop <= first)
            continue;
        uint64_t n = stop - first < count ? stop - first : count;
        DML_TRY(read_part(s, __func__, part, first - part->section->first, n, to));
        to += n * each;
        first += n;
        count -= n;
    }
    return DML_OK;
}
