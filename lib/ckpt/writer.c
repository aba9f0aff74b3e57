/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The writer of snapshots: its folder, which is locked, and its communicator.
 */
#include "ckpt/writer.h"

#include "comm/comm.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

void dml_ckpt_opts_init(dml_ckpt_opts *opts)
{
    *opts = (dml_ckpt_opts){.size = sizeof *opts, .keep = 3, .lock_s = 5, .sync = true};
}

/* ---- opening ----------------------------------------------------------------------
 */

static dml_status check(dml_ctx *ctx, const char *where, const char *dir,
                        const dml_ckpt_opts *o)
{
    const uint16_t one = 1;
    DML_TRY(dml__check_size(ctx, where, o->size, sizeof *o, "dml_ckpt_opts_init"));
    if (*(const uint8_t *)&one != 1)
        return dml__fail(ctx, DML_EUNSUPPORTED, where,
                         "snapshots are little endian, and this machine is not");
    if (dir == NULL || dir[0] == '\0')
        return dml__fail(ctx, DML_EINVAL, where, "no folder is named");
    if (o->keep < 1 || !isfinite(o->every_s) || o->every_s < 0 || !isfinite(o->lock_s))
        return dml__fail(ctx, DML_EINVAL, where,
                         "keep %d, every_s %g or lock_s %g is out of range", o->keep,
                         o->every_s, o->lock_s);
    return DML_OK;
}

/* Collective; fails on all ranks if it does on one. */
static dml_status agree(const dml_ckpt *c, const char *where, dml_status mine)
{
    double failed = mine != DML_OK;
    DML_TRY(dml__comm_max(c->comm, &failed, 1));
    if (mine == DML_OK && failed > 0)
        return dml__fail(c->ctx, DML_EMISMATCH, where,
                         "another rank could not do this; see its error");
    return mine;
}

static dml_status same_options(const dml_ckpt *c, const char *where)
{
    const dml_ckpt_opts *o = &c->opts;
    const double values[] = {o->keep, (double)o->every_steps, o->every_s, o->sync};
    enum { N = sizeof values / sizeof *values };
    double range[2 * N];
    for (int i = 0; i < N; i++) {
        range[2 * i] = values[i];
        range[2 * i + 1] = -values[i];
    }
    DML_TRY(dml__comm_max(c->comm, range, 2 * N));
    for (int i = 0; i < N; i++)
        if (range[2 * i] != -range[2 * i + 1])
            return dml__fail(c->ctx, DML_EMISMATCH, where,
                             "the ranks' options differ; give all the same");
    return DML_OK;
}

/* The folder as a path that stays right when the program goes elsewhere. */
static dml_status keep_path(dml_ckpt *c, const char *where, const char *dir)
{
    char here[4096] = "";
    if (dir[0] == '/')
        c->dir = dml__ckpt_path(c->ctx, "", dir + 1);
    else if (getcwd(here, sizeof here) != NULL)
        c->dir = dml__ckpt_path(c->ctx, here, dir);
    else
        return dml__fail(c->ctx, DML_EIO, where, "%.200s: where is that? %s", dir,
                         strerror(errno));
    return c->dir != NULL
               ? DML_OK
               : dml__fail(c->ctx, DML_ENOMEM, where, "no memory for a path");
}

/* Rank 0 alone. */
static dml_status take_folder(dml_ckpt *c, const char *where)
{
    struct dml__found *found = NULL;
    size_t count = 0;
    c->all = dml__alloc(c->ctx, dml__mul((size_t)c->nranks, 2 * sizeof *c->all));
    if (c->all == NULL)
        return dml__fail(c->ctx, DML_ENOMEM, where, "no memory for %d ranks",
                         c->nranks);
    DML_TRY(dml__ckpt_mkdir(c->ctx, where, c->dir));
    DML_TRY(dml__ckpt_lock(c->ctx, where, c->dir, c->opts.lock_s, &c->lock));
    dml__ckpt_clean(c->ctx, c->dir);
    DML_TRY(dml__ckpt_list(c->ctx, where, c->dir, &found, &count));
    c->serial = count > 0 ? found[0].serial : 0;
    dml__free(found);
    if (getrandom(&c->token, sizeof c->token, 0) != sizeof c->token)
        c->token = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
    return DML_OK;
}

static dml_status open_folder(dml_ckpt *c, const char *where, const char *dir)
{
    dml_status status = keep_path(c, where, dir);
    if (status == DML_OK)
        status = dml__ctx_beside(c->ctx, &c->own);
    if (status == DML_OK && c->rank == 0)
        status = take_folder(c, where);
    DML_TRY(agree(c, where, status));
    uint64_t told[2] = {c->serial, c->token};
    dml_request *request = NULL;
    DML_TRY(dml_ibcast(told, 2, DML_U64, 0, c->comm, &request));
    DML_TRY(dml_wait(&request));
    c->serial = told[0];
    c->token = told[1];
    return DML_OK;
}

/* Free what is this rank's alone. */
static void free_own(dml_ckpt *c)
{
    if (c->lock >= 0)
        close(c->lock);
    if (c->own != NULL)
        dml_ctx_destroy(c->own);
    dml__free(c->named);
    dml__free(c->unnamed);
    dml__free(c->head);
    dml__free(c->data);
    dml__free(c->shard.sections);
    dml__free(c->all);
    dml__free(c->dir);
    dml__free(c);
}

dml_status dml_ckpt_open(const char *dir, const dml_ckpt_opts *opts, dml_comm *comm,
                         dml_ckpt **out)
{
    if (comm == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_ckpt_opts defaults;
    dml_ckpt_opts_init(&defaults);
    opts = opts != NULL ? opts : &defaults;
    dml_status status = check(ctx, __func__, dir, opts);
    dml_ckpt *c = status == DML_OK ? dml__alloc(ctx, sizeof *c) : NULL;
    if (status == DML_OK && c == NULL)
        status = dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a writer");
    double failed = status != DML_OK;
    dml_status agreed = dml__comm_max(comm, &failed, 1);
    if (status == DML_OK && agreed == DML_OK && failed > 0)
        status = dml__fail(ctx, DML_EMISMATCH, __func__,
                           "another rank's arguments were refused; see its error");
    status = status == DML_OK ? agreed : status;
    if (status != DML_OK) {
        dml__free(c);
        return status;
    }
    *c = (dml_ckpt){.ctx = ctx,
                    .opts = *opts,
                    .lock = -1,
                    .rank = dml_comm_rank(comm),
                    .nranks = dml_comm_size(comm),
                    .committed_s = -1,
                    .due_s = dml__now_s(),
                    .news = {.rank = -1}};
    status = dml_comm_split(comm, 0, c->rank, &c->comm);
    if (status == DML_OK)
        status = same_options(c, __func__);
    if (status == DML_OK)
        status = open_folder(c, __func__, dir);
    if (status != DML_OK) {
        dml_comm_destroy(c->comm);
        free_own(c);
        return status;
    }
    *out = c;
    return DML_OK;
}

void dml_ckpt_close(dml_ckpt *c)
{
    if (c == NULL)
        return;
    (void)dml_ckpt_wait(c, NULL);
    dml__ckpt_join(c); /* where the ranks could not agree any more */
    dml_comm_destroy(c->comm);
    free_own(c);
}
