/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pipeline's memory: all of it is counted before any is taken, so that the bound in
 * the options holds. What does not fit is cut from the loads, which wait between
 * reading and decoding; orders and batches are as large as they are.
 */
#include "data/pipeline_internal.h"

#include <string.h>

#define MAX_PIECE  64         /* rows: a lock and a signal then cost nothing */
#define LOAD_BYTES (64 << 10) /* likewise, of a piece that is read */

static size_t add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

/* Readers, decode threads, and the one that makes orders. */
static size_t nthreads(const dml_pipeline *p)
{
    return (size_t)p->opts.readers + (size_t)p->opts.decoders + 1;
}

static size_t slot_bytes(const dml_pipeline *p)
{
    size_t row = sizeof(uint64_t) + sizeof(bool);
    for (int f = 0; f < p->opts.nfields; f++)
        row = add(row, p->opts.field_bytes[f]);
    return add(sizeof(dml__batch_slot), dml__mul(p->shards.rows, row));
}

static size_t load_bytes(const dml_pipeline *p)
{
    size_t row = add(p->source.max_bytes, sizeof(dml_record));
    return add(sizeof(dml__load) + 2 * sizeof(size_t), dml__mul(p->piece_rows, row));
}

/* Rows of a piece: many enough that locks cost nothing, few enough that all threads
 * have something to do in one batch. */
static void plan_pieces(dml_pipeline *p)
{
    size_t decoders = (size_t)p->opts.decoders, readers = (size_t)p->opts.readers;
    size_t most = readers > 0 && p->source.max_bytes > 0
                      ? LOAD_BYTES / p->source.max_bytes
                      : MAX_PIECE;
    size_t fair = p->shards.rows / (4 * (decoders > readers ? decoders : readers));
    most = most < MAX_PIECE ? most : MAX_PIECE;
    p->piece_rows = fair < most ? fair : most;
    if (p->piece_rows == 0)
        p->piece_rows = 1;
    p->nloads = readers > 0 ? 2 * (readers + decoders) : decoders;
}

dml_status dml__pipeline_plan_memory(dml_pipeline *p, const char *where)
{
    size_t nslots = (size_t)p->opts.depth + 1, limit = p->opts.memory_bytes;
    size_t fixed = add(sizeof *p, dml__order_bytes(&p->order));
    fixed = add(fixed, dml__mul(nslots, slot_bytes(p)));
    fixed = add(fixed, nthreads(p) * sizeof *p->threads);
    if (p->shards.held != NULL)
        fixed = add(fixed, dml__mul((size_t)p->opts.nranks, sizeof *p->shards.held));
    plan_pieces(p);
    while (p->piece_rows > 1 && add(fixed, dml__mul(p->nloads, load_bytes(p))) > limit)
        p->piece_rows /= 2;
    while (p->nloads > 1 && add(fixed, dml__mul(p->nloads, load_bytes(p))) > limit)
        p->nloads--;
    p->memory_bytes = add(fixed, dml__mul(p->nloads, load_bytes(p)));
    if (p->memory_bytes <= limit)
        return DML_OK;
    return dml__fail_values(
        p->ctx, DML_ENOMEM, where, -1, (int64_t)limit, (int64_t)p->memory_bytes,
        "%zu bytes are needed at least, for %zu batches of %zu rows and one record of "
        "up to %zu bytes, but memory_bytes is %zu; raise it, or reduce batch or depth",
        p->memory_bytes, nslots, p->shards.rows, p->source.max_bytes, limit);
}

static dml_status no_memory(const dml_pipeline *p, const char *where)
{
    return dml__fail(p->ctx, DML_ENOMEM, where,
                     "no memory for %d batches prepared ahead, %zu bytes in all; "
                     "reduce batch or depth",
                     p->opts.depth, p->memory_bytes);
}

/* Zeroed, whoever gives it. */
static dml_status allocate_field(const dml_pipeline *p, const char *where, size_t bytes,
                                 void **field)
{
    if (p->opts.alloc == NULL) {
        *field = dml__alloc(p->ctx, bytes);
        return *field != NULL ? DML_OK : no_memory(p, where);
    }
    void *memory = NULL;
    const dml_status status = p->opts.alloc(p->ctx, bytes, &memory);
    if (status != DML_OK || memory == NULL)
        return dml__fail(p->ctx, status < 0 ? status : DML_ENOMEM, where,
                         "alloc of the options gave none of the %zu bytes of a field "
                         "(%s); reduce batch or depth",
                         bytes, dml_status_str(status));
    memset(memory, 0, bytes);
    *field = memory;
    return DML_OK;
}

static dml_status allocate_slot(dml_pipeline *p, const char *where,
                                dml__batch_slot *slot)
{
    size_t rows = p->shards.rows;
    slot->records = dml__alloc(p->ctx, dml__mul(rows, sizeof *slot->records));
    slot->bad = dml__alloc(p->ctx, rows * sizeof *slot->bad);
    if (slot->records == NULL || slot->bad == NULL)
        return no_memory(p, where);
    for (int f = 0; f < p->opts.nfields; f++)
        DML_TRY(allocate_field(p, where, dml__mul(rows, p->opts.field_bytes[f]),
                               &slot->fields[f]));
    return DML_OK;
}

static bool allocate_load(dml_pipeline *p, dml__load *load)
{
    load->bytes = dml__alloc(p->ctx, dml__mul(p->piece_rows, p->source.max_bytes));
    load->records = dml__alloc(p->ctx, p->piece_rows * sizeof *load->records);
    return load->bytes != NULL && load->records != NULL;
}

dml_status dml__pipeline_allocate(dml_pipeline *p, const char *where)
{
    dml_ctx *ctx = p->ctx;
    size_t nslots = (size_t)p->opts.depth + 1;
    p->slots = dml__alloc(ctx, dml__mul(nslots, sizeof *p->slots));
    p->loads = dml__alloc(ctx, dml__mul(p->nloads, sizeof *p->loads));
    p->spare = dml__alloc(ctx, dml__mul(p->nloads, sizeof *p->spare));
    p->queue = dml__alloc(ctx, dml__mul(p->nloads, sizeof *p->queue));
    p->threads = dml__alloc(ctx, nthreads(p) * sizeof *p->threads);
    if (p->slots == NULL || p->loads == NULL || p->spare == NULL || p->queue == NULL ||
        p->threads == NULL || !dml__order_alloc(ctx, &p->order))
        return no_memory(p, where);
    for (size_t i = 0; i < nslots; i++)
        DML_TRY(allocate_slot(p, where, &p->slots[i]));
    for (size_t i = 0; i < p->nloads; i++) {
        if (!allocate_load(p, &p->loads[i]))
            return no_memory(p, where);
        p->spare[p->nspare++] = i;
    }
    return DML_OK;
}

static void release_field(const dml_pipeline *p, void *field)
{
    if (p->opts.alloc == NULL)
        dml__free(field);
    else if (field != NULL)
        (void)p->opts.release(p->ctx, field);
}

void dml__pipeline_release(dml_pipeline *p)
{
    for (size_t i = 0; p->loads != NULL && i < p->nloads; i++) {
        dml__free(p->loads[i].records);
        dml__free(p->loads[i].bytes);
    }
    for (size_t i = 0; p->slots != NULL && i <= (size_t)p->opts.depth; i++) {
        for (int f = 0; f < p->opts.nfields; f++)
            release_field(p, p->slots[i].fields[f]);
        dml__free(p->slots[i].bad);
        dml__free(p->slots[i].records);
    }
    dml__order_free(&p->order);
    dml__free(p->threads);
    dml__free(p->queue);
    dml__free(p->spare);
    dml__free(p->loads);
    dml__free(p->slots);
    dml__free(p->shards.held);
    pthread_cond_destroy(&p->turn);
    pthread_cond_destroy(&p->ready);
    pthread_cond_destroy(&p->read);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    dml__free(p);
}
