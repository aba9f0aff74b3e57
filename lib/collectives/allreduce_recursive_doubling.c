/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-reduce by recursive doubling: in step k ranks that differ in bit k exchange whole
 * vectors, so log2 P latencies suffice; for small vectors.
 *
 * When P is no power of two, each of the first P - 2^k odd ranks first takes its left
 * neighbour's vector in, and hands the result back at the end.
 *
 * Source: Thakur, Rabenseifner and Gropp, IJHPCA 2005, section 4.5.
 */
#include "collectives/coll_internal.h"
#include "collectives/tree.h"

struct state {
    const struct dml__call *call;
    dml_request *request;
    size_t bytes;    /* of the vector as accumulators */
    char *peers;     /* the other side's vector */
    char *sum;       /* own partial sum: recv itself where types allow */
    const void *now; /* where the partial sum is: the input, then sum */
    int ready;       /* step that completed it */
};

/* Adds a peer's vector. While the own one is still being sent it must not change:
 * "sent" is that step. */
static void take(struct state *s, int peer, int sent)
{
    const struct dml__call *call = s->call;
    int got =
        dml__sched_recv(s->request, s->peers, s->bytes, peer, s->ready, DML__NO_STEP);
    /* The lower rank's vector comes first, so that both sides get the same bits. */
    bool lower = dml_comm_rank(call->comm) < peer;
    s->ready =
        dml__sched_local(s->request, call->red.merge, s->sum, lower ? s->now : s->peers,
                         lower ? s->peers : s->now, call->count, 0, got, sent);
    s->now = s->sum;
}

static void exchange(struct state *s, int peer)
{
    int sent =
        dml__sched_send(s->request, s->now, s->bytes, peer, s->ready, DML__NO_STEP);
    take(s, peer, sent);
}

static void build(const struct dml__call *call, dml_request *request)
{
    const struct dml__reduction *red = &call->red;
    int nranks = dml_comm_size(call->comm), rank = dml_comm_rank(call->comm);
    bool in_recv = red->acc_bytes == call->elem_bytes;
    struct state s = {
        .call = call,
        .request = request,
        .bytes = dml__mul(call->count, red->acc_bytes),
        .now = call->send,
        .ready = DML__NO_STEP,
    };
    s.peers = dml__sched_scratch(request, s.bytes);
    s.sum = in_recv ? call->recv : dml__sched_scratch(request, s.bytes);
    if (s.peers == NULL || s.sum == NULL)
        return;
    if (red->load != NULL) {
        s.ready = dml__sched_local(request, red->load, s.sum, call->send, NULL,
                                   call->count, red->scale, DML__NO_STEP, DML__NO_STEP);
        s.now = s.sum;
    }

    int power = 1;
    while (2 * power <= nranks)
        power *= 2;
    int paired = 2 * (nranks - power); /* ranks below this work in pairs */
    if (rank < paired && rank % 2 == 0) {
        int sent = dml__sched_send(request, s.now, s.bytes, rank + 1, s.ready, -1);
        s.ready = dml__sched_recv(request, s.sum, s.bytes, rank + 1, sent, s.ready);
        s.now = s.sum;
    } else {
        if (rank < paired)
            take(&s, rank - 1, DML__NO_STEP);
        int index = rank < paired ? rank / 2 : rank - paired / 2;
        for (int bit = 1; bit < power; bit *= 2) {
            int other = index ^ bit;
            exchange(&s, other < paired / 2 ? 2 * other + 1 : other + paired / 2);
        }
        if (rank < paired)
            dml__sched_send(request, s.now, s.bytes, rank - 1, s.ready, DML__NO_STEP);
    }
    if (red->store != NULL)
        dml__sched_local_after_all(request, red->store, call->recv, s.sum, NULL,
                                   call->count, red->divisor);
}

static double cost_s(const struct dml__model *m, double bytes)
{
    double r = (double)m->nranks / m->nnodes; /* all ranks of a node share its link */
    return dml__levels_s(m, r * bytes, bytes) +
           dml__log2(m->nranks) * bytes * m->gamma_s;
}

const struct dml__alg dml__allreduce_recursive_doubling = {
    .name = "recursive_doubling",
    .text = "log2 P exchanges of the whole vector; Thakur, Rabenseifner, Gropp 2005",
    .cost_s = cost_s,
    .build = build,
};
