/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The roll call: why a rank that waits does not get on (doc/hangs.md, doc/adr/0006).
 *
 * Every operation has a number and a signature, and a message or announcement with
 * another signature than its receiver's counts as not there (node.h, shm.h; through MPI
 * the tag is made of it). So whatever the ranks disagree about, some rank waits. A rank
 * that has waited for a millisecond looks at its peers: at their ledgers on its node
 * (ledger.h), by notes elsewhere (notes.c). It finds other signatures, refused calls,
 * dead processes, and after DML_TIMEOUT_S it calls the roll and reports who is missing.
 * What is found is a verdict, and becomes the error of all ranks.
 *
 *   roll.c      numbers the operations, and decides when a rank that waits looks; calls
 *               all below
 *   ledger.c    the record of a rank's operations, and their signatures
 *   sight.c     compares: what the others' ledgers and notes say with the own ledger
 *   mates.c     host and process of each rank, and whether it is alive
 *   notes.c     questions, answers and verdicts to ranks without a common ledger
 *   verdict.c   makes what was found the error of all: node's ledger, alarms, notes
 *   report.c    calls the roll after the timeout, and says who is missing
 *   agree.c     agreements; the first to wait where ranks call different things
 *   guard.c     a thread that looks for a caller inside a blocking call of MPI; after
 *               the call it compares (sight.c), within a node
 *   receipts.c  the same between nodes, a while later; called by guard.c
 *
 * Waits enter by dml__roll_idle (wait.c), polls by dml__roll_asked (request.c), the
 * progress thread by dml__roll_watch; calls by dml__roll_enter to dml__roll_refuse
 * (comm.h).
 */
#ifndef DML__ROLL_H
#define DML__ROLL_H

#include "comm/comm_internal.h"
#include "comm/ledger.h"

/* Who a rank is: exchanged when the communicator is made. */
struct dml__mate {
    char host[64];
    int world; /* its rank in MPI_COMM_WORLD */
    long pid;
    uint64_t started; /* of the process, in the system's ticks */
    uint64_t pidns;   /* in which process numbers mean the same */
    int machine;      /* lowest rank of those on one machine, as MPI sees it */
};

/* What is known of a rank. */
struct dml__sighting {
    bool known;                 /* it has answered, or its ledger can be read */
    struct dml__op at, last;    /* the operation asked about (seq 0: not entered or long
                                   past), and its newest */
    struct dml__wait_state now; /* what it waits for */
};

/* What ranks without a common ledger send each other, when something is wrong. */
enum dml__note_kind {
    DML__NOTE_CHECK,   /* I wait for you in this operation */
    DML__NOTE_ASK,     /* what do you do? */
    DML__NOTE_STATE,   /* this */
    DML__NOTE_REFUSED, /* I refused my call of this number */
    DML__NOTE_VERDICT  /* this is the end */
};

struct dml__note {
    int kind, status;
    struct dml__sighting sender;
    char text[DML__VERDICT_BYTES];
};

struct dml__letter; /* a note on its way (notes.c) */

enum { DML__NOTE_TAG = 1, DML__RECEIPT_TAG = 2 };

/* Calls of the MPI library's blocking collectives, for the next rank (receipts.c). */
enum { DML__RECEIPTS = 16 };
struct dml__receipts {
    struct dml__op calls[DML__RECEIPTS];  /* [ncalls] since the last receipt */
    struct dml__op mine[DML__RECEIPTS];   /* on its way to the next rank */
    struct dml__op theirs[DML__RECEIPTS]; /* of the rank before */
    MPI_Request requests[2];
    int ncalls;
    bool open; /* one is on its way */
};

struct dml__roll {
    dml_comm *comm;
    struct dml__ledger *own, *memory; /* memory: allocated where there is no desk */
    struct dml__ledger **ledgers;     /* [size] NULL: of a rank elsewhere */
    uint64_t seq;                     /* of the newest operation */
    bool preparing;                   /* a call: what follows belongs to it */
    double timeout_s;                 /* 0: never */
    bool judged;                      /* the verdict is this rank's error already */

    double still_s;      /* when anything moved last in the wait it looks at; */
    double idle_since_s; /* the same, plus times that this process was stopped */
    unsigned asked;      /* in vain, by calls that do not wait */
    double asked_since_s;
    double looked_s, next_s; /* the last look, and the next */
    double next_check_s;     /* when peers elsewhere are asked again */
    double next_pulse_s;     /* when it is looked who is alive */
    int next_pulse;          /* and from which rank on */
    double called_s;         /* when this rank began to call the roll; 0: not */
    unsigned *looks_then;    /* [size] the peers' counters at that time */

    struct dml__mate *mates;    /* [size] */
    MPI_Comm notes;             /* MPI_COMM_NULL: all ranks share a node's memory */
    struct dml__sighting *told; /* [size] by notes; only of those elsewhere */
    struct dml__letter *letters;
    int refuser;      /* rank elsewhere that refused a call; -1: none */
    uint64_t refused; /* the call */
    char refusal[DML__REFUSAL_BYTES];

    bool mute;             /* a thread looks that may not call MPI */
    double *agreed;        /* [nagreed] what is being agreed on (agree.c) */
    size_t nagreed;        /* ... by the request: */
    MPI_Request agreement; /* MPI_REQUEST_NULL: it has ended */

    struct dml__guard *guard; /* over blocking MPI calls (guard.c); NULL: not yet, or */
    bool unwatched;           /* there can be none */
    struct dml__receipts *receipts;
};

/* ---- agreements (agree.c) ---------------------------------------------------------
 */

void dml__agreed_free(struct dml__roll *roll);

/* ---- for those who wait ------------------------------------------------------------
 */

/* Make the roll of a communicator, whose node is open; collective, fails on all or
 * none. */
dml_status dml__roll_open(dml_comm *comm);
void dml__roll_close(dml_comm *comm);

/* This rank waits, and nothing has moved since still_s. Returns an error when waiting
 * is of no use: then all pending requests of the communicator have failed with it. */
dml_status dml__roll_idle(dml_comm *comm, double still_s, double now_s);

/* The same for calls that ask in vain (dml_test); cheap. For the progress thread, which
 * asks for a caller that is busy elsewhere. And: something moved. */
dml_status dml__roll_asked(dml_comm *comm);
void dml__roll_watch(dml_comm *comm, bool may_call_mpi);
static inline void dml__roll_moved(struct dml__roll *roll)
{
    roll->asked = 0;
}

/* ---- operations of lib/comm --------------------------------------------------------
 */

/* The next operation, one of enum dml__what. */
struct dml__op dml__roll_enter_own(dml_comm *comm, int what, uint64_t count);

/* ---- what is known -----------------------------------------------------------------
 */

/* What this rank knows of another, or of itself, about operation seq. */
struct dml__sighting dml__roll_sight(const struct dml__roll *roll, int rank,
                                     uint64_t seq);

/* Compares this rank's unfinished operations with the others'; an error is a verdict.
 */
dml_status dml__roll_compare(struct dml__roll *roll);

/* The same of one operation with the next rank alone, if that has a ledger: for calls
 * of the MPI library, which does not look at signatures. */
dml_status dml__roll_verify(struct dml__roll *roll, uint64_t seq);

/* The operation that this rank waits in, or false. */
bool dml__roll_waits_in(const struct dml__roll *roll, struct dml__op *op);

/* Can it be seen that the process of a rank has ended, or was stopped? '?' when not;
 * else the state as in /proc, 'X' when it is gone. */
char dml__mate_state(const struct dml__roll *roll, int rank);

/* Has a process of this machine ended, or another one that MPI knows of? One that the
 * system has forgotten is found at once; one that its launcher has not noticed yet, or
 * whose number is another's by now, when its turn comes: 32 are looked at each time. */
dml_status dml__mates_alive(struct dml__roll *roll);

/* MPI says that a rank has ended: an error that names it. */
dml_status dml__mates_lost(const dml_comm *comm, const char *where);
dml_status dml__mates_open(struct dml__roll *roll);

/* "rank 3 (host a, pid 123)", with the rank in MPI_COMM_WORLD where that differs */
void dml__mate_name(const struct dml__roll *roll, int rank, char *text, size_t room);

/* ---- verdicts ----------------------------------------------------------------------
 */

/* Make the communicator useless on all ranks, for the reason given. The first verdict
 * of a node counts; returns its status, which is this rank's error now. */
dml_status dml__roll_judge(struct dml__roll *roll, dml_status status, const char *text);

/* The same for a verdict of ranks elsewhere. */
dml_status dml__roll_adopt(struct dml__roll *roll, dml_status status, const char *text);

/* Has a verdict arrived? Then it becomes this rank's error. */
dml_status dml__roll_judged(struct dml__roll *roll, const char *where);

/* ---- receipts ----------------------------------------------------------------------
 */

/* Lists a call that MPI has completed, and exchanges receipts when it is time. */
dml_status dml__receipts_add(struct dml__roll *roll, const struct dml__call *call);
void dml__receipts_close(struct dml__roll *roll);

/* ---- timeout -----------------------------------------------------------------------
 */

/* This rank's patience is over: calls the roll, and judges when all have answered or
 * nobody does any more. DML_OK until then. */
dml_status dml__roll_call(struct dml__roll *roll, double idle_s, double now_s);

/* ---- notes -------------------------------------------------------------------------
 */

dml_status dml__notes_open(struct dml__roll *roll);
void dml__notes_close(struct dml__roll *roll);

/* Take what has arrived. */
dml_status dml__notes_receive(struct dml__roll *roll);

/* To one rank; to all that have no common ledger with this one. */
void dml__notes_send(struct dml__roll *roll, int rank, enum dml__note_kind kind,
                     uint64_t seq);
void dml__notes_tell(struct dml__roll *roll, enum dml__note_kind kind, uint64_t seq,
                     dml_status status, const char *text);

#endif
