/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * State of an exchange of records, shared by the files of lib/exchange.
 *
 * From each rank to each other runs a stream of bytes: every record's length (base 128,
 * lowest digits first, the top bit set on all but the last byte; nothing where all have
 * one size), then its bytes. The stream is cut into chunks wherever one is full, and a
 * chunk is one message. The last chunk says what was sent in all.
 */
#ifndef DML__EXCHANGE_RECORDS_H
#define DML__EXCHANGE_RECORDS_H

#include "dml/exchange.h"

#include "comm/comm.h"
#include "core/core.h"

#include <stdbool.h>

/* Beyond the tags of dml_send(). */
enum { DML__EXCHANGE_TAG = DML_TAG_MAX + 1 };

/* Chunks of one rank for one other: one of each direction is on its way or expected
 * while the other is filled or read. */
enum { DML__OUT_CHUNKS = 2, DML__IN_CHUNKS = 2 };
enum { DML__CHUNKS = DML__OUT_CHUNKS + DML__IN_CHUNKS };

/* What was sent or received so far in one exchange between two ranks. */
struct dml__totals {
    uint64_t records, bytes;
    uint64_t checksum; /* sum of the records' hashes, modulo 2^64 */
};

/* Does another chunk come? Not when the exchange is finished, nor when it is given up.
 */
enum dml__last { DML__NOT_LAST, DML__LAST, DML__LAST_EVER };

/* Begin of every chunk; as the machine has it, since all ranks are of one kind. */
struct dml__chunk_head {
    uint64_t exchange, number; /* which, and which chunk of it, from 0 on */
    uint64_t bytes;            /* that follow */
    uint64_t last;             /* one of enum dml__last */
    struct dml__totals totals; /* of the last: all that was sent */
    uint64_t unused;
};

/* A record that comes in pieces. */
struct dml__incoming {
    bool in_body;
    unsigned shift; /* of the length's next digit */
    uint64_t bytes; /* of the record, as far as its length is read */
    size_t have;
    unsigned char *partial; /* [room] */
    size_t room;
};

struct dml__lane {
    unsigned char *out[DML__OUT_CHUNKS], *in[DML__IN_CHUNKS];
    int filling; /* which of out */
    int reading; /* which of in comes next */
    size_t filled;
    uint64_t chunks_out, chunks_in;
    struct dml__totals sent, got, told; /* told: sent, as its sender says */
    enum dml__last ended;
    struct dml__incoming incoming;
};

/* What DML_TEST_EXCHANGE=drop:N (and so on) does to the N-th record that is sent. */
enum dml__exchange_fault { DML__NO_FAULT, DML__DROP, DML__DOUBLE, DML__FLIP };

struct dml_exchange {
    dml_comm *comm;
    dml_ctx *ctx;
    int rank, nranks;
    dml_exchange_opts opts;
    dml_exchange_fn *fn;
    void *user;
    uint64_t id;             /* of the exchange that is open or comes next */
    bool open;               /* messages are expected */
    bool calling;            /* the user's function */
    size_t payload_bytes;    /* of a full chunk */
    size_t since_poll;       /* bytes pushed since this rank received */
    struct dml__lane *lanes; /* [nranks]; the own one has totals alone */
    unsigned char *chunks;
    dml_request **requests; /* [nranks * DML__CHUNKS] in, then out, of each rank */
    dml_status failure;     /* of this rank alone, told to the others by finish */
    char why[sizeof((dml_error *)0)->text];
    dml_status broken;   /* the communicator's end */
    size_t chunk_memory; /* bytes of all chunks */
    size_t held_bytes;   /* in records that come in pieces */
    enum dml__exchange_fault fault;
    uint64_t fault_in; /* records until then */
    dml_exchange_stats stats;
};

/* ---- agree.c -----------------------------------------------------------------------
 */

/* What the lowest rank that failed has to say, on all ranks: its status, and its text
 * as the context's last error ("where": the public function; NULL: is not recorded).
 * Collective; "mine" is DML_OK on ranks that did not fail. why [sizeof dml_error.text]
 * is overwritten. */
dml_status dml__share_failure(dml_comm *comm, dml_status mine, char *why,
                              const char *where);

/* The same with the text of the context's last error. */
dml_status dml__share_last_error(dml_comm *comm, dml_status mine, const char *where);

/* ---- chunks.c ----------------------------------------------------------------------
 */

/* Expect the first chunks of an exchange, if that was not done yet. */
dml_status dml__ship_open(dml_exchange *x);

/* Add bytes to the stream for a rank. */
dml_status dml__ship_append(dml_exchange *x, int peer, const void *data, size_t bytes);

/* Receive what has come, within bounds. */
dml_status dml__ship_receive(dml_exchange *x);

/* Send the last chunks, marked so, and receive all others'. */
dml_status dml__ship_drain(dml_exchange *x, enum dml__last last);

/* ---- records.c ---------------------------------------------------------------------
 */

/* Bytes of the stream of "source" have come. */
void dml__ship_read(dml_exchange *x, int source, const unsigned char *data,
                    size_t bytes);

/* A whole record has come. */
void dml__ship_deliver(dml_exchange *x, int source, const void *record, size_t bytes);

/* Forget what came of records in the last exchange; memory of large ones is freed. */
void dml__ship_forget(dml_exchange *x, struct dml__incoming *in);

/* This rank cannot go on, but the others must hear of it: keeps the first such error.
 */
dml_status dml__ship_fail(dml_exchange *x, dml_status status, const char *format, ...)
    DML__PRINTF(3, 4);

#endif
