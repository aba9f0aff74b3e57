/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calling the roll: a rank whose patience is over asks all others what they do, waits
 * for a moment, and the lowest of those who call reports who is missing.
 */
#include "comm/roll.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* For the answers of ranks elsewhere; for peers to show that they move. */
static const double notes_s = 0.7, ledgers_s = 0.25;
/* A lower rank that calls too, and then says nothing, is not waited for longer. */
static const double defer_s = 1.5;

enum { LISTED = 16, NAMED = 3 }; /* missing ranks in the report, and in the error */

struct stuck {
    struct dml__roll *roll;
    struct dml__op op; /* seq 0: a message */
    struct dml__wait_state mine;
    char what[192];
    double idle_s;
};

/* Does a rank wait inside the library, alive? */
static bool waits(const struct stuck *k, int rank, const struct dml__sighting *s)
{
    if (rank == k->roll->comm->rank)
        return true;
    if (k->roll->ledgers[rank] == NULL)
        return s->known && s->now.kind != DML__NOT_WAITING;
    return s->now.looks != k->roll->looks_then[rank];
}

/* Who waits in a collective, be it another one, waits for somebody too. */
static bool is_missing(const struct stuck *k, int rank, const struct dml__sighting *s)
{
    bool here = rank == k->roll->comm->rank || waits(k, rank, s);
    if (k->op.seq == 0)
        return rank == k->mine.peer && !(here && s->now.kind != DML__IN_COLLECTIVE &&
                                         s->now.peer == k->roll->comm->rank);
    return !(here && s->now.kind == DML__IN_COLLECTIVE);
}

static bool waits_elsewhere(const struct stuck *k, const struct dml__sighting *s)
{
    return k->op.seq > 0 && s->now.kind == DML__IN_COLLECTIVE &&
           s->now.seq != k->op.seq;
}

static void describe_wait(const struct dml__sighting *s, char *text, size_t room)
{
    char op[160] = "?";
    const struct dml__wait_state *now = &s->now;
    if (now->kind == DML__IN_COLLECTIVE) {
        if (s->last.seq == now->seq)
            dml__op_describe(&s->last, op, sizeof op);
        else if (s->at.seq == now->seq)
            dml__op_describe(&s->at, op, sizeof op);
        snprintf(text, room, "waits in operation %" PRIu64 ", %s",
                 dml__op_number(now->seq), op);
        return;
    }
    bool sends = now->kind == DML__IN_SEND;
    snprintf(text, room, "waits in a message of %" PRIu64 " bytes %s rank %d, tag %d",
             now->bytes, sends ? "to" : "from", now->peer, now->tag);
}

/* What a missing rank does instead. */
static void describe_absence(const struct stuck *k, int rank,
                             const struct dml__sighting *s, char *text, size_t room)
{
    char op[160] = "";
    dml__op_describe(&s->last, op, sizeof op);
    const char *end = s->last.state == DML__INSIDE    ? "not finished"
                      : s->last.state == DML__REFUSED ? "refused"
                                                      : "finished";
    uint64_t seq = k->op.seq;
    if (waits(k, rank, s))
        describe_wait(s, text, room);
    else if (!s->known)
        snprintf(text, room, "%s",
                 k->roll->mute ? "cannot be asked: MPI was initialised for one thread"
                               : "does not answer: it is busy elsewhere, or cut off");
    else if (seq > 0 && s->at.seq == seq && s->at.state == DML__INSIDE)
        snprintf(text, room, "has entered it, but does not move");
    else if (s->last.seq == 0)
        snprintf(text, room, "has not entered any operation");
    else if (s->last.seq < seq || seq == 0)
        snprintf(text, room, "%s; its last was operation %" PRIu64 ", %s, %s",
                 seq > 0 ? "has not entered it" : "is busy elsewhere",
                 dml__op_number(s->last.seq), op, end);
    else
        snprintf(text, room, "is past it; its last is operation %" PRIu64 ", %s, %s",
                 dml__op_number(s->last.seq), op, end);
}

static const char *describe_process(char state)
{
    switch (state) {
    case 'X':
    case 'Z':
        return "; its process has ended";
    case 'T':
    case 't':
        return "; its process is stopped";
    case 'R':
        return "; its process is running";
    case 'S':
    case 'D':
        return "; its process sleeps";
    default:
        return "";
    }
}

/* "rank 3 (host a, pid 123) has not entered it; ..." */
static void describe_rank(const struct stuck *k, int rank,
                          const struct dml__sighting *s, char *text, size_t room)
{
    char name[128], what[320];
    dml__mate_name(k->roll, rank, name, sizeof name);
    describe_absence(k, rank, s, what, sizeof what);
    const char *process =
        waits(k, rank, s) ? "" : describe_process(dml__mate_state(k->roll, rank));
    snprintf(text, room, "%s %s%s", name, what, process);
}

/* The line that becomes everybody's error. */
static void write_headline(const struct stuck *k, int nmissing, char *text, size_t room)
{
    int used =
        snprintf(text, room, "no progress for %.1f s in %s: ", k->idle_s, k->what);
    if (nmissing == 0)
        snprintf(text + used, room - (size_t)used,
                 "nobody is missing: messages are lost, or the ranks wait for each "
                 "other");
    else
        used += snprintf(text + used, room - (size_t)used, "%d missing: ", nmissing);
    int named = 0;
    for (int i = 0; i < k->roll->comm->size && named < NAMED; i++) {
        struct dml__sighting s = dml__roll_sight(k->roll, i, k->op.seq);
        if (!is_missing(k, i, &s) || (size_t)used >= room)
            continue;
        char line[512];
        describe_rank(k, i, &s, line, sizeof line);
        used += snprintf(text + used, room - (size_t)used, "%s%s",
                         named++ > 0 ? " | " : "", line);
    }
}

/* The whole report, on the log of this rank. */
static void print(const struct stuck *k, const char *headline, int nmissing)
{
    const dml_comm *comm = k->roll->comm;
    char line[600], name[128];
    int listed = 0, waiting = 0;
    dml__mate_name(k->roll, comm->rank, name, sizeof name);
    dml__log(comm->ctx, DML_LOG_ERROR, "%s", headline);
    dml__log(comm->ctx, DML_LOG_ERROR, "roll call of %d ranks by %s:", comm->size,
             name);
    for (int i = 0; i < comm->size; i++) {
        struct dml__sighting s = dml__roll_sight(k->roll, i, k->op.seq);
        bool missing = is_missing(k, i, &s);
        if (!missing && !waits_elsewhere(k, &s)) {
            waiting++;
            continue;
        }
        if (listed++ >= LISTED)
            continue;
        describe_rank(k, i, &s, line, sizeof line);
        dml__log(comm->ctx, DML_LOG_ERROR, "  %s%s", missing ? "missing: " : "", line);
    }
    if (listed > LISTED)
        dml__log(comm->ctx, DML_LOG_ERROR, "  and %d more", listed - LISTED);
    if (k->op.seq > 0)
        dml__log(comm->ctx, DML_LOG_ERROR, "  %d of %d ranks wait in it, %d missing",
                 waiting, comm->size, nmissing);
}

static dml_status report(struct dml__roll *roll, double idle_s)
{
    struct stuck k = {.roll = roll, .idle_s = idle_s};
    char text[DML__VERDICT_BYTES], what[160];
    struct dml__op op;
    if (dml__roll_waits_in(roll, &op)) {
        k.op = op;
        dml__op_describe(&op, what, sizeof what);
        snprintf(k.what, sizeof k.what, "operation %" PRIu64 ", %s",
                 dml__op_number(op.seq), what);
    } else {
        struct dml__sighting own = dml__roll_sight(roll, roll->comm->rank, 0);
        k.mine = own.now;
        snprintf(k.what, sizeof k.what,
                 "a message of %" PRIu64 " bytes %s rank %d, tag %d", k.mine.bytes,
                 k.mine.kind == DML__IN_SEND ? "to" : "from", k.mine.peer, k.mine.tag);
    }
    int nmissing = 0;
    for (int i = 0; i < roll->comm->size; i++) {
        struct dml__sighting s = dml__roll_sight(roll, i, k.op.seq);
        nmissing += is_missing(&k, i, &s);
    }
    write_headline(&k, nmissing, text, sizeof text);
    print(&k, text, nmissing);
    return dml__roll_judge(roll, DML_ETIMEOUT, text);
}

dml_status dml__roll_call(struct dml__roll *roll, double idle_s, double now_s)
{
    int size = roll->comm->size;
    if (roll->called_s <= 0) {
        roll->called_s = now_s;
        for (int i = 0; i < size; i++) {
            roll->told[i].known = false;
            roll->told[i].now.calling = false;
            if (roll->ledgers[i] != NULL)
                roll->looks_then[i] = atomic_load(&roll->ledgers[i]->looks);
        }
        atomic_store(&roll->own->calling, 1);
        struct dml__op op = {0};
        dml__roll_waits_in(roll, &op);
        dml__notes_tell(roll, DML__NOTE_ASK, op.seq, DML_OK, "");
        return DML_OK;
    }
    double waited_s = now_s - roll->called_s;
    double grace_s = roll->notes == MPI_COMM_NULL ? ledgers_s : notes_s;
    if (waited_s < grace_s)
        return DML_OK;
    for (int i = 0; i < roll->comm->rank && waited_s < grace_s + defer_s; i++) {
        struct dml__sighting s = dml__roll_sight(roll, i, 0);
        bool moves =
            roll->ledgers[i] == NULL ? s.known : s.now.looks != roll->looks_then[i];
        if (s.now.calling && moves)
            return DML_OK; /* it will report */
    }
    return report(roll, idle_s);
}

/* ---- what is queued in streams -----------------------------------------------------
 */

void dml__roll_queued(const dml_comm *comm, uint64_t queued)
{
    if (comm->roll != NULL)
        atomic_store(&comm->roll->own->queued, queued);
}

/* Calls that a rank has queued, as far as its ledger can be read; else UINT64_MAX. */
static uint64_t queued_by(const struct dml__roll *roll, int rank)
{
    const struct dml__ledger *ledger = roll->ledgers[rank];
    return ledger != NULL ? atomic_load(&ledger->queued) : UINT64_MAX;
}

static void add_rank(const struct dml__roll *roll, int rank, char *text, size_t room)
{
    const size_t used = strlen(text);
    const uint64_t has = queued_by(roll, rank);
    char name[128], calls[48] = "";
    dml__mate_name(roll, rank, name, sizeof name);
    if (has != UINT64_MAX)
        snprintf(calls, sizeof calls, " has queued %" PRIu64 " call%s", has,
                 has == 1 ? "" : "s");
    snprintf(text + used, room - used, "%s%s%s%s", used > 0 ? "; " : "", name, calls,
             describe_process(dml__mate_state(roll, rank)));
}

/* Others may only wait for those: of the ranks that have queued less, who has least. */
bool dml__roll_holds_up(const dml_comm *comm, uint64_t queued, char *text, size_t room)
{
    const struct dml__roll *roll = comm->roll;
    const int size = roll != NULL ? comm->size : 0;
    uint64_t least = queued - 1;
    int found = 0;
    text[0] = '\0';
    for (int rank = 0; rank < size; rank++) {
        const uint64_t has = rank != comm->rank ? queued_by(roll, rank) : least;
        const char state = rank != comm->rank ? dml__mate_state(roll, rank) : '?';
        least = has < least ? has : least;
        if (strchr("XZTt", state) != NULL && found++ < NAMED)
            add_rank(roll, rank, text, room);
    }
    for (int rank = 0; rank < size; rank++)
        if (rank != comm->rank && queued_by(roll, rank) == least &&
            strchr("XZTt", dml__mate_state(roll, rank)) == NULL && found++ < NAMED)
            add_rank(roll, rank, text, room);
    return found > 0;
}
