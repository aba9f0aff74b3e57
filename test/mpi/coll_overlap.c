/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several operations at once: many collectives in flight that are completed in another
 * order than they were started, messages between them, parts of a communicator, and two
 * communicators over the same ranks.
 */
#include "test_collectives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN_FLIGHT = 48 };

struct flight {
    struct coll_plan plan;
    struct coll_call call;
    dml_request *request;
};

/* A case drawn at random, the same on all ranks. */
static struct coll_case draw_case(struct dml_test *t, int nranks)
{
    uint64_t h = dml_test_random(t);
    struct coll_case c = {
        .coll = (dml_coll)(h % DML_COLL_BARRIER),
        .dtype = (dml_dtype)((h >> 8) % DML_NDTYPES),
        .op = (dml_op)((h >> 16) % NUMBERS_NOPS),
        .root = (int)((h >> 24) % (unsigned)nranks),
        .count = (h >> 32) % (h >> 61 == 0 ? 9000 : 90),
        .seed = h,
    };
    c.uneven = coll_has_blocks(c.coll) && (h >> 60 & 1);
    return c;
}

static void start(struct flight *f, struct coll_env *env)
{
    struct coll_case c = draw_case(env->t, env->nranks);
    f->call =
        (struct coll_call){.async = true, .in_place = dml_test_random(env->t) % 2};
    coll_plan_open(&f->plan, env, &c);
    dml_test_step(env->t, "start %s, count %zu", dml_coll_name(c.coll), c.count);
    dml_test_status(env->t, "start", coll_start(&f->plan, &f->call, &f->request),
                    DML_OK);
}

static void finish(struct flight *f)
{
    struct dml_test *t = f->plan.env->t;
    dml_test_step(t, "complete %s%s %s %s, count %zu, root %d, %s",
                  dml_coll_name(f->plan.c.coll), f->plan.c.uneven ? "v" : "",
                  dml_dtype_name(f->plan.c.dtype), numbers_op_name(f->plan.c.op),
                  f->plan.c.count, f->plan.c.root,
                  f->call.in_place ? "in place" : "not in place");
    if (dml_test_status(t, "dml_wait", dml_wait(&f->request), DML_OK))
        coll_check(&f->plan, &f->call);
    coll_plan_close(&f->plan);
}

/* An order of completion that differs between ranks, which is allowed. */
static void shuffle(int *order, int n, uint64_t seed, int rank)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j =
            (int)(dml_test_hash(seed, (uint64_t)i, (uint64_t)rank) % (unsigned)(i + 1));
        int swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

static void fly(struct coll_env *env, bool poll)
{
    struct dml_test *t = env->t;
    struct flight *flights = dml_test_alloc(IN_FLIGHT * sizeof *flights);
    memset(flights, 0, IN_FLIGHT * sizeof *flights);
    int order[IN_FLIGHT];
    for (int i = 0; i < IN_FLIGHT; i++)
        start(&flights[i], env);
    shuffle(order, IN_FLIGHT, dml_test_random(t), env->rank);
    for (int pending = poll ? 1 : 0; pending > 0;) {
        pending = 0;
        dml_test_step(t, "poll by dml_test()");
        for (int i = 0; i < IN_FLIGHT; i++) {
            dml_status status = dml_test(&flights[i].request);
            DML_CHECK(t, status == DML_OK || status == DML_PENDING, "dml_test: %s",
                      dml_status_name(status));
            DML_CHECK(t, (status == DML_PENDING) == (flights[i].request != NULL),
                      "dml_test says %s, but the request is %s",
                      dml_status_name(status),
                      flights[i].request != NULL ? "there" : "NULL");
            pending += status == DML_PENDING;
        }
    }
    for (int i = 0; i < IN_FLIGHT; i++)
        finish(&flights[order[i]]);
    free(flights);
}

void test_many_in_flight(struct dml_test *t)
{
    struct coll_env env;
    coll_env_open(&env, t, t->comm, t->mpi);
    for (int round = 0; round < 3; round++)
        fly(&env, round == 1);
    coll_env_close(&env);
}

/* A ring of messages while collectives are in flight, with blocking ones in between. */
void test_mixed_with_p2p(struct dml_test *t)
{
    if (t->nranks == 1) {
        dml_test_skip(t, "needs a second rank");
        return;
    }
    enum { COUNT = 5000 };
    struct coll_env env;
    coll_env_open(&env, t, t->comm, t->mpi);
    int next = (t->rank + 1) % t->nranks, last = (t->rank + t->nranks - 1) % t->nranks;
    int32_t *out = dml_test_alloc(COUNT * sizeof *out);
    int32_t *in = dml_test_alloc(COUNT * sizeof *in);
    for (int round = 0; round < 10; round++) {
        struct flight before = {0}, between = {0};
        dml_request *requests[2] = {NULL, NULL};
        for (int i = 0; i < COUNT; i++) {
            out[i] = t->rank * 100000 + i + round;
            in[i] = -1;
        }
        start(&before, &env);
        dml_test_step(t, "round %d: dml_irecv, dml_isend", round);
        dml_test_status(
            t, "dml_irecv",
            dml_irecv(in, COUNT, DML_I32, last, round, t->comm, &requests[0]), DML_OK);
        dml_test_status(
            t, "dml_isend",
            dml_isend(out, COUNT, DML_I32, next, round, t->comm, &requests[1]), DML_OK);
        start(&between, &env);
        float x = 1, sum = 0;
        dml_test_status(t, "dml_allreduce",
                        dml_allreduce(&x, &sum, 1, DML_F32, DML_SUM, t->comm), DML_OK);
        DML_CHECK(t, sum == (float)t->nranks, "sum of ones is %g", (double)sum);
        finish(&between);
        dml_test_step(t, "round %d: dml_waitall", round);
        dml_test_status(t, "dml_waitall", dml_waitall(2, requests), DML_OK);
        for (int i = 0; i < COUNT; i++)
            if (in[i] != last * 100000 + i + round) {
                dml_test_fail(t, "index %d: got %d, wanted %d", i, in[i],
                              last * 100000 + i + round);
                break;
            }
        finish(&before);
    }
    free(out);
    free(in);
    coll_env_close(&env);
}

/* ---- several communicators ---------------------------------------------------------
 */

/* Numbers of the part's ranks against MPI_Comm_split's, then collectives inside. */
static void part(struct dml_test *t, int color, int key)
{
    dml_test_reseed(t, (uint64_t)color);
    dml_comm *comm = NULL;
    MPI_Comm mpi = MPI_COMM_NULL;
    dml_test_step(t, "split with colour %d and key %d", color, key);
    dml_test_status(t, "dml_comm_split", dml_comm_split(t->comm, color, key, &comm),
                    DML_OK);
    MPI_Comm_split(t->mpi, color < 0 ? MPI_UNDEFINED : color, key, &mpi);
    DML_CHECK(t, (comm == NULL) == (color < 0), "colour %d: communicator is %s", color,
              comm == NULL ? "NULL" : "there");
    if (comm == NULL || mpi == MPI_COMM_NULL)
        return;
    int rank, nranks;
    MPI_Comm_rank(mpi, &rank);
    MPI_Comm_size(mpi, &nranks);
    DML_CHECK(t, dml_comm_rank(comm) == rank && dml_comm_size(comm) == nranks,
              "rank %d of %d, MPI says %d of %d", dml_comm_rank(comm),
              dml_comm_size(comm), rank, nranks);
    DML_CHECK(t, dml_comm_ctx(comm) == t->ctx, "another context");
    struct coll_env env;
    coll_env_open(&env, t, comm, mpi);
    fly(&env, false);
    coll_env_close(&env);
    dml_comm_destroy(comm);
    MPI_Comm_free(&mpi);
}

void test_split(struct dml_test *t)
{
    part(t, t->rank % 2, t->rank);
    part(t, 0, -t->rank);                    /* all, in reverse order */
    part(t, t->rank == 0 ? -1 : 7, t->rank); /* all but one */
    part(t, t->rank, 0);                     /* each alone */
    dml_comm *comm = NULL;
    dml_test_error(t, "colour -2", dml_comm_split(t->comm, -2, 0, &comm), DML_EINVAL);
}

/* The same operations on two communicators at once do not meet. */
void test_two_communicators(struct dml_test *t)
{
    dml_comm *other = NULL;
    dml_test_status(t, "dml_comm_from_mpi", dml_comm_from_mpi(t->ctx, t->mpi, &other),
                    DML_OK);
    dml_comm *comms[2] = {t->comm, other};
    double x[2], sums[2] = {0, 0};
    for (int round = 0; round < 20; round++) {
        dml_request *requests[2] = {NULL, NULL};
        dml_test_step(t, "round %d", round);
        for (int i = 0; i < 2; i++) {
            int which = (t->rank + i) % 2; /* the order of starts differs by rank */
            x[which] = round + which;
            dml_test_status(t, "dml_iallreduce",
                            dml_iallreduce(&x[which], &sums[which], 1, DML_F64, DML_SUM,
                                           comms[which], &requests[which]),
                            DML_OK);
        }
        dml_test_status(t, "dml_waitall", dml_waitall(2, requests), DML_OK);
        for (int i = 0; i < 2; i++)
            DML_CHECK(t, sums[i] == (double)(t->nranks * (round + i)),
                      "communicator %d: got %g, wanted %d", i, sums[i],
                      t->nranks * (round + i));
    }
    dml_comm_destroy(other);
}
