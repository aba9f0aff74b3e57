/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_Iallreduce as MPI has it: any number at a time, completed by any function and in
 * any order, together with other requests, beside blocking collectives, from threads;
 * and always completed by the others, whatever this rank does meanwhile.
 */
#include "shim_test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 40, LONGEST = 200000, LONG = 300000 };

/* Some sums of whole numbers under way. */
struct batch {
    int rank, size;
    int counts[MANY];
    float *in[MANY], *out[MANY];
    MPI_Request requests[MANY];
    bool seen[MANY]; /* reported complete */
};

static float value_of(int rank, int k, int i)
{
    return (float)((rank + 3 * k + i) % 50);
}

static void start(struct batch *b, MPI_Comm comm)
{
    PMPI_Comm_rank(comm, &b->rank);
    PMPI_Comm_size(comm, &b->size);
    for (int k = 0; k < MANY; k++) {
        int most = k % 8 == 0 ? LONGEST : k % 3 == 0 ? 5000 : 20;
        b->counts[k] = (int)(shim_random() % (unsigned)most);
        size_t bytes = (size_t)b->counts[k] * sizeof(float);
        b->in[k] = shim_alloc(bytes);
        b->out[k] = shim_alloc(bytes);
        b->seen[k] = false;
        for (int i = 0; i < b->counts[k]; i++)
            b->in[k][i] = b->out[k][i] = value_of(b->rank, k, i);
        MPI_Iallreduce(k % 2 == 0 ? MPI_IN_PLACE : (void *)b->in[k], b->out[k],
                       b->counts[k], MPI_FLOAT, MPI_SUM, comm, &b->requests[k]);
    }
}

/* What is wrong with sum k, which is complete. */
static int wrong_in(struct batch *b, int k)
{
    int wrong = b->requests[k] != MPI_REQUEST_NULL || b->seen[k];
    b->seen[k] = true;
    for (int i = 0; i < b->counts[k]; i++) {
        float sum = 0;
        for (int r = 0; r < b->size; r++)
            sum += value_of(r, k, i);
        wrong += b->out[k][i] != sum;
    }
    return wrong;
}

static int wrong_in_all(struct batch *b)
{
    int wrong = 0;
    for (int k = 0; k < MANY; k++)
        wrong += wrong_in(b, k);
    return wrong;
}

static void end(struct batch *b)
{
    for (int k = 0; k < MANY; k++) {
        free(b->in[k]);
        free(b->out[k]);
    }
}

/* ---- the ways to complete them -----------------------------------------------------
 */

typedef int complete_fn(struct batch *b); /* returns how much was wrong */

static int by_waitall(struct batch *b)
{
    MPI_Status statuses[MANY];
    int wrong = MPI_Waitall(MANY, b->requests, statuses) != MPI_SUCCESS;
    return wrong + wrong_in_all(b);
}

static int by_wait_backwards(struct batch *b)
{
    int wrong = 0;
    for (int k = MANY - 1; k >= 0; k--) {
        MPI_Status status;
        wrong += MPI_Wait(&b->requests[k], &status) != MPI_SUCCESS;
        wrong += wrong_in(b, k);
    }
    return wrong;
}

static int by_waitany(struct batch *b)
{
    int wrong = 0, which = 0;
    for (int n = 0; n < MANY; n++) {
        MPI_Waitany(MANY, b->requests, &which, MPI_STATUS_IGNORE);
        wrong += which == MPI_UNDEFINED ? 1000 : wrong_in(b, which);
    }
    MPI_Waitany(MANY, b->requests, &which, MPI_STATUS_IGNORE);
    return wrong + (which != MPI_UNDEFINED);
}

static int by_some(struct batch *b,
                   int (*some)(int, MPI_Request *, int *, int *, MPI_Status *))
{
    int wrong = 0, n = 0, which[MANY];
    for (;;) {
        some(MANY, b->requests, &n, which, MPI_STATUSES_IGNORE);
        if (n == MPI_UNDEFINED)
            break;
        for (int i = 0; i < n; i++)
            wrong += wrong_in(b, which[i]);
    }
    for (int k = 0; k < MANY; k++)
        wrong += !b->seen[k];
    return wrong;
}

static int by_waitsome(struct batch *b)
{
    return by_some(b, MPI_Waitsome);
}

static int by_testsome(struct batch *b)
{
    return by_some(b, MPI_Testsome);
}

static int by_tests(struct batch *b)
{
    int done = 0, which = 0, wrong = 0;
    while (!done)
        MPI_Request_get_status(b->requests[0], &done, MPI_STATUS_IGNORE);
    wrong += b->requests[0] == MPI_REQUEST_NULL;
    for (done = 0; !done;)
        MPI_Test(&b->requests[0], &done, MPI_STATUS_IGNORE);
    wrong += wrong_in(b, 0);
    for (done = 0; !done;)
        MPI_Testany(MANY, b->requests, &which, &done, MPI_STATUS_IGNORE);
    wrong += which == MPI_UNDEFINED ? 1000 : wrong_in(b, which);
    for (done = 0; !done;)
        MPI_Testall(MANY, b->requests, &done, MPI_STATUSES_IGNORE);
    for (int k = 0; k < MANY; k++)
        wrong += b->seen[k] ? 0 : wrong_in(b, k);
    return wrong;
}

static const struct {
    const char *name;
    complete_fn *fn;
} ways[] = {
    {"MPI_Waitall", by_waitall},   {"MPI_Wait, last first", by_wait_backwards},
    {"MPI_Waitany", by_waitany},   {"MPI_Waitsome", by_waitsome},
    {"MPI_Testsome", by_testsome}, {"the other tests", by_tests},
};

void test_outstanding(MPI_Comm comm)
{
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        struct batch b;
        start(&b, comm);
        int wrong = ways[w].fn(&b);
        shim_check(wrong == 0, "by %s: %d wrong", ways[w].name, wrong);
        end(&b);
    }
}

/* A communicator may be freed before what is under way on it. */
void test_freed(MPI_Comm comm)
{
    struct batch b;
    MPI_Comm mine = MPI_COMM_NULL;
    MPI_Comm_dup(comm, &mine);
    MPI_Barrier(mine);
    start(&b, mine);
    MPI_Comm_free(&mine);
    int wrong = by_waitall(&b);
    shim_check(wrong == 0, "after MPI_Comm_free: %d wrong", wrong);
    end(&b);
}

/* Blocking calls and messages between and among them. */
void test_mixed(MPI_Comm comm)
{
    struct batch b;
    int sum = 0, wrong = 0, from = -1;
    start(&b, comm);
    int next = (b.rank + 1) % b.size, before = (b.rank + b.size - 1) % b.size;
    MPI_Allreduce(&b.rank, &sum, 1, MPI_INT, MPI_SUM, comm);
    wrong += sum != b.size * (b.size - 1) / 2;
    wrong += by_waitall(&b);
    end(&b);
    start(&b, comm);
    MPI_Wait(&b.requests[MANY - 2], MPI_STATUS_IGNORE);
    MPI_Wait(&b.requests[MANY - 1], MPI_STATUS_IGNORE);
    MPI_Irecv(&from, 1, MPI_INT, before, 5, comm, &b.requests[MANY - 2]);
    MPI_Isend(&b.rank, 1, MPI_INT, next, 5, comm, &b.requests[MANY - 1]);
    MPI_Barrier(comm);
    sum = 0;
    MPI_Allreduce(&b.rank, &sum, 1, MPI_INT, MPI_SUM, comm);
    wrong += sum != b.size * (b.size - 1) / 2;
    wrong += by_waitall(&b);
    shim_check(wrong == 0 && from == before, "%d wrong, message from %d", wrong, from);
    end(&b);
}

/* Rank 0 starts a short sum and a long one and waits for messages, which the others
 * send only when they have the long one. */
void test_elsewhere(MPI_Comm comm)
{
    int rank = 0, size = 0, word = 0, wrong = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    float *in = shim_alloc(LONG * sizeof *in), *out = shim_alloc(LONG * sizeof *out);
    for (int i = 0; i < LONG; i++)
        in[i] = (float)(rank + i % 7);
    MPI_Barrier(comm);
    for (int round = 0; round < 3; round++) {
        MPI_Request requests[2];
        int sum = 0;
        MPI_Iallreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, comm, &requests[0]);
        MPI_Iallreduce(in, out, LONG, MPI_FLOAT, MPI_SUM, comm, &requests[1]);
        for (int r = 1; rank == 0 && r < size; r++)
            MPI_Recv(&word, 1, MPI_INT, r, round, comm, MPI_STATUS_IGNORE);
        MPI_Wait(&requests[1], MPI_STATUS_IGNORE);
        if (rank > 0)
            MPI_Send(&rank, 1, MPI_INT, 0, round, comm);
        MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
        wrong += sum != size * (size - 1) / 2;
        for (int i = 0; i < LONG; i++)
            wrong += out[i] != (float)(size * (size - 1) / 2 + size * (i % 7));
        memset(out, 0, LONG * sizeof *out);
    }
    shim_check(wrong == 0, "%d wrong", wrong);
    free(in);
    free(out);
}

/* A thread that waits for a started sum and then sends; its sibling waits in a blocking
 * one on the same communicator, which the receiver enters last. */
struct waiter {
    MPI_Comm comm;
    MPI_Request request;
    int to;
};

static void *wait_and_send(void *argument)
{
    struct waiter *w = argument;
    MPI_Wait(&w->request, MPI_STATUS_IGNORE);
    for (int r = 1; r < w->to; r++)
        MPI_Send(&r, 1, MPI_INT, r, 9, w->comm);
    return NULL;
}

void test_siblings(MPI_Comm comm)
{
    int rank = 0, size = 0, level = 0, started = 0, word = 0, sum = 0;
    PMPI_Comm_rank(comm, &rank);
    PMPI_Comm_size(comm, &size);
    MPI_Query_thread(&level);
    if (level < MPI_THREAD_MULTIPLE)
        return;
    struct waiter w = {.comm = comm, .to = size};
    pthread_t thread;
    MPI_Barrier(comm);
    MPI_Iallreduce(&rank, &started, 1, MPI_INT, MPI_SUM, comm, &w.request);
    if (rank == 0) {
        pthread_create(&thread, NULL, wait_and_send, &w);
    } else {
        MPI_Wait(&w.request, MPI_STATUS_IGNORE);
        MPI_Recv(&word, 1, MPI_INT, 0, 9, comm, MPI_STATUS_IGNORE);
    }
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, comm);
    if (rank == 0)
        pthread_join(thread, NULL);
    int wanted = size * (size - 1) / 2;
    shim_check(started == wanted && sum == wanted && (rank == 0 || word == rank),
               "sums %d and %d, message %d", started, sum, word);
}

/* Each thread with a communicator of its own. */
struct pool {
    MPI_Comm comm;
    unsigned number;
    int wrong;
};

static void *work(void *argument)
{
    enum { ROUNDS = 20, SUMS = 6, COUNT = 700 };
    struct pool *p = argument;
    static _Thread_local double in[COUNT], out[SUMS][COUNT];
    int rank = 0, size = 0, which = 0;
    PMPI_Comm_rank(p->comm, &rank);
    PMPI_Comm_size(p->comm, &size);
    for (int k = 0; k < COUNT; k++)
        in[k] = rank + k + (int)p->number;
    MPI_Barrier(p->comm);
    for (int round = 0; round < ROUNDS; round++) {
        MPI_Request requests[SUMS];
        for (int s = 0; s < SUMS; s++)
            MPI_Iallreduce(in, out[s], COUNT - s, MPI_DOUBLE, MPI_SUM, p->comm,
                           &requests[s]);
        MPI_Waitany(SUMS, requests, &which, MPI_STATUS_IGNORE);
        MPI_Waitall(SUMS, requests, MPI_STATUSES_IGNORE);
        for (int s = 0; s < SUMS; s++)
            for (int k = 0; k < COUNT - s; k++)
                p->wrong +=
                    out[s][k] != size * (size - 1) / 2 + size * (k + (int)p->number);
    }
    return NULL;
}

void test_async_threads(MPI_Comm comm)
{
    enum { NTHREADS = 3 };
    int level = 0;
    MPI_Query_thread(&level);
    if (level < MPI_THREAD_MULTIPLE)
        return;
    struct pool pools[NTHREADS];
    pthread_t threads[NTHREADS];
    for (unsigned i = 0; i < NTHREADS; i++) {
        pools[i] = (struct pool){.number = i};
        MPI_Comm_dup(comm, &pools[i].comm);
    }
    for (int i = 0; i < NTHREADS; i++)
        pthread_create(&threads[i], NULL, work, &pools[i]);
    for (int i = 0; i < NTHREADS; i++) {
        pthread_join(threads[i], NULL);
        shim_check(pools[i].wrong == 0, "thread %d: %d wrong", i, pools[i].wrong);
        MPI_Comm_free(&pools[i].comm);
    }
}
