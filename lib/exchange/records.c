/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records in and out of streams: what arrives is put together and handed to the user's
 * function, and counted.
 */
#include "exchange/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

dml_status dml__ship_fail(dml_exchange *x, dml_status status, const char *format, ...)
{
    if (x->failure < 0)
        return x->failure;
    va_list args;
    va_start(args, format);
    vsnprintf(x->why, sizeof x->why, format, args);
    va_end(args);
    x->failure = dml__fail(x->ctx, status, "dml_exchange", "%s", x->why);
    return status;
}

void dml__ship_deliver(dml_exchange *x, int source, const void *record, size_t bytes)
{
    struct dml__totals *got = &x->lanes[source].got;
    got->records++;
    got->bytes += bytes;
    if (source != x->rank)
        got->checksum += dml_hash_bytes(record, bytes, 0);
    x->stats.records_received++;
    x->stats.bytes_received += bytes;
    if (x->failure < 0)
        return;
    x->calling = true;
    dml_status status = x->fn(x->user, source, record, bytes);
    x->calling = false;
    if (status < 0)
        dml__ship_fail(x, status,
                       "the function of rank %d refused a record of %zu bytes from "
                       "rank %d: %s",
                       x->rank, bytes, source, dml_status_str(status));
}

/* Takes the digits of a length; false when more are needed. */
static bool read_length(dml_exchange *x, int source, const unsigned char **data,
                        size_t *bytes)
{
    struct dml__incoming *in = &x->lanes[source].incoming;
    for (bool more = true; more; in->shift += 7) {
        if (*bytes == 0)
            return false;
        unsigned char digit = *(*data)++;
        --*bytes;
        if (in->shift > 63)
            dml__ship_fail(x, DML_EMISMATCH,
                           "rank %d received a length from rank %d that is none",
                           x->rank, source);
        else
            in->bytes |= (uint64_t)(digit & 0x7f) << in->shift;
        more = (digit & 0x80) != 0;
    }
    return true;
}

/* Room for a record as far as it has come, so that a length alone allocates nothing. */
static bool make_room(dml_exchange *x, struct dml__incoming *in, size_t bytes)
{
    if (bytes <= in->room)
        return true;
    size_t room = 2 * bytes < in->bytes ? 2 * bytes : (size_t)in->bytes;
    unsigned char *larger = dml__alloc(x->ctx, room);
    if (larger == NULL) {
        dml__ship_fail(x, DML_ENOMEM,
                       "no memory on rank %d for a record of %llu "
                       "bytes",
                       x->rank, (unsigned long long)in->bytes);
        return false;
    }
    if (in->have > 0)
        memcpy(larger, in->partial, in->have);
    dml__free(in->partial);
    x->held_bytes += room - in->room;
    in->partial = larger;
    in->room = room;
    size_t memory = x->chunk_memory + x->held_bytes;
    if (memory > x->stats.memory_bytes)
        x->stats.memory_bytes = memory;
    return true;
}

void dml__ship_forget(dml_exchange *x, struct dml__incoming *in)
{
    in->in_body = false;
    in->shift = 0;
    in->bytes = 0;
    if (in->room > x->payload_bytes) {
        dml__free(in->partial);
        x->held_bytes -= in->room;
        in->partial = NULL;
        in->room = 0;
    }
}

/* The next piece of a record that is not whole in this chunk. */
static void add_piece(dml_exchange *x, int source, const unsigned char *data, size_t n)
{
    struct dml__incoming *in = &x->lanes[source].incoming;
    if (n > 0 && x->failure == DML_OK && make_room(x, in, in->have + n))
        memcpy(in->partial + in->have, data, n);
    in->have += n;
    if (in->have == in->bytes) {
        /* Dropped pieces have no hash, but an error has been kept then. */
        const unsigned char *record = in->have <= in->room ? in->partial : data;
        dml__ship_deliver(x, source, record, in->have <= in->room ? in->have : 0);
        in->in_body = false;
    }
}

void dml__ship_read(dml_exchange *x, int source, const unsigned char *data,
                    size_t bytes)
{
    struct dml__incoming *in = &x->lanes[source].incoming;
    for (;;) {
        if (!in->in_body && x->opts.record_bytes > 0) {
            if (bytes == 0)
                return;
            in->bytes = x->opts.record_bytes;
        } else if (!in->in_body) {
            if (!read_length(x, source, &data, &bytes))
                return;
        }
        if (!in->in_body) {
            in->in_body = true;
            in->have = 0;
        }
        size_t left = (size_t)in->bytes - in->have, n = left < bytes ? left : bytes;
        if (in->have == 0 && n == in->bytes) {
            dml__ship_deliver(x, source, data, n);
            in->in_body = false;
        } else {
            add_piece(x, source, data, n);
        }
        data += n;
        bytes -= n;
        if (in->in_body)
            return;
        in->shift = 0;
        in->bytes = 0;
    }
}
