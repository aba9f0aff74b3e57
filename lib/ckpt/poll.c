/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the ranks agree on a snapshot without waiting for it. Every poll takes the result
 * of the all-reduce that the poll before started, and starts the next one; so all ranks
 * go from phase to phase in the same poll, whenever their threads are done.
 */
#include "ckpt/writer.h"
#include "comm/comm.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAP_NS 1000000

/* ---- phases -----------------------------------------------------------------------
 */

/* The other ranks' lengths and checksums come to rank 0, which goes on alone. */
static dml_status begin_naming(dml_ckpt *c)
{
    dml_request *request = NULL;
    c->mine[0] = c->shard.file_bytes;
    c->mine[1] = c->shard.crc;
    c->stats.bytes = c->shard.file_bytes;
    DML_TRY(dml_igather(c->mine, c->all, 2, DML_U64, 0, c->comm, &request));
    DML_TRY(dml_wait(&request));
    c->phase = DML__CKPT_NAMING; /* of which the others have no part */
    if (c->rank == 0)
        dml__ckpt_start(c, dml__ckpt_name);
    return DML_OK;
}

static void tell(dml_ckpt *c, dml_status status, int rank, const char *text)
{
    c->news.finished = true;
    c->news.status = status;
    c->news.step = c->shard.step;
    c->news.rank = rank;
    snprintf(c->news.text, sizeof c->news.text, "%s", text);
    c->phase = DML__CKPT_IDLE;
}

/* What was written is removed: all by rank 0, and by the others what it may not see. */
static void remove_written(dml_ckpt *c)
{
    if (c->unnamed == NULL)
        return;
    if (c->rank == 0) {
        dml__ckpt_remove(c->ctx, c->unnamed);
        return;
    }
    char name[DML__NAME_ROOM];
    dml__shard_name(c->rank, name);
    char *path = dml__ckpt_path(c->ctx, c->unnamed, name);
    if (path != NULL)
        (void)unlink(path);
    (void)rmdir(c->unnamed);
    dml__free(path);
}

/* A failure of one rank is told to all. */
static dml_status end_failed(dml_ckpt *c, int rank)
{
    struct {
        int32_t status;
        char text[sizeof c->text];
    } told = {.status = c->result};
    memcpy(told.text, c->text, sizeof told.text);
    dml_request *request = NULL;
    DML_TRY(dml_ibcast(&told, sizeof told, DML_U8, rank, c->comm, &request));
    DML_TRY(dml_wait(&request));
    told.text[sizeof told.text - 1] = '\0';
    remove_written(c);
    c->stats.failed++;
    tell(c, (dml_status)told.status, rank, told.text);
    return DML_OK;
}

/* All ranks' parts of a phase are over. */
static dml_status advance(dml_ckpt *c, int64_t fault)
{
    dml__ckpt_join(c);
    if (fault > 0)
        return end_failed(c, c->nranks - (int)fault);
    if (c->phase == DML__CKPT_WRITING)
        return begin_naming(c);
    c->stats.committed++;
    c->committed_s = dml__now_s();
    c->stats.write_s = c->committed_s - c->begin_s;
    tell(c, DML_OK, -1, "");
    return DML_OK;
}

/* ---- agreement --------------------------------------------------------------------
 */

dml_status dml__ckpt_take(dml_ckpt *c)
{
    if (c->request == NULL)
        return DML_OK;
    DML_TRY(dml_wait(&c->request));
    const int64_t *agreed = c->agreed;
    c->wish = agreed[DML__WISH] > c->wish ? (int)agreed[DML__WISH] : c->wish;
    c->due = c->due || agreed[DML__DUE] > 0;
    if (c->phase == DML__CKPT_IDLE || agreed[DML__UNDONE] > 0)
        return DML_OK;
    return advance(c, agreed[DML__FAULT]);
}

static dml_status start(dml_ckpt *c, int wish)
{
    const bool busy = c->phase != DML__CKPT_IDLE, done = !busy || dml__ckpt_done(c);
    const bool timed = c->rank == 0 && c->opts.every_s > 0;
    c->agreed[DML__WISH] = wish;
    c->agreed[DML__DUE] = timed && dml__now_s() - c->due_s >= c->opts.every_s;
    c->agreed[DML__UNDONE] = !done;
    c->agreed[DML__FAULT] =
        busy && done && c->result != DML_OK ? c->nranks - c->rank : 0;
    return dml_iallreduce(DML_IN_PLACE, c->agreed, DML__NAGREED, DML_I64, DML_MAX,
                          c->comm, &c->request);
}

static void take_news(dml_ckpt *c, dml_ckpt_news *news)
{
    if (news == NULL)
        return;
    *news = c->news;
    news->busy = c->phase != DML__CKPT_IDLE;
    news->due = c->due && !news->busy;
    news->wish = c->wish;
    c->wish = 0;
    c->news = (dml_ckpt_news){.rank = -1};
}

dml_status dml_ckpt_poll(dml_ckpt *c, uint64_t step, int wish, dml_ckpt_news *news)
{
    if (c == NULL)
        return DML_EINVAL;
    if (wish < 0 || news == NULL)
        return dml__fail(c->ctx, DML_EINVAL, __func__,
                         "a wish of %d, or no place for news", wish);
    double begin_s = dml__now_s();
    DML_TRY(dml__ckpt_take(c));
    if (c->opts.every_steps > 0 && step != c->last_step &&
        step % c->opts.every_steps == 0)
        c->due = true;
    c->last_step = step;
    DML_TRY(start(c, wish));
    take_news(c, news);
    c->stats.call_s += dml__now_s() - begin_s;
    return DML_OK;
}

/* All ranks are in the same phase, so all go round as often. */
dml_status dml_ckpt_wait(dml_ckpt *c, dml_ckpt_news *news)
{
    if (c == NULL)
        return DML_EINVAL;
    double begin_s = dml__now_s();
    DML_TRY(dml__ckpt_take(c));
    while (c->phase != DML__CKPT_IDLE) {
        if (!dml__ckpt_done(c))
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        DML_TRY(start(c, 0));
        DML_TRY(dml__ckpt_take(c));
    }
    take_news(c, news);
    c->stats.call_s += dml__now_s() - begin_s;
    return DML_OK;
}
