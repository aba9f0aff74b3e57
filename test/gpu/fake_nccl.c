/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A library with the functions of NCCL that libdml calls, for tests on the fake device:
 * each waits for its stream, does the collective on the host, by libdml on a
 * communicator of its own, and copies the result back. It begins in the background as
 * NCCL's communicators that do not block do. $FAKE_NCCL_VERSION is what it calls
 * itself, and after $FAKE_NCCL_ERRORS collectives it reports an error of the
 * background. Collective $FAKE_NCCL_HANG leaves work in its stream that ends late (by
 * $DML_TEST_GPU_DELAY_US, twice); an abort returns when it has ended, as NCCL's does
 * when its kernels have.
 */
#include "fake_nccl.h"

#include "dml/dml.h"
#include "dml/gpu.h"
#include "dml/mpi.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_OP = 100, MAX_GROUP = 256 };

struct message {
    void *device;
    char *host;
    size_t bytes;
    int peer;
    bool sends;
    dml_gpu_stream stream;
    dml_request *request;
};

struct comm {
    dml_ctx *ctx;
    dml_comm *comm;
    int polls_left; /* until what began in the background is done */
    int calls, errors_after, hangs_at;
    dml_gpu_stream slow, hung; /* that may delay another, and the other */
    dml_gpu_event late;
    atomic_bool broken;
    struct comm *before; /* of those that were aborted */
};

dml_ctx *fake_nccl_ctx(void *comm)
{
    struct comm *c = comm;
    return c->ctx;
}

bool fake_nccl_hangs(void *comm)
{
    const struct comm *c = comm;
    return c->hung != NULL && dml_gpu_stream_query(c->ctx, c->hung) == DML_PENDING;
}

/* They are left, because the thread that aborts may not call MPI; not lost, though. */
static _Atomic(struct comm *) aborted;

/* NCCL's groups belong to the thread. */
static _Thread_local struct message group[MAX_GROUP];
static _Thread_local int ngroup, depth;
static _Thread_local struct comm *group_comm;

static const dml_dtype types[] = {
    [DML__NCCL_I8] = DML_I8,   [DML__NCCL_U8] = DML_U8,     [DML__NCCL_I32] = DML_I32,
    [DML__NCCL_I64] = DML_I64, [DML__NCCL_U64] = DML_U64,   [DML__NCCL_F16] = DML_F16,
    [DML__NCCL_F32] = DML_F32, [DML__NCCL_BF16] = DML_BF16, [DML__NCCL_F64] = DML_F64,
};

static dml_op op_of(int op)
{
    static const dml_op ops[] = {[DML__NCCL_SUM] = DML_SUM,
                                 [DML__NCCL_PROD] = DML_PROD,
                                 [DML__NCCL_MAX] = DML_MAX,
                                 [DML__NCCL_MIN] = DML_MIN,
                                 [DML__NCCL_AVG] = DML_AVG};
    return op >= FIRST_OP ? (dml_op)(op - FIRST_OP) : ops[op];
}

/* Bytes of the device as a host copy; NULL is possible. */
static char *fetch(struct comm *c, const void *device, size_t bytes, void *stream)
{
    char *host = calloc(1, bytes + 1);
    if (device == NULL || host == NULL)
        return host;
    dml_gpu_copy(c->ctx, host, device, bytes, stream);
    dml_gpu_stream_sync(c->ctx, stream);
    return host;
}

static void hang(struct comm *c, dml_gpu_stream stream)
{
    for (int i = 0; i < 2; i++)
        dml_gpu_event_record(c->ctx, c->late, c->slow);
    dml_gpu_stream_wait(c->ctx, stream, c->late);
    c->hung = stream;
}

/* Back to the device, and the end of both copies. */
static int finish(struct comm *c, void *device, char *from, char *to, size_t bytes,
                  void *stream, dml_status status)
{
    if (status == DML_OK && device != NULL && bytes > 0) {
        status = dml_gpu_copy(c->ctx, device, to, bytes, stream);
        dml_gpu_stream_sync(c->ctx, stream);
    }
    free(from);
    free(to);
    if (++c->calls == c->hangs_at)
        hang(c, stream);
    if (c->calls == c->errors_after)
        atomic_store(&c->broken, true);
    return status == DML_OK ? DML__NCCL_SUCCESS : FAILED;
}

/* ---- the library -------------------------------------------------------------------
 */

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
    memset(id, 'i', sizeof *id);
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

EXPORT int ncclCommInitRankConfig(void **comm, int nranks, struct dml__nccl_id id,
                                  int rank, struct dml__nccl_config *config);
EXPORT int ncclCommInitRankConfig(void **comm, int nranks, struct dml__nccl_id id,
                                  int rank, struct dml__nccl_config *config)
{
    const char *errors = getenv("FAKE_NCCL_ERRORS"), *hangs = getenv("FAKE_NCCL_HANG");
    struct comm *c = calloc(1, sizeof *c);
    if (c == NULL || id.bytes[5] != 'i' || config->magic != DML__NCCL_MAGIC ||
        config->blocking != 0 || dml_ctx_create(NULL, &c->ctx) != DML_OK ||
        dml_comm_from_mpi(c->ctx, MPI_COMM_WORLD, &c->comm) != DML_OK ||
        dml_comm_size(c->comm) != nranks || dml_comm_rank(c->comm) != rank ||
        dml_gpu_stream_create(c->ctx, &c->slow) != DML_OK ||
        dml_gpu_event_create(c->ctx, false, &c->late) != DML_OK)
        return FAILED;
    c->polls_left = 3;
    c->hangs_at = hangs != NULL ? atoi(hangs) : -1;
    c->errors_after = errors != NULL ? atoi(errors) : -1;
    *comm = c;
    return DML__NCCL_IN_PROGRESS;
}

EXPORT int ncclCommGetAsyncError(void *comm, int *result);
EXPORT int ncclCommGetAsyncError(void *comm, int *result)
{
    struct comm *c = comm;
    *result = atomic_load(&c->broken)                    ? FAILED
              : c->polls_left > 0 && c->polls_left-- > 0 ? DML__NCCL_IN_PROGRESS
                                                         : DML__NCCL_SUCCESS;
    return DML__NCCL_SUCCESS;
}

EXPORT int ncclCommFinalize(void *comm);
EXPORT int ncclCommFinalize(void *comm)
{
    struct comm *c = comm;
    c->polls_left = 2;
    return DML__NCCL_IN_PROGRESS;
}

EXPORT int ncclCommDestroy(void *comm);
EXPORT int ncclCommDestroy(void *comm)
{
    struct comm *c = comm;
    dml_gpu_event_destroy(c->ctx, c->late);
    dml_gpu_stream_destroy(c->ctx, c->slow);
    dml_comm_destroy(c->comm);
    dml_ctx_destroy(c->ctx);
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
    struct comm *c = comm;
    atomic_fetch_add(&naborted, 1);
    fake_nccl_forget(c);
    c->before = atomic_load(&aborted);
    while (!atomic_compare_exchange_weak(&aborted, &c->before, c))
        continue;
    if (c->hung != NULL)
        dml_gpu_stream_sync(c->ctx, c->hung);
    return DML__NCCL_SUCCESS;
}

/* ---- collectives -------------------------------------------------------------------
 */

EXPORT int ncclAllReduce(const void *send, void *recv, size_t n, int type, int op,
                         void *comm, void *s);
EXPORT int ncclAllReduce(const void *send, void *recv, size_t n, int type, int op,
                         void *comm, void *s)
{
    struct comm *c = comm;
    size_t bytes = n * dml_dtype_bytes(types[type]);
    char *from = fetch(c, send, bytes, s), *to = fetch(c, NULL, bytes, s);
    return finish(c, recv, from, to, bytes, s,
                  dml_allreduce(from, to, n, types[type], op_of(op), c->comm));
}

EXPORT int ncclReduce(const void *send, void *recv, size_t n, int type, int op,
                      int root, void *comm, void *s);
EXPORT int ncclReduce(const void *send, void *recv, size_t n, int type, int op,
                      int root, void *comm, void *s)
{
    struct comm *c = comm;
    size_t bytes = n * dml_dtype_bytes(types[type]);
    char *from = fetch(c, send, bytes, s), *to = fetch(c, NULL, bytes, s);
    void *result = dml_comm_rank(c->comm) == root ? recv : NULL;
    return finish(c, result, from, to, bytes, s,
                  dml_reduce(from, to, n, types[type], op_of(op), root, c->comm));
}

EXPORT int ncclBroadcast(const void *send, void *recv, size_t n, int type, int root,
                         void *comm, void *s);
EXPORT int ncclBroadcast(const void *send, void *recv, size_t n, int type, int root,
                         void *comm, void *s)
{
    struct comm *c = comm;
    size_t bytes = n * dml_dtype_bytes(types[type]);
    const void *input = dml_comm_rank(c->comm) == root ? send : NULL;
    char *to = fetch(c, input, bytes, s);
    return finish(c, recv, NULL, to, bytes, s,
                  dml_bcast(to, n, types[type], root, c->comm));
}

EXPORT int ncclAllGather(const void *send, void *recv, size_t n, int type, void *comm,
                         void *s);
EXPORT int ncclAllGather(const void *send, void *recv, size_t n, int type, void *comm,
                         void *s)
{
    struct comm *c = comm;
    size_t bytes = n * dml_dtype_bytes(types[type]);
    size_t all = bytes * (size_t)dml_comm_size(c->comm);
    char *from = fetch(c, send, bytes, s), *to = fetch(c, NULL, all, s);
    return finish(c, recv, from, to, all, s,
                  dml_allgather(from, to, n, types[type], c->comm));
}

EXPORT int ncclReduceScatter(const void *send, void *recv, size_t n, int type, int op,
                             void *comm, void *s);
EXPORT int ncclReduceScatter(const void *send, void *recv, size_t n, int type, int op,
                             void *comm, void *s)
{
    struct comm *c = comm;
    size_t bytes = n * dml_dtype_bytes(types[type]);
    size_t all = bytes * (size_t)dml_comm_size(c->comm);
    char *from = fetch(c, send, all, s), *to = fetch(c, NULL, bytes, s);
    return finish(c, recv, from, to, bytes, s,
                  dml_reduce_scatter(from, to, n, types[type], op_of(op), c->comm));
}

EXPORT int ncclRedOpCreatePreMulSum(int *op, void *scalar, int type, int where,
                                    void *comm);
EXPORT int ncclRedOpCreatePreMulSum(int *op, void *scalar, int type, int where,
                                    void *comm)
{
    struct comm *c = comm;
    dml_op made;
    float narrow = 0;
    double scale = 0;
    if (type == DML__NCCL_F64)
        memcpy(&scale, scalar, sizeof scale);
    else
        memcpy(&narrow, scalar, sizeof narrow);
    scale = type == DML__NCCL_F64 ? scale : (double)narrow;
    if (where != DML__NCCL_SCALAR_ON_HOST ||
        dml_op_create_premul_sum(scale, c->comm, &made) != DML_OK)
        return FAILED;
    *op = (int)made + FIRST_OP;
    return DML__NCCL_SUCCESS;
}

EXPORT int ncclRedOpDestroy(int op, void *comm);
EXPORT int ncclRedOpDestroy(int op, void *comm)
{
    struct comm *c = comm;
    return dml_op_destroy(op_of(op), c->comm) == DML_OK ? DML__NCCL_SUCCESS : FAILED;
}

/* ---- messages ----------------------------------------------------------------------
 */

EXPORT int ncclGroupStart(void);
EXPORT int ncclGroupStart(void)
{
    depth++;
    return DML__NCCL_SUCCESS;
}

static int add(bool sends, void *device, size_t n, int type, int peer, void *comm,
               void *stream)
{
    size_t bytes = n * dml_dtype_bytes(types[type]);
    if (depth == 0 || ngroup == MAX_GROUP)
        return FAILED;
    group_comm = comm;
    group[ngroup++] =
        (struct message){.device = device,
                         .host = fetch(comm, sends ? device : NULL, bytes, stream),
                         .bytes = bytes,
                         .peer = peer,
                         .sends = sends,
                         .stream = stream};
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
    return add(true, u.taken, n, type, peer, comm, s);
}

EXPORT int ncclRecv(void *recv, size_t n, int type, int peer, void *comm, void *s);
EXPORT int ncclRecv(void *recv, size_t n, int type, int peer, void *comm, void *s)
{
    return add(false, recv, n, type, peer, comm, s);
}

/* What a rank sends to itself. */
static void deliver_own(int self)
{
    for (int i = 0; i < ngroup; i++)
        for (int k = 0; k < ngroup && group[i].sends && group[i].peer == self; k++)
            if (!group[k].sends && group[k].peer == self)
                memcpy(group[k].host, group[i].host, group[k].bytes);
}

EXPORT int ncclGroupEnd(void);
EXPORT int ncclGroupEnd(void)
{
    if (--depth > 0 || ngroup == 0)
        return DML__NCCL_SUCCESS;
    struct comm *c = group_comm;
    int self = dml_comm_rank(c->comm), result = DML__NCCL_SUCCESS;
    for (int i = 0; i < ngroup; i++) {
        struct message *m = &group[i];
        if (m->peer != self && m->sends)
            dml_isend(m->host, m->bytes, DML_U8, m->peer, 7, c->comm, &m->request);
        else if (m->peer != self)
            dml_irecv(m->host, m->bytes, DML_U8, m->peer, 7, c->comm, &m->request);
    }
    deliver_own(self);
    for (int i = 0; i < ngroup; i++) {
        struct message *m = &group[i];
        dml_status status = m->request != NULL ? dml_wait(&m->request) : DML_OK;
        if (finish(c, m->sends ? NULL : m->device, NULL, m->host, m->bytes, m->stream,
                   status) != DML__NCCL_SUCCESS)
            result = FAILED;
    }
    ngroup = 0;
    return result;
}
