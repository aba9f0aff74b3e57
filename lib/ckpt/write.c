/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is done in the background: this rank's file is written, and rank 0 makes a
 * snapshot of all files. The name comes last, after everything else is on the disk and
 * was read back: who finds a folder of that name finds a whole snapshot.
 */
#include "ckpt/snapshot.h"
#include "ckpt/writer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char where[] = "dml_ckpt_commit";

void dml__ckpt_end(dml_ckpt *c, dml_status status)
{
    dml_error error = {0};
    dml_ctx_last_error(c->own, &error);
    c->result = status;
    snprintf(c->text, sizeof c->text, "%s",
             error.status == status ? error.text : dml_status_str(status));
    atomic_store_explicit(&c->done, true, memory_order_release);
}

/* Signals are for the caller's threads. */
void dml__ckpt_start(dml_ckpt *c, void *(*work)(void *))
{
    sigset_t all, before;
    sigfillset(&all);
    atomic_store_explicit(&c->done, false, memory_order_relaxed);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    c->threaded = pthread_create(&c->thread, NULL, work, c) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!c->threaded)
        work(c);
}

void dml__ckpt_join(dml_ckpt *c)
{
    if (c->threaded)
        pthread_join(c->thread, NULL);
    c->threaded = false;
}

/* ---- this rank's file -------------------------------------------------------------
 */

static dml_status write_shard(dml_ckpt *c)
{
    struct dml__shard *shard = &c->shard;
    char name[DML__NAME_ROOM];
    for (size_t i = 0, at = 0; i < shard->nsections; i++) {
        struct dml__section *s = &shard->sections[i];
        s->crc = dml__ckpt_crc(c->own, 0, c->data + at, (size_t)s->bytes);
        at += (size_t)s->bytes;
    }
    dml__shard_pack(c->own, shard, c->head);
    if (c->rank == 0)
        DML_TRY(dml__ckpt_keep_lock(c->own, where, c->dir, &c->lock));
    DML_TRY(dml__ckpt_mkdir(c->own, where, c->unnamed));
    dml__shard_name(c->rank, name);
    char *path = dml__ckpt_path(c->own, c->unnamed, name);
    if (path == NULL)
        return dml__fail(c->own, DML_ENOMEM, where, "no memory for a path");
    dml_status status = dml__ckpt_write(c->own, where, path, c->head, c->head_bytes,
                                        c->data, c->used, c->opts.sync);
    dml__free(path);
    return status;
}

void *dml__ckpt_write_shard(void *ckpt)
{
    dml_ckpt *c = ckpt;
    dml__ckpt_end(c, write_shard(c));
    return NULL;
}

/* ---- the snapshot -----------------------------------------------------------------
 */

static dml_status write_manifest(dml_ckpt *c)
{
    struct dml__manifest m = {.ranks = (uint32_t)c->nranks,
                              .id = c->shard.id,
                              .step = c->shard.step,
                              .serial = c->serial,
                              .unix_s = (uint64_t)time(NULL)};
    size_t bytes = dml__manifest_bytes(m.ranks);
    uint8_t *packed = dml__alloc(c->own, bytes);
    char *path = dml__ckpt_path(c->own, c->unnamed, DML__MANIFEST_NAME);
    m.entries = dml__alloc(c->own, dml__mul(m.ranks, sizeof *m.entries));
    dml_status status = DML_OK;
    if (packed == NULL || path == NULL || m.entries == NULL)
        status = dml__fail(c->own, DML_ENOMEM, where, "no memory for a manifest");
    if (status == DML_OK) {
        for (uint32_t r = 0; r < m.ranks; r++)
            m.entries[r] = (struct dml__manifest_entry){
                c->all[2 * (size_t)r], (uint32_t)c->all[2 * (size_t)r + 1]};
        dml__manifest_pack(c->own, &m, packed);
        status =
            dml__ckpt_write(c->own, where, path, packed, bytes, NULL, 0, c->opts.sync);
    }
    dml__free(m.entries);
    dml__free(path);
    dml__free(packed);
    return status;
}

/* Does this rank see all files, and do they fit each other? */
static dml_status read_back(dml_ckpt *c)
{
    dml_snapshot *snapshot = NULL;
    dml_status status = dml__snapshot_load(c->own, where, c->unnamed, &snapshot);
    dml_snapshot_close(snapshot);
    if (status != DML_EFORMAT)
        return status;
    dml_error error;
    dml_ctx_last_error(c->own, &error);
    return dml__fail(c->own, DML_EIO, where,
                     "%.250s; do all nodes see one folder %.120s?", error.text, c->dir);
}

/* Older snapshots lose their name before their files. What cannot be removed stays. */
static void remove_older(dml_ckpt *c)
{
    struct dml__found *found = NULL;
    size_t count = 0;
    if (dml__ckpt_list(c->own, where, c->dir, &found, &count) != DML_OK)
        return;
    for (size_t i = (size_t)c->opts.keep; i < count; i++) {
        char name[DML__NAME_ROOM];
        dml__unnamed_name(c->token, found[i].serial, name);
        char *from = dml__ckpt_path(c->own, c->dir, found[i].name);
        char *to = dml__ckpt_path(c->own, c->dir, name);
        if (from != NULL && to != NULL && rename(from, to) == 0)
            dml__ckpt_remove(c->own, to);
        dml__free(to);
        dml__free(from);
    }
    dml__free(found);
}

static dml_status name_snapshot(dml_ckpt *c)
{
    DML_TRY(write_manifest(c));
    DML_TRY(read_back(c));
    if (c->opts.sync)
        DML_TRY(dml__ckpt_sync_dir(c->own, where, c->unnamed));
    DML_TRY(dml__ckpt_rename(c->own, where, c->unnamed, c->named));
    dml_status status =
        c->opts.sync ? dml__ckpt_sync_dir(c->own, where, c->dir) : DML_OK;
    if (status != DML_OK) {
        (void)rename(c->named, c->unnamed);
        return status;
    }
    remove_older(c);
    return DML_OK;
}

void *dml__ckpt_name(void *ckpt)
{
    dml_ckpt *c = ckpt;
    dml__ckpt_end(c, name_snapshot(c));
    return NULL;
}
