/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The work of the library that does as NCCL: a kernel in the caller's stream, which
 * exchanges and reduces when the stream comes there, as often as a graph is launched.
 * Ranks' parts are folded in the order of the ranks.
 */
#include "core/half.h"
#include "fake_nccl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const dml_dtype fake_nccl_types[] = {
    [DML__NCCL_I8] = DML_I8,   [DML__NCCL_U8] = DML_U8,     [DML__NCCL_I32] = DML_I32,
    [DML__NCCL_I64] = DML_I64, [DML__NCCL_U64] = DML_U64,   [DML__NCCL_F16] = DML_F16,
    [DML__NCCL_F32] = DML_F32, [DML__NCCL_BF16] = DML_BF16, [DML__NCCL_F64] = DML_F64,
};

/* ---- arithmetic --------------------------------------------------------------------
 */

static bool is_float(dml_dtype type)
{
    return type == DML_F16 || type == DML_BF16 || type == DML_F32 || type == DML_F64;
}

static double get_float(dml_dtype type, const char *p, size_t i)
{
    uint16_t half;
    float single;
    double number;
    memcpy(&half, p + i * sizeof half, sizeof half);
    if (type == DML_F16)
        return (double)dml__f16_to_f32(half);
    if (type == DML_BF16)
        return (double)dml__bf16_to_f32(half);
    if (type == DML_F32) {
        memcpy(&single, p + i * sizeof single, sizeof single);
        return (double)single;
    }
    memcpy(&number, p + i * sizeof number, sizeof number);
    return number;
}

static void put_float(dml_dtype type, char *p, size_t i, double number)
{
    float single = (float)number;
    uint16_t half =
        type == DML_F16 ? dml__f32_to_f16(single) : dml__f32_to_bf16(single);
    if (type == DML_F64)
        memcpy(p + i * sizeof number, &number, sizeof number);
    else if (type == DML_F32)
        memcpy(p + i * sizeof single, &single, sizeof single);
    else
        memcpy(p + i * sizeof half, &half, sizeof half);
}

/* Sums in f32 but of f64: what two numbers of f32 give in f64, rounded, is that. */
static double fold_float(const struct fake_work *w, double a, double b)
{
    double c = w->op == DML__NCCL_PROD  ? a * b
               : w->op == DML__NCCL_MIN ? (b < a ? b : a)
               : w->op == DML__NCCL_MAX ? (b > a ? b : a)
                                        : a + b;
    return fake_nccl_types[w->type] == DML_F64 ? c : (double)(float)c;
}

/* Integers in 64 bits, which keep what wraps. */
static uint64_t get_whole(dml_dtype type, const char *p, size_t i)
{
    const size_t bytes = dml_dtype_bytes(type);
    uint64_t wide = 0;
    memcpy(&wide, p + i * bytes, bytes); /* little-endian */
    if (type == DML_I8)
        return (uint64_t)(int64_t)(int8_t)wide;
    return type == DML_I32 ? (uint64_t)(int64_t)(int32_t)wide : wide;
}

static uint64_t fold_whole(const struct fake_work *w, uint64_t a, uint64_t b)
{
    const dml_dtype type = fake_nccl_types[w->type];
    const bool plain = type == DML_U8 || type == DML_U64;
    const bool less = plain ? b < a : (int64_t)b < (int64_t)a;
    if (w->op == DML__NCCL_PROD)
        return a * b;
    if (w->op == DML__NCCL_MIN)
        return less ? b : a;
    if (w->op == DML__NCCL_MAX)
        return less ? a : b;
    return a + b;
}

/* parts: [nranks][n] */
static void fold(const struct fake_work *w, const char *parts, char *out)
{
    const dml_dtype type = fake_nccl_types[w->type];
    const size_t bytes = dml_dtype_bytes(type);
    const int nranks = w->comm->nranks;
    for (size_t i = 0; i < w->n; i++) {
        double sum = 0;
        uint64_t whole = 0;
        for (int r = 0; r < nranks; r++) {
            const size_t at = (size_t)r * w->n + i;
            if (is_float(type)) {
                double x = get_float(type, parts, at);
                sum = r == 0 ? x : fold_float(w, sum, x);
            } else {
                uint64_t x = get_whole(type, parts, at);
                whole = r == 0 ? x : fold_whole(w, whole, x);
            }
        }
        if (is_float(type))
            put_float(type, out, i, w->op == DML__NCCL_AVG ? sum / nranks : sum);
        else
            memcpy(out + i * bytes, &whole, bytes);
    }
}

/* ---- exchange ----------------------------------------------------------------------
 */

/* To and from a rank, or all (-1); what comes from a rank, or goes there, is "bytes"
 * long, and of several one behind the other, but what is given to all is the same where
 * "step" is 0. */
struct side {
    int peer;
    char *data;
    size_t step;
};

static size_t add(struct wire_move *moves, int nranks, const struct side *side,
                  size_t bytes, bool sends)
{
    size_t n = 0;
    for (int r = 0; r < nranks; r++)
        if (side->data != NULL && (side->peer < 0 || side->peer == r))
            moves[n++] = (struct wire_move){
                .data = side->data + (side->peer < 0 ? (size_t)r * side->step : 0),
                .bytes = bytes,
                .peer = r,
                .sends = sends};
    return n;
}

static bool exchange(struct fake_comm *c, struct side to, struct side from,
                     size_t bytes)
{
    struct wire_move *moves = calloc(2 * (size_t)c->nranks, sizeof *moves);
    if (moves == NULL)
        abort();
    size_t n = add(moves, c->nranks, &to, bytes, true);
    n += add(moves + n, c->nranks, &from, bytes, false);
    bool done = wire_move(c->wire, moves, n, &c->stop);
    free(moves);
    return done;
}

/* The input times this rank's factor, to be freed. */
static char *scaled(const struct fake_work *w, const char *send, size_t n)
{
    const dml_dtype type = fake_nccl_types[w->type];
    char *x = malloc(n * dml_dtype_bytes(type));
    for (size_t i = 0; x != NULL && i < n; i++)
        put_float(type, x, i, get_float(type, send, i) * w->scale);
    return x;
}

static void run_reduction(const struct fake_work *w, char *send, char *recv,
                          size_t bytes)
{
    struct fake_comm *c = w->comm;
    const bool all = w->kind != FAKE_REDUCE, blocks = w->kind == FAKE_REDUCE_SCATTER;
    const bool mine = all || c->rank == w->root;
    const size_t nranks = (size_t)c->nranks;
    char *parts = mine ? malloc(nranks * bytes) : NULL;
    char *own =
        w->op >= FIRST_OP ? scaled(w, send, w->n * (blocks ? nranks : 1)) : NULL;
    const struct side to = {all ? -1 : w->root, own != NULL ? own : send,
                            blocks ? bytes : 0};
    if (exchange(c, to, (struct side){-1, parts, bytes}, bytes) && mine)
        fold(w, parts, recv);
    free(parts);
    free(own);
}

/* The buffers may be one: what is sent is kept. */
static void run_copies(const struct fake_work *w, char *send, char *recv, size_t bytes)
{
    struct fake_comm *c = w->comm;
    const bool roots = w->kind == FAKE_BROADCAST;
    char *kept = !roots || c->rank == w->root ? malloc(bytes) : NULL;
    if (kept != NULL)
        memcpy(kept, send, bytes);
    exchange(c, (struct side){-1, kept, 0},
             (struct side){roots ? w->root : -1, recv, bytes}, bytes);
    free(kept);
}

static void run_group(struct fake_comm *c, const struct fake_group *group)
{
    struct wire_move *moves = calloc((size_t)group->n, sizeof *moves);
    for (int i = 0; i < group->n; i++) {
        moves[i] = group->moves[i];
        moves[i].data = dml_gpu_view(moves[i].data);
    }
    wire_move(c->wire, moves, (size_t)group->n, &c->stop);
    free(moves);
}

/* ---- work --------------------------------------------------------------------------
 */

/* Longer than anybody waits, unless it is aborted. */
static void hang(struct fake_comm *c)
{
    enum { PERIODS = 180, PERIOD_NS = 10000000 };
    atomic_store(&c->hanging, true);
    for (int i = 0; i < PERIODS && !atomic_load(&c->stop); i++)
        nanosleep(&(struct timespec){.tv_nsec = PERIOD_NS}, NULL);
    atomic_store(&c->hanging, false);
}

static void run(const void *args, unsigned blocks)
{
    const struct fake_work *w = args;
    struct fake_comm *c = w->comm;
    char *send = dml_gpu_view(w->send), *recv = dml_gpu_view(w->recv);
    size_t bytes = w->n * dml_dtype_bytes(fake_nccl_types[w->type]);
    (void)blocks;
    pthread_mutex_lock(&c->working);
    if (w->kind == FAKE_GROUP)
        run_group(c, w->group);
    else if (w->kind == FAKE_BROADCAST || w->kind == FAKE_ALLGATHER)
        run_copies(w, send, recv, bytes);
    else
        run_reduction(w, send, recv, bytes);
    if (w->hangs)
        hang(c);
    pthread_mutex_unlock(&c->working);
    if (!w->captured)
        atomic_fetch_sub(&c->pending, 1);
}

static const dml_gpu_kernel kernel = {.name = "fake_nccl", .threads = 1, .host = run};

/* Behind the communicator's work in other streams, as NCCL orders it; in a graph the
 * fake device keeps the order of the calls. */
static dml_status launch(const struct fake_work *w, dml_gpu_stream stream)
{
    struct fake_comm *c = w->comm;
    dml_status status = DML_OK;
    if (!w->captured)
        status = dml_gpu_stream_wait(c->ctx, stream, c->ordered);
    if (status == DML_OK)
        status = dml_gpu_launch(c->ctx, &kernel, 1, w, sizeof *w, stream);
    if (status == DML_OK && !w->captured)
        status = dml_gpu_event_record(c->ctx, c->ordered, stream);
    return status;
}

/* NCCL's kernels read and write whole elements, which a device cannot there. */
static bool is_misaligned(const struct fake_work *w)
{
    const bool reads = w->kind == FAKE_ALLREDUCE || w->kind == FAKE_REDUCE ||
                       w->kind == FAKE_REDUCE_SCATTER;
    const bool writes = w->kind != FAKE_REDUCE || w->comm->rank == w->root;
    const size_t bytes = reads ? dml_dtype_bytes(fake_nccl_types[w->type]) : 1;
    return (uintptr_t)w->send % bytes != 0 ||
           (writes && (uintptr_t)w->recv % bytes != 0);
}

int fake_nccl_queue(struct fake_work *w, void *stream)
{
    struct fake_comm *c = w->comm;
    if (is_misaligned(w))
        return FAILED;
    if (w->op >= FIRST_OP)
        w->scale = c->scales[w->op - FIRST_OP];
    w->hangs = ++c->calls == c->hangs_at;
    if (c->calls == c->errors_after)
        atomic_store(&c->broken, true);
    if (dml_gpu_stream_captured(c->ctx, stream, &w->captured) != DML_OK)
        return FAILED;
    atomic_fetch_add(&c->pending, !w->captured);
    return launch(w, stream) == DML_OK ? DML__NCCL_SUCCESS : FAILED;
}
