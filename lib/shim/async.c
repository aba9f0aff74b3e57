/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_Iallreduce: what libdml works on, and the MPI requests that stand for it.
 *
 * The program gets a generalised request of MPI, so that every function of MPI takes
 * it. Two parties see to its end. A thread of libdml does the work, whatever the
 * program does meanwhile: it may sit in MPI_Recv for a message that its sender sends
 * only when the sum has arrived. But it calls nothing of MPI, which most programs
 * initialise for one thread: that the work is done is told to MPI by whoever asks for a
 * request, in MPI_Wait, MPI_Test and their kin (wait.c). Nobody else can see the
 * difference.
 *
 * A communicator's sums end in the order in which they were started, or are taken to:
 * all ranks have started the first when a second one can end, so that the thread brings
 * the first to its end too.
 */
#include "shim/shim.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* One call, until its MPI request has gone. */
struct dml__shim_started {
    struct dml__shim_started *next;
    dml_request *dml;
    MPI_Request mpi;
    int code; /* what MPI_Wait returns */
};

/* The lock guards the lists and the calls on all "async" communicators. Threads that
 * look for what is done only try it. */
static struct {
    pthread_mutex_t lock;
    atomic_int count; /* started, and MPI does not know of the end */
    struct dml__shim_comm *busy;
} async = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- what MPI calls ----------------------------------------------------------------
 */

static int on_query(void *state, MPI_Status *status)
{
    const struct dml__shim_started *s = state;
    PMPI_Status_set_elements(status, MPI_BYTE, 0);
    PMPI_Status_set_cancelled(status, 0);
    status->MPI_SOURCE = MPI_UNDEFINED;
    status->MPI_TAG = MPI_UNDEFINED;
    return s->code;
}

static int on_free(void *state)
{
    free(state);
    return MPI_SUCCESS;
}

/* MPI forbids to cancel a collective. */
static int on_cancel(void *state, int complete)
{
    (void)state;
    (void)complete;
    return MPI_SUCCESS;
}

/* ---- start and end -----------------------------------------------------------------
 */

static void append(struct dml__shim_comm *c, struct dml__shim_started *s)
{
    if (c->first == NULL) {
        c->next_busy = async.busy;
        async.busy = c;
        c->first = s;
    } else {
        c->last->next = s;
    }
    c->last = s;
    atomic_fetch_add(&async.count, 1);
}

/* Starts the sum, or tells the other ranks that this one cannot: s is NULL. */
static int start(struct dml__shim_comm *c, struct dml__shim_started *s,
                 const void *send, void *recv, size_t count, dml_dtype dtype, dml_op op)
{
    pthread_mutex_lock(&async.lock);
    dml_request *none = NULL;
    dml_status status = dml_iallreduce(send, recv, count, dtype, op, c->async,
                                       s != NULL ? &s->dml : &none);
    int code = dml__shim_code(DML__SHIM_IALLREDUCE, c->async, status);
    if (code == MPI_SUCCESS)
        append(c, s);
    pthread_mutex_unlock(&async.lock);
    return code;
}

DML__SHIM_API int MPI_Iallreduce(const void *send, void *recv, int count,
                                 MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                                 MPI_Request *request)
{
    dml_dtype dtype = DML_F32;
    dml_op dop = DML_SUM;
    struct dml__shim_comm *c = dml__shim_use(
        DML__SHIM_IALLREDUCE, comm,
        dml__shim_reduction(type, op, &dtype, &dop) && count >= 0 && request != NULL &&
            dml__shim_buffers_ok(send, recv, count == 0));
    dml__shim_count(DML__SHIM_IALLREDUCE, c != NULL);
    if (c == NULL)
        return PMPI_Iallreduce(send, recv, count, type, op, comm, request);
    struct dml__shim_started *s = calloc(1, sizeof *s);
    int code = MPI_ERR_NO_MEM;
    if (s != NULL)
        code = PMPI_Grequest_start(on_query, on_free, on_cancel, s, &s->mpi);
    MPI_Request mpi = code == MPI_SUCCESS ? s->mpi : MPI_REQUEST_NULL;
    if (code != MPI_SUCCESS) { /* libdml refuses a call without buffers on all ranks */
        start(c, NULL, NULL, NULL, 1, dtype, dop);
        free(s);
    } else {
        code =
            start(c, s, dml__shim_input(send, recv), recv, (size_t)count, dtype, dop);
        if (code != MPI_SUCCESS) {
            PMPI_Grequest_complete(mpi);
            PMPI_Request_free(&mpi);
        }
    }
    *request = mpi;
    if (code != MPI_SUCCESS)
        PMPI_Comm_call_errhandler(comm, code);
    return code;
}

/* Takes what is done from the front of a communicator's list to the end of "done". */
static struct dml__shim_started **take(struct dml__shim_comm *c,
                                       struct dml__shim_started **end)
{
    while (c->first != NULL) {
        struct dml__shim_started *s = c->first;
        dml_status status = dml_test(&s->dml);
        if (status == DML_PENDING)
            break;
        s->code = dml__shim_code(DML__SHIM_IALLREDUCE, c->async, status);
        c->first = s->next;
        s->next = NULL;
        *end = s;
        end = &s->next;
    }
    return end;
}

int dml__shim_complete(void)
{
    if (atomic_load(&async.count) == 0)
        return -1;
    if (pthread_mutex_trylock(&async.lock) != 0)
        return 0; /* another thread looks */
    struct dml__shim_started *done = NULL, **end = &done;
    for (struct dml__shim_comm **link = &async.busy; *link != NULL;) {
        struct dml__shim_comm *c = *link;
        end = take(c, end);
        if (c->first == NULL)
            *link = c->next_busy;
        else
            link = &c->next_busy;
    }
    pthread_mutex_unlock(&async.lock);
    int n = 0;
    for (struct dml__shim_started *next; done != NULL; done = next) {
        next = done->next; /* it may be gone with the request */
        PMPI_Grequest_complete(done->mpi);
        atomic_fetch_sub(&async.count, 1);
        n++;
    }
    return n;
}

static bool is_busy(const struct dml__shim_comm *c)
{
    pthread_mutex_lock(&async.lock);
    bool busy = c->first != NULL;
    pthread_mutex_unlock(&async.lock);
    return busy;
}

void dml__shim_finish(const struct dml__shim_comm *c)
{
    for (unsigned looks = 0; is_busy(c); dml__shim_rest(&looks))
        dml__shim_complete();
}

void dml__shim_rest(unsigned *looks)
{
    enum { EAGER = 50, YIELDING = 1000, SLEEP_NS = 50000 };
    const struct timespec nap = {.tv_nsec = SLEEP_NS};
    if (++*looks > YIELDING)
        nanosleep(&nap, NULL);
    else if (*looks > EAGER)
        sched_yield();
}
