/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What monitors read of a rank: its ledger, and the note that it left there. Any thread
 * of any process of the node reads; the owner alone writes.
 *
 * A note is read without a lock: its number is odd while it changes, and is looked at
 * before and after reading (Lamport, Concurrent reading and writing, CACM 1977).
 */
#include "dml/watch.h"

#include "comm/roll.h"
#include "comm/watch.h"

#include <stdio.h>
#include <string.h>

/* Tries to read a note that its owner keeps rewriting; a monitor can do without. */
enum { TRIES = 100 };

void dml__watch_still(dml_comm *comm, double still_s)
{
    unsigned long long ns = still_s > 0 ? (unsigned long long)(1e9 * still_s) : 0;
    atomic_store_explicit(&comm->roll->own->still_ns, ns, memory_order_relaxed);
}

void dml__watch_waited(dml_comm *comm)
{
    struct dml__ledger *own = comm->roll->own;
    unsigned long long ns = (unsigned long long)(1e9 * comm->stats.wait_s);
    atomic_store_explicit(&own->waited_ns, ns, memory_order_relaxed);
    atomic_store_explicit(&own->still_ns, 0, memory_order_relaxed);
}

dml_status dml_comm_set_note(dml_comm *comm, const uint64_t *words, size_t count)
{
    if (comm == NULL || (words == NULL && count > 0) || count > DML_NOTE_WORDS)
        return DML_EINVAL;
    struct dml__ledger *own = comm->roll->own;
    unsigned long long number =
        atomic_load_explicit(&own->note_number, memory_order_relaxed);
    atomic_store_explicit(&own->note_number, number + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < DML_NOTE_WORDS; i++)
        atomic_store_explicit(&own->note[i], i < count ? words[i] : 0,
                              memory_order_relaxed);
    atomic_store_explicit(&own->note_number, number + 2, memory_order_release);
    return DML_OK;
}

/* Returns how many notes there have been; 0 where none could be read. */
static uint64_t read_note(const struct dml__ledger *ledger, uint64_t *words)
{
    for (int i = 0; i < TRIES; i++) {
        unsigned long long number =
            atomic_load_explicit(&ledger->note_number, memory_order_acquire);
        for (size_t k = 0; k < DML_NOTE_WORDS; k++)
            words[k] = atomic_load_explicit(&ledger->note[k], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (number % 2 == 0 &&
            number == atomic_load_explicit(&ledger->note_number, memory_order_relaxed))
            return number / 2;
    }
    memset(words, 0, DML_NOTE_WORDS * sizeof *words);
    return 0;
}

/* What it waits for, and since when. */
static void read_wait(const struct dml__ledger *ledger,
                      const struct dml__sighting *seen, dml_rank_state *state)
{
    unsigned long long still_ns =
        atomic_load_explicit(&ledger->still_ns, memory_order_relaxed);
    state->peer = -1;
    state->waited_s =
        1e-9 * (double)atomic_load_explicit(&ledger->waited_ns, memory_order_relaxed);
    if (still_ns == 0)
        return;
    double waits_s = dml__now_s() - 1e-9 * (double)still_ns;
    state->waits_s = waits_s > 1e-9 ? waits_s : 1e-9;
    if (seen->now.kind == DML__IN_COLLECTIVE)
        state->waits_in = dml__op_number(seen->now.seq);
    else if (seen->now.kind != DML__NOT_WAITING)
        state->peer = seen->now.peer;
}

dml_status dml_comm_get_state(const dml_comm *comm, int rank, dml_rank_state *state)
{
    if (comm == NULL || state == NULL || rank < 0 || rank >= comm->size)
        return DML_EINVAL;
    const struct dml__roll *roll = comm->roll;
    const struct dml__ledger *ledger = roll->ledgers[rank];
    if (ledger == NULL)
        return DML_EUNSUPPORTED;
    const struct dml__sighting seen = dml__roll_sight(roll, rank, 0);
    *state = (dml_rank_state){.pid = roll->mates[rank].pid,
                              .process = dml__mate_state(roll, rank),
                              .operation = dml__op_number(seen.last.seq),
                              .inside = seen.last.state == DML__INSIDE};
    snprintf(state->host, sizeof state->host, "%s", roll->mates[rank].host);
    if (seen.last.seq > 0)
        dml__op_describe(&seen.last, state->what, sizeof state->what);
    read_wait(ledger, &seen, state);
    state->notes = read_note(ledger, state->note);
    return DML_OK;
}
