/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What MPI promises beside results: errors go to the communicator's own handler,
 * attributes are not copied behind the program's back, inter-communicators work,
 * threads may use different communicators at once, and messages under way progress
 * while their sender waits in a collective.
 */
#include "shim_test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* MPICH 4.0 does not check all of them, and crashes. */
#ifdef MPICH_VERSION
enum { CHECKS_ARGUMENTS = 0 };
#else
enum { CHECKS_ARGUMENTS = 1 };
#endif

/* Calls of the program's error handler, which has no argument of its own. */
static int handled;

static void on_error(MPI_Comm *comm, int *code, ...)
{
    (void)comm;
    (void)code;
    handled++;
}

static void misuse(MPI_Comm mine, int size)
{
    int x = 1, y = 0;
    handled = 0;
    shim_check(MPI_Allreduce(&x, &y, -1, MPI_INT, MPI_SUM, mine) != MPI_SUCCESS,
               "a negative count is accepted");
    shim_check(handled == 1, "the handler was called %d times", handled);
    shim_check(MPI_Bcast(&x, 1, MPI_INT, size, mine) != MPI_SUCCESS && handled == 2,
               "bcast from a root that is none: the handler was called %d times",
               handled);
    shim_check(MPI_Reduce(&x, &y, 1, MPI_INT, MPI_SUM, -7, mine) != MPI_SUCCESS &&
                   handled == 3,
               "reduce to a root that is none: the handler was called %d times",
               handled);
}

void test_errors(MPI_Comm comm)
{
    MPI_Comm mine = MPI_COMM_NULL;
    MPI_Errhandler handler = MPI_ERRHANDLER_NULL, still = MPI_ERRHANDLER_NULL;
    MPI_Comm_dup(comm, &mine);
    MPI_Comm_create_errhandler(on_error, &handler);
    MPI_Comm_set_errhandler(mine, handler);
    int x = 1, y = 0, size = 0;
    PMPI_Comm_size(mine, &size);
    MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, mine);
    if (CHECKS_ARGUMENTS)
        misuse(mine, size);
    MPI_Comm_get_errhandler(mine, &still);
    shim_check(still == handler, "the error handler was replaced");
    MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, mine);
    shim_check(y == size, "sum after errors: %d", y);
    MPI_Errhandler_free(&handler);
    MPI_Errhandler_free(&still);
    MPI_Comm_free(&mine);
}

static int copies;

static int count_copy(MPI_Comm comm, int keyval, void *extra, void *in, void *out,
                      int *flag)
{
    (void)comm;
    (void)keyval;
    (void)extra;
    (void)in;
    (void)out;
    copies++;
    *flag = 0;
    return MPI_SUCCESS;
}

void test_attributes(MPI_Comm comm)
{
    int keyval = MPI_KEYVAL_INVALID, x = 1, y = 0;
    MPI_Comm mine = MPI_COMM_NULL, copy = MPI_COMM_NULL;
    MPI_Comm_dup(comm, &mine);
    MPI_Comm_create_keyval(count_copy, MPI_COMM_NULL_DELETE_FN, &keyval, NULL);
    MPI_Comm_set_attr(mine, keyval, &x);
    copies = 0;
    MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, mine);
    MPI_Barrier(mine);
    shim_check(copies == 0, "attributes were copied %d times", copies);
    MPI_Comm_dup(mine, &copy);
    shim_check(copies == 1, "duplicating copied %d attributes, not 1", copies);
    MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, copy);
    MPI_Comm_free(&mine);
    MPI_Barrier(copy);
    MPI_Comm_free(&copy);
    MPI_Comm_free_keyval(&keyval);
}

/* The even and the odd ranks as two groups: a sum goes to the other group. */
void test_inter(MPI_Comm comm)
{
    int rank = 0, size = 0, x = 0, y = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    if (size < 2)
        return;
    MPI_Comm half = MPI_COMM_NULL, inter = MPI_COMM_NULL;
    MPI_Comm_split(comm, rank % 2, rank, &half);
    MPI_Intercomm_create(half, 0, comm, 1 - rank % 2, 7, &inter);
    x = rank % 2 == 0 ? 1 : 100;
    MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, inter);
    int wanted = rank % 2 == 0 ? 100 * (size / 2) : (size + 1) / 2;
    shim_check(y == wanted, "sum of the other group: %d, not %d", y, wanted);
    int root = rank % 2 == 1 ? 0 : rank == 0 ? MPI_ROOT : MPI_PROC_NULL;
    x = rank == 0 ? 4711 : 0;
    MPI_Bcast(&x, 1, MPI_INT, root, inter);
    shim_check(x == 4711 || (rank % 2 == 0 && rank != 0), "bcast to the others: %d", x);
    MPI_Barrier(inter);
    MPI_Comm_free(&inter);
    MPI_Comm_free(&half);
}

enum { NTHREADS = 3, ROUNDS = 40 };

struct job {
    MPI_Comm comm;
    int number, wrong;
};

static void *work(void *argument)
{
    struct job *job = argument;
    int rank = 0, size = 0;
    PMPI_Comm_rank(job->comm, &rank);
    PMPI_Comm_size(job->comm, &size);
    for (int i = 0; i < ROUNDS; i++) {
        double x[300], y[300];
        int root = i % size, z = rank == root ? i * 10 + job->number : -1;
        for (int k = 0; k < 300; k++)
            x[k] = rank + k + job->number;
        MPI_Allreduce(x, y, 300, MPI_DOUBLE, MPI_SUM, job->comm);
        MPI_Bcast(&z, 1, MPI_INT, root, job->comm);
        MPI_Barrier(job->comm);
        for (int k = 0; k < 300; k++)
            job->wrong +=
                y[k] != size * (size - 1) / 2.0 + (double)size * (k + job->number);
        job->wrong += z != i * 10 + job->number;
    }
    return NULL;
}

void test_threads(MPI_Comm comm)
{
    int level = 0;
    MPI_Query_thread(&level);
    if (level < MPI_THREAD_MULTIPLE)
        return;
    struct job jobs[NTHREADS];
    pthread_t threads[NTHREADS];
    for (int i = 0; i < NTHREADS; i++) {
        jobs[i] = (struct job){.number = i};
        MPI_Comm_dup(comm, &jobs[i].comm);
    }
    for (int i = 0; i < NTHREADS; i++)
        pthread_create(&threads[i], NULL, work, &jobs[i]);
    for (int i = 0; i < NTHREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < NTHREADS; i++) {
        shim_check(jobs[i].wrong == 0, "thread %d: %d wrong", i, jobs[i].wrong);
        MPI_Comm_free(&jobs[i].comm);
    }
}

/* Rank 0 starts a long send and waits in a barrier, which its receiver enters only
 * when the message has come. */
void test_progress(MPI_Comm comm)
{
    enum { BYTES = 4 << 20 };
    int rank = 0, size = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    char *message = shim_alloc(BYTES);
    for (int to = 1; to < size; to++) {
        MPI_Request request = MPI_REQUEST_NULL;
        memset(message, rank == 0 ? to : 0, BYTES);
        if (rank == 0)
            MPI_Isend(message, BYTES, MPI_CHAR, to, 0, comm, &request);
        if (rank == to)
            MPI_Recv(message, BYTES, MPI_CHAR, 0, 0, comm, MPI_STATUS_IGNORE);
        MPI_Barrier(comm);
        MPI_Wait(&request, MPI_STATUS_IGNORE);
        shim_check((rank != 0 && rank != to) || message[BYTES - 1] == (char)to,
                   "the message to rank %d did not arrive", to);
    }
    free(message);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Nobody leaves before the last has come; the ranks share a clock, as they share a
 * node. */
void test_barrier(MPI_Comm comm)
{
    int rank = 0, size = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    for (int late = 0; late < size; late++) {
        if (rank == late)
            usleep(5000);
        double entered = now_s(), last = 0;
        MPI_Barrier(comm);
        double left = now_s();
        PMPI_Allreduce(&entered, &last, 1, MPI_DOUBLE, MPI_MAX, comm);
        shim_check(left >= last, "left %g s before rank %d came", last - left, late);
    }
}

void test_nonblocking(MPI_Comm comm)
{
    int rank = 0, size = 0, x = 0, y[3] = {0}, z = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    MPI_Request requests[3];
    x = rank + 1;
    MPI_Iallreduce(&x, &y[0], 1, MPI_INT, MPI_SUM, comm, &requests[0]);
    MPI_Iallreduce(&x, &y[1], 1, MPI_INT, MPI_MAX, comm, &requests[1]);
    MPI_Allreduce(&x, &z, 1, MPI_INT, MPI_MIN, comm);
    MPI_Iallreduce(&x, &y[2], 1, MPI_INT, MPI_SUM, comm, &requests[2]);
    MPI_Waitall(3, requests, MPI_STATUSES_IGNORE);
    int sum = size * (size + 1) / 2;
    shim_check(y[0] == sum && y[1] == size && y[2] == sum && z == 1,
               "three non-blocking sums: %d %d %d %d", y[0], y[1], y[2], z);
}

/* Communicators come and go; some in groups, freed in another order. */
void test_many(MPI_Comm comm)
{
    int x = 1, y = 0, size = 0;
    PMPI_Comm_size(comm, &size);
    for (int i = 0; i < 10; i++) {
        MPI_Comm some[3];
        for (int k = 0; k < 3; k++) {
            MPI_Comm_dup(comm, &some[k]);
            MPI_Allreduce(&x, &y, 1, MPI_INT, MPI_SUM, some[k]);
            shim_check(y == size, "sum on new communicator %d: %d", 3 * i + k, y);
        }
        MPI_Barrier(some[1]);
        MPI_Comm_free(&some[1]);
        MPI_Comm_free(&some[0]);
        MPI_Bcast(&x, 1, MPI_INT, 0, some[2]);
        MPI_Comm_free(&some[2]);
    }
}
