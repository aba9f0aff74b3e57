/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notes between ranks that cannot read each other's ledgers (roll.h). They travel on an
 * MPI communicator of their own and only when something is wrong, or slow.
 *
 * Each is sent synchronously (MPI_Issend): at most one question per peer is on its way,
 * however long the peer does not listen, and before the communicator is freed all are
 * received (Hoefler, Siebert and Lumsdaine, PPoPP 2010: the barrier starts on a rank
 * when its own notes have arrived).
 */
#include "comm/roll.h"

#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct dml__letter {
    struct dml__letter *next;
    MPI_Request request;
    int to;
    struct dml__note note;
};

static const double close_s = 5; /* then unreceived notes are left behind */

/* What a rank waits for its last words to arrive: it may never call MPI again, and some
 * libraries send only while they are called. */
static const double last_words_s = 0.2, refusal_s = 0.05;

dml_status dml__notes_open(struct dml__roll *roll)
{
    dml_comm *comm = roll->comm;
    const char *wish = dml__ctx_env(comm->ctx, "ROLL_CALL");
    int here = comm->node != NULL && comm->node->size == comm->size;
    int needless = here || comm->size == 1 || (wish != NULL && strcmp(wish, "0") == 0);
    int code = MPI_Allreduce(MPI_IN_PLACE, &needless, 1, MPI_INT, MPI_MAX, comm->coll);
    if (code == MPI_SUCCESS && !needless)
        code = MPI_Comm_dup(comm->coll, &roll->notes);
    if (roll->notes != MPI_COMM_NULL)
        MPI_Comm_set_name(roll->notes, DML__MPI_NAME);
    return code == MPI_SUCCESS ? DML_OK : dml__mpi_fail(comm, "dml_comm", code);
}

/* Forgets the notes that have been received. */
static void reap(struct dml__roll *roll)
{
    for (struct dml__letter **link = &roll->letters; *link != NULL;) {
        struct dml__letter *letter = *link;
        int received = 0;
        MPI_Test(&letter->request, &received, MPI_STATUS_IGNORE);
        if (received) {
            *link = letter->next;
            dml__free(letter);
        } else {
            link = &letter->next;
        }
    }
}

void dml__notes_close(struct dml__roll *roll)
{
    if (roll->notes == MPI_COMM_NULL)
        return;
    double begin_s = dml__now_s();
    MPI_Request barrier = MPI_REQUEST_NULL;
    int all_done = 0;
    while (roll->comm->broken == DML_OK && !all_done &&
           dml__now_s() - begin_s < close_s) {
        dml__notes_receive(roll);
        reap(roll);
        if (barrier == MPI_REQUEST_NULL && roll->letters == NULL)
            MPI_Ibarrier(roll->notes, &barrier);
        if (barrier != MPI_REQUEST_NULL)
            MPI_Test(&barrier, &all_done, MPI_STATUS_IGNORE);
        if (!all_done && !dml__progress_all(roll->comm->ctx))
            sched_yield();
    }
    /* MPI still reads letters that nobody received: they stay, the job is ending. */
    if (all_done)
        MPI_Comm_free(&roll->notes);
}

static void post(struct dml__roll *roll, int rank, const struct dml__note *note)
{
    struct dml__letter *letter = dml__alloc(roll->comm->ctx, sizeof *letter);
    if (letter == NULL)
        return; /* notes are a help, not a duty */
    letter->to = rank;
    letter->note = *note;
    size_t bytes = offsetof(struct dml__note, text) + strlen(note->text) + 1;
    if (MPI_Issend(&letter->note, (int)bytes, MPI_BYTE, rank, DML__NOTE_TAG,
                   roll->notes, &letter->request) != MPI_SUCCESS) {
        dml__free(letter);
        return;
    }
    letter->next = roll->letters;
    roll->letters = letter;
}

static struct dml__note write_note(struct dml__roll *roll, enum dml__note_kind kind,
                                   uint64_t seq)
{
    return (struct dml__note){
        .kind = (int)kind,
        .sender = dml__roll_sight(roll, roll->comm->rank, seq),
    };
}

void dml__notes_send(struct dml__roll *roll, int rank, enum dml__note_kind kind,
                     uint64_t seq)
{
    if (roll->notes == MPI_COMM_NULL || roll->mute || roll->ledgers[rank] != NULL)
        return;
    reap(roll);
    for (const struct dml__letter *l = roll->letters; l != NULL; l = l->next)
        if (l->to == rank && l->note.kind == (int)kind)
            return; /* it has not heard the last one */
    struct dml__note note = write_note(roll, kind, seq);
    post(roll, rank, &note);
}

/* Until all have received what was sent to them, or for "seconds". */
static void deliver(struct dml__roll *roll, double seconds)
{
    double until_s = dml__now_s() + seconds;
    while (roll->letters != NULL && dml__now_s() < until_s) {
        dml__notes_receive(roll); /* the others may do the same */
        reap(roll);
        sched_yield();
    }
}

void dml__notes_tell(struct dml__roll *roll, enum dml__note_kind kind, uint64_t seq,
                     dml_status status, const char *text)
{
    if (roll->notes == MPI_COMM_NULL || roll->mute)
        return;
    struct dml__note note = write_note(roll, kind, seq);
    note.status = (int)status;
    snprintf(note.text, sizeof note.text, "%s", text);
    for (int i = 0; i < roll->comm->size; i++)
        if (roll->ledgers[i] == NULL)
            post(roll, i, &note);
    if (kind == DML__NOTE_VERDICT || kind == DML__NOTE_REFUSED)
        deliver(roll, kind == DML__NOTE_VERDICT ? last_words_s : refusal_s);
}

static dml_status take(struct dml__roll *roll, int from, const struct dml__note *note)
{
    switch ((enum dml__note_kind)note->kind) {
    case DML__NOTE_ASK:
        roll->told[from] = note->sender;
        dml__notes_send(roll, from, DML__NOTE_STATE, note->sender.at.seq);
        break;
    case DML__NOTE_CHECK:
    case DML__NOTE_STATE:
        roll->told[from] = note->sender;
        break;
    case DML__NOTE_REFUSED:
        roll->refuser = from;
        roll->refused = note->sender.at.seq;
        snprintf(roll->refusal, sizeof roll->refusal, "%.*s", DML__REFUSAL_BYTES - 1,
                 note->text);
        break;
    case DML__NOTE_VERDICT:
        return dml__roll_adopt(roll, (dml_status)note->status, note->text);
    }
    return DML_OK;
}

dml_status dml__notes_receive(struct dml__roll *roll)
{
    int there = roll->notes != MPI_COMM_NULL && !roll->mute;
    while (there) {
        MPI_Status from;
        struct dml__note note = {0};
        if (MPI_Iprobe(MPI_ANY_SOURCE, DML__NOTE_TAG, roll->notes, &there, &from) !=
                MPI_SUCCESS ||
            !there)
            break;
        if (MPI_Recv(&note, (int)sizeof note, MPI_BYTE, from.MPI_SOURCE, from.MPI_TAG,
                     roll->notes, &from) != MPI_SUCCESS)
            break;
        note.text[sizeof note.text - 1] = '\0';
        DML_TRY(take(roll, from.MPI_SOURCE, &note));
    }
    if (roll->letters != NULL && !roll->mute)
        reap(roll);
    return DML_OK;
}
