/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libdml's calls for snapshots, in the library's place: a program that is linked with
 * them keeps its snapshots in memory.
 */
#include "held_snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_STEP = 2 }; /* a snapshot is due */

dml_ckpt *held_taking;
dml_snapshot *held_input;

/* ---- writing ----------------------------------------------
 */

dml_status dml_ckpt_open(const char *dir, const dml_ckpt_opts *opts, dml_comm *comm,
                         dml_ckpt **ckpt)
{
    (void)dir;
    (void)opts;
    (void)comm;
    *ckpt = held_taking;
    return DML_OK;
}

void dml_ckpt_close(dml_ckpt *ckpt)
{
    (void)ckpt;
}

dml_status dml_ckpt_begin(dml_ckpt *ckpt, uint64_t step)
{
    fuzz_require(!ckpt->taken);
    ckpt->step = step;
    return DML_OK;
}

static struct section *add(dml_ckpt *ckpt, const char *name, dml_section_kind kind,
                           dml_dtype dtype, uint64_t count)
{
    for (size_t i = 0; i < ckpt->nsections; i++)
        if (strcmp(ckpt->sections[i].name, name) == 0)
            return &ckpt->sections[i];
    fuzz_require(ckpt->nsections < HELD_SECTIONS);
    struct section *section = &ckpt->sections[ckpt->nsections++];
    *section = (struct section){.kind = kind, .dtype = dtype, .count = count};
    snprintf(section->name, sizeof section->name, "%s", name);
    section->bytes = (size_t)count * dml_dtype_bytes(dtype);
    section->data = calloc(section->bytes + 1, 1);
    fuzz_require(section->data != NULL);
    return section;
}

static dml_status put(dml_ckpt *ckpt, const char *name, dml_section_kind kind,
                      const void *data, size_t bytes)
{
    struct section *section = add(ckpt, name, kind, DML_U8, bytes);
    if (bytes > 0)
        memcpy(section->data, data, bytes);
    return DML_OK;
}

dml_status dml_ckpt_add_shared(dml_ckpt *ckpt, const char *name, const void *data,
                               size_t bytes)
{
    return put(ckpt, name, DML_SECTION_SHARED, data, bytes);
}

dml_status dml_ckpt_add_own(dml_ckpt *ckpt, const char *name, const void *data,
                            size_t bytes)
{
    return put(ckpt, name, DML_SECTION_OWN, data, bytes);
}

dml_status dml_ckpt_add_vector(dml_ckpt *ckpt, const char *name, const void *data,
                               dml_dtype dtype, uint64_t first, uint64_t count,
                               uint64_t total)
{
    const size_t each = dml_dtype_bytes(dtype);
    struct section *section = add(ckpt, name, DML_SECTION_VECTOR, dtype, total);
    fuzz_require(section->count == total && first + count <= total);
    if (count > 0)
        memcpy(section->data + first * each, data, count * each);
    return DML_OK;
}

dml_status dml_ckpt_commit(dml_ckpt *ckpt)
{
    ckpt->taken = true;
    return DML_OK;
}

dml_status dml_ckpt_poll(dml_ckpt *ckpt, uint64_t step, int wish, dml_ckpt_news *news)
{
    (void)wish;
    *news = (dml_ckpt_news){.due = !ckpt->taken && step >= AT_STEP, .rank = -1};
    return DML_OK;
}

dml_status dml_ckpt_wait(dml_ckpt *ckpt, dml_ckpt_news *news)
{
    (void)ckpt;
    *news = (dml_ckpt_news){.rank = -1};
    return DML_OK;
}

/* ---- reading ----------------------------------------------
 */

dml_status dml_snapshot_open(const char *path, dml_comm *comm, dml_snapshot **snapshot)
{
    (void)path;
    (void)comm;
    *snapshot = held_input;
    return held_input != NULL ? DML_OK : DML_EEND;
}

void dml_snapshot_close(dml_snapshot *snapshot)
{
    (void)snapshot;
}

void dml_snapshot_get_info(const dml_snapshot *snapshot, dml_snapshot_info *info)
{
    *info = (dml_snapshot_info){
        .step = snapshot->step, .ranks = snapshot->ranks, .path = "fuzz"};
}

static const struct section *find(const dml_snapshot *snapshot, const char *name,
                                  int rank)
{
    for (size_t i = 0; i < snapshot->nsections; i++) {
        const struct section *section = &snapshot->sections[i];
        if (strcmp(section->name, name) == 0)
            return section->kind != DML_SECTION_OWN ||
                           (rank >= 0 && rank < snapshot->ranks)
                       ? section
                       : NULL;
    }
    return NULL;
}

dml_status dml_snapshot_find(const dml_snapshot *snapshot, const char *name, int rank,
                             dml_section_info *info)
{
    const struct section *section = find(snapshot, name, rank);
    if (section == NULL)
        return DML_EINVAL;
    *info = (dml_section_info){section->kind, section->dtype, section->count};
    return DML_OK;
}

static void apply(const struct patch *patch, uint64_t at, uint8_t *data, size_t bytes)
{
    for (size_t i = 0; patch->fill && i < bytes; i++)
        data[i] = patch->data[(at + i) % sizeof patch->data];
    for (size_t i = 0; !patch->fill && i < patch->bytes; i++)
        if (patch->at + i >= at && patch->at + i - at < bytes)
            data[patch->at + i - at] = patch->data[i];
}

static dml_status get(const dml_snapshot *snapshot, const struct section *section,
                      uint64_t at, void *data, size_t bytes)
{
    size_t there = at < section->bytes ? section->bytes - (size_t)at : 0;
    there = there < bytes ? there : bytes;
    if (there > 0)
        memcpy(data, section->data + at, there);
    if (bytes > there)
        memset((uint8_t *)data + there, 0, bytes - there);
    for (size_t i = 0; i < snapshot->npatches; i++)
        if (snapshot->patches[i].section == section)
            apply(&snapshot->patches[i], at, data, bytes);
    return DML_OK;
}

static dml_status get_bytes(const dml_snapshot *snapshot, const char *name,
                            dml_section_kind kind, int rank, void *data, size_t bytes)
{
    const struct section *section = find(snapshot, name, rank);
    if (section == NULL || section->kind != kind || section->count != bytes)
        return DML_EINVAL;
    return get(snapshot, section, 0, data, bytes);
}

dml_status dml_snapshot_get_shared(const dml_snapshot *snapshot, const char *name,
                                   void *data, size_t bytes)
{
    return get_bytes(snapshot, name, DML_SECTION_SHARED, 0, data, bytes);
}

dml_status dml_snapshot_get_own(const dml_snapshot *snapshot, const char *name,
                                int rank, void *data, size_t bytes)
{
    return get_bytes(snapshot, name, DML_SECTION_OWN, rank, data, bytes);
}

dml_status dml_snapshot_get_vector(const dml_snapshot *snapshot, const char *name,
                                   void *data, dml_dtype dtype, uint64_t first,
                                   uint64_t count, uint64_t total)
{
    const struct section *section = find(snapshot, name, 0);
    if (section == NULL || section->kind != DML_SECTION_VECTOR ||
        section->dtype != dtype || section->count != total || count > total ||
        first > total - count)
        return DML_EINVAL;
    const size_t each = dml_dtype_bytes(dtype);
    return get(snapshot, section, first * each, data, (size_t)count * each);
}
