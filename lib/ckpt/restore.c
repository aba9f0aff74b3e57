/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding a snapshot: rank 0 lists the folder, and all ranks look at one after the
 * other, the newest first, until all of them find one to be whole. Each file's data is
 * summed by one rank only.
 */
#include "dml/coll.h"

#include "ckpt/snapshot.h"
#include "comm/comm.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What there is to look at, on rank 0. */
struct choice {
    bool single; /* the path is a snapshot itself */
    struct dml__found *found;
    size_t count;
};

static dml_status bcast(void *data, size_t bytes, dml_comm *comm)
{
    dml_request *request = NULL;
    DML_TRY(dml_ibcast(data, bytes, DML_U8, 0, comm, &request));
    return dml_wait(&request);
}

static dml_status list(dml_ctx *ctx, const char *where, const char *path,
                       struct choice *choice)
{
    struct stat info;
    char *manifest = dml__ckpt_path(ctx, path, DML__MANIFEST_NAME);
    if (manifest == NULL)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory for a path");
    choice->single = stat(manifest, &info) == 0;
    dml__free(manifest);
    choice->count = 1;
    if (choice->single)
        return DML_OK;
    DML_TRY(dml__ckpt_list(ctx, where, path, &choice->found, &choice->count));
    if (choice->count > 0)
        return DML_OK;
    return dml__fail(ctx, DML_EEND, where, "%.300s: no snapshot is there", path);
}

/* This rank's look at a snapshot: all heads, and the data of its share of the files. */
static dml_status look(dml_comm *comm, dml_ctx *own, const char *where,
                       const char *path, dml_snapshot **out)
{
    dml_snapshot *s = NULL;
    DML_TRY(dml__snapshot_load(own, where, path, &s));
    dml_status status = DML_OK;
    uint32_t step = (uint32_t)dml_comm_size(comm), r = (uint32_t)dml_comm_rank(comm);
    for (; r < s->manifest.ranks && status == DML_OK; r += step)
        status = dml__snapshot_check(s, where, r);
    if (status != DML_OK)
        dml_snapshot_close(s);
    else
        *out = s;
    return status;
}

/* All ranks look; *out stays NULL where it is damaged, which is DML_EFORMAT on all.
 * Lack of memory is no damage. */
static dml_status look_together(dml_comm *comm, dml_ctx *own, const char *where,
                                const char *path, bool single, dml_snapshot **out)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_snapshot *s = NULL;
    const int rank = dml_comm_rank(comm), nranks = dml_comm_size(comm);
    dml_status status = look(comm, own, where, path, &s);
    double worst[2] = {status != DML_OK ? nranks - rank : 0, status == DML_ENOMEM};
    dml_status agreed = dml__comm_max(comm, worst, 2);
    if (agreed == DML_OK && worst[0] == 0) {
        s->ctx = ctx;
        *out = s;
        return DML_OK;
    }
    dml_snapshot_close(s);
    DML_TRY(agreed);
    if (worst[1] > 0)
        return dml__fail(ctx, DML_ENOMEM, where, "no memory to read %.200s", path);
    dml_error error = {0};
    const int first = nranks - (int)worst[0];
    if (rank == first)
        dml_ctx_last_error(own, &error);
    else
        snprintf(error.text, sizeof error.text, "%.200s: rank %d found it damaged",
                 path, first);
    if (single)
        return dml__fail(ctx, DML_EFORMAT, where, "%s", error.text);
    if (rank == first)
        dml__log(ctx, DML_LOG_WARN, "passed over a snapshot that is damaged: %s",
                 error.text);
    return DML_EFORMAT;
}

static dml_status look_through(dml_comm *comm, dml_ctx *own, const char *where,
                               const char *path, const struct choice *choice,
                               dml_snapshot **out)
{
    dml_ctx *ctx = dml_comm_ctx(comm);
    char name[DML__NAME_ROOM] = "";
    if (choice->single)
        return look_together(comm, own, where, path, true, out);
    for (size_t i = 0; i < choice->count; i++) {
        if (choice->found != NULL)
            memcpy(name, choice->found[i].name, sizeof name);
        DML_TRY(bcast(name, sizeof name, comm));
        char *each = dml__ckpt_path(ctx, path, name);
        double missing = each == NULL;
        dml_status status = dml__comm_max(comm, &missing, 1);
        if (status == DML_OK && missing > 0)
            status = dml__fail(ctx, DML_ENOMEM, where, "no memory for a path");
        if (status == DML_OK)
            status = look_together(comm, own, where, each, false, out);
        dml__free(each);
        if (status != DML_EFORMAT)
            return status;
    }
    return dml__fail(ctx, DML_EFORMAT, where,
                     "%.250s: none of its %zu snapshots is whole; the warnings say why",
                     path, choice->count);
}

dml_status dml_snapshot_open(const char *path, dml_comm *comm, dml_snapshot **out)
{
    if (comm == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(comm), *own = NULL;
    struct choice choice = {0};
    dml_status status = DML_OK;
    if (path == NULL || path[0] == '\0' || out == NULL)
        status = dml__fail(ctx, DML_EINVAL, __func__, "no path, or no place for it");
    if (status == DML_OK)
        status = dml__ctx_beside(ctx, &own);
    if (status == DML_OK && dml_comm_rank(comm) == 0)
        status = list(ctx, __func__, path, &choice);
    double failed[2] = {status != DML_OK, status == DML_EEND};
    dml_status agreed = dml__comm_max(comm, failed, 2);
    if (status == DML_OK && agreed == DML_OK && failed[0] > 0)
        status = dml__fail(ctx, failed[1] > 0 ? DML_EEND : DML_EMISMATCH, __func__,
                           "another rank cannot read it, or found no snapshot");
    status = status == DML_OK ? agreed : status;
    uint64_t told[2] = {choice.single, choice.count};
    if (status == DML_OK)
        status = bcast(told, sizeof told, comm);
    choice.single = told[0] != 0;
    choice.count = (size_t)told[1];
    if (status == DML_OK)
        status = look_through(comm, own, __func__, path, &choice, out);
    dml__free(choice.found);
    dml_ctx_destroy(own);
    return status;
}
