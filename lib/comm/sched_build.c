/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing a schedule down: requests come from the communicator's pool, and keep their
 * memory when they go back, so that a loop of equal calls allocates only at first.
 */
#include "comm/request.h"
#include "comm/shm.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

dml_request *dml__sched_new(dml_comm *comm)
{
    dml_request *r = comm->pool;
    if (r != NULL)
        comm->pool = r->next;
    else
        r = dml__alloc(comm->ctx, sizeof *r);
    if (r == NULL)
        return NULL;
    r->comm = comm;
    r->next = NULL;
    r->status = DML_OK;
    r->complete = r->started = r->persistent = r->on_device = r->uses_mpi = false;
    r->nsteps = r->ndone = r->ntasks = r->tasks_left = 0;
    r->ninflight = r->nleft = r->scratch_used = 0;
    r->traced.algorithm = NULL;
    r->gate = DML__NO_STEP;
    for (int k = 0; k < DML__NKINDS; k++) {
        r->first[k] = r->head[k] = r->tail[k] = DML__NO_STEP;
        r->lane_inflight[k] = 0;
    }
    return r;
}

/* A persistent request is the caller's no more. */
static void let_go(dml_request *r)
{
    dml_request **link = &r->comm->kept;
    while (*link != r)
        link = &(*link)->next_kept;
    *link = r->next_kept;
    r->persistent = false;
}

void dml__sched_discard(dml_request *r)
{
    if (r->persistent)
        let_go(r);
    dml_request **list = r->nleft > 0 ? &r->comm->left : &r->comm->pool;
    r->next = *list;
    *list = r;
}

static void free_request(dml_request *r)
{
    for (int i = 0; i < r->scratch_capacity; i++)
        dml__free(r->scratch[i].memory);
    dml__free(r->scratch);
    dml__free(r->steps);
    dml__free(r);
}

bool dml__mpi_ended(int n, MPI_Request *requests)
{
    bool all = true;
    for (int i = 0; i < n; i++) {
        int done = 0;
        int code = MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
        all = all && code == MPI_SUCCESS && done;
    }
    return all;
}

void dml__sched_pool_free(dml_comm *comm)
{
    if (comm->kept != NULL)
        dml__log(comm->ctx, DML_LOG_WARN,
                 "dml_comm_destroy: a request of dml_coll_init was not freed by "
                 "dml_request_free; it is now, and must not be used any more");
    while (comm->kept != NULL) {
        dml_request *r = comm->kept;
        r->nleft += r->ninflight;
        dml__sched_discard(r);
    }
    while (comm->pool != NULL) {
        dml_request *r = comm->pool;
        comm->pool = r->next;
        free_request(r);
    }
    while (comm->left != NULL) {
        dml_request *r = comm->left;
        comm->left = r->next;
        if (dml__mpi_ended(r->nleft, r->inflight))
            free_request(r);
        else
            dml__left_to_mpi(r);
    }
}

/* The array grown to hold one more of "bytes"-sized items, or NULL. */
static void *grow(dml_ctx *ctx, void *array, int used, int *capacity, size_t bytes)
{
    if (used < *capacity)
        return array;
    int wanted = *capacity > 0 ? 2 * *capacity : 16;
    void *larger = dml__alloc(ctx, dml__mul((size_t)wanted, bytes));
    if (larger == NULL)
        return NULL;
    if (used > 0)
        memcpy(larger, array, (size_t)used * bytes);
    dml__free(array);
    *capacity = wanted;
    return larger;
}

void *dml__sched_scratch(dml_request *r, size_t bytes)
{
    struct dml__scratch *table = grow(r->comm->ctx, r->scratch, r->scratch_used,
                                      &r->scratch_capacity, sizeof *r->scratch);
    if (table == NULL) {
        r->status = DML_ENOMEM;
        return NULL;
    }
    r->scratch = table;
    struct dml__scratch *s = &r->scratch[r->scratch_used];
    if (s->memory == NULL || s->bytes < bytes) {
        dml__free(s->memory);
        s->memory = dml__alloc(r->comm->ctx, bytes);
        s->bytes = s->memory != NULL ? bytes : 0;
        if (s->memory == NULL) {
            r->status = DML_ENOMEM;
            return NULL;
        }
    }
    r->scratch_used++;
    return s->memory;
}

static int add(dml_request *r, const struct dml__step *step)
{
    if (r->status < 0)
        return DML__NO_STEP;
    struct dml__step *steps =
        grow(r->comm->ctx, r->steps, r->nsteps, &r->capacity, sizeof *steps);
    if (steps == NULL || r->nsteps == INT_MAX / 2) {
        r->status = DML_ENOMEM;
        return DML__NO_STEP;
    }
    r->steps = steps;
    int i = r->nsteps++;
    assert(step->after[0] < i && step->after[1] < i);
    steps[i] = *step;
    steps[i].next = DML__NO_STEP;
    if (step->after[0] == DML__NO_STEP && step->after[1] == DML__NO_STEP)
        steps[i].after[0] = r->gate;
    steps[i].done = false;
    steps[i].moved = 0;
    steps[i].inflight = 0;
    if (step->native ||
        (step->kind != DML__LOCAL && !dml__shm_reaches(r->comm->shm, step->peer)))
        r->uses_mpi = true;
    if (r->tail[step->kind] == DML__NO_STEP)
        r->first[step->kind] = r->head[step->kind] = i;
    else
        steps[r->tail[step->kind]].next = i;
    r->tail[step->kind] = i;
    return i;
}

/* A message as pieces of at most DML__MESSAGE_MAX_BYTES, each after the one before. */
static int add_message(dml_request *r, struct dml__step step, size_t bytes)
{
    int last = DML__NO_STEP;
    for (size_t offset = 0; offset < bytes; offset += DML__MESSAGE_MAX_BYTES) {
        struct dml__step piece = step;
        size_t left = bytes - offset;
        piece.n = left < DML__MESSAGE_MAX_BYTES ? left : DML__MESSAGE_MAX_BYTES;
        if (step.kind == DML__SEND)
            piece.a = (const char *)step.a + offset;
        else
            piece.dst = (char *)step.dst + offset;
        if (last != DML__NO_STEP) {
            piece.after[0] = last;
            piece.after[1] = DML__NO_STEP;
        }
        last = add(r, &piece);
    }
    return last;
}

int dml__sched_send(dml_request *r, const void *buf, size_t bytes, int peer, int after0,
                    int after1)
{
    struct dml__step s = {
        .kind = DML__SEND, .a = buf, .peer = peer, .after = {after0, after1}};
    return add_message(r, s, bytes);
}

int dml__sched_recv(dml_request *r, void *buf, size_t bytes, int peer, int after0,
                    int after1)
{
    struct dml__step s = {
        .kind = DML__RECV, .dst = buf, .peer = peer, .after = {after0, after1}};
    return add_message(r, s, bytes);
}

int dml__sched_recv_fold(dml_request *r, void *staging, size_t bytes, int peer,
                         dml__local_fn *fn, void *dst, const void *b, size_t item_bytes,
                         size_t b_bytes, double arg, int after0, int after1)
{
    if (bytes == 0)
        return DML__NO_STEP;
    /* A huge one is received in pieces, which the fold then has to wait for. */
    if (bytes > DML__MESSAGE_MAX_BYTES) {
        int got = dml__sched_recv(r, staging, bytes, peer, after0, after1);
        return dml__sched_local(r, fn, dst, staging, b, bytes / item_bytes, arg, got,
                                DML__NO_STEP);
    }
    struct dml__step s = {.kind = DML__RECV,
                          .fn = fn,
                          .dst = dst,
                          .staging = staging,
                          .b = b,
                          .n = bytes,
                          .item_bytes = (unsigned char)item_bytes,
                          .b_bytes = (unsigned char)b_bytes,
                          .arg = arg,
                          .peer = peer,
                          .after = {after0, after1}};
    return add(r, &s);
}

int dml__sched_local(dml_request *r, dml__local_fn *fn, void *dst, const void *a,
                     const void *b, size_t n, double arg, int after0, int after1)
{
    if (n == 0)
        return DML__NO_STEP;
    struct dml__step s = {.kind = DML__LOCAL,
                          .fn = fn,
                          .dst = dst,
                          .a = a,
                          .b = b,
                          .n = n,
                          .arg = arg,
                          .after = {after0, after1}};
    return add(r, &s);
}

void dml__sched_gate(dml_request *r, int step)
{
    r->gate = step;
}

static void copy_bytes(void *dst, const void *a, const void *b, size_t n, double arg)
{
    (void)b;
    (void)arg;
    dml__copy(dst, a, n);
}

int dml__sched_copy(dml_request *r, void *dst, const void *src, size_t bytes,
                    int after0, int after1)
{
    if (dst == src)
        return DML__NO_STEP;
    return dml__sched_local(r, copy_bytes, dst, src, NULL, bytes, 0, after0, after1);
}

int dml__sched_local_after_all(dml_request *r, dml__local_fn *fn, void *dst,
                               const void *a, const void *b, size_t n, double arg)
{
    int i = dml__sched_local(r, fn, dst, a, b, n, arg, DML__NO_STEP, DML__NO_STEP);
    if (i != DML__NO_STEP)
        r->steps[i].after_all = true;
    return i;
}

int dml__sched_copy_after_all(dml_request *r, void *dst, const void *src, size_t bytes)
{
    if (dst == src)
        return DML__NO_STEP;
    return dml__sched_local_after_all(r, copy_bytes, dst, src, NULL, bytes, 0);
}

void dml__sched_keep(dml_request *r, const struct dml__call *call)
{
    r->record = call->record;
    r->persistent = true;
    r->on_device = call->on_device;
    r->next_kept = r->comm->kept;
    r->comm->kept = r;
}

dml_status dml__sched_written(const dml_request *r)
{
    return r->status;
}

static int add_task(dml_request *r, dml__task_fn *advance, void *state, size_t bytes,
                    bool ordered, int after0, int after1)
{
    struct dml__step s = {.kind = DML__LOCAL,
                          .unordered = !ordered,
                          .task = advance,
                          .dst = state,
                          .n = bytes,
                          .after = {after0, after1}};
    void *first = r->persistent ? dml__sched_scratch(r, bytes) : NULL;
    if (first != NULL)
        s.a = memcpy(first, state, bytes);
    int i = add(r, &s);
    r->ntasks += i != DML__NO_STEP && ordered;
    r->tasks_left = r->ntasks;
    return i;
}

int dml__sched_task(dml_request *r, dml__task_fn *advance, void *state, size_t bytes,
                    int after0, int after1)
{
    return add_task(r, advance, state, bytes, true, after0, after1);
}

int dml__sched_device_task(dml_request *r, dml__task_fn *advance, void *state,
                           size_t bytes, int after0, int after1)
{
    return add_task(r, advance, state, bytes, false, after0, after1);
}

/* Counts and offsets of a repeated call, which the caller's arrays do not outlive. */
static void own_counts(dml_request *r)
{
    size_t nranks = (size_t)r->comm->size, bytes = nranks * sizeof(size_t);
    size_t *copy = dml__sched_scratch(r, 2 * bytes);
    if (copy == NULL)
        return;
    memcpy(copy, r->native.counts, bytes);
    memcpy(copy + nranks, r->native.offsets, bytes);
    r->native.counts = copy;
    r->native.offsets = copy + nranks;
}

int dml__sched_native(dml_request *r, const struct dml__call *call)
{
    r->native = *call;
    r->native_counts = NULL;
    if (call->counts != NULL) { /* two int arrays that must outlive the start */
        r->native_counts =
            dml__sched_scratch(r, dml__mul(2 * (size_t)r->comm->size, sizeof(int)));
        if (r->native_counts == NULL)
            return DML__NO_STEP;
        if (r->persistent)
            own_counts(r);
    }
    struct dml__step s = {.kind = DML__LOCAL, .native = true, .after = {-1, -1}};
    return add(r, &s);
}
