/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each rank says about itself: its last operations with their signatures, and what
 * it waits for. The ledgers of a node's ranks lie in their desks (node.h), so peers
 * read one without its owner's help, even when that is stopped or dead. The owner
 * writes a record at the start of each operation and a bit at its end; the rest only
 * while it waits in vain.
 */
#ifndef DML__LEDGER_H
#define DML__LEDGER_H

#include "dml/coll.h"
#include "dml/watch.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Operations of lib/comm itself, numbered after those of dml_coll. */
enum dml__what {
    DML__AGREE = 16,    /* dml__comm_max */
    DML__SPLIT = 17,    /* dml_comm_split */
    DML__ALLOCATE = 18, /* dml_alloc */
    DML__PROBE = 19,    /* messages that measure the links */
    DML__QUERY = 20,    /* dml_algorithm_query */
    DML__PLAN = 21,     /* dml_coll_init, refused before its collective was known */
    DML__BLOCKS = 32,   /* a bit: blocks have different sizes (the v-variants) */
    DML__SAMPLE = 64,   /* a bit: libdml calls it itself, to measure */
    DML__IN_PLACE = 128 /* a bit: all ranks passed DML_IN_PLACE, or must have */
};

enum dml__op_state { DML__INSIDE = 1, DML__FINISHED = 2, DML__REFUSED = 3 };

/* Operations are numbered by the program's calls, from 1, in the high part; calls that
 * libdml makes on the way count in the low part. */
enum { DML__PART_BITS = 20 };

static inline uint64_t dml__op_number(uint64_t seq)
{
    return seq >> DML__PART_BITS;
}

static inline uint64_t dml__op_first(uint64_t seq)
{
    return dml__op_number(seq) << DML__PART_BITS;
}

/* An operation as one rank called it. */
struct dml__op {
    uint64_t seq;       /* which one on the communicator; 0: none */
    uint64_t signature; /* hash of all that follows but "state" */
    uint64_t base;      /* the same without seq, and with a v-variant's counts; not kept
                           in ledgers */
    uint64_t count;
    unsigned char what, dtype, op, state;
    unsigned char alg; /* 1 + its index in dml_algorithm_list; 0: not chosen yet */
    int root;          /* below 2^23 */
    bool on_device;    /* its buffers, where the choice of an algorithm follows that */
};

/* What a rank does that has waited for a while. */
enum dml__waiting { DML__NOT_WAITING, DML__IN_COLLECTIVE, DML__IN_SEND, DML__IN_RECV };

struct dml__wait_state {
    enum dml__waiting kind;
    bool calling;        /* its patience is over: it calls the roll */
    unsigned looks;      /* counts on while the rank is alive */
    uint64_t seq, bytes; /* of a collective; of a message */
    int peer, tag;       /* of a message */
};

enum {
    DML__RECORDS = 64, /* a rank is hardly ever further ahead of its peers */
    DML__REFUSAL_BYTES = 256,
    DML__VERDICT_BYTES = 448 /* as in dml_error */
};

struct dml__ledger {
    _Alignas(64) atomic_uint alarm; /* set by a peer: there is a verdict */
    atomic_uint waiting, calling, looks;
    atomic_int peer, tag;
    atomic_ullong wait_seq, wait_bytes;
    atomic_ullong still_ns; /* when anything moved last in the wait that it is in; 0: it
                               does not wait, or not for long */
    atomic_ullong waited_ns; /* in all waits that have ended */
    atomic_ullong last;      /* number of the newest operation */
    atomic_ullong queued; /* calls that are only put into a stream: how many so far */
    /* seq and version, signature, count, and the rest; the first is 0 while the others
     * change */
    struct {
        atomic_ullong word[4];
    } record[DML__RECORDS];
    atomic_ullong refused; /* number of the last refused call; why: */
    char refusal[DML__REFUSAL_BYTES];
    /* The program's note (dml/watch.h); the number is odd while it changes. */
    atomic_ullong note_number;
    atomic_ullong note[DML_NOTE_WORDS];
    /* Of the node's first rank alone: why the communicator is of no more use. */
    atomic_int judged; /* 0: not; 1: being written; 2: readable */
    int verdict_status;
    char verdict[DML__VERDICT_BYTES];
};

/* Set base and signature of an operation; counts [ncounts] or NULL. And the signature
 * alone, when it has another number or algorithm. */
void dml__op_sign(struct dml__op *op, const size_t *counts, int ncounts);
void dml__op_sign_again(struct dml__op *op);

/* The signature as it was before an algorithm was chosen. */
uint64_t dml__op_unchosen(const struct dml__op *op);

/* Do two ranks' records say that they called the same? An algorithm that is not chosen
 * yet may become any. */
bool dml__op_same(const struct dml__op *a, const struct dml__op *b);

/* Write down an operation that begins (or was refused); that it has ended. */
void dml__ledger_write(struct dml__ledger *ledger, const struct dml__op *op);
void dml__ledger_end(struct dml__ledger *ledger, uint64_t seq);

/* The record of an operation; false when it is not there (yet, or any more). */
bool dml__ledger_find(const struct dml__ledger *ledger, uint64_t seq,
                      struct dml__op *op);

/* Record i < DML__RECORDS; false when there is none. */
bool dml__ledger_read(const struct dml__ledger *ledger, unsigned i, struct dml__op *op);

/* "allreduce of 100 f32 (sum)", and the public function's name. */
void dml__op_describe(const struct dml__op *op, char *text, size_t room);
void dml__op_where(const struct dml__op *op, char *text, size_t room);

#endif
