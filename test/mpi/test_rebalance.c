/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Work that moves by measured speed, over real ranks and real messages, in simulated
 * time: a rank's step takes its records times a cost that the test sets. So what must
 * hold does not depend on the machine: all ranks decide alike, a rank that gets twice
 * as slow has less within 5 steps, the step is then near the best possible one, and no
 * record is lost on the way.
 */
#include "dml_test.h"

#include <stdlib.h>
#include <string.h>

enum { RECORDS = 600, STEPS = 24, SLOW_AT = 8, RECORD_BYTES = 40 };

/* This rank's records: their numbers. */
struct work {
    struct dml_test *t;
    uint64_t *ids; /* [room] */
    size_t count, room;
};

static void fill(uint64_t id, unsigned char record[RECORD_BYTES])
{
    memset(record, (int)(id % 251), RECORD_BYTES);
    memcpy(record, &id, sizeof id);
}

static dml_status take(void *user, int source, const void *record, size_t bytes)
{
    struct work *w = user;
    unsigned char want[RECORD_BYTES];
    uint64_t id;
    (void)source;
    if (bytes != RECORD_BYTES || w->count == w->room)
        return DML_EINVAL;
    memcpy(&id, record, sizeof id);
    fill(id, want);
    dml_test_bytes(w->t, "record", record, want, bytes);
    w->ids[w->count++] = id;
    return DML_OK;
}

/* Gives away the last records, as many as the moves say. */
static void migrate(struct work *w, const dml_move *moves, size_t n, dml_exchange *x)
{
    for (size_t i = 0; i < n; i++) {
        DML_CHECK(w->t, moves[i].from != moves[i].to, "a move to oneself");
        if ((int)moves[i].from != w->t->rank)
            continue;
        DML_CHECK(w->t, moves[i].units <= w->count, "%llu units of %zu",
                  (unsigned long long)moves[i].units, w->count);
        for (uint64_t k = 0; k < moves[i].units && w->count > 0; k++) {
            unsigned char record[RECORD_BYTES];
            fill(w->ids[--w->count], record);
            dml_test_status(
                w->t, "dml_exchange_push",
                dml_exchange_push(x, (int)moves[i].to, record, RECORD_BYTES), DML_OK);
        }
    }
    dml_test_status(w->t, "dml_exchange_finish", dml_exchange_finish(x), DML_OK);
}

/* Seconds of a record: rank "slow" has half the speed from step SLOW_AT on. */
static double cost_s(int rank, int slow, int step)
{
    double cost = 1e-3 * (1 + 0.2 * (rank % 3));
    return rank == slow && step >= SLOW_AT ? 2 * cost : cost;
}

/* Every record is on one rank. */
static void check_all_there(struct dml_test *t, const struct work *w)
{
    size_t total = (size_t)RECORDS * (size_t)t->nranks;
    unsigned char *seen = dml_test_alloc(total);
    memset(seen, 0, total);
    for (size_t i = 0; i < w->count; i++)
        if (w->ids[i] < total)
            seen[w->ids[i]]++;
    MPI_Allreduce(MPI_IN_PLACE, seen, (int)total, MPI_UNSIGNED_CHAR, MPI_SUM, t->mpi);
    for (size_t i = 0; i < total; i++)
        if (seen[i] != 1) {
            dml_test_fail(t, "record %zu is there %u times", i, seen[i]);
            break;
        }
    free(seen);
}

/* The step's throughput as a part of the sum of speeds. */
static double efficiency(struct dml_test *t, size_t count, double cost)
{
    double slowest = (double)count * cost, speeds = 1 / cost, all = (double)count;
    MPI_Allreduce(MPI_IN_PLACE, &slowest, 1, MPI_DOUBLE, MPI_MAX, t->mpi);
    MPI_Allreduce(MPI_IN_PLACE, &speeds, 1, MPI_DOUBLE, MPI_SUM, t->mpi);
    MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_DOUBLE, MPI_SUM, t->mpi);
    return all / slowest / speeds;
}

static void test_slow_rank(struct dml_test *t)
{
    int slow = t->nranks - 1;
    struct work w = {.t = t, .room = (size_t)RECORDS * (size_t)t->nranks};
    uint64_t units[DML_TEST_MAX_RANKS];
    dml_rebalance *r = NULL;
    dml_exchange *x = NULL;
    dml_move moves[DML_TEST_MAX_RANKS];
    size_t before = 0;
    w.ids = dml_test_alloc(w.room * sizeof *w.ids);
    for (int p = 0; p < t->nranks; p++)
        units[p] = RECORDS;
    for (w.count = 0; w.count < RECORDS; w.count++)
        w.ids[w.count] = (uint64_t)t->rank * RECORDS + w.count;
    dml_test_status(t, "dml_rebalance_create",
                    dml_rebalance_create(t->ctx, (size_t)t->nranks, units, NULL, &r),
                    DML_OK);
    dml_test_status(t, "dml_exchange_create",
                    dml_exchange_create(NULL, take, &w, t->comm, &x), DML_OK);
    for (int step = 0; step < STEPS; step++) {
        size_t n = 0;
        double cost = cost_s(t->rank, slow, step);
        dml_test_step(t, "step %d", step);
        before = step == SLOW_AT ? w.count : before;
        memset(moves, 0, sizeof moves);
        dml_test_status(
            t, "dml_rebalance_agree",
            dml_rebalance_agree(r, cost * (double)w.count, t->comm, moves, &n), DML_OK);
        dml_test_same_on_all(t, "moves", moves, n * sizeof *moves);
        migrate(&w, moves, n, x);
        DML_CHECK(t, w.count == dml_rebalance_units(r)[t->rank],
                  "%zu records, not %llu", w.count,
                  (unsigned long long)dml_rebalance_units(r)[t->rank]);
        if (step == SLOW_AT + 5 && t->rank == slow && t->nranks > 1)
            DML_CHECK(t, w.count < before, "the slow rank has %zu records, had %zu",
                      w.count, before);
    }
    double part = efficiency(t, w.count, cost_s(t->rank, slow, STEPS));
    DML_CHECK(t, part > 0.9, "%.3f of the sum of speeds", part);
    check_all_there(t, &w);
    dml_exchange_destroy(x);
    dml_rebalance_destroy(r);
    free(w.ids);
}

static void test_bad_time(struct dml_test *t)
{
    uint64_t units[DML_TEST_MAX_RANKS];
    dml_rebalance *r = NULL;
    dml_move moves[DML_TEST_MAX_RANKS];
    size_t n = 0;
    for (int p = 0; p < t->nranks; p++)
        units[p] = 10;
    dml_test_status(t, "dml_rebalance_create",
                    dml_rebalance_create(t->ctx, (size_t)t->nranks, units, NULL, &r),
                    DML_OK);
    dml_test_step(t, "one rank has a negative time");
    dml_test_error(
        t, "dml_rebalance_agree",
        dml_rebalance_agree(r, t->rank == t->nranks - 1 ? -1 : 1, t->comm, moves, &n),
        DML_EINVAL);
    dml_test_status(t, "afterwards", dml_rebalance_agree(r, 1, t->comm, moves, &n),
                    DML_OK);
    dml_rebalance_destroy(r);
}

/* One for more ranks, or none, on the last rank: all refuse it. */
static void test_other_ranks(struct dml_test *t)
{
    enum { MORE = 3 };
    uint64_t units[DML_TEST_MAX_RANKS + MORE];
    int last = t->nranks - 1;
    dml_rebalance *r = NULL;
    dml_move moves[DML_TEST_MAX_RANKS];
    size_t n = 0;
    for (int p = 0; p < t->nranks + MORE; p++)
        units[p] = 10;
    size_t nranks = (size_t)t->nranks + (t->rank == last ? MORE : 0);
    dml_test_status(t, "dml_rebalance_create",
                    dml_rebalance_create(t->ctx, nranks, units, NULL, &r), DML_OK);
    dml_test_step(t, "one rank's rebalancer is for more ranks");
    dml_test_error(t, "dml_rebalance_agree",
                   dml_rebalance_agree(r, 1, t->comm, moves, &n), DML_EINVAL);
    dml_test_step(t, "one rank has none");
    dml_test_error(
        t, "dml_rebalance_agree",
        dml_rebalance_agree(t->rank == last ? NULL : r, 1, t->comm, moves, &n),
        DML_EINVAL);
    dml_rebalance_destroy(r);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"a rank gets slow", test_slow_rank},
        {"a time that is none", test_bad_time},
        {"for another number of ranks", test_other_ranks},
    };
    return dml_test_main(argc, argv, cases, DML_TEST_COUNT(cases));
}
