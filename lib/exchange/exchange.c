/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exchange as its users see it: making it, pushing records, and the end of it,
 * where all ranks compare what was sent with what has come.
 */
#include "exchange/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_MIN_BYTES = 1024, CHUNK_MAX_BYTES = 1024 * 1024 };

void dml_exchange_opts_init(dml_exchange_opts *opts)
{
    *opts = (dml_exchange_opts){.size = sizeof *opts, .budget_bytes = (size_t)64 << 20};
}

/* ---- making and freeing ------------------------------------------------------------
 */

/* Payload of a chunk, so that all chunks keep to the budget. */
static size_t payload_bytes(const dml_exchange_opts *opts, int nranks)
{
    size_t nchunks = (size_t)(nranks > 1 ? nranks - 1 : 1) * DML__CHUNKS;
    size_t chunk = opts->budget_bytes / nchunks / DML__ALIGN * DML__ALIGN;
    if (chunk > CHUNK_MAX_BYTES)
        chunk = CHUNK_MAX_BYTES;
    if (chunk < CHUNK_MIN_BYTES)
        return 0;
    size_t payload = chunk - sizeof(struct dml__chunk_head);
    /* Records of one size then never cross from one chunk to the next. */
    if (opts->record_bytes > 0 && opts->record_bytes <= payload)
        payload -= payload % opts->record_bytes;
    return payload;
}

/* DML_TEST_EXCHANGE=drop:N, double:N or flip:N: a fault that the checks must find. */
static void read_fault(dml_exchange *x)
{
    static const struct {
        const char *name;
        enum dml__exchange_fault fault;
    } faults[] = {{"drop:", DML__DROP}, {"double:", DML__DOUBLE}, {"flip:", DML__FLIP}};
    const char *text = dml__ctx_env(x->ctx, "TEST_EXCHANGE");
    for (size_t i = 0; text != NULL && i < sizeof faults / sizeof faults[0]; i++) {
        size_t n = strlen(faults[i].name);
        if (strncmp(text, faults[i].name, n) != 0)
            continue;
        x->fault = faults[i].fault;
        x->fault_in = strtoull(text + n, NULL, 10);
    }
}

/* False when there is no memory. */
static bool allocate(dml_exchange *x)
{
    size_t n = (size_t)x->nranks;
    size_t chunk = sizeof(struct dml__chunk_head) + x->payload_bytes;
    /* Apart by whole cache lines, so that heads and records of 8 bytes are aligned. */
    size_t stride = (chunk + DML__ALIGN - 1) / DML__ALIGN * DML__ALIGN;
    x->chunk_memory = (n - 1) * DML__CHUNKS * stride;
    x->lanes = dml__alloc(x->ctx, dml__mul(n, sizeof *x->lanes));
    x->requests = dml__alloc(x->ctx, dml__mul(n * DML__CHUNKS, sizeof *x->requests));
    x->chunks = dml__alloc(x->ctx, x->chunk_memory);
    if (x->lanes == NULL || x->requests == NULL || x->chunks == NULL)
        return false;
    unsigned char *next = x->chunks;
    for (int p = 0; p < x->nranks; p++) {
        if (p == x->rank)
            continue;
        for (int k = 0; k < DML__IN_CHUNKS; k++, next += stride)
            x->lanes[p].in[k] = next;
        for (int k = 0; k < DML__OUT_CHUNKS; k++, next += stride)
            x->lanes[p].out[k] = next;
    }
    x->stats.chunk_bytes = chunk;
    x->stats.memory_bytes = x->chunk_memory;
    return true;
}

static void release(dml_exchange *x)
{
    if (x == NULL)
        return;
    for (int p = 0; x->lanes != NULL && p < x->nranks; p++)
        dml__free(x->lanes[p].incoming.partial);
    dml__comm_close_exchange(x->comm, x);
    dml__comm_release(x->comm, x->chunks);
    /* After a failure messages may still be on their way. */
    for (int i = 0; x->requests != NULL && i < x->nranks * DML__CHUNKS; i++)
        dml__left_to_mpi(x->requests[i]);
    dml__free(x->requests);
    dml__free(x->lanes);
    dml__free(x);
}

/* All ranks have the same options, and memory, or all fail. */
static dml_status agree_to_create(dml_comm *comm, const dml_exchange_opts *opts,
                                  bool has_memory)
{
    double budget = (double)opts->budget_bytes, record = (double)opts->record_bytes;
    double most[5] = {budget, -budget, record, -record, !has_memory};
    DML_TRY(dml__comm_max(comm, most, 5));
    if (most[0] + most[1] != 0 || most[2] + most[3] != 0)
        return dml__fail(dml_comm_ctx(comm), DML_EMISMATCH, "dml_exchange_create",
                         "the ranks gave budgets from %.0f to %.0f bytes and records "
                         "of %.0f to %.0f bytes; give all ranks the same options",
                         -most[1], most[0], -most[3], most[2]);
    if (most[4] > 0)
        return dml__fail(dml_comm_ctx(comm), DML_ENOMEM, "dml_exchange_create",
                         "a rank has no memory for the chunks; lower budget_bytes, "
                         "which is %.0f",
                         budget);
    return DML_OK;
}

dml_status dml_exchange_create(const dml_exchange_opts *opts, dml_exchange_fn *fn,
                               void *user, dml_comm *comm, dml_exchange **exchange)
{
    if (comm == NULL)
        return DML_EINVAL;
    dml_ctx *ctx = dml_comm_ctx(comm);
    dml_exchange_opts used;
    dml_exchange_opts_init(&used);
    if (opts != NULL && opts->size != sizeof used)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "opts->size is %zu; call dml_exchange_opts_init", opts->size);
    if (opts != NULL)
        used = *opts;
    if (fn == NULL || exchange == NULL)
        return dml__fail(ctx, DML_EINVAL, __func__, "fn or exchange is NULL");
    int nranks = dml_comm_size(comm);
    size_t payload = payload_bytes(&used, nranks);
    if (payload == 0)
        return dml__fail(ctx, DML_EINVAL, __func__,
                         "budget_bytes %zu is too little for %d ranks; it must be at "
                         "least %zu",
                         used.budget_bytes, nranks,
                         (size_t)nranks * DML__CHUNKS * CHUNK_MIN_BYTES);
    dml_exchange *x = dml__alloc(ctx, sizeof *x);
    bool has_memory = false;
    if (x != NULL) {
        *x = (dml_exchange){.comm = comm,
                            .ctx = ctx,
                            .opts = used,
                            .fn = fn,
                            .user = user,
                            .payload_bytes = payload,
                            .rank = dml_comm_rank(comm),
                            .nranks = nranks};
        read_fault(x);
        has_memory = allocate(x);
    }
    dml_status status = agree_to_create(comm, &used, has_memory);
    if (status == DML_OK) {
        /* No other one has these numbers: messages of several are told apart. */
        x->id = dml__comm_next_exchange(comm) << 32;
        *exchange = x;
    } else {
        release(x);
    }
    return status;
}

/* ---- records -----------------------------------------------------------------------
 */

/* A length, seven bits a byte; returns the bytes written. */
static size_t write_length(size_t length, unsigned char digits[10])
{
    size_t n = 0;
    for (; length > 0x7f; length >>= 7)
        digits[n++] = (unsigned char)(length | 0x80);
    digits[n++] = (unsigned char)length;
    return n;
}

static dml_status send_record(dml_exchange *x, int dest, const void *record,
                              size_t bytes)
{
    unsigned char digits[10];
    if (x->opts.record_bytes == 0)
        DML_TRY(dml__ship_append(x, dest, digits, write_length(bytes, digits)));
    return dml__ship_append(x, dest, record, bytes);
}

/* The record that is to be spoilt. */
static dml_status send_spoilt(dml_exchange *x, int dest, const void *record,
                              size_t bytes)
{
    if (x->fault == DML__DROP)
        return DML_OK;
    if (x->fault == DML__DOUBLE)
        DML_TRY(send_record(x, dest, record, bytes));
    if (x->fault != DML__FLIP || bytes == 0)
        return send_record(x, dest, record, bytes);
    unsigned char *copy = dml__alloc(x->ctx, bytes);
    if (copy == NULL)
        return dml__ship_fail(x, DML_ENOMEM, "no memory to spoil a record");
    memcpy(copy, record, bytes);
    copy[bytes / 2] ^= 1;
    dml_status status = send_record(x, dest, copy, bytes);
    dml__free(copy);
    return status;
}

/* May this function be called now, and with success? */
static dml_status check(dml_exchange *x, const char *where)
{
    if (x == NULL)
        return DML_EINVAL;
    if (x->calling)
        return dml__fail(x->ctx, DML_EINVAL, where,
                         "called from the exchange's own function; keep the record and "
                         "push it later");
    return x->broken;
}

dml_status dml_exchange_push(dml_exchange *x, int dest, const void *record,
                             size_t bytes)
{
    DML_TRY(check(x, __func__));
    if (dest < 0 || dest >= x->nranks || (record == NULL && bytes > 0))
        return dml__fail_values(x->ctx, DML_EINVAL, __func__, x->rank, dest, x->nranks,
                                "dest is %d of %d ranks, or record is NULL", dest,
                                x->nranks);
    if (x->opts.record_bytes > 0 && bytes != x->opts.record_bytes)
        return dml__fail_values(x->ctx, DML_EINVAL, __func__, x->rank, (int64_t)bytes,
                                (int64_t)x->opts.record_bytes,
                                "a record of %zu bytes, but record_bytes is %zu", bytes,
                                x->opts.record_bytes);
    if (x->failure < 0)
        return x->failure;
    if (!x->open)
        DML_TRY(dml__ship_open(x));
    struct dml__totals *sent = &x->lanes[dest].sent;
    sent->records++;
    sent->bytes += bytes;
    x->stats.records_sent++;
    x->stats.bytes_sent += bytes;
    if (dest == x->rank) {
        dml__ship_deliver(x, dest, record, bytes);
    } else {
        x->stats.bytes_moved += bytes;
        sent->checksum += dml_hash_bytes(record, bytes, 0);
        bool spoil = x->fault != DML__NO_FAULT && --x->fault_in == 0;
        DML_TRY((spoil ? send_spoilt : send_record)(x, dest, record, bytes));
    }
    x->since_poll += bytes + 1;
    if (x->since_poll >= x->payload_bytes)
        DML_TRY(dml__ship_receive(x));
    return x->failure;
}

dml_status dml_exchange_poll(dml_exchange *x)
{
    DML_TRY(check(x, __func__));
    DML_TRY(dml__ship_open(x));
    DML_TRY(dml__ship_receive(x));
    return x->failure;
}

/* ---- the end -----------------------------------------------------------------------
 */

/* Compares what came of a rank with what that says it sent. */
static void judge(dml_exchange *x, int p)
{
    const struct dml__totals *got = &x->lanes[p].got, *told = &x->lanes[p].told;
    if (x->lanes[p].ended == DML__LAST_EVER) {
        x->broken = DML_EMISMATCH; /* there is nobody to go on with */
        dml__ship_fail(x, DML_EMISMATCH,
                       "rank %d destroyed its exchange instead of finishing it", p);
    } else if (got->records != told->records || got->bytes != told->bytes) {
        dml__ship_fail(
            x, DML_EMISMATCH,
            "rank %d received %llu records (%llu bytes) of rank %d, which "
            "sent %llu (%llu bytes): records were lost or doubled on the "
            "way",
            x->rank, (unsigned long long)got->records, (unsigned long long)got->bytes,
            p, (unsigned long long)told->records, (unsigned long long)told->bytes);
    } else if (got->checksum != told->checksum) {
        dml__ship_fail(x, DML_EMISMATCH,
                       "the checksum of the %llu records that rank %d received of rank "
                       "%d is not that of what was sent: records were changed on the "
                       "way",
                       (unsigned long long)got->records, x->rank, p);
    }
}

static void reset(dml_exchange *x)
{
    for (int p = 0; p < x->nranks; p++) {
        struct dml__lane *lane = &x->lanes[p];
        dml__ship_forget(x, &lane->incoming);
        lane->chunks_out = lane->chunks_in = 0;
        lane->sent = lane->got = lane->told = (struct dml__totals){0};
        lane->ended = DML__NOT_LAST;
    }
    dml__comm_close_exchange(x->comm, x);
    x->open = false;
    x->id++;
    x->since_poll = 0;
    x->failure = DML_OK;
}

static dml_status end(dml_exchange *x, enum dml__last last)
{
    DML_TRY(dml__ship_open(x));
    DML_TRY(dml__ship_drain(x, last));
    for (int p = 0; last == DML__LAST && p < x->nranks; p++)
        if (p != x->rank)
            judge(x, p);
    dml_status status = dml__share_failure(
        x->comm, x->failure, x->why, last == DML__LAST ? "dml_exchange_finish" : NULL);
    if (dml__comm_check(x->comm, "dml_exchange_finish") < 0)
        x->broken = status;
    reset(x);
    return status;
}

dml_status dml_exchange_finish(dml_exchange *x)
{
    DML_TRY(check(x, __func__));
    return end(x, DML__LAST);
}

void dml_exchange_destroy(dml_exchange *x)
{
    if (x == NULL)
        return;
    if (x->broken == DML_OK)
        end(x, DML__LAST_EVER);
    release(x);
}

void dml_exchange_get_stats(const dml_exchange *x, dml_exchange_stats *stats)
{
    *stats = x->stats;
}
