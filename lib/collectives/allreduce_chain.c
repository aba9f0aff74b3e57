/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All-reduce along a chain, in rank order: a segment's partial sum goes from rank 0 to
 * the last rank, each adding its terms, and the result comes back the same way while
 * later segments are still on their way there. Where neighbours share a node only one
 * message a segment and direction passes between two nodes.
 *
 * All messages are given a time as if each took one unit: partial sum s leaves rank r
 * at s + r, result s leaves it at s + 2(P-1) - r. Each rank lists its messages by time,
 * partial sums before results, so that all lists agree on one order and none waits in a
 * circle.
 */
#include "collectives/coll_internal.h"

enum { SLOTS = 4 }; /* segments on their way through a rank */

struct chain {
    const struct dml__call *call;
    dml_request *request;
    int rank, last;
    size_t segment;    /* elements */
    char *sum[SLOTS];  /* [segment] accumulators, by segment number modulo SLOTS */
    char *came[SLOTS]; /* [segment] the message, where it may not lie in sum */
    int *passed;       /* [segments] step that sent the sum on, or made the result */
};

static struct dml__range segment(const struct chain *c, long s)
{
    struct dml__range whole = {0, c->call->count};
    return dml__part(whole, (size_t)s * c->segment, c->segment);
}

/* Adds the own terms to partial sum s, and hands it on; the last rank completes it. */
static void add(struct chain *c, long s)
{
    const struct dml__call *call = c->call;
    const struct dml__reduction *red = &call->red;
    struct dml__range seg = segment(c, s);
    size_t bytes = seg.count * red->acc_bytes;
    char *sum = c->sum[s % SLOTS], *result = dml__at(call, seg.offset);
    const char *own = dml__in(call, seg.offset);
    const void *now = sum;
    int before = s < SLOTS ? DML__NO_STEP : c->passed[s - SLOTS], ready = before;
    bool last = c->rank == c->last;
    void *to = last && red->store == NULL ? result : sum;
    if (c->rank == 0 && red->load == NULL)
        now = own;
    else if (c->rank == 0)
        ready = dml__sched_local(c->request, red->load, sum, own, NULL, seg.count,
                                 red->scale, before, DML__NO_STEP);
    else
        ready = dml__sched_recv_fold(
            c->request, c->came[s % SLOTS], bytes, c->rank - 1, red->fold, to, own,
            red->acc_bytes, call->elem_bytes, red->scale, before, DML__NO_STEP);
    if (!last)
        ready =
            dml__sched_send(c->request, now, bytes, c->rank + 1, ready, DML__NO_STEP);
    else if (red->store != NULL)
        ready = dml__sched_local(c->request, red->store, result, sum, NULL, seg.count,
                                 red->divisor, ready, DML__NO_STEP);
    c->passed[s] = ready;
}

static double cost_s(const struct dml__model *m, double bytes)
{
    struct dml__link_cost link = dml__flat(m);
    double segment = dml__segment_bytes(m->nnodes);
    double piece = bytes < segment ? bytes : segment;
    double segments = piece > 0 ? bytes / piece : 1;
    int links = m->nnodes > 1 ? m->nnodes - 1 : m->nranks - 1; /* of the slowest kind */
    int inner = m->nranks - 1 - links;
    /* A rank (or node) between two others sends sums and results at the same time. */
    double sharing = links > 1 ? 2 : 1;
    return 2 * links * (link.alpha_s + piece * link.beta_s) +
           2 * inner * (m->node.alpha_s + piece * m->node.beta_s) +
           (segments - 1) * sharing * piece * link.beta_s + bytes * m->gamma_s;
}

static void build(const struct dml__call *call, dml_request *request)
{
    struct chain c = {
        .call = call,
        .request = request,
        .rank = dml_comm_rank(call->comm),
        .last = dml_comm_size(call->comm) - 1,
        .segment = dml__segment_elems(call),
    };
    if (call->count == 0)
        return;
    c.segment = c.segment < call->count ? c.segment : call->count;
    long n = (long)((call->count + c.segment - 1) / c.segment);
    c.passed = dml__sched_scratch(request, dml__mul((size_t)n, sizeof *c.passed));
    if (c.passed == NULL)
        return;
    for (int i = 0; i < SLOTS; i++) {
        c.sum[i] =
            dml__sched_scratch(request, dml__mul(c.segment, call->red.acc_bytes));
        c.came[i] =
            dml__sched_scratch(request, dml__mul(c.segment, call->red.acc_bytes));
        if (c.sum[i] == NULL || c.came[i] == NULL)
            return;
    }
    for (long time = 0; time < n + 2L * c.last; time++) {
        long s = time - c.rank, back = time - (2L * c.last - c.rank);
        if (s >= 0 && s < n)
            add(&c, s);
        if (back < 0 || back >= n)
            continue;
        struct dml__range seg = segment(&c, back);
        char *result = dml__at(call, seg.offset);
        size_t bytes = seg.count * call->elem_bytes;
        int ready = c.passed[back];
        if (c.rank < c.last)
            ready = dml__sched_recv(request, result, bytes, c.rank + 1, ready,
                                    DML__NO_STEP);
        if (c.rank > 0)
            dml__sched_send(request, result, bytes, c.rank - 1, ready, DML__NO_STEP);
    }
}

const struct dml__alg dml__allreduce_chain = {
    .name = "chain",
    .text = "pipeline through the ranks in their order and back",
    .rank_order = true,
    .cost_s = cost_s,
    .build = build,
};
