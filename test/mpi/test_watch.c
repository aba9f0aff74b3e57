/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What monitors read of a node's ranks: notes that belong together while they are being
 * rewritten, and who waits in what while a rank stays away.
 */
#include "dml_test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NOTES = 5000 };

static void sleep_ms(long ms)
{
    struct timespec pause = {.tv_nsec = ms * 1000000};
    nanosleep(&pause, NULL);
}

/* Ranks whose memory this one can read. */
static bool can_read(const struct dml_test *t, int rank)
{
    dml_rank_state state;
    return dml_comm_get_state(t->comm, rank, &state) == DML_OK;
}

static void misuse(struct dml_test *t)
{
    uint64_t words[DML_NOTE_WORDS + 1] = {0};
    dml_rank_state state;
    dml_test_status(t, "no rank", dml_comm_get_state(t->comm, -1, &state), DML_EINVAL);
    dml_test_status(t, "rank", dml_comm_get_state(t->comm, t->nranks, &state),
                    DML_EINVAL);
    dml_test_status(t, "NULL", dml_comm_get_state(t->comm, 0, NULL), DML_EINVAL);
    dml_test_status(t, "NULL", dml_comm_get_state(NULL, 0, &state), DML_EINVAL);
    dml_test_status(t, "long", dml_comm_set_note(t->comm, words, DML_NOTE_WORDS + 1),
                    DML_EINVAL);
    dml_test_status(t, "NULL", dml_comm_set_note(t->comm, NULL, 1), DML_EINVAL);
    dml_test_status(t, "own", dml_comm_get_state(t->comm, t->rank, &state), DML_OK);
    DML_CHECK(t, state.notes == 0 && state.pid > 0 && state.host[0] != '\0',
              "own state: %llu notes, pid %ld", (unsigned long long)state.notes,
              state.pid);
    dml_barrier(t->comm); /* before the next case leaves a note */
}

/* All ranks rewrite their notes, and read the others'. */
static void notes(struct dml_test *t)
{
    uint64_t words[DML_NOTE_WORDS], seen = 0;
    for (uint64_t i = 1; i <= NOTES; i++) {
        int rank = (t->rank + 1) % t->nranks;
        dml_rank_state state;
        for (size_t k = 0; k < DML_NOTE_WORDS; k++)
            words[k] = i * 1000 + (uint64_t)t->rank;
        dml_test_status(t, "note", dml_comm_set_note(t->comm, words, DML_NOTE_WORDS),
                        DML_OK);
        if (dml_comm_get_state(t->comm, rank, &state) != DML_OK || state.notes == 0)
            continue;
        DML_CHECK(t, state.notes >= seen, "note %llu after %llu",
                  (unsigned long long)state.notes, (unsigned long long)seen);
        seen = state.notes;
        for (size_t k = 0; k < DML_NOTE_WORDS; k++)
            if (state.note[k] != seen * 1000 + (uint64_t)rank) {
                dml_test_fail(t, "word %zu of note %llu is %llu", k,
                              (unsigned long long)seen,
                              (unsigned long long)state.note[k]);
                break;
            }
    }
    dml_barrier(t->comm); /* nobody reads any more */
    words[0] = 7;
    dml_test_status(t, "short", dml_comm_set_note(t->comm, words, 1), DML_OK);
    dml_rank_state own;
    dml_test_status(t, "own", dml_comm_get_state(t->comm, t->rank, &own), DML_OK);
    DML_CHECK(t, own.note[0] == 7 && own.note[1] == 0 && own.notes == NOTES + 1,
              "a short note is %llu %llu", (unsigned long long)own.note[0],
              (unsigned long long)own.note[1]);
    dml_barrier(t->comm);
}

/* The last rank looks at the others, which wait for it. */
static void look(struct dml_test *t, const char *algorithm)
{
    dml_rank_state own, state;
    dml_test_status(t, "own", dml_comm_get_state(t->comm, t->rank, &own), DML_OK);
    DML_CHECK(t, own.waits_s <= 0, "%s: who looks waits for %g s", algorithm,
              own.waits_s);
    for (int rank = 0; rank < t->nranks - 1; rank++) {
        if (!can_read(t, rank))
            continue;
        dml_comm_get_state(t->comm, rank, &state);
        DML_CHECK(t, state.waits_s > 0 && state.waits_s < 60,
                  "%s: rank %d waits for %g s", algorithm, rank, state.waits_s);
        DML_CHECK(t,
                  state.waits_in == state.operation && state.inside &&
                      state.operation == own.operation + 1 && state.peer == -1,
                  "%s: rank %d waits in %llu, its operation is %llu, mine %llu",
                  algorithm, rank, (unsigned long long)state.waits_in,
                  (unsigned long long)state.operation,
                  (unsigned long long)own.operation);
        DML_CHECK(t, strncmp(state.what, "allreduce of 3 f32", 18) == 0,
                  "%s: rank %d is in %s", algorithm, rank, state.what);
    }
}

static void waits_with(struct dml_test *t, const char *algorithm)
{
    float values[3] = {1, 1, 1};
    dml_rank_state before, after;
    dml_test_step(t, "%s", algorithm);
    dml_test_status(t, "set",
                    dml_comm_set_algorithm(t->comm, DML_COLL_ALLREDUCE, algorithm),
                    DML_OK);
    dml_barrier(t->comm);
    dml_comm_get_state(t->comm, t->rank, &before);
    if (t->rank == t->nranks - 1) {
        sleep_ms(300);
        look(t, algorithm);
    }
    dml_test_status(t, "sum",
                    dml_allreduce(DML_IN_PLACE, values, 3, DML_F32, DML_SUM, t->comm),
                    DML_OK);
    dml_comm_get_state(t->comm, t->rank, &after);
    DML_CHECK(t, after.waits_s <= 0, "%s: still waits", algorithm);
    /* MPI's own small calls are not timed. */
    if (t->rank != t->nranks - 1 && strcmp(algorithm, "mpi") != 0)
        DML_CHECK(t, after.waited_s - before.waited_s > 0.1, "%s: waited %g s",
                  algorithm, after.waited_s - before.waited_s);
    dml_barrier(t->comm);
}

static void waits(struct dml_test *t)
{
    if (t->nranks == 1) {
        dml_test_skip(t, "one rank waits for nobody");
        return;
    }
    waits_with(t, "recursive_doubling");
    waits_with(t, "mpi");
    if (can_read(t, 0) && can_read(t, t->nranks - 1))
        waits_with(t, "flat");
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"misuse", misuse}, {"notes", notes}, {"waits", waits}};
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
