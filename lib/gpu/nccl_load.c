/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NCCL found at run time (doc/adr/0014), its results as errors, and the thread that
 * watches a communicator: it polls NCCL for errors of the background, and ends an
 * operation that does not end within $DML_TIMEOUT_S.
 */
#include "comm/progress.h"
#include "gpu/nccl.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool refuse(char *why, size_t room, const char *format, ...) DML__PRINTF(3, 4);

static bool refuse(char *why, size_t room, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, room, format, args);
    va_end(args);
    return false;
}

bool dml__nccl_load(const dml_ctx *ctx, struct dml__nccl *lib, char *why, size_t room)
{
    const char *other = dml__ctx_env(ctx, "TEST_NCCL");
    const char *name = other != NULL ? other : "libnccl.so.2";
    if (other == NULL && dml__gpu_opened(ctx)->ops == &dml__gpu_fake)
        return refuse(why, room, "the fake device has no NCCL");
    void *handle = dlopen(name, RTLD_NOW | RTLD_NODELETE), *symbol;
    int major = DML__NCCL_NEEDED / 10000, minor = DML__NCCL_NEEDED / 100 % 100;
    if (handle == NULL)
        return refuse(why, room, "%s is not found; NCCL %d.%d or later is needed", name,
                      major, minor);
    dlclose(handle); /* it stays */
#define FIND(member, text)                                                          \
    symbol = dlsym(handle, "nccl" text);                                            \
    if (symbol == NULL)                                                             \
        return refuse(why, room, "%s has no nccl%s; NCCL %d.%d or later is needed", \
                      name, text, major, minor);                                    \
    memcpy(&lib->member, &symbol, sizeof symbol);
#define FIND_CALL(member, text, args) FIND(member, #text)
    DML__NCCL_CALLS(FIND_CALL)
    FIND(error_text, "GetErrorString")
    FIND(last_error, "GetLastError")
#undef FIND_CALL
#undef FIND
    if (lib->get_version(&lib->version) == DML__NCCL_SUCCESS &&
        lib->version >= DML__NCCL_NEEDED)
        return true;
    return refuse(why, room, "NCCL %d.%d.%d is too old; %d.%d or later is needed",
                  lib->version / 10000, lib->version / 100 % 100, lib->version % 100,
                  major, minor);
}

dml_status dml__nccl_check(struct dml__nccl_comm *n, const char *call, int result)
{
    if (result == DML__NCCL_SUCCESS)
        return DML_OK;
    return dml__fail(n->gpu->ctx, DML_ECOMM, "dml_nccl",
                     "NCCL %d.%d.%d on rank %d: %s says %s: %.200s",
                     n->lib.version / 10000, n->lib.version / 100 % 100,
                     n->lib.version % 100, n->rank, call, n->lib.error_text(result),
                     n->lib.last_error(n->comm));
}

dml_status dml__nccl_settle(struct dml__nccl_comm *n, const char *call, int result)
{
    double begin_s = dml__now_s();
    while (result == DML__NCCL_IN_PROGRESS) {
        int found = DML__NCCL_SUCCESS;
        int asked = n->lib.async_error(n->comm, &found);
        result = asked != DML__NCCL_SUCCESS ? asked : found;
        if (n->timeout_s > 0 && dml__now_s() - begin_s > n->timeout_s)
            return dml__fail(
                n->gpu->ctx, DML_ETIMEOUT, "dml_nccl",
                "%s did not end within %g s on rank %d: a rank is missing, "
                "or NCCL cannot reach it (NCCL_DEBUG=INFO)",
                call, n->timeout_s, n->rank);
        if (dml__comm_alarmed(n->owner))
            return dml__fail(n->gpu->ctx, DML_EPEER, "dml_nccl",
                             "%s is not waited for: the communicator has failed; see "
                             "the error of the rank that found it",
                             call);
        if (!dml__progress_others(n->owner))
            sched_yield();
    }
    return dml__nccl_check(n, call, result);
}

/* ---- the watch ---------------------------------------------------------------------
 */

dml_status dml__nccl_state(struct dml__nccl_comm *n, const char *where)
{
    dml_status failed = (dml_status)atomic_load(&n->failed);
    return failed == DML_OK ? DML_OK
                            : dml__fail(n->gpu->ctx, failed, where, "%s", n->text);
}

dml_status dml__nccl_judge(struct dml__nccl_comm *n, const char *where)
{
    dml__comm_enter(n->owner);
    dml_status status = dml__comm_check(n->owner, where);
    if (status == DML_OK) {
        status = dml__nccl_state(n, where);
        if (status < 0)
            dml__comm_break(n->owner, status);
    }
    dml__comm_leave(n->owner);
    return status;
}

static dml_status mark(struct dml__nccl_comm *n, const struct dml__nccl_call *call,
                       uint64_t ncalls, bool graph, void *stream)
{
    const int i = n->nmarks < DML__NCCL_MARKS ? n->nmarks : DML__NCCL_MARKS - 1;
    n->last = (struct dml__nccl_mark){.number = n->last.number + n->last.ncalls,
                                      .ncalls = ncalls,
                                      .graph = graph,
                                      .call = *call,
                                      .since_s = dml__now_s()};
    n->mark[i] = n->last;
    n->nmarks = i + 1;
    dml__roll_queued(n->owner, n->last.number + ncalls - 1);
    return n->gpu->ops->event_record(n->gpu, n->marker[i], stream);
}

dml_status dml__nccl_note(struct dml__nccl_comm *n, const struct dml__call *call,
                          void *stream)
{
    const struct dml__nccl_call what = {call->coll, call->total * call->elem_bytes};
    bool captured = false;
    DML_TRY(n->gpu->ops->stream_captured(n->gpu, stream, &captured));
    return captured ? dml__graphs_keep(n->gpu, n, &what)
                    : mark(n, &what, 1, false, stream);
}

dml_status dml__nccl_note_graph(struct dml__nccl_comm *n,
                                const struct dml__nccl_call *first, uint64_t ncalls,
                                void *stream)
{
    pthread_mutex_lock(&n->lock);
    dml_status status = n->comm != NULL ? mark(n, first, ncalls, true, stream) : DML_OK;
    pthread_mutex_unlock(&n->lock);
    return status;
}

static void describe(const struct dml__nccl_mark *mark, char *text, size_t room)
{
    const char *coll = dml_coll_name(mark->call.coll);
    const unsigned long long number = mark->number, ncalls = mark->ncalls;
    if (ncalls == 0)
        snprintf(text, room, "before the first call");
    else if (mark->graph)
        snprintf(text, room,
                 "a graph of %llu collective%s, the first %s of %zu bytes, calls %llu "
                 "to %llu",
                 ncalls, ncalls > 1 ? "s" : "", coll, mark->call.bytes, number,
                 number + ncalls - 1);
    else
        snprintf(text, room, "%s of %zu bytes, call %llu", coll, mark->call.bytes,
                 number);
}

/* Ends NCCL's communicator with an error that names what was under way. Lock held, but
 * let go for the abort, since that waits for a capture under way whose thread may want
 * the lock. The error is there first: the abort lets kernels exit, and the events
 * behind them pass. */
static void give_up(struct dml__nccl_comm *n, dml_status status,
                    const struct dml__nccl_mark *mark, const char *why)
{
    char what[200];
    describe(mark, what, sizeof what);
    snprintf(n->text, sizeof n->text,
             "%s by nccl on rank %d: %s; NCCL's communicator is aborted", what, n->rank,
             why);
    atomic_store(&n->failed, (int)status);
    dml__log(n->gpu->ctx, DML_LOG_ERROR, "%s", n->text);
    void *comm = n->comm;
    n->comm = NULL;
    dml__graphs_end(n->gpu, n);
    pthread_mutex_unlock(&n->lock);
    n->lib.abort(comm);
    pthread_mutex_lock(&n->lock);
}

/* The operation that was watched has ended: the time of the next runs from now. */
static void passed(struct dml__nccl_comm *n)
{
    void *free_marker = n->marker[0];
    n->nmarks--;
    memmove(n->marker, n->marker + 1, (DML__NCCL_MARKS - 1) * sizeof n->marker[0]);
    memmove(n->mark, n->mark + 1, (DML__NCCL_MARKS - 1) * sizeof n->mark[0]);
    n->marker[DML__NCCL_MARKS - 1] = free_marker;
    n->mark[0].since_s = dml__now_s();
}

/* A rank has failed, whose part of what is queued may never come: the stream could be
 * waited for in vain. Callers that wait see the failure itself sooner: they have until
 * the next look. */
static bool owner_failed(struct dml__nccl_comm *n)
{
    const bool before = n->alarmed;
    n->alarmed = dml__comm_alarmed(n->owner);
    return before;
}

static void miss(struct dml__nccl_comm *n, const struct dml__nccl_mark *mark)
{
    char who[480], why[560];
    const uint64_t last = mark->number + mark->ncalls - 1;
    bool known = dml__roll_holds_up(n->owner, last, who, sizeof who);
    snprintf(why, sizeof why, "it has not ended after %g s%s%s", n->timeout_s,
             known ? ": " : "", who);
    give_up(n, DML_ETIMEOUT, mark, why);
}

static void look(struct dml__nccl_comm *n)
{
    int result = DML__NCCL_SUCCESS;
    char why[280];
    if (owner_failed(n)) {
        give_up(n, DML_EPEER, n->nmarks > 0 ? &n->mark[0] : &n->last,
                "the communicator has failed; see the error of the rank that found it");
        return;
    }
    if (n->lib.async_error(n->comm, &result) != DML__NCCL_SUCCESS ||
        (result != DML__NCCL_SUCCESS && result != DML__NCCL_IN_PROGRESS)) {
        snprintf(why, sizeof why, "%s: %.200s", n->lib.error_text(result),
                 n->lib.last_error(n->comm));
        give_up(n, DML_ECOMM, &n->last, why);
        return;
    }
    dml_status status = DML_OK;
    while (status == DML_OK && n->nmarks > 0) {
        status = n->gpu->ops->event_query(n->gpu, n->marker[0]);
        if (status == DML_OK)
            passed(n);
    }
    if (n->nmarks == 0)
        return;
    if (status != DML_PENDING)
        give_up(n, status, &n->mark[0], "the GPU failed");
    else if (n->timeout_s > 0 && dml__now_s() - n->mark[0].since_s > n->timeout_s)
        miss(n, &n->mark[0]);
}

static void *watch(void *argument)
{
    enum { PERIOD_NS = 100000000 };
    struct dml__nccl_comm *n = argument;
    int mode = DML__GPU_RELAXED; /* the program may capture meanwhile */
    bool entered = dml__gpu_enter(n->gpu) == DML_OK;
    if (entered)
        n->gpu->ops->capture_mode(n->gpu, &mode);
    pthread_mutex_lock(&n->lock);
    if (!entered)
        give_up(n, DML_ECOMM, &n->last, "the thread that watches it gets no GPU");
    while (!n->stop && n->comm != NULL) {
        struct timespec until;
        look(n);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PERIOD_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (!n->stop)
            pthread_cond_timedwait(&n->stop_or_work, &n->lock, &until);
    }
    pthread_mutex_unlock(&n->lock);
    if (entered)
        dml__gpu_leave(n->gpu);
    return NULL;
}

dml_status dml__nccl_watch(struct dml__nccl_comm *n)
{
    n->threaded = pthread_create(&n->thread, NULL, watch, n) == 0;
    return n->threaded ? DML_OK
                       : dml__fail(n->gpu->ctx, DML_ENOMEM, "dml_nccl",
                                   "no thread to watch NCCL");
}

void dml__nccl_unwatch(struct dml__nccl_comm *n)
{
    if (!n->threaded)
        return;
    pthread_mutex_lock(&n->lock);
    n->stop = true;
    pthread_cond_signal(&n->stop_or_work);
    pthread_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
    n->threaded = false;
}
