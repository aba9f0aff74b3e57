/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ranks that do not do the same: one rank of a job makes a mistake, comes late, stops
 * or dies in operation 6 (or, unborn, stops before there is a communicator), and the
 * others say what they were told. Started and judged by faults.py.
 *
 * Usage: fault FAULT COLLECTIVE [blocking|pending|part|busy|funneled] [rank]
 * pending: a request, waited for at once; busy: after AWAY_S seconds outside of libdml;
 * part: on a communicator with the ranks in reverse order; funneled: blocking, beside a
 * message that does not come, in a program whose MPI is for one thread only.
 * Each rank that gets an error prints "rank R: STATUS: text" on standard output and
 * ends with status 3; a rank that gets none ends with 0.
 */
#include <dml/dml.h>
#include <dml/mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GOOD_CALLS = 3, COUNT = 100, MAX_RANKS = 64, AWAY_S = 4 };

static int rank, nranks, culprit;
static const char *fault, *collective;
static bool pending;
static void *a, *b; /* of dml_alloc, so that all algorithms can be had */

static bool here(const char *name)
{
    return rank == culprit && strcmp(fault, name) == 0;
}

/* ---- MPI as libdml calls it --------------------------------------------------------
 */

static pthread_t caller; /* the thread that may, of a funneled program */
static bool funneled;

static void note_thread(const char *name)
{
    if (funneled && !pthread_equal(caller, pthread_self())) {
        printf("rank %d: %s is called by another thread\n", rank, name);
        fflush(stdout);
    }
}

int MPI_Cancel(MPI_Request *request)
{
    note_thread("MPI_Cancel");
    return PMPI_Cancel(request);
}

int MPI_Test(MPI_Request *request, int *flag, MPI_Status *status)
{
    note_thread("MPI_Test");
    return PMPI_Test(request, flag, status);
}

int MPI_Iprobe(int source, int tag, MPI_Comm comm, int *flag, MPI_Status *status)
{
    note_thread("MPI_Iprobe");
    return PMPI_Iprobe(source, tag, comm, flag, status);
}

int MPI_Issend(const void *buf, int count, MPI_Datatype type, int to, int tag,
               MPI_Comm comm, MPI_Request *request)
{
    note_thread("MPI_Issend");
    return PMPI_Issend(buf, count, type, to, tag, comm, request);
}

/* ---- calls -------------------------------------------------------------------------
 */

/* Calls that are collective, but move nothing. */
static dml_status call_other(const char *name, dml_comm *comm)
{
    bool wrong = here("refused");
    if (strcmp(name, "split") == 0) {
        dml_comm *part = NULL;
        dml_status status = dml_comm_split(comm, 0, 0, wrong ? NULL : &part);
        dml_comm_destroy(part);
        return status;
    }
    if (strcmp(name, "slot") == 0) {
        dml_param p = {.param = a, .grad = b, .count = COUNT};
        dml_sharded *sharded = NULL;
        dml_status status =
            dml_sharded_create(DML_OPTIM_SGD, &p, 1, NULL, NULL, comm, &sharded);
        float out[COUNT];
        if (status == DML_OK)
            status =
                dml_sharded_slot_gather(sharded, 0, 0, wrong ? NULL : out, culprit);
        dml_sharded_destroy(sharded);
        return status;
    }
    if (strcmp(name, "query") == 0) {
        dml_choice choice;
        return dml_algorithm_query(DML_COLL_ALLREDUCE, COUNT, DML_F32, DML_SUM, comm,
                                   wrong ? NULL : &choice);
    }
    dml_coll_args args = {.size = wrong ? 1 : sizeof args,
                          .coll = DML_COLL_ALLREDUCE,
                          .send = a,
                          .recv = b,
                          .count = COUNT,
                          .dtype = DML_F32,
                          .op = DML_SUM};
    dml_request *request = NULL;
    dml_status status = dml_coll_init(&args, comm, &request);
    dml_request_free(&request);
    return status;
}

/* One call of the collective named, with this rank's mistakes. */
static dml_status call(const char *name, dml_comm *comm, dml_request **request)
{
    size_t count = here("count") ? COUNT + 1 : COUNT, counts[MAX_RANKS];
    dml_dtype dtype = here("dtype") ? DML_I32 : DML_F32;
    dml_op op = here("op") ? DML_PROD : DML_SUM;
    int root = here("root") ? 1 % dml_comm_size(comm) : 0;
    const void *send = here("refused") ? NULL : here("in_place") ? DML_IN_PLACE : a;
    if (here("algorithm"))
        dml_comm_set_algorithm(comm, DML_COLL_ALLREDUCE, "direct");
    if (here("unmeasured")) /* the others measure in this call */
        dml_comm_set_algorithm(comm, DML_COLL_ALLGATHER, "ring");
    if (strcmp(name, "split") == 0 || strcmp(name, "query") == 0 ||
        strcmp(name, "coll_init") == 0 || strcmp(name, "slot") == 0)
        return call_other(name, comm);
    if (strcmp(name, "message") == 0) /* that the culprit does not send */
        return dml_recv(b, count, dtype, culprit, 7, comm);
    for (int i = 0; i < nranks; i++)
        counts[i] = COUNT + (size_t)(here("counts") && i == 0);
    if (strcmp(name, "allreduce") == 0)
        return pending ? dml_iallreduce(send, b, count, dtype, op, comm, request)
                       : dml_allreduce(send, b, count, dtype, op, comm);
    if (strcmp(name, "bcast") == 0)
        return pending ? dml_ibcast(b, count, dtype, root, comm, request)
                       : dml_bcast(b, count, dtype, root, comm);
    if (strcmp(name, "reduce") == 0)
        return pending ? dml_ireduce(send, b, count, dtype, op, root, comm, request)
                       : dml_reduce(send, b, count, dtype, op, root, comm);
    if (strcmp(name, "allgather") == 0)
        return pending ? dml_iallgather(send, b, count, dtype, comm, request)
                       : dml_allgather(send, b, count, dtype, comm);
    if (strcmp(name, "reduce_scatter") == 0)
        return pending ? dml_ireduce_scatter(send, b, count, dtype, op, comm, request)
                       : dml_reduce_scatter(send, b, count, dtype, op, comm);
    if (strcmp(name, "allgatherv") == 0)
        return pending ? dml_iallgatherv(send, b, counts, NULL, dtype, comm, request)
                       : dml_allgatherv(send, b, counts, NULL, dtype, comm);
    if (strcmp(name, "alltoall") == 0)
        return pending ? dml_ialltoall(send, b, count, dtype, comm, request)
                       : dml_alltoall(send, b, count, dtype, comm);
    return pending ? dml_ibarrier(comm, request) : dml_barrier(comm);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_s(double seconds)
{
    struct timespec pause = {.tv_sec = (time_t)seconds};
    pause.tv_nsec = (long)(1e9 * (seconds - (double)pause.tv_sec));
    nanosleep(&pause, NULL);
}

static void give_up(const dml_ctx *ctx, dml_status status)
{
    dml_error error;
    dml_ctx_last_error(ctx, &error);
    printf("rank %d: %s: %s: %s\n", rank, dml_status_name(status), error.where,
           error.text);
    fflush(stdout);
    /* Let the others speak before the launcher, seeing this one end, ends them. MPICH
     * spins while it waits, and is slow where ranks outnumber processors. */
#ifdef OPEN_MPI
    pause_s(0.4);
#else
    pause_s(2);
#endif
    _exit(3);
}

/* What the culprit does between two operations. */
static void misbehave(void)
{
    if (here("dead"))
        kill(getpid(), SIGKILL);
    if (here("gone"))
        _exit(0);
    if (here("stopped") || here("late"))
        kill(getpid(), SIGSTOP); /* a late one is woken by faults.py */
    if (here("busy"))
        sleep(60);
}

/* The call with the mistake, to its end. */
static dml_status call_sixth(const char *how, dml_comm *comm)
{
    bool away = strcmp(how, "busy") == 0;
    dml_request *request = NULL, *message = NULL;
    dml_status status = DML_OK;
    if (funneled && rank != culprit)
        status = dml_irecv(b, COUNT, DML_F32, culprit, 7, comm, &message);
    const char *name = here("collective") ? "barrier" : collective;
    pending = away || strcmp(how, "pending") == 0;
    if (!here("missing"))
        status = call(name, comm, &request);
    if (away)
        pause_s(AWAY_S);
    double begin_s = now_s();
    if (status == DML_OK && request != NULL)
        status = dml_wait(&request);
    if (away) {
        printf("rank %d waited %.2f s\n", rank, now_s() - begin_s);
        fflush(stdout);
    }
    return status;
}

int main(int argc, char **argv)
{
    int provided = 0;
    dml_ctx *ctx = NULL;
    dml_comm *world = NULL, *comm = NULL;
    if (argc < 3)
        return 2;
    const char *how = argc > 3 ? argv[3] : "blocking";
    funneled = strcmp(how, "funneled") == 0;
    caller = pthread_self();
    MPI_Init_thread(&argc, &argv, funneled ? MPI_THREAD_FUNNELED : MPI_THREAD_MULTIPLE,
                    &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &nranks);
    fault = argv[1];
    collective = argv[2];
    culprit = argc > 4 ? (int)strtol(argv[4], NULL, 10) : nranks - 1;
    if (dml_ctx_create(NULL, &ctx) != DML_OK)
        return 2;
    if (here("unborn"))
        kill(getpid(), SIGSTOP);
    dml_status made = dml_comm_from_mpi(ctx, MPI_COMM_WORLD, &world);
    if (made != DML_OK)
        give_up(ctx, made);
    comm = world;
    if (strcmp(how, "part") == 0 && dml_comm_split(world, 0, -rank, &comm) != DML_OK)
        return 2;
    size_t bytes = (COUNT + 1) * MAX_RANKS * sizeof(float);
    if (dml_alloc(comm, bytes, &a) != DML_OK || dml_alloc(comm, bytes, &b) != DML_OK)
        return 2;
    printf("rank %d is process %ld\n", rank, (long)getpid());
    fflush(stdout);
    /* Two calls of a collective go without measuring. */
    bool gather = strcmp(fault, "unmeasured") == 0;
    for (int i = 0; i < GOOD_CALLS; i++)
        if ((gather && i > 0
                 ? dml_allgather(a, b, COUNT, DML_F32, comm)
                 : dml_allreduce(a, b, COUNT, DML_F32, DML_SUM, comm)) != DML_OK)
            give_up(ctx, DML_EINVAL);
    misbehave();
    dml_status status = call_sixth(how, comm);
    /* A root may be through before anybody looks at its call. */
    fault = "none";
    for (int i = 0; i < GOOD_CALLS && status == DML_OK; i++)
        status = dml_allreduce(a, b, COUNT + 1, DML_F32, DML_SUM, comm);
    if (status != DML_OK)
        give_up(ctx, status);
    if (comm != world)
        dml_comm_destroy(comm);
    dml_comm_destroy(world);
    dml_ctx_destroy(ctx);
    MPI_Finalize();
    return 0;
}
