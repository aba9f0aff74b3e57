/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a rank knows of the others, from their ledgers and notes, and whether they agree
 * with it about the operations that it is in.
 */
#include "comm/roll.h"

#include <stdio.h>
#include <string.h>

struct dml__sighting dml__roll_sight(const struct dml__roll *roll, int rank,
                                     uint64_t seq)
{
    const struct dml__ledger *ledger = roll->ledgers[rank];
    if (ledger == NULL) {
        struct dml__sighting told = roll->told[rank];
        if (told.at.seq != seq)
            told.at = (struct dml__op){0};
        return told;
    }
    struct dml__sighting seen = {.known = true};
    dml__ledger_find(ledger, seq, &seen.at);
    dml__ledger_find(ledger, atomic_load(&ledger->last), &seen.last);
    seen.now = (struct dml__wait_state){
        .kind = (enum dml__waiting)atomic_load(&ledger->waiting),
        .calling = atomic_load(&ledger->calling) != 0,
        .looks = atomic_load(&ledger->looks),
        .seq = atomic_load(&ledger->wait_seq),
        .bytes = atomic_load(&ledger->wait_bytes),
        .peer = atomic_load(&ledger->peer),
        .tag = atomic_load(&ledger->tag),
    };
    return seen;
}

/* Appends ranks first..last to a list of ranks. */
static void add_ranks(char *text, size_t room, int first, int last)
{
    size_t used = strlen(text);
    const char *comma = used > 0 ? ", " : "";
    if (first == last)
        snprintf(text + used, room - used, "%s%d", comma, first);
    else
        snprintf(text + used, room - used, "%s%d-%d", comma, first, last);
}

/* "rank 1", "ranks 0, 2-4": those that called this. Marks them in "listed". */
static void list_callers(const struct dml__roll *roll, const struct dml__op *op,
                         unsigned *listed, char *text, size_t room)
{
    char list[80] = "";
    int n = 0, first = -1, last = 0, size = roll->comm->size;
    for (int i = 0; i <= size; i++) {
        bool same = false;
        if (i < size) {
            struct dml__op theirs = dml__roll_sight(roll, i, op->seq).at;
            same = theirs.seq == op->seq && theirs.signature == op->signature;
        }
        if (same) {
            listed[i] = 1;
            last = i;
            n++;
            first = first < 0 ? i : first;
        } else if (first >= 0) {
            add_ranks(list, sizeof list, first, i - 1);
            first = -1;
        }
    }
    int world = roll->mates[last].world;
    if (n == 1 && world != last)
        snprintf(text, room, "rank %d (world rank %d)", last, world);
    else
        snprintf(text, room, "%s %s", n > 1 ? "ranks" : "rank", list);
}

/* All calls of operation seq, as far as known, with those who made them. */
static dml_status disagree(struct dml__roll *roll, uint64_t seq, const char *hint)
{
    char text[DML__VERDICT_BYTES];
    unsigned *listed = roll->looks_then; /* this is the end: it is needed no more */
    int used = snprintf(text, sizeof text, "the ranks disagree about operation %llu:",
                        (unsigned long long)dml__op_number(seq));
    for (int i = 0; i < roll->comm->size; i++)
        listed[i] = 0;
    for (int i = 0; i < roll->comm->size && (size_t)used < sizeof text; i++) {
        struct dml__op op = dml__roll_sight(roll, i, seq).at;
        if (op.seq != seq || listed[i])
            continue;
        char who[96], what[160];
        list_callers(roll, &op, listed, who, sizeof who);
        dml__op_describe(&op, what, sizeof what);
        used += snprintf(text + used, sizeof text - (size_t)used, "%s %s: %s",
                         text[used - 1] == ':' ? "" : ";", who, what);
    }
    if ((size_t)used < sizeof text)
        snprintf(text + used, sizeof text - (size_t)used, "%s", hint);
    return dml__roll_judge(roll, DML_EMISMATCH, text);
}

/* A rank refused the call of operation "op" that this rank is in. */
static dml_status refused(struct dml__roll *roll, int rank, const struct dml__op *op,
                          const char *why)
{
    char text[DML__VERDICT_BYTES], what[160];
    dml__op_describe(op, what, sizeof what);
    snprintf(text, sizeof text,
             "rank %d refused its call of operation %llu, %s: %.180s", rank,
             (unsigned long long)dml__op_number(op->seq), what, why);
    return dml__roll_judge(roll, DML_EMISMATCH, text);
}

/* Compares an operation of this rank with the same one of another. */
static dml_status compare(struct dml__roll *roll, int rank, const struct dml__op *mine,
                          const struct dml__op *theirs)
{
    const struct dml__ledger *ledger = roll->ledgers[rank];
    if (mine->state == DML__REFUSED)
        return DML_OK;
    if (theirs->state != DML__REFUSED)
        return dml__op_same(mine, theirs) ? DML_OK : disagree(roll, mine->seq, "");
    bool readable = ledger != NULL && atomic_load(&ledger->refused) == mine->seq;
    return refused(roll, rank, mine,
                   readable ? ledger->refusal : "its arguments were wrong");
}

/* Does a rank measure algorithms in a call, as another does not that has chosen one at
 * once? Its newest operation is then another part of the call whose first part,
 * "first", is without an algorithm. */
static bool measures(const struct dml__op *first, uint64_t last)
{
    return first->seq > 0 && first->alg == 0 && last > first->seq &&
           dml__op_number(last) == dml__op_number(first->seq);
}

static dml_status compare_choices(struct dml__roll *roll, const struct dml__op *mine,
                                  uint64_t my_last, const struct dml__op *theirs,
                                  uint64_t their_last)
{
    bool differ = (measures(mine, my_last) && theirs->alg > 0) ||
                  (measures(theirs, their_last) && mine->alg > 0);
    if (!differ || mine->seq != theirs->seq)
        return DML_OK;
    return disagree(roll, mine->seq,
                    "; one measures the algorithms first, another does not: what "
                    "DML_<COLLECTIVE>, DML_MEASURE and dml_comm_set_algorithm say must "
                    "be the same on all ranks");
}

/* Ledgers are compared in the operations that this rank is in; in others their owners
 * will. */
static dml_status compare_ledgers(struct dml__roll *roll, const struct dml__op *mine)
{
    uint64_t begin = dml__op_first(mine->seq), my_last = atomic_load(&roll->own->last);
    struct dml__op my_first = {0};
    dml__ledger_find(roll->own, begin, &my_first);
    for (int rank = 0; rank < roll->comm->size; rank++) {
        const struct dml__ledger *ledger = roll->ledgers[rank];
        struct dml__op theirs;
        if (ledger == NULL || rank == roll->comm->rank)
            continue;
        if (my_first.seq == begin && dml__ledger_find(ledger, begin, &theirs)) {
            DML_TRY(compare(roll, rank, &my_first, &theirs));
            DML_TRY(compare_choices(roll, &my_first, my_last, &theirs,
                                    atomic_load(&ledger->last)));
        }
        if (dml__ledger_find(ledger, mine->seq, &theirs))
            DML_TRY(compare(roll, rank, mine, &theirs));
    }
    return DML_OK;
}

/* What another rank has told is compared with the same operation of this one. */
static dml_status compare_told(struct dml__roll *roll, int rank)
{
    const struct dml__sighting *told = &roll->told[rank];
    struct dml__op mine;
    if (!dml__ledger_find(roll->own, told->at.seq, &mine))
        return DML_OK;
    DML_TRY(compare(roll, rank, &mine, &told->at));
    if (mine.seq != dml__op_first(mine.seq))
        return DML_OK;
    return compare_choices(roll, &mine, atomic_load(&roll->own->last), &told->at,
                           told->last.seq);
}

dml_status dml__roll_verify(struct dml__roll *roll, uint64_t seq)
{
    int next = (roll->comm->rank + 1) % roll->comm->size;
    struct dml__op mine, theirs;
    if (roll->ledgers[next] == NULL ||
        !dml__ledger_find(roll->ledgers[next], seq, &theirs) ||
        !dml__ledger_find(roll->own, seq, &mine))
        return DML_OK;
    return compare(roll, next, &mine, &theirs);
}

/* Has another rank refused a call that this rank made? Perhaps one long past: not every
 * call waits for all ranks. */
static dml_status find_refusal(struct dml__roll *roll)
{
    struct dml__op mine;
    if (roll->refuser >= 0 && dml__ledger_find(roll->own, roll->refused, &mine) &&
        mine.state != DML__REFUSED)
        return refused(roll, roll->refuser, &mine, roll->refusal);
    for (int rank = 0; rank < roll->comm->size; rank++) {
        const struct dml__ledger *ledger = roll->ledgers[rank];
        if (ledger != NULL && rank != roll->comm->rank &&
            dml__ledger_find(roll->own, atomic_load(&ledger->refused), &mine) &&
            mine.state != DML__REFUSED)
            return refused(roll, rank, &mine, ledger->refusal);
    }
    return DML_OK;
}

dml_status dml__roll_compare(struct dml__roll *roll)
{
    struct dml__op mine;
    for (unsigned i = 0; i < DML__RECORDS; i++)
        if (dml__ledger_read(roll->own, i, &mine) && mine.state == DML__INSIDE)
            DML_TRY(compare_ledgers(roll, &mine));
    DML_TRY(find_refusal(roll));
    for (int rank = 0; roll->notes != MPI_COMM_NULL && rank < roll->comm->size; rank++)
        if (roll->ledgers[rank] == NULL)
            DML_TRY(compare_told(roll, rank));
    return DML_OK;
}
