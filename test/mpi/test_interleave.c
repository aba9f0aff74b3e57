/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random programs over several communicators: non-blocking and blocking collectives are
 * started, asked for, progressed and waited for in an order drawn from the seed, and
 * each result is compared with a serial one.
 *
 * Collective steps are the same on all ranks. Between them each rank asks and
 * progresses as its own random numbers say, and at the end completes what is pending in
 * an order of its own.
 */
#include "coll_case.h"

#include <stdlib.h>
#include <string.h>

enum { WORLD, TWIN, REVERSED, PART, NCOMMS };
enum { PENDING = 24, STEPS = 120, PROGRAMS = 4 };

struct flight {
    struct coll_plan plan;
    struct coll_call call;
    dml_request *request;
    bool flies;
};

struct program {
    struct dml_test *t;
    struct coll_env env[NCOMMS];
    MPI_Comm mpi[NCOMMS];
    struct flight *flights; /* [PENDING] */
    uint64_t own;           /* random numbers of this rank alone */
};

static uint64_t own_random(struct program *p)
{
    return dml_test_hash(p->t->seed, ++p->own, (uint64_t)p->t->rank + 1);
}

/* ---- communicators -----------------------------------------------------------------
 */

static void open_comms(struct program *p)
{
    struct dml_test *t = p->t;
    dml_comm *comm[NCOMMS] = {t->comm};
    dml_test_step(t, "communicators");
    dml_test_status(t, "dml_comm_from_mpi",
                    dml_comm_from_mpi(t->ctx, MPI_COMM_WORLD, &comm[TWIN]), DML_OK);
    dml_test_status(t, "dml_comm_split",
                    dml_comm_split(t->comm, 0, -t->rank, &comm[REVERSED]), DML_OK);
    dml_test_status(t, "dml_comm_split",
                    dml_comm_split(t->comm, t->rank % 2, t->rank, &comm[PART]), DML_OK);
    MPI_Comm_dup(t->mpi, &p->mpi[WORLD]);
    MPI_Comm_dup(t->mpi, &p->mpi[TWIN]);
    MPI_Comm_split(t->mpi, 0, -t->rank, &p->mpi[REVERSED]);
    MPI_Comm_split(t->mpi, t->rank % 2, t->rank, &p->mpi[PART]);
    for (int i = 0; i < NCOMMS; i++)
        coll_env_open(&p->env[i], t, comm[i], p->mpi[i]);
}

static void close_comms(struct program *p)
{
    for (int i = 0; i < NCOMMS; i++) {
        coll_env_close(&p->env[i]);
        if (i != WORLD)
            dml_comm_destroy(p->env[i].comm);
        MPI_Comm_free(&p->mpi[i]);
    }
}

/* ---- steps -------------------------------------------------------------------------
 */

static void land(struct program *p, struct flight *f, dml_status status)
{
    f->flies = false;
    if (dml_test_status(p->t, "the operation", status, DML_OK))
        coll_check(&f->plan, &f->call);
    coll_plan_close(&f->plan);
}

/* One of the flights that a rank chooses by a random number; NULL when none flies. */
static struct flight *choose(struct program *p, uint64_t random)
{
    for (unsigned i = 0; i < PENDING; i++) {
        struct flight *f = &p->flights[(random + i) % PENDING];
        if (f->flies)
            return f;
    }
    return NULL;
}

static void wait_for(struct program *p, struct flight *f)
{
    dml_test_step(p->t, "wait for %s", dml_coll_name(f->plan.c.coll));
    land(p, f, dml_wait(&f->request));
}

static void start(struct program *p, struct flight *f)
{
    struct dml_test *t = p->t;
    uint64_t h = dml_test_random(t);
    struct coll_env *env = &p->env[h % NCOMMS];
    struct coll_case c = {
        .coll = (dml_coll)((h >> 4) % DML_COLL_BARRIER),
        .dtype = (dml_dtype)((h >> 10) % DML_NDTYPES),
        .op = (dml_op)((h >> 16) % NUMBERS_NOPS),
        .root = (int)((h >> 24) % (unsigned)env->nranks),
        .count = (h >> 32) % ((h >> 58 & 7) == 0 ? 40000 : 200),
        .seed = h,
    };
    c.uneven = coll_has_blocks(c.coll) && (h >> 61 & 1);
    f->call = (struct coll_call){.async = (h >> 62) != 0, .in_place = h >> 57 & 1};
    dml_test_step(t, "%s %s%s, count %zu, on communicator %d",
                  f->call.async ? "start" : "run", dml_coll_name(c.coll),
                  c.uneven ? "v" : "", c.count, (int)(h % NCOMMS));
    coll_plan_open(&f->plan, env, &c);
    dml_status status = coll_start(&f->plan, &f->call, &f->request);
    f->flies = true;
    if (!f->call.async || status != DML_OK)
        land(p, f, status);
}

/* What this rank does by itself. */
static void ask_around(struct program *p)
{
    dml_test_step(p->t, "ask and progress");
    for (uint64_t n = own_random(p) % 8; n > 0; n--) {
        uint64_t h = own_random(p);
        dml_status status = dml_progress(p->env[h % NCOMMS].comm);
        DML_CHECK(p->t, status == DML_OK, "dml_progress: %s", dml_status_name(status));
    }
}

static void complete_all(struct program *p)
{
    dml_test_step(p->t, "ask until all are complete");
    for (struct flight *f; (f = choose(p, own_random(p))) != NULL;) {
        dml_status status = dml_test(&f->request);
        if (status != DML_PENDING)
            land(p, f, status);
    }
}

static void run(struct program *p)
{
    memset(p->flights, 0, PENDING * sizeof *p->flights);
    for (int step = 0; step < STEPS; step++) {
        /* The same on all ranks: nothing has landed that was not waited for. */
        uint64_t h = dml_test_random(p->t);
        struct flight *slot = &p->flights[h % PENDING];
        if (slot->flies)
            wait_for(p, slot);
        start(p, slot);
        if ((h >> 32) % 4 == 0 && choose(p, h >> 8) != NULL)
            wait_for(p, choose(p, h >> 8));
        if (own_random(p) % 3 == 0)
            ask_around(p);
    }
    complete_all(p);
}

static void test_random_programs(struct dml_test *t)
{
    struct program p = {.t = t};
    p.flights = dml_test_alloc(PENDING * sizeof *p.flights);
    open_comms(&p);
    for (int i = 0; i < PROGRAMS; i++)
        run(&p);
    close_comms(&p);
    free(p.flights);
}

/* ---- ranks that wait for each other in a circle ------------------------------------
 */

enum { LARGE = 1 << 20 };

/* An all-reduce of LARGE elements, more than channels hold. */
static void start_large(struct dml_test *t, float *data, dml_comm *comm,
                        dml_request **request)
{
    for (size_t i = 0; i < LARGE; i++)
        data[i] = 1;
    dml_test_status(
        t, "dml_iallreduce",
        dml_iallreduce(DML_IN_PLACE, data, LARGE, DML_F32, DML_SUM, comm, request),
        DML_OK);
}

static void wait_large(struct dml_test *t, const float *data, dml_request **request)
{
    dml_test_status(t, "dml_wait", dml_wait(request), DML_OK);
    size_t wrong = 0;
    for (size_t i = 0; i < LARGE; i++)
        wrong += data[i] != (float)t->nranks;
    DML_CHECK(t, wrong == 0, "%zu sums of %d are wrong", wrong, LARGE);
}

/* Even ranks wait for the first communicator first, odd ones for the second. */
static void test_opposite_orders(struct dml_test *t)
{
    dml_comm *comm[2] = {t->comm};
    float *data[2];
    dml_request *request[2];
    dml_test_status(t, "dml_comm_from_mpi",
                    dml_comm_from_mpi(t->ctx, MPI_COMM_WORLD, &comm[1]), DML_OK);
    for (int i = 0; i < 2; i++) {
        data[i] = dml_test_alloc(LARGE * sizeof(float));
        dml_test_step(t, "start on communicator %d", i);
        start_large(t, data[i], comm[i], &request[i]);
    }
    for (int i = 0; i < 2; i++) {
        int first = (t->rank + i) % 2;
        dml_test_step(t, "wait on communicator %d", first);
        wait_large(t, data[first], &request[first]);
    }
    free(data[0]);
    free(data[1]);
    dml_comm_destroy(comm[1]);
}

/* The last rank makes a communicator before it waits, the others after. */
static void test_pending_while_making(struct dml_test *t)
{
    float *data = dml_test_alloc(LARGE * sizeof(float));
    dml_comm *made = NULL;
    dml_request *request = NULL;
    bool late = t->rank == t->nranks - 1;
    start_large(t, data, t->comm, &request);
    if (!late)
        wait_large(t, data, &request);
    dml_test_step(t, "make a communicator");
    dml_test_status(t, "dml_comm_from_mpi",
                    dml_comm_from_mpi(t->ctx, MPI_COMM_WORLD, &made), DML_OK);
    if (late)
        wait_large(t, data, &request);
    dml_comm_destroy(made);
    free(data);
}

int main(int argc, char **argv)
{
    static const struct dml_test_case cases[] = {
        {"waits in opposite orders", test_opposite_orders},
        {"pending while another is made", test_pending_while_making},
        {"random programs", test_random_programs},
    };
    return dml_test_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
