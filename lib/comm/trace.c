/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The timeline, in the Trace Event Format of Chrome, which Perfetto reads too: one JSON
 * object a line, a process for each rank and a thread for each communicator. Blocking
 * collectives and waits are complete events ("X"), which nest; collectives that overlap
 * others are pairs of asynchronous ones ("b", "e"). Times are the host's, in
 * microseconds.
 *
 * Source: D. Sinclair, Trace Event Format, Google, 2016.
 */
#include "comm/trace.h"

#include "comm/request.h"
#include "comm/trace_internal.h"
#include "comm/wait.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Choosing an algorithm is shown when it took longer than this: then it measured. */
static const double long_choice_s = 1e-4;

/* Microseconds with three decimals, and a point in every locale. */
static void put_us(char *text, size_t room, double seconds)
{
    unsigned long long ns = seconds > 0 ? (unsigned long long)(1e9 * seconds + 0.5) : 0;
    snprintf(text, room, "%llu.%03llu", ns / 1000, ns % 1000);
}

/* ---- writing -----------------------------------------------------------------------
 */

static int print_event(const struct dml__trace *t, const struct dml__event *e,
                       char *line)
{
    char args[256];
    int used = snprintf(args, sizeof args, "\"sent\":%llu,\"received\":%llu",
                        (unsigned long long)e->sent, (unsigned long long)e->received);
    size_t room = sizeof args - (size_t)used;
    if (e->kind == DML__WAITED)
        snprintf(args, sizeof args, "\"for\":%d", e->peer);
    else if (e->kind != DML__SPAN)
        snprintf(args + used, room, ",\"algorithm\":\"%s\",\"bytes\":%zu,\"number\":%u",
                 e->algorithm, e->bytes, e->number);
    char begin[32], length[32], id[64] = "", when[96];
    const char *phase = e->kind == DML__STARTED ? "b"
                        : e->kind == DML__ENDED ? "e"
                                                : "X";
    if (phase[0] == 'X') {
        put_us(begin, sizeof begin, e->begin_s);
        put_us(length, sizeof length, e->end_s - e->begin_s);
        snprintf(when, sizeof when, "\"ts\":%s,\"dur\":%s", begin, length);
    } else {
        put_us(begin, sizeof begin, e->end_s);
        snprintf(when, sizeof when, "\"ts\":%s", begin);
        snprintf(id, sizeof id, "\"id\":\"%d.%u.%u\",", t->world_rank, t->lane,
                 e->number);
    }
    return snprintf(line, DML__TRACE_LINE,
                    "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"%s\",%s%s,\"pid\":%d,"
                    "\"tid\":%u,\"args\":{%s}},\n",
                    e->name, e->kind == DML__WAITED ? "wait" : "dml", phase, id, when,
                    t->world_rank, t->lane, args);
}

static void flush(struct dml__trace *t)
{
    size_t used = 0;
    for (int i = 0; i < t->nevents; i++) {
        if (used + DML__TRACE_LINE > DML__TRACE_TEXT) {
            dml__trace_append(t->file, t->text, used);
            used = 0;
        }
        used += (size_t)print_event(t, &t->events[i], t->text + used);
    }
    if (used > 0)
        dml__trace_append(t->file, t->text, used);
    t->nevents = 0;
}

/* Adds an event, with the bytes that no event has told of yet. */
static void add(struct dml__trace *t, struct dml__event e)
{
    const dml_comm_stats *stats = &t->comm->stats;
    if (t->file == NULL)
        return;
    if (e.kind != DML__WAITED && e.kind != DML__STARTED) {
        e.sent = stats->bytes_sent - t->sent;
        e.received = stats->bytes_received - t->received;
        t->sent = stats->bytes_sent;
        t->received = stats->bytes_received;
    }
    t->events[t->nevents++] = e;
    if (t->nevents < DML__TRACE_EVENTS - 1)
        return;
    struct dml__event own = {
        .kind = DML__SPAN, .name = "write trace", .begin_s = dml__now_s()};
    flush(t);
    own.end_s = dml__now_s();
    t->events[t->nevents++] = own;
}

/* ---- operations --------------------------------------------------------------------
 */

static int row_of(struct dml__trace *t, dml_coll coll, const char *algorithm)
{
    int i = 0;
    while (i < t->nrows &&
           (t->rows[i].coll != coll || t->rows[i].algorithm != algorithm))
        i++;
    if (i == t->nrows && i < DML__TRACE_ROWS) {
        t->rows[i].coll = coll;
        t->rows[i].algorithm = algorithm;
        t->nrows++;
    }
    return i < DML__TRACE_ROWS ? i : DML__TRACE_ROWS - 1;
}

static struct dml__traced describe(struct dml__trace *t, const struct dml__call *call,
                                   const char *algorithm)
{
    return (struct dml__traced){
        .algorithm = algorithm,
        .bytes = call->total * call->elem_bytes,
        .row = row_of(t, call->coll, algorithm),
        .coll = call->coll,
    };
}

static void record(struct dml__trace *t, const struct dml__traced *op,
                   enum dml__event_kind kind)
{
    double end_s = dml__now_s();
    if (kind != DML__STARTED) {
        struct dml__trace_row *row = &t->rows[op->row];
        row->calls++;
        row->bytes += (double)op->bytes;
        row->seconds += end_s - op->begin_s;
    }
    add(t, (struct dml__event){.kind = kind,
                               .name = dml_coll_name(op->coll),
                               .algorithm = op->algorithm,
                               .begin_s = op->begin_s,
                               .end_s = kind == DML__STARTED ? op->begin_s : end_s,
                               .bytes = op->bytes,
                               .number = op->number});
}

struct dml__trace *dml__comm_trace(const dml_comm *comm)
{
    return comm->trace;
}

void dml__trace_choosing(struct dml__trace *t)
{
    t->choosing_s = dml__now_s();
}

void dml__trace_chosen(struct dml__trace *t)
{
    double now_s = dml__now_s();
    if (now_s - t->choosing_s > long_choice_s)
        add(t, (struct dml__event){.kind = DML__SPAN,
                                   .name = "choose algorithm",
                                   .begin_s = t->choosing_s,
                                   .end_s = now_s});
    t->choosing_s = 0;
}

void dml__trace_enter(struct dml__trace *t, const struct dml__call *call,
                      const char *algorithm)
{
    t->current = describe(t, call, algorithm);
    t->current.number = t->next_number++;
    t->current.begin_s = dml__now_s();
}

void dml__trace_leave(struct dml__trace *t)
{
    record(t, &t->current, DML__OPERATION);
    t->current.algorithm = NULL;
}

void dml__trace_mark(dml_request *r, const struct dml__call *call,
                     const char *algorithm)
{
    if (r->comm->trace != NULL)
        r->traced = describe(r->comm->trace, call, algorithm);
}

void dml__trace_begin(dml_request *r)
{
    struct dml__trace *t = r->comm->trace;
    r->traced.number = t->next_number++;
    r->traced.begin_s = dml__now_s();
    record(t, &r->traced, DML__STARTED);
}

void dml__trace_end(dml_request *r)
{
    record(r->comm->trace, &r->traced, DML__ENDED);
}

/* ---- waits -------------------------------------------------------------------------
 */

/* The sender of the first message that has not come, or -1. */
static int awaited_sender(const dml_request *r)
{
    for (int i = 0; i < r->nsteps; i++)
        if (r->steps[i].kind == DML__RECV && !r->steps[i].done)
            return r->steps[i].peer;
    return -1;
}

/* The rank of the node that has announced least so far. */
static int slowest_neighbour(const dml_comm *comm)
{
    const struct dml__node *node = comm->node;
    int slowest = -1;
    for (int i = 0; node != NULL && i < node->size; i++)
        if (i != node->rank && (slowest < 0 || node->seen[i] < node->seen[slowest]))
            slowest = i;
    return slowest < 0 ? -1 : node->rank_of[slowest];
}

void dml__trace_look(const dml_comm *comm, struct dml__idle *idle)
{
    const dml_request *r = comm->active;
    idle->looked = true; /* the last look counts: then only the slowest is missing */
    idle->peer = r != NULL ? awaited_sender(r) : -1;
    if (idle->peer < 0)
        idle->peer = slowest_neighbour(comm);
    const struct dml__trace *t = comm->trace;
    idle->row = t->current.algorithm != NULL               ? t->current.row
                : r != NULL && r->traced.algorithm != NULL ? r->traced.row
                                                           : -1;
}

void dml__trace_wait(dml_comm *comm, const struct dml__idle *idle, double end_s)
{
    struct dml__trace *t = comm->trace;
    if (t->choosing_s > 0)
        return;
    int peer = idle->looked ? idle->peer : -1, row = idle->looked ? idle->row : -1;
    if (row < 0 && t->current.algorithm != NULL)
        row = t->current.row;
    if (row >= 0) {
        struct dml__trace_row *at = &t->rows[row];
        at->wait_s += end_s - idle->begin_s;
        if (peer >= 0)
            t->waited_s[row * comm->size + peer] += end_s - idle->begin_s;
    }
    add(t, (struct dml__event){.kind = DML__WAITED,
                               .name = "wait",
                               .begin_s = idle->begin_s,
                               .end_s = end_s,
                               .peer = peer >= 0 ? t->world_of[peer] : -1});
}

/* ---- life --------------------------------------------------------------------------
 */

bool dml__trace_wanted(const dml_ctx *ctx)
{
    const char *summary = dml__ctx_env(ctx, "SUMMARY");
    return summary != NULL && strcmp(summary, "1") == 0;
}

/* Ranks in MPI_COMM_WORLD, by which readers know the processes. */
static void find_world_ranks(struct dml__trace *t)
{
    MPI_Group world = MPI_GROUP_NULL, own = MPI_GROUP_NULL;
    MPI_Comm_rank(MPI_COMM_WORLD, &t->world_rank);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Comm_group(t->comm->coll, &own);
    for (int i = 0; i < t->comm->size; i++) {
        MPI_Group_translate_ranks(own, 1, &i, world, &t->world_of[i]);
        if (t->world_of[i] == MPI_UNDEFINED)
            t->world_of[i] = -1;
    }
    MPI_Group_free(&world);
    MPI_Group_free(&own);
}

/* Names for the rank's process and the communicator's thread. */
static void introduce(struct dml__trace *t)
{
    char host[64] = "", line[DML__TRACE_LINE];
    gethostname(host, sizeof host - 1);
    int used = snprintf(
        line, sizeof line,
        "{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"rank "
        "%d on %s\"}},\n"
        "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%d,\"tid\":%u,\"args\":"
        "{\"name\":\"communicator %u of %d ranks\"}},\n",
        t->world_rank, t->world_rank, host, t->world_rank, t->lane, t->lane,
        t->comm->size);
    dml__trace_append(t->file, line, (size_t)used);
}

static void discard(struct dml__trace *t)
{
    if (t == NULL)
        return;
    dml__free(t->text);
    dml__free(t->events);
    dml__free(t->waited_s);
    dml__free(t->world_of);
    dml__free(t);
}

void dml__trace_open(dml_comm *comm, bool summarise)
{
    dml_ctx *ctx = comm->ctx;
    struct dml__trace_file *file = dml__trace_file(ctx, comm->node_rank == 0);
    if (file == NULL && !summarise)
        return;
    size_t nranks = (size_t)comm->size;
    struct dml__trace *t = dml__alloc(ctx, sizeof *t);
    if (t != NULL) {
        t->comm = comm;
        t->file = file;
        t->opened_s = dml__now_s();
        t->world_of = dml__alloc(ctx, dml__mul(nranks, sizeof *t->world_of));
        t->waited_s =
            dml__alloc(ctx, dml__mul(nranks * DML__TRACE_ROWS, sizeof(double)));
        t->events = dml__alloc(
            ctx, dml__mul(file != NULL ? DML__TRACE_EVENTS : 0, sizeof *t->events));
        t->text = dml__alloc(ctx, file != NULL ? DML__TRACE_TEXT : 0);
    }
    double lacks = t == NULL || t->world_of == NULL || t->waited_s == NULL ||
                   t->events == NULL || t->text == NULL,
           some_lack = lacks;
    if (summarise && dml__comm_max(comm, &some_lack, 1) != DML_OK)
        some_lack = 1;
    if (lacks > 0) {
        discard(t);
        dml__log(ctx, DML_LOG_WARN, "no memory for a trace: none is made");
        return;
    }
    t->summarise = summarise && some_lack <= 0;
    find_world_ranks(t);
    if (file != NULL) {
        t->lane = dml__trace_lane(file);
        introduce(t);
    }
    comm->trace = t;
}

void dml__trace_close(dml_comm *comm)
{
    struct dml__trace *t = comm->trace;
    if (t == NULL)
        return;
    if (t->file != NULL) {
        double now_s = dml__now_s();
        add(t, (struct dml__event){.kind = DML__SPAN,
                                   .name = "destroy communicator",
                                   .begin_s = now_s,
                                   .end_s = now_s});
        flush(t);
    }
    if (t->summarise)
        dml__trace_summarise(t);
    comm->trace = NULL;
    discard(t);
}
