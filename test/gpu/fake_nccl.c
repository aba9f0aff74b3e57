/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A library with the functions of NCCL that libdml calls, for tests on the fake device:
 * each queues its work in the stream (fake_nccl_work.c), or in the graph that the
 * stream is captured into. It begins in the background as NCCL's communicators that do
 * not block do. $FAKE_NCCL_VERSION is what it calls itself, and after $FAKE_NCCL_ERRORS
 * calls it reports an error of the background. Call $FAKE_NCCL_HANG ends late (1.8 s);
 * an abort returns when all work has ended, as NCCL's does when its kernels have.
 */
#include "fake_nccl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Work that is queued may still look at them; not lost, though. */
static _Atomic(struct fake_comm *) aborted;

/* NCCL's groups belong to the thread. */
static _Thread_local struct fake_group *group;
static _Thread_local struct fake_comm *group_comm;
static _Thread_local void *group_stream;
static _Thread_local int depth;

EXPORT int ncclGetVersion(int *version);
EXPORT int ncclGetVersion(int *version)
{
    const char *text = getenv("FAKE_NCCL_VERSION");
    *version = text != NULL ? atoi(text) : 22809;
    return DML__NCCL_SUCCESS;
}

EXPORT int ncclGetUniqueId(struct dml__nccl_id *id);
EXPORT int ncclGetUniqueId(struct dml__nccl_id *id)
{
    static atomic_int made;
    memset(id, 0, sizeof *id);
    snprintf(id->bytes, sizeof id->bytes, "/dml-fake-nccl-%ld-%d", (long)getpid(),
             atomic_fetch_add(&made, 1));
    return DML__NCCL_SUCCESS;
}

EXPORT const char *ncclGetErrorString(int result);
EXPORT const char *ncclGetErrorString(int result)
{
    return result == FAILED ? "remote process exited" : "no error";
}

EXPORT const char *ncclGetLastError(void *comm);
EXPORT const char *ncclGetLastError(void *comm)
{
    (void)comm;
    return "as the test wants it";
}

/* ---- communicators -----------------------------------------------------------------
 */

static int number_of(const char *name)
{
    const char *text = getenv(name);
    return text != NULL ? atoi(text) : -1;
}

EXPORT int ncclCommInitRankConfig(void **comm, int nranks, struct dml__nccl_id id,
                                  int rank, struct dml__nccl_config *config);
EXPORT int ncclCommInitRankConfig(void **comm, int nranks, struct dml__nccl_id id,
                                  int rank, struct dml__nccl_config *config)
{
    struct fake_comm *c = calloc(1, sizeof *c);
    if (c == NULL || config->magic != DML__NCCL_MAGIC || config->blocking != 0 ||
        dml_ctx_create(NULL, &c->ctx) != DML_OK ||
        dml_gpu_event_create(c->ctx, false, &c->ordered) != DML_OK)
        return FAILED;
    c->rank = rank;
    c->nranks = nranks;
    c->wire = wire_open(id.bytes, rank, nranks);
    if (c->wire == NULL)
        return FAILED;
    pthread_mutex_init(&c->working, NULL);
    c->polls_left = 3;
    c->hangs_at = number_of("FAKE_NCCL_HANG");
    c->errors_after = number_of("FAKE_NCCL_ERRORS");
    *comm = c;
    return DML__NCCL_IN_PROGRESS;
}

EXPORT int ncclCommGetAsyncError(void *comm, int *result);
EXPORT int ncclCommGetAsyncError(void *comm, int *result)
{
    struct fake_comm *c = comm;
    bool busy = atomic_load(&c->polls_left) > 0;
    if (busy)
        atomic_fetch_sub(&c->polls_left, 1);
    *result = atomic_load(&c->broken) ? FAILED
              : busy                  ? DML__NCCL_IN_PROGRESS
                                      : DML__NCCL_SUCCESS;
    return DML__NCCL_SUCCESS;
}

EXPORT int ncclCommFinalize(void *comm);
EXPORT int ncclCommFinalize(void *comm)
{
    struct fake_comm *c = comm;
    atomic_store(&c->polls_left, 2);
    return DML__NCCL_IN_PROGRESS;
}

/* Its work must have ended. */
EXPORT int ncclCommDestroy(void *comm);
EXPORT int ncclCommDestroy(void *comm)
{
    struct fake_comm *c = comm;
    if (atomic_load(&c->pending) > 0 || atomic_load(&c->hanging))
        abort();
    while (c->groups != NULL) {
        struct fake_group *first = c->groups;
        c->groups = first->next;
        free(first);
    }
    dml_gpu_event_destroy(c->ctx, c->ordered);
    dml_ctx_destroy(c->ctx);
    wire_close(c->wire);
    pthread_mutex_destroy(&c->working);
    free(c);
    return DML__NCCL_SUCCESS;
}

static atomic_int naborted;

EXPORT int fake_nccl_aborted(void);
EXPORT int fake_nccl_aborted(void)
{
    return atomic_load(&naborted);
}

EXPORT int ncclCommAbort(void *comm);
EXPORT int ncclCommAbort(void *comm)
{
    struct fake_comm *c = comm;
    atomic_store(&c->stop, true);
    pthread_mutex_lock(&c->working); /* what runs has ended */
    pthread_mutex_unlock(&c->working);
    atomic_fetch_add(&naborted, 1);
    fake_nccl_forget(c);
    c->before = atomic_load(&aborted);
    while (!atomic_compare_exchange_weak(&aborted, &c->before, c))
        continue;
    return DML__NCCL_SUCCESS;
}

/* ---- collectives -------------------------------------------------------------------
 */

EXPORT int ncclAllReduce(const void *send, void *recv, size_t n, int type, int op,
                         void *comm, void *s);
EXPORT int ncclAllReduce(const void *send, void *recv, size_t n, int type, int op,
                         void *comm, void *s)
{
    return fake_nccl_queue(&(struct fake_work){comm, FAKE_ALLREDUCE, send, recv, n,
                                               .type = type, .op = op},
                           s);
}

EXPORT int ncclReduce(const void *send, void *recv, size_t n, int type, int op,
                      int root, void *comm, void *s);
EXPORT int ncclReduce(const void *send, void *recv, size_t n, int type, int op,
                      int root, void *comm, void *s)
{
    return fake_nccl_queue(&(struct fake_work){comm, FAKE_REDUCE, send, recv, n,
                                               .type = type, .op = op, .root = root},
                           s);
}

EXPORT int ncclBroadcast(const void *send, void *recv, size_t n, int type, int root,
                         void *comm, void *s);
EXPORT int ncclBroadcast(const void *send, void *recv, size_t n, int type, int root,
                         void *comm, void *s)
{
    return fake_nccl_queue(&(struct fake_work){comm, FAKE_BROADCAST, send, recv, n,
                                               .type = type, .root = root},
                           s);
}

EXPORT int ncclAllGather(const void *send, void *recv, size_t n, int type, void *comm,
                         void *s);
EXPORT int ncclAllGather(const void *send, void *recv, size_t n, int type, void *comm,
                         void *s)
{
    return fake_nccl_queue(
        &(struct fake_work){comm, FAKE_ALLGATHER, send, recv, n, .type = type}, s);
}

EXPORT int ncclReduceScatter(const void *send, void *recv, size_t n, int type, int op,
                             void *comm, void *s);
EXPORT int ncclReduceScatter(const void *send, void *recv, size_t n, int type, int op,
                             void *comm, void *s)
{
    return fake_nccl_queue(&(struct fake_work){comm, FAKE_REDUCE_SCATTER, send, recv, n,
                                               .type = type, .op = op},
                           s);
}

EXPORT int ncclRedOpCreatePreMulSum(int *op, void *scalar, int type, int where,
                                    void *comm);
EXPORT int ncclRedOpCreatePreMulSum(int *op, void *scalar, int type, int where,
                                    void *comm)
{
    struct fake_comm *c = comm;
    float narrow = 0;
    double scale = 0;
    if (type == DML__NCCL_F64)
        memcpy(&scale, scalar, sizeof scale);
    else
        memcpy(&narrow, scalar, sizeof narrow);
    if (where != DML__NCCL_SCALAR_ON_HOST || c->nops == MAX_OPS)
        return FAILED;
    c->scales[c->nops] = type == DML__NCCL_F64 ? scale : (double)narrow;
    *op = FIRST_OP + c->nops++;
    return DML__NCCL_SUCCESS;
}

/* They end in the reverse order. What is queued has its factor. */
EXPORT int ncclRedOpDestroy(int op, void *comm);
EXPORT int ncclRedOpDestroy(int op, void *comm)
{
    struct fake_comm *c = comm;
    return op == FIRST_OP + --c->nops ? DML__NCCL_SUCCESS : FAILED;
}

/* ---- messages ----------------------------------------------------------------------
 */

EXPORT int ncclGroupStart(void);
EXPORT int ncclGroupStart(void)
{
    depth++;
    return DML__NCCL_SUCCESS;
}

static int add(struct wire_move move, int type, struct fake_comm *comm, void *stream)
{
    if (group == NULL)
        group = calloc(1, sizeof *group);
    if (depth == 0 || group == NULL || group->n == MAX_GROUP)
        return FAILED;
    move.bytes *= dml_dtype_bytes(fake_nccl_types[type]);
    group_comm = comm;
    group_stream = stream;
    group->moves[group->n++] = move;
    return DML__NCCL_SUCCESS;
}

EXPORT int ncclSend(const void *send, size_t n, int type, int peer, void *comm,
                    void *s);
EXPORT int ncclSend(const void *send, size_t n, int type, int peer, void *comm, void *s)
{
    union {
        const void *given;
        void *taken; /* it is only read */
    } u = {.given = send};
    return add((struct wire_move){u.taken, n, peer, true, 0}, type, comm, s);
}

EXPORT int ncclRecv(void *recv, size_t n, int type, int peer, void *comm, void *s);
EXPORT int ncclRecv(void *recv, size_t n, int type, int peer, void *comm, void *s)
{
    return add((struct wire_move){recv, n, peer, false, 0}, type, comm, s);
}

EXPORT int ncclGroupEnd(void);
EXPORT int ncclGroupEnd(void)
{
    struct fake_group *done = group;
    if (--depth > 0 || done == NULL)
        return DML__NCCL_SUCCESS;
    group = NULL;
    done->next = group_comm->groups;
    group_comm->groups = done;
    return fake_nccl_queue(&(struct fake_work){group_comm, FAKE_GROUP, .group = done},
                           group_stream);
}
