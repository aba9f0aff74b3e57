/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pipeline as its caller sees it: options, memory, threads, the next batch.
 *
 * The ring has depth + 1 batches: at most depth are begun or ready, so that no thread
 * writes into the one that the caller still reads.
 */
#include "data/pipeline_internal.h"

#include <inttypes.h>
#include <signal.h>

#define MAX_DEPTH   1024 /* more is a mistake, and would only take memory */
#define MAX_THREADS 256
#define LAST_EPOCH  ((UINT64_C(1) << 62) - 1)

void dml_pipeline_opts_init(dml_pipeline_opts *opts)
{
    *opts = (dml_pipeline_opts){
        .size = sizeof *opts,
        .seed = 1,
        .shuffle = true,
        .nranks = 1,
        .uneven = DML_UNEVEN_DROP,
        .nfields = 1,
        .readers = 1,
        .decoders = 1,
        .depth = 2,
        .memory_bytes = (size_t)1 << 30,
    };
}

/* ---- options ------------------------------------------------------------------ */

/* One number that must lie in a range. */
static dml_status in_range(dml_ctx *ctx, const char *where, const char *name,
                           uint64_t value, uint64_t least, uint64_t most)
{
    if (value >= least && value <= most)
        return DML_OK;
    return dml__fail_values(ctx, DML_EINVAL, where, -1, (int64_t)value, (int64_t)most,
                            "%s is %" PRIi64 "; choose %" PRIu64 " .. %" PRIu64, name,
                            (int64_t)value, least, most);
}

static dml_status check(dml_ctx *ctx, const char *where,
                        const dml_record_source *source, const dml_pipeline_opts *o)
{
    DML_TRY(in_range(ctx, where, "number of records", source->count, 1, UINT32_MAX));
    DML_TRY(in_range(ctx, where, "batch", o->batch, 1, UINT32_MAX));
    DML_TRY(in_range(ctx, where, "number of ranks", (uint64_t)o->nranks, 1, INT32_MAX));
    DML_TRY(
        in_range(ctx, where, "rank", (uint64_t)o->rank, 0, (uint64_t)o->nranks - 1));
    DML_TRY(in_range(ctx, where, "uneven", (uint64_t)o->uneven, 0, DML_UNEVEN_SHARE));
    DML_TRY(
        in_range(ctx, where, "on_error", (uint64_t)o->on_error, 0, DML_ON_ERROR_SKIP));
    DML_TRY(
        in_range(ctx, where, "nfields", (uint64_t)o->nfields, 1, DML_PIPELINE_FIELDS));
    DML_TRY(in_range(ctx, where, "readers", (uint64_t)o->readers, 0, MAX_THREADS));
    DML_TRY(in_range(ctx, where, "decoders", (uint64_t)o->decoders, 1, MAX_THREADS));
    DML_TRY(in_range(ctx, where, "depth", (uint64_t)o->depth, 1, MAX_DEPTH));
    for (int f = 0; f < o->nfields; f++)
        DML_TRY(in_range(ctx, where, "field_bytes", o->field_bytes[f], 1, PTRDIFF_MAX));
    if (o->decode == NULL && o->nfields > 2)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, o->nfields, 2,
                                "nfields is %d; without a decode function there are at "
                                "most 2: bytes and length",
                                o->nfields);
    if (o->decode == NULL && o->nfields > 1 && o->field_bytes[1] != sizeof(uint64_t))
        return dml__fail(ctx, DML_EINVAL, where,
                         "field 1 has %zu bytes; without a decode function it holds "
                         "the record's length, 8 bytes",
                         o->field_bytes[1]);
    if ((o->alloc == NULL) != (o->release == NULL))
        return dml__fail(ctx, DML_EINVAL, where,
                         "alloc and release belong together; set both or none");
    bool by_rank = o->owner != NULL && o->uneven != DML_UNEVEN_SHARE;
    if (by_rank && o->batch < (size_t)o->nranks)
        return dml__fail_values(ctx, DML_EINVAL, where, -1, (int64_t)o->batch,
                                o->nranks,
                                "batch %zu leaves some of %d ranks without a row; "
                                "choose a larger batch, or DML_UNEVEN_SHARE",
                                o->batch, o->nranks);
    return DML_OK;
}

/* ---- who gets what ------------------------------------------------------------ */

/* Notes who owns which record, and which are this rank's. */
static dml_status take_owners(dml_pipeline *p, const char *where)
{
    const uint32_t *owner = p->opts.owner;
    size_t count = (size_t)p->source.count, nranks = (size_t)p->opts.nranks;
    p->shards.held = dml__alloc(p->ctx, dml__mul(nranks, sizeof *p->shards.held));
    p->order.own = dml__alloc(p->ctx, (count + 63) / 64 * sizeof *p->order.own);
    if (p->shards.held == NULL || p->order.own == NULL)
        return dml__fail(p->ctx, DML_ENOMEM, where,
                         "no memory for the records' owners");
    for (size_t i = 0; i < count; i++) {
        if (owner[i] >= nranks)
            return dml__fail_values(p->ctx, DML_EINVAL, where, -1, owner[i],
                                    (int64_t)nranks - 1,
                                    "record %zu belongs to rank %" PRIu32 "; there are "
                                    "%zu ranks",
                                    i, owner[i], nranks);
        p->shards.held[owner[i]]++;
        if (owner[i] == (uint32_t)p->opts.rank)
            p->order.own[i / 64] |= UINT64_C(1) << i % 64;
    }
    p->order.length = (uint32_t)p->shards.held[p->opts.rank];
    return DML_OK;
}

static dml_status plan_shards(dml_pipeline *p, const char *where)
{
    const dml_pipeline_opts *o = &p->opts;
    p->shards = (dml__shards){.count = p->source.count,
                              .batch = o->batch,
                              .rank = o->rank,
                              .nranks = o->nranks,
                              .uneven = o->uneven};
    p->order = (dml__order){.seed = o->seed,
                            .shuffle = o->shuffle,
                            .count = (uint32_t)p->source.count,
                            .length = (uint32_t)p->source.count};
    if (o->owner != NULL)
        DML_TRY(take_owners(p, where));
    dml__shards_plan(&p->shards);
    if (p->shards.steps == 0)
        return dml__fail_values(
            p->ctx, DML_EINVAL, where, -1, (int64_t)o->batch, (int64_t)p->source.count,
            "batch %zu is larger than the data, %" PRIu64
            " records%s; choose a smaller batch, or another "
            "uneven than DML_UNEVEN_DROP",
            o->batch, p->source.count, o->owner != NULL ? ", on some rank" : "");
    return DML_OK;
}

/* ---- create and destroy ------------------------------------------------------- */

/* Threads take no signals: the program's handlers run where it expects them. */
static bool start_threads(dml_pipeline *p)
{
    int readers = p->opts.readers, workers = readers + p->opts.decoders;
    int wanted = workers + p->opts.shuffle;
    sigset_t all, kept;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &kept);
    int error = 0;
    for (int i = 0; i < wanted && error == 0; i++) {
        void *(*work)(void *) = i < readers   ? dml__pipeline_read
                                : i < workers ? dml__pipeline_decode
                                              : dml__pipeline_shuffle;
        error = pthread_create(&p->threads[i], NULL, work, p);
        p->nthreads += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    return error == 0;
}

dml_status dml_pipeline_create(dml_ctx *ctx, const dml_record_source *source,
                               const dml_pipeline_opts *opts, dml_pipeline **pipeline)
{
    if (source == NULL || source->read == NULL || opts == NULL || pipeline == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "source, options or result missing; fill the options with "
                         "dml_pipeline_opts_init()");
    DML_TRY(dml__check_size(ctx, __func__, opts->size, sizeof *opts,
                            "dml_pipeline_opts_init"));
    DML_TRY(check(ctx, __func__, source, opts));
    dml_pipeline *p = dml__alloc(ctx, sizeof *p);
    if (p == NULL)
        return dml__fail(ctx, DML_ENOMEM, __func__, "no memory for a pipeline");
    p->ctx = ctx;
    p->source = *source;
    p->opts = *opts;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->read, NULL);
    pthread_cond_init(&p->ready, NULL);
    pthread_cond_init(&p->turn, NULL);
    dml_status status = plan_shards(p, __func__);
    p->opts.owner = NULL;
    if (status == DML_OK)
        status = dml__pipeline_plan_memory(p, __func__);
    if (status == DML_OK)
        status = dml__pipeline_allocate(p, __func__);
    if (status != DML_OK) {
        dml__pipeline_release(p);
        return status;
    }
    if (!opts->shuffle) {
        dml__order_make(&p->order, 0);
        p->order.epochs[0] = 0;
    }
    p->stats.memory_bytes = p->memory_bytes;
    if (!start_threads(p)) {
        dml_pipeline_destroy(p);
        return dml__fail(ctx, DML_ENOMEM, __func__,
                         "cannot start a thread; raise the limit on processes");
    }
    *pipeline = p;
    return DML_OK;
}

void dml_pipeline_destroy(dml_pipeline *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    dml__pipeline_restart(p);
    pthread_cond_broadcast(&p->read);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->nthreads; i++)
        pthread_join(p->threads[i], NULL);
    dml__pipeline_release(p);
}

/* ---- the caller --------------------------------------------------------------- */

uint64_t dml_pipeline_steps(const dml_pipeline *p)
{
    return p->shards.steps;
}

size_t dml_pipeline_rows(const dml_pipeline *p)
{
    return p->shards.rows;
}

uint64_t dml_pipeline_global_count(const dml_pipeline *p, uint64_t step)
{
    return dml__shards_below(&p->shards, p->opts.nranks, step % p->shards.steps);
}

static void hand_out(const dml_pipeline *p, const dml__batch_slot *slot,
                     dml_pipeline_batch *batch)
{
    *batch = (dml_pipeline_batch){
        .fields = slot->fields,
        .records = slot->records,
        .count = slot->count,
        .rows = p->shards.rows,
        .global_count = (size_t)dml_pipeline_global_count(p, slot->step),
        .first_row = dml__shards_below(&p->shards, p->opts.rank, slot->step),
        .epoch = slot->epoch,
        .step = slot->step,
    };
}

/* Waits until the oldest batch is done; *ready are without waiting. Lock held. */
static const dml__batch_slot *wait_for_batch(dml_pipeline *p, size_t *ready)
{
    size_t nslots = (size_t)p->opts.depth + 1, done = 0;
    const dml__batch_slot *slot = &p->slots[p->head];
    while (done < p->live && p->slots[(p->head + done) % nslots].done)
        done++;
    *ready = done;
    if (done > 0)
        return slot;
    double start = dml__now_s();
    while (p->live == 0 || !slot->done)
        pthread_cond_wait(&p->ready, &p->lock);
    p->stats.wait_s += dml__now_s() - start;
    p->stats.waits++;
    return slot;
}

dml_status dml_pipeline_next(dml_pipeline *p, dml_pipeline_batch *batch)
{
    if (p == NULL || batch == NULL)
        return DML_EINVAL;
    size_t ready;
    pthread_mutex_lock(&p->lock);
    const dml__batch_slot *slot = wait_for_batch(p, &ready);
    if (slot->nbad > 0 && p->opts.on_error == DML_ON_ERROR_FAIL) {
        pthread_mutex_unlock(&p->lock);
        return dml__fail(p->ctx, slot->bad_status, __func__, "%s", slot->why);
    }
    p->stats.batches++;
    p->ready_sum += ready;
    hand_out(p, slot, batch);
    p->head = (p->head + 1) % ((size_t)p->opts.depth + 1);
    p->live--;
    bool last = slot->step + 1 == p->shards.steps;
    p->next = (dml_pipeline_state){.epoch = slot->epoch + last,
                                   .step = last ? 0 : slot->step + 1};
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    return DML_OK;
}

void dml_pipeline_get_state(const dml_pipeline *p, dml_pipeline_state *state)
{
    *state = p->next;
}

dml_status dml_pipeline_seek(dml_pipeline *p, const dml_pipeline_state *state)
{
    if (p == NULL || state == NULL)
        return DML_EINVAL;
    if (state->step >= p->shards.steps || state->epoch > LAST_EPOCH)
        return dml__fail_values(p->ctx, DML_EINVAL, __func__, -1, (int64_t)state->step,
                                (int64_t)p->shards.steps - 1,
                                "no step %" PRIu64 " in epoch %" PRIu64
                                "; an epoch has %" PRIu64 " steps",
                                state->step, state->epoch, p->shards.steps);
    pthread_mutex_lock(&p->lock);
    p->next = *state;
    p->epoch = state->epoch;
    p->step = state->step;
    dml__pipeline_restart(p);
    pthread_mutex_unlock(&p->lock);
    return DML_OK;
}

void dml_pipeline_get_stats(dml_pipeline *p, dml_pipeline_stats *stats)
{
    pthread_mutex_lock(&p->lock);
    *stats = p->stats;
    if (p->stats.batches > 0)
        stats->ready_mean = (double)p->ready_sum / (double)p->stats.batches;
    pthread_mutex_unlock(&p->lock);
}
