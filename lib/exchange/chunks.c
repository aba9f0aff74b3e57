/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chunks between ranks: streams are cut into messages, which are sent when full.
 *
 * Every wait also receives, whatever it is for. So a rank that waits for a receiver
 * never keeps a sender waiting, and no cycle of full chunks can block the ranks.
 */
#include "comm/sched.h"
#include "exchange/exchange.h"

#include <string.h>

static size_t slot(int peer, int chunk)
{
    return (size_t)peer * DML__CHUNKS + (size_t)chunk;
}

static size_t nslots(const dml_exchange *x)
{
    return slot(x->nranks, 0);
}

/* The communicator has ended: nothing more can be sent or received. */
static dml_status broken(dml_exchange *x, dml_status status)
{
    if (status < 0)
        x->broken = status;
    return status;
}

static dml_status post(dml_exchange *x, int peer, int chunk, void *buf, size_t bytes)
{
    dml_comm *comm = x->comm;
    dml__comm_enter(comm);
    dml_status status = dml__comm_check(comm, "dml_exchange");
    dml_request *r = status == DML_OK ? dml__sched_new(comm) : NULL;
    if (status == DML_OK && r == NULL) {
        status = dml__fail(x->ctx, DML_ENOMEM, "dml_exchange",
                           "no memory for a "
                           "request");
        dml__comm_break(comm, status);
    }
    if (r != NULL) {
        if (chunk < DML__IN_CHUNKS)
            dml__sched_recv(r, buf, bytes, peer, DML__NO_STEP, DML__NO_STEP);
        else
            dml__sched_send(r, buf, bytes, peer, DML__NO_STEP, DML__NO_STEP);
        status = dml__sched_start_p2p(r, DML__EXCHANGE_TAG);
    }
    dml__comm_leave(comm);
    if (status == DML_OK)
        x->requests[slot(peer, chunk)] = r;
    return broken(x, status);
}

/* One chunk of a rank is expected at a time: its last one must be known as such before
 * a message of the next exchange can be taken for it. */
static dml_status expect(dml_exchange *x, int peer)
{
    struct dml__lane *lane = &x->lanes[peer];
    return post(x, peer, lane->reading, lane->in[lane->reading],
                sizeof(struct dml__chunk_head) + x->payload_bytes);
}

dml_status dml__ship_open(dml_exchange *x)
{
    if (x->broken < 0)
        return x->broken;
    if (x->open)
        return DML_OK;
    if (!dml__comm_open_exchange(x->comm, x))
        return dml__fail(x->ctx, DML_EINVAL, "dml_exchange",
                         "another exchange of the communicator is open; finish it "
                         "before this one begins");
    x->open = true;
    for (int p = 0; p < x->nranks; p++)
        if (p != x->rank)
            DML_TRY(expect(x, p));
    return DML_OK;
}

/* ---- receiving ---------------------------------------------------------------------
 */

/* The communicator counted a whole chunk when it was expected. */
static void correct_stats(dml_exchange *x, size_t unused_bytes)
{
    dml_comm_stats stats;
    dml__comm_enter(x->comm);
    dml_comm_get_stats(x->comm, &stats);
    stats.bytes_received -= unused_bytes;
    dml__comm_set_stats(x->comm, &stats);
    dml__comm_leave(x->comm);
}

static dml_status arrived(dml_exchange *x, int peer)
{
    struct dml__lane *lane = &x->lanes[peer];
    const unsigned char *chunk = lane->in[lane->reading];
    struct dml__chunk_head head;
    memcpy(&head, chunk, sizeof head);
    if (head.exchange != x->id || head.number != lane->chunks_in ||
        head.bytes > x->payload_bytes) {
        dml_status status = dml__fail_values(
            x->ctx, DML_EMISMATCH, "dml_exchange", x->rank, (int64_t)head.number,
            (int64_t)lane->chunks_in,
            "a message of rank %d is not the next one of this exchange; only one "
            "exchange of a communicator may be open at a time",
            peer);
        dml__comm_break(x->comm, status);
        return broken(x, status);
    }
    correct_stats(x, x->payload_bytes - (size_t)head.bytes);
    lane->chunks_in++;
    lane->reading = !lane->reading;
    lane->ended = (enum dml__last)head.last;
    lane->told = head.totals;
    if (lane->ended == DML__NOT_LAST)
        DML_TRY(expect(x, peer));
    dml__ship_read(x, peer, chunk + sizeof head, (size_t)head.bytes);
    return DML_OK;
}

/* A request has ended with this status. */
static dml_status handle(dml_exchange *x, size_t index, dml_status status)
{
    DML_TRY(broken(x, status));
    int peer = (int)(index / DML__CHUNKS), chunk = (int)(index % DML__CHUNKS);
    return chunk < DML__IN_CHUNKS ? arrived(x, peer) : DML_OK;
}

/* A few chunks of each rank: else a rank could receive as long as others send, and send
 * nothing itself. */
dml_status dml__ship_receive(dml_exchange *x)
{
    x->since_poll = 0;
    for (size_t n = 0; n < nslots(x); n++) {
        size_t index = 0;
        dml_status status = dml_testany(nslots(x), x->requests, &index);
        if (status == DML_PENDING || (status == DML_OK && index == nslots(x)))
            return DML_OK;
        DML_TRY(handle(x, index, status));
    }
    return DML_OK;
}

/* Waits for whatever ends next; false when nothing is on its way. */
static dml_status wait_next(dml_exchange *x, bool *any)
{
    size_t index = 0;
    dml_status status = dml_waitany(nslots(x), x->requests, &index);
    *any = index < nslots(x);
    return *any || status < 0 ? handle(x, index, status) : status;
}

/* ---- sending -----------------------------------------------------------------------
 */

/* Waits until the chunk that is filled next is free. */
static dml_status make_room(dml_exchange *x, int peer)
{
    size_t index = slot(peer, DML__IN_CHUNKS + x->lanes[peer].filling);
    if (x->requests[index] == NULL)
        return DML_OK;
    dml_status status = dml__ship_receive(x);
    double begin_s = dml__now_s();
    for (bool any = true; status == DML_OK && x->requests[index] != NULL && any;)
        status = wait_next(x, &any);
    x->stats.wait_s += dml__now_s() - begin_s;
    return status;
}

static dml_status flush(dml_exchange *x, int peer, enum dml__last last)
{
    struct dml__lane *lane = &x->lanes[peer];
    struct dml__chunk_head head = {.exchange = x->id,
                                   .number = lane->chunks_out++,
                                   .bytes = lane->filled,
                                   .last = last,
                                   .totals = lane->sent};
    int filled = lane->filling;
    memcpy(lane->out[filled], &head, sizeof head);
    x->stats.chunks_sent++;
    DML_TRY(post(x, peer, DML__IN_CHUNKS + filled, lane->out[filled],
                 sizeof head + lane->filled));
    lane->filling = !filled;
    lane->filled = 0;
    return last == DML__NOT_LAST ? make_room(x, peer) : DML_OK;
}

dml_status dml__ship_append(dml_exchange *x, int peer, const void *data, size_t bytes)
{
    struct dml__lane *lane = &x->lanes[peer];
    const unsigned char *from = data;
    while (bytes > 0) {
        size_t room = x->payload_bytes - lane->filled, n = bytes < room ? bytes : room;
        memcpy(lane->out[lane->filling] + sizeof(struct dml__chunk_head) + lane->filled,
               from, n);
        from += n;
        bytes -= n;
        lane->filled += n;
        if (lane->filled == x->payload_bytes)
            DML_TRY(flush(x, peer, DML__NOT_LAST));
    }
    return DML_OK;
}

dml_status dml__ship_drain(dml_exchange *x, enum dml__last last)
{
    /* The next rank first, so that not all begin with the same receiver. */
    for (int i = 1; i < x->nranks; i++)
        DML_TRY(flush(x, (x->rank + i) % x->nranks, last));
    DML_TRY(dml__ship_receive(x));
    double begin_s = dml__now_s();
    dml_status status = DML_OK;
    for (bool any = true; status == DML_OK && any;)
        status = wait_next(x, &any);
    x->stats.wait_s += dml__now_s() - begin_s;
    return status;
}
